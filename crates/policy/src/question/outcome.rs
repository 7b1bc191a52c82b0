//! What rules that hold answer together, over every combination of used-up limits. A limited rule has two
//! answers, and the call takes the most restrictive of all: so the answers of one set, or the pairs of two, can
//! be gathered rule by rule, with the fewest limits that bring each about.

use super::defect::{Defect, has};
use crate::answer::{Answer, Facts, LayerKind};
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

/// What can be answered, each with the fewest limits used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcomes<'a>(BTreeMap<Pair, Vec<Key<'a>>>);

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
    pub(super) fn of(sides: [&[&'a Layer]; 2], members: &[Member]) -> Self {
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
        let mut found: BTreeMap<Pair, Vec<Key<'a>>> = BTreeMap::from([(fixed, Vec::new())]);
        for (key, [before, after]) in limited {
            let mut next: BTreeMap<Pair, Vec<Key<'a>>> = BTreeMap::new();
            for (pair, used) in found {
                let after = if has(Defect::Limits) { before } else { after };
                let more: Vec<Key<'a>> = used.iter().copied().chain([key]).collect();
                for (pair, used) in [(both(pair, before), used), (both(pair, after), more)] {
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

    /// What can be answered, the fewest limits first.
    pub(super) fn all(&self) -> Vec<(Pair, Facts)> {
        let facts = |used: &Vec<Key<'a>>| Facts {
            exhausted: used
                .iter()
                .map(|(layer, name)| ((*layer).clone(), (*name).to_owned()))
                .collect(),
        };
        let mut all: Vec<(Pair, Facts)> =
            self.0.iter().map(|(pair, used)| (*pair, facts(used))).collect();
        all.sort_by_key(|(_, facts)| facts.exhausted.len());
        all
    }
}
