//! What rules that hold answer together, over every combination of used-up limits. A limited rule has two
//! answers, and the call takes the most restrictive of all: so the answers of one set, or the pairs of two, can
//! be gathered rule by rule, with the fewest limits that bring each about. A rule that two sets limit alike is used
//! up in both or in neither; one that they limit otherwise is used up in one alone, unless one of the limits is the
//! stricter one at any moment.

use super::defect::{Defect, has};
use crate::answer::{Answer, Facts, LayerKind};
use crate::rule::Limits;
use crate::set::Layer;
use std::collections::BTreeMap;

/// The answers of an old and a new set. With one set alone both are the same.
pub(super) type Pair = [Answer; 2];

/// A rule by its place in one of the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) side: usize,
    pub(super) layer: usize,
    pub(super) rule: usize,
}

/// A limit, by the layer and the name of its rule.
type Key<'a> = (&'a LayerKind, &'a str);

/// A limit that is used up, and in which of the two sets.
type Used<'a> = (Key<'a>, [bool; 2]);

/// What can be answered, each with the fewest limits used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcomes<'a>(BTreeMap<Pair, Vec<Used<'a>>>);

/// Of the rules that two sets limit otherwise, whether each can be used up in the old one alone, and in the new one
/// alone.
#[derive(Debug, Default)]
pub(super) struct Relations<'a>(BTreeMap<Key<'a>, [bool; 2]>);

impl<'a> Relations<'a> {
    /// Of the old set's layers and the new one's.
    pub(super) fn of([old, new]: [&[&'a Layer]; 2]) -> Self {
        let limits = |layers: &[&'a Layer]| -> BTreeMap<Key<'a>, &'a Limits> {
            let rules = layers.iter().flat_map(|layer| {
                layer.rules.iter().filter_map(|rule| {
                    Some(((&layer.kind, rule.name.as_str()), rule.limits.as_ref()?))
                })
            });
            rules.collect()
        };
        let (old, new) = (limits(old), limits(new));
        let both = old.iter().filter_map(|(key, old)| Some((*key, *old, *new.get(key)?)));
        let apart = both.filter(|(_, old, new)| !old.is_same(new) && !has(Defect::LimitedAlike));
        let alone =
            |one: &Limits, other: &Limits| !one.implies(other) || has(Defect::NeverStricter);
        Self(apart.map(|(key, old, new)| (key, [alone(old, new), alone(new, old)])).collect())
    }

    /// Whether the sets limit a rule of this name otherwise.
    pub(super) fn differs(&self, layer: &'a LayerKind, rule: &'a str) -> bool {
        self.0.contains_key(&(layer, rule))
    }

    /// In which of the two sets a limit can be used up.
    fn ways(&self, key: Key<'a>) -> impl Iterator<Item = [bool; 2]> {
        let alone = self.0.get(&key).copied().unwrap_or([false; 2]);
        let ways = [
            (true, [false; 2]),
            (true, [true; 2]),
            (alone[0], [true, false]),
            (alone[1], [false, true]),
        ];
        ways.into_iter().filter_map(|(can, way)| can.then_some(way))
    }
}

fn raised(pair: Pair, side: usize, answer: Answer) -> Pair {
    let mut pair = pair;
    if let Some(of) = pair.get_mut(side) {
        *of = answer.max(*of);
    }
    pair
}

fn both(one: Pair, other: Pair) -> Pair {
    raised(raised(one, 0, other[0]), 1, other[1])
}

impl<'a> Outcomes<'a> {
    /// Where these rules hold and no other.
    pub(super) fn of(
        sides: [&[&'a Layer]; 2],
        members: &[Member],
        relations: &Relations<'a>,
    ) -> Self {
        let nothing = [Answer::Autonomous; 2];
        let mut fixed = nothing;
        // for each limit what is answered while it lasts and after
        let mut limited: BTreeMap<Key<'a>, [Pair; 2]> = BTreeMap::new();
        let mut matched: Vec<(usize, usize)> = Vec::new();
        for member in members {
            let layer = sides.get(member.side).and_then(|layers| layers.get(member.layer));
            let Some(layer) = layer else { continue };
            let Some(rule) = layer.rules.get(member.rule) else { continue };
            matched.push((member.side, member.layer));
            match &rule.limits {
                None => fixed = raised(fixed, member.side, rule.decision),
                Some(limits) => {
                    let over = limits.over.unwrap_or(Answer::Blocked);
                    let key = (&layer.kind, rule.name.as_str());
                    let [before, after] = limited.entry(key).or_insert([nothing; 2]);
                    *before = raised(*before, member.side, rule.decision);
                    *after = raised(*after, member.side, over);
                }
            }
        }
        for (side, layers) in sides.iter().enumerate() {
            for (number, layer) in layers.iter().enumerate() {
                if let Some(otherwise) =
                    layer.otherwise.filter(|_| !matched.contains(&(side, number)))
                {
                    fixed = raised(fixed, side, otherwise);
                }
            }
        }
        let mut found: BTreeMap<Pair, Vec<Used<'a>>> = BTreeMap::from([(fixed, Vec::new())]);
        for (key, [before, after]) in limited {
            let mut next: BTreeMap<Pair, Vec<Used<'a>>> = BTreeMap::new();
            for (pair, used) in found {
                for way in relations.ways(key) {
                    let gives = |side: usize| {
                        let is_used = way.get(side) == Some(&true) && !has(Defect::Limits);
                        let of = if is_used { after } else { before };
                        of.get(side).copied().unwrap_or(Answer::Blocked)
                    };
                    let more = way.contains(&true).then_some((key, way));
                    let used: Vec<Used<'a>> = used.iter().copied().chain(more).collect();
                    let pair = both(pair, [gives(0), gives(1)]);
                    let known = next.entry(pair).or_insert_with(|| used.clone());
                    if used.len() < known.len() {
                        *known = used;
                    }
                }
            }
            found = next;
        }
        Self(found)
    }

    /// What can be answered, the fewest limits first; with what is used up in each of the sets.
    pub(super) fn all(&self) -> Vec<(Pair, [Facts; 2])> {
        let facts = |used: &[Used<'a>], side: usize| {
            let its = used.iter().filter(|(_, way)| way.get(side) == Some(&true));
            let names = its.map(|((layer, name), _)| ((*layer).clone(), (*name).to_owned()));
            Facts { exhausted: names.collect() }
        };
        let mut all: Vec<(usize, Pair, [Facts; 2])> = self
            .0
            .iter()
            .map(|(pair, used)| (used.len(), *pair, [facts(used, 0), facts(used, 1)]))
            .collect();
        all.sort_by_key(|(count, ..)| *count);
        all.into_iter().map(|(_, pair, facts)| (pair, facts)).collect()
    }
}
