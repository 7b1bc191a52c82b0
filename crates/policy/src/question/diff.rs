//! Which calls two sets answer differently, also where limits are used up. The rules of both are in one diagram,
//! a predicate that both have being one; last states whose answers change in the same way, to what the same rules
//! of the new set say, are one region, written as products of what rules ask.

use super::defect::{Defect, has};
use super::outcome::{Member, Outcomes, Relations};
use super::product::{self, Back, Product};
use super::prove::rules_of;
use super::render::Why;
use super::space::{Space, at};
use super::{Example, QuestionError};
use crate::answer::{Answer, Call, Decided, Facts, LayerKind};
use crate::compiled::predicate::Predicate;
use crate::compiled::walk;
use crate::decide::decide;
use crate::rule::Rule;
use crate::set::{Layer, Set};
use contract::effect::{Effect, Field, Form, Kind, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Most products of a region that people are shown.
const SHOWN_MAX: usize = 8;

/// One way in which an answer changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What the old set answers.
    pub old: Answer,
    /// What the new one does.
    pub new: Answer,
    /// The fewest limits that are used up in the old set where it does; none where the answer changes anyway.
    pub exhausted: Facts,
    /// The same of the new set: others only where it limits a rule otherwise.
    pub exhausted_new: Facts,
}

/// Calls whose answer changes.
#[derive(Debug)]
pub struct Changed {
    /// Their kind of effect.
    pub kind: Kind,
    /// How it changes, the one with the fewest limits used up first.
    pub changes: Vec<Change>,
    /// Which calls, as products of conditions; they have no call in common.
    pub products: Vec<Product>,
    /// How many products more there are.
    pub more: u64,
    /// One of them, complete, under the first change.
    pub example: Example,
    /// What the old set answers to it, and why; the plain interpreter confirms it.
    pub old: Decided,
    /// What the new set does.
    pub new: Decided,
}

/// Everything that changes between two sets.
#[derive(Debug)]
pub struct Diff {
    changed: Vec<Changed>,
    spaces: BTreeMap<Kind, (Space, HashMap<u32, usize>)>,
}

/// How answers change, and the rules of the new set that do it, by layer and place.
type Way = (Vec<Change>, Vec<(usize, usize)>);
/// The old set's layers and the new one's.
type Sides<'a> = [&'a [&'a Layer]; 2];

/// Last states that change in the same way for the same rules.
struct Group {
    kind: Kind,
    changes: Vec<Change>,
    leaves: Vec<u32>,
}

impl Changed {
    /// Whether something is answered more mildly than before.
    #[must_use]
    pub fn loosens(&self) -> bool {
        self.changes.iter().any(|change| change.new < change.old)
    }
}

impl Diff {
    /// The regions: those that are answered more mildly first.
    #[must_use]
    pub fn changed(&self) -> &[Changed] {
        &self.changed
    }

    /// Whether no call is answered more mildly than before, whatever limits are used up.
    #[must_use]
    pub fn only_tightens(&self) -> bool {
        !self.changed.iter().any(Changed::loosens)
    }

    /// In which regions a call's effect lies, by their places in [`Self::changed`]: an exact effect in one at
    /// most, a region of paths in each that one of its paths lies in.
    #[must_use]
    pub fn regions_of(&self, call: &Call<'_>, effect: &Effect) -> BTreeSet<usize> {
        let found = self.spaces.get(&effect.kind).and_then(|(space, of_leaves)| {
            let leaves = leaves_of(space, call, effect)?;
            Some(leaves.iter().filter_map(|leaf| of_leaves.get(leaf)).copied().collect())
        });
        found.unwrap_or_default()
    }
}

/// The last states that an effect's points come to.
fn leaves_of(space: &Space, call: &Call<'_>, effect: &Effect) -> Option<BTreeSet<u32>> {
    let mut states = BTreeSet::from([crate::compiled::diagram::START]);
    for (number, dimension) in space.dimensions.iter().enumerate() {
        let is_path = dimension.subject.field() == Some(Field::Path);
        let classes = match (effect.form, effect.get(Field::Path)) {
            (Form::Region, Some(Value::Path(root))) if is_path => walk::classes(dimension, root)?,
            _ => BTreeSet::from([dimension.class(call, effect)?]),
        };
        let pairs =
            states.iter().flat_map(|state| classes.iter().map(move |class| (*state, *class)));
        let next = pairs.map(|(state, class)| space.diagram.step(number, state, class));
        states = next.collect::<Option<_>>()?;
    }
    Some(states)
}

/// What changes from one set to another.
///
/// # Errors
/// [`QuestionError`].
pub fn diff(old: &Set, new: &Set) -> Result<Diff, QuestionError> {
    let layers: [Vec<&Layer>; 2] = [old.layers().collect(), new.layers().collect()];
    let sides: Sides<'_> = [&layers[0], &layers[1]];
    let relations = Relations::of(sides);
    let mut kinds: BTreeMap<Kind, OfKind<'_>> = BTreeMap::new();
    for kind in Kind::ALL {
        kinds.extend(OfKind::new(sides, kind, &relations)?.map(|of_kind| (kind, of_kind)));
    }
    let loosens = |group: &Group| group.changes.iter().any(|change| change.new < change.old);
    let mut groups: Vec<Group> =
        kinds.values_mut().flat_map(|of_kind| std::mem::take(&mut of_kind.groups)).collect();
    groups.sort_by_key(|group| {
        let first = group.changes.first().map(|change| (change.old, change.new));
        (!loosens(group), group.kind, first, group.leaves.first().copied())
    });
    let mut changed = Vec::new();
    for group in &groups {
        if let Some(of_kind) = kinds.get(&group.kind) {
            changed.push(of_kind.describe([old, new], group)?);
        }
    }
    let of_leaves = |kind: Kind| {
        let its = groups.iter().enumerate().filter(move |(_, group)| group.kind == kind);
        its.flat_map(|(number, group)| group.leaves.iter().map(move |leaf| (*leaf, number)))
            .collect()
    };
    let spaces = kinds.into_iter().map(|(kind, of)| (kind, (of.space, of_leaves(kind)))).collect();
    Ok(Diff { changed, spaces })
}

/// The rules of both sets that speak of a kind, each predicate once.
struct Both<'a> {
    predicates: Vec<Predicate<'a>>,
    members: Vec<Vec<Member>>,
    /// Which of them the two sets do not answer alike.
    differs: Vec<bool>,
}

