//! Whether a property holds of a set: of every effect that lies where it speaks, the answers over every
//! combination of used-up limits. What it speaks of is one rule more in the diagram, `within` another; a path
//! on which the first holds, and not the second, leads to answers that must not be forbidden.
//!
//! Code does whatever it likes within its roots, which no rule can ask about: it counts as each read, write and
//! delete of its caller, unless it is blocked.

use super::defect::{Defect, has};
use super::outcome::{Member, Outcomes, Relations};
use super::property::{Property, Region};
use super::space::{Lowered, Part, Space, at};
use super::{Example, QuestionError};
use crate::answer::{Answer, Decided, Facts};
use crate::compiled::dimension::TooManyOf;
use crate::compiled::predicate::Predicate;
use crate::decide::decide;
use crate::set::{Layer, Set};
use crate::test::Test;
use contract::effect::{Effect, Field, Kind, Value};
use contract::path::CanonicalPath;
use std::fmt;

/// Whether a property holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Of every call.
    Holds,
    /// Not of this one.
    Fails(Box<Counterexample>),
}

/// A call that a property does not hold of, which the plain interpreter confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The call.
    pub example: Example,
    /// What the set answers, and why.
    pub decided: Decided,
    /// Where the effect is code: what it may do within its roots, which the property speaks of.
    pub does: Option<Effect>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.example)?;
        if let Some(does) = &self.does {
            write!(f, ", which may {does}")?;
        }
        write!(f, ": {}", super::render::Why(&self.decided))
    }
}

/// One question of the diagram of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) kind: Kind,
    /// Whether the effect is code that does what the property speaks of.
    pub(super) is_envelope: bool,
}

/// Every question of a property.
pub(super) fn queries(property: &Property) -> Vec<Query> {
    let mut kinds: Vec<Kind> = property.region().kinds().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let direct = kinds.into_iter().map(|kind| Query { kind, is_envelope: false });
    let does = property.region().envelope().next().filter(|_| !has(Defect::Envelope));
    direct.chain(does.map(|_| Query { kind: Kind::Code, is_envelope: true })).collect()
}

/// The rules of a set that speak of a kind, each with its place.
pub(super) fn rules_of<'a>(
    layers: &[&'a Layer],
    kind: Kind,
    side: usize,
) -> (Vec<Predicate<'a>>, Vec<Member>) {
    let (mut predicates, mut members) = (Vec::new(), Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        for (rule, of) in layer.rules.iter().enumerate() {
            if of.effects.iter().any(|one| one.0 == kind) {
                predicates.push(Predicate::of_rule(layer, of));
                members.push(Member { side, layer: number, rule });
            }
        }
    }
    (predicates, members)
}

impl Query {
    /// Its region and what it excepts, as rules.
    pub(super) fn predicates<'a>(&self, property: &'a Property) -> Vec<Predicate<'a>> {
        let of = |region: &'a Region| {
            if self.is_envelope { region.of_caller() } else { region.predicate() }
        };
        std::iter::once(property.region()).chain(property.within()).map(of).collect()
    }

    /// Whether `within` excepts nothing here, because it has no effect of the kind.
    fn ignores_within(&self, property: &Property) -> bool {
        property.within().is_none_or(|within| !within.kinds().any(|kind| kind == self.kind))
    }
}

/// An effect of this kind that lies in a region and not in another; of code, beneath one of its roots.
pub(super) fn inner(
    region: &Region,
    but: Option<&Region>,
    kind: Kind,
    roots: Option<&[CanonicalPath]>,
) -> Result<Option<Effect>, TooManyOf> {
    let but = but.filter(|but| but.kinds().any(|of| of == kind)).map(Region::of_fields);
    let beneath = roots.map(|roots| vec![(Field::Path, Test::Under(roots.to_vec()))]);
    let of_roots = beneath.as_ref().map(|conditions| Predicate {
        agent: None,
        capabilities: None,
        conditions,
    });
    let wanted: &[u32] = if of_roots.is_some() { &[0, 1] } else { &[0] };
    let predicates: Vec<Predicate<'_>> =
        std::iter::once(region.of_fields()).chain(of_roots).chain(but).collect();
    let space = Space::new(kind, &predicates)?;
    let leaf = space.leaves().into_iter().find(|(_, rules)| *rules == wanted);
    let example = leaf.and_then(|(leaf, _)| space.example(&space.all, leaf, Facts::default()));
    Ok(example.map(|example| example.effect))
}

/// Whether a property holds of a set, whatever is called.
///
/// # Errors
/// [`QuestionError`].
pub fn prove(set: &Set, property: &Property) -> Result<Verdict, QuestionError> {
    ask_all(set, property, None)
}

/// Whether a property holds of a set, as far as these capabilities go: of every effect that one of them lowers to,
/// by what is said of its fields. It holds of no other call, and there is no certificate of it.
///
/// # Errors
/// [`QuestionError`].
pub fn prove_lowered(
    set: &Set,
    property: &Property,
    lowered: &[Lowered],
) -> Result<Verdict, QuestionError> {
    ask_all(set, property, Some(lowered))
}