impl<'a> Both<'a> {
    fn of(sides: Sides<'a>, kind: Kind, relations: &Relations<'a>) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut both = Both { predicates: Vec::new(), members: Vec::new(), differs: Vec::new() };
        for (side, layers) in sides.into_iter().enumerate() {
            let (predicates, members) = rules_of(layers, kind, side);
            for (predicate, member) in predicates.into_iter().zip(members) {
                let next = both.members.len();
                let number = *numbers.entry(format!("{predicate:?}")).or_insert(next);
                if number == next {
                    both.predicates.push(predicate);
                    both.members.push(Vec::new());
                }
                if let Some(members) = both.members.get_mut(number) {
                    members.push(member);
                }
            }
        }
        both.differs =
            both.members.iter().map(|members| differs(sides, members, relations)).collect();
        both
    }
}

/// What of a rule makes its answers.
fn speaks<'a>(sides: Sides<'a>, member: &Member) -> Option<(&'a Layer, &'a Rule)> {
    let layer = sides.get(member.side)?.get(member.layer)?;
    Some((layer, layer.rules.get(member.rule)?))
}

/// Whether rules of one predicate answer otherwise in one set than in the other.
fn differs<'a>(sides: Sides<'a>, members: &[Member], relations: &Relations<'a>) -> bool {
    let mut limits = members.iter().filter_map(|member| speaks(sides, member));
    if limits.any(|(layer, rule)| relations.differs(&layer.kind, &rule.name)) {
        return true;
    }
    let of = |side: usize| {
        let its = members.iter().filter(|member| member.side == side);
        let answers = its.filter_map(|member| {
            let (layer, rule) = speaks(sides, member)?;
            let limits = rule.limits.as_ref();
            let over = limits.map(|limits| (limits.over.unwrap_or(Answer::Blocked), &rule.name));
            let decision = if has(Defect::Alike) { Answer::Blocked } else { rule.decision };
            Some((layer.kind.clone(), decision, over))
        });
        let mut answers: Vec<_> = answers.collect();
        answers.sort();
        answers
    };
    of(0) != of(1)
}

/// The rules of the new set that give its answer.
fn causes(sides: Sides<'_>, members: &[Member], change: &Change) -> Vec<(usize, usize)> {
    let gives = |member: &&Member| {
        let of = speaks(sides, member).filter(|_| member.side == 1);
        of.is_some_and(|(layer, rule)| {
            let key = (layer.kind.clone(), rule.name.clone());
            let over = rule.limits.as_ref().map(|limits| limits.over.unwrap_or(Answer::Blocked));
            let over = over.filter(|_| change.exhausted_new.exhausted.contains(&key));
            over.unwrap_or(rule.decision) == change.new
        })
    };
    let mut causes: Vec<(usize, usize)> =
        members.iter().filter(gives).map(|member| (member.layer, member.rule)).collect();
    causes.sort_unstable();
    causes
}

/// The diagram of a kind and what of it changes.
struct OfKind<'a> {
    both: Both<'a>,
    space: Space,
    back: Back,
    groups: Vec<Group>,
}