fn ask_all(
    set: &Set,
    property: &Property,
    lowered: Option<&[Lowered]>,
) -> Result<Verdict, QuestionError> {
    let layers: Vec<&Layer> = set.layers().collect();
    for query in queries(property) {
        if let Some(found) = ask(set, &layers, (property, query), lowered)? {
            return Ok(Verdict::Fails(Box::new(found)));
        }
    }
    Ok(Verdict::Holds)
}

fn ask(
    set: &Set,
    layers: &[&Layer],
    (property, query): (&Property, Query),
    lowered: Option<&[Lowered]>,
) -> Result<Option<Counterexample>, QuestionError> {
    let (mut predicates, members) = rules_of(layers, query.kind, 0);
    predicates.extend(query.predicates(property));
    let name = |number| name(layers, &members, property, number);
    let too_many = |too_many: TooManyOf| too_many.named(query.kind, name);
    let space = Space::new(query.kind, &predicates).map_err(too_many)?;
    let asked = Asked { set, layers, property, query, members: &members };
    let Some(lowered) = lowered else {
        let does = does(property, query, None).map_err(too_many)?;
        return asked.part(&space, &space.all, &does);
    };
    for lowered in lowered.iter().filter(|lowered| lowered.kind == query.kind) {
        let does = does(property, query, lowered.roots.as_deref()).map_err(too_many)?;
        if let Some(found) = asked.part(&space, &space.of_lowered(lowered), &does)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What a caller whom `within` does not speak of, and one whom it does, may do by code against the property.
fn does(
    property: &Property,
    query: Query,
    roots: Option<&[CanonicalPath]>,
) -> Result<[Option<Effect>; 2], TooManyOf> {
    let mut does = [None, None];
    for kind in property.region().envelope().filter(|_| query.is_envelope) {
        for (known, but) in does.iter_mut().zip([None, property.within()]) {
            if known.is_none() {
                *known = inner(property.region(), but, kind, roots)?;
            }
        }
    }
    Ok(does)
}

/// One question of a set.
struct Asked<'a> {
    set: &'a Set,
    layers: &'a [&'a Layer],
    property: &'a Property,
    query: Query,
    members: &'a [Member],
}

impl Asked<'_> {
    /// A counterexample among some of the calls.
    fn part(
        &self,
        space: &Space,
        part: &Part,
        does: &[Option<Effect>; 2],
    ) -> Result<Option<Counterexample>, QuestionError> {
        let property = self.property;
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        for (leaf, rules) in space.leaves_of(part) {
            let holds = |number: u32| rules.binary_search(&number).is_ok();
            let is_within = holds(count + 1) && !has(Defect::Within);
            let does = does.get(usize::from(is_within)).and_then(Option::as_ref);
            let concerns = if self.query.is_envelope {
                does.is_some()
            } else {
                !is_within || self.query.ignores_within(property)
            };
            if !holds(count) || !concerns {
                continue;
            }
            let members = rules.iter().filter_map(|rule| self.members.get(at(*rule)));
            let members: Vec<Member> = members.copied().collect();
            let outcomes = Outcomes::of([self.layers, &[]], &members, &Relations::default()).all();
            let forbidden = outcomes.into_iter().find(|([answer, _], _)| self.forbids(*answer));
            if let Some(([answer, _], [facts, _])) = forbidden {
                let example = space.example(part, leaf, facts);
                let found = example.and_then(|example| self.confirm(example, does));
                let found = found.filter(|found| found.decided.answer == answer);
                let unconfirmed = || QuestionError::Unconfirmed(property.name.clone());
                return found.map(Some).ok_or_else(unconfirmed);
            }
        }
        Ok(None)
    }

    /// Whether an answer is against the property; code that is blocked does nothing.
    fn forbids(&self, answer: Answer) -> bool {
        self.property.forbids(answer) && !(self.query.is_envelope && answer == Answer::Blocked)
    }

    /// The example with what the plain interpreter says of it, if it is against the property indeed.
    fn confirm(&self, mut example: Example, does: Option<&Effect>) -> Option<Counterexample> {
        if let Some(Value::Path(path)) = does.and_then(|does| does.get(Field::Path))
            && example.effect.fields.contains_key(&Field::Roots)
        {
            let roots = Value::List(vec![path.as_str().to_owned()]);
            example.effect.fields.insert(Field::Roots, roots);
        }
        let effects = std::slice::from_ref(&example.effect);
        let decision = decide(self.set, &example.call(), effects, &example.facts);
        let decided = decision.effects.into_iter().next()?;
        let concerns = self.property.concerns(&example.call(), does.unwrap_or(&example.effect));
        let is_against = concerns && self.forbids(decided.answer);
        let does = does.cloned();
        (is_against && decision.answer == decided.answer).then_some(Counterexample {
            example,
            decided,
            does,
        })
    }
}

/// The name of a rule for an error.
fn name(layers: &[&Layer], members: &[Member], property: &Property, number: u32) -> Option<String> {
    let Some(member) = members.get(at(number)) else {
        return Some(format!("property/{}", property.name));
    };
    let layer = layers.get(member.layer)?;
    Some(format!("{}/{}", layer.kind, layer.rules.get(member.rule)?.name))
}