impl<'a> OfKind<'a> {
    /// Nothing where both sets have the same rules.
    fn new(
        sides: Sides<'a>,
        kind: Kind,
        relations: &Relations<'a>,
    ) -> Result<Option<Self>, QuestionError> {
        let both = Both::of(sides, kind, relations);
        let others = |layers: &[&Layer]| -> Vec<_> {
            layers.iter().filter_map(|layer| Some((layer.kind.clone(), layer.otherwise?))).collect()
        };
        if !both.differs.contains(&true) && others(sides[0]) == others(sides[1]) {
            return Ok(None);
        }
        let space = Space::new(kind, &both.predicates).map_err(|too_many| {
            too_many.named(kind, |number| {
                let (layer, rule) = speaks(sides, both.members.get(at(number))?.first()?)?;
                Some(format!("{}/{}", layer.kind, rule.name))
            })
        })?;
        let mut groups: BTreeMap<Way, Group> = BTreeMap::new();
        for (leaf, rules) in space.leaves() {
            let members = rules.iter().filter_map(|rule| both.members.get(at(*rule))).flatten();
            let members: Vec<Member> = members.copied().collect();
            let outcomes = Outcomes::of(sides, &members, relations).all().into_iter();
            let changes: Vec<Change> = outcomes
                .filter(|([old, new], _)| old != new)
                .map(|([old, new], [exhausted, exhausted_new])| Change {
                    old,
                    new,
                    exhausted,
                    exhausted_new,
                })
                .collect();
            if let Some(first) = changes.first() {
                let causes = causes(sides, &members, first);
                let new = || Group { kind, changes: changes.clone(), leaves: Vec::new() };
                groups.entry((changes.clone(), causes)).or_insert_with(new).leaves.push(leaf);
            }
        }
        let back = Back::of(&space);
        Ok(Some(Self { both, space, back, groups: groups.into_values().collect() }))
    }

    /// A group as it is told.
    fn describe(&self, sets: [&Set; 2], group: &Group) -> Result<Changed, QuestionError> {
        let unconfirmed = || QuestionError::Unconfirmed(format!("diff of `{}`", group.kind));
        let first = group.changes.first().ok_or_else(unconfirmed)?;
        let leaf = group.leaves.first().ok_or_else(unconfirmed)?;
        let example = self.space.example(&self.space.all, *leaf, first.exhausted.clone());
        let example = example.ok_or_else(unconfirmed)?;
        let decided = |set: &Set, answer: Answer, facts: &Facts| {
            let effects = std::slice::from_ref(&example.effect);
            let decision = decide(set, &example.call(), effects, facts);
            let confirmed = decision.answer == answer;
            decision.effects.into_iter().next().filter(|_| confirmed).ok_or_else(unconfirmed)
        };
        let old = decided(sets[0], first.old, &first.exhausted)?;
        let new = decided(sets[1], first.new, &first.exhausted_new)?;
        let (products, more) =
            product::of(&self.space, &self.back, &self.both.predicates, &group.leaves);
        let changes = group.changes.clone();
        Ok(Changed { kind: group.kind, changes, products, more, example, old, new })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { old, new, exhausted: Facts { exhausted: one }, exhausted_new } = self;
        let other = &exhausted_new.exhausted;
        write!(f, "{old} -> {new}")?;
        let mut told = |rules: Vec<&(LayerKind, String)>, whose: &str| {
            for (number, (layer, name)) in rules.iter().enumerate() {
                let word = if number == 0 { " once the limit is used up of" } else { " and" };
                write!(f, "{word} {layer}/{name}")?;
            }
            if rules.is_empty() { Ok(()) } else { f.write_str(whose) }
        };
        told(one.intersection(other).collect(), "")?;
        told(one.difference(other).collect(), " as it was")?;
        told(other.difference(one).collect(), " as it would be")
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, change) in self.changes.iter().enumerate() {
            let comma = if number == 0 { "" } else { "; " };
            write!(f, "{comma}{change}")?;
        }
        for product in self.products.iter().take(SHOWN_MAX) {
            write!(f, "\n  {}{product}", self.kind)?;
        }
        let hidden = self.products.len().saturating_sub(SHOWN_MAX);
        let more = self.more.saturating_add(u64::try_from(hidden).unwrap_or(u64::MAX));
        if more > 0 {
            write!(f, "\n  and {more} more of the same")?;
        }
        let Self { example, old, new, .. } = self;
        write!(f, "\n  such as: {example}\n  old: {}\n  new: {}", Why(old), Why(new))
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changed.is_empty() {
            return f.write_str("no call is answered differently");
        }
        for (number, changed) in self.changed.iter().enumerate() {
            write!(f, "{}{}. {changed}", if number == 0 { "" } else { "\n" }, number + 1)?;
        }
        Ok(())
    }
}
