//! All effects of one kind as what is asked about tells them apart: the diagram, and of it what some call can
//! reach, each last state with the call that is told with the fewest words.

use super::Example;
use super::defect::{Defect, has};
use super::inhabited::{Inhabited, Sample, usual, usual_capability};
use crate::answer::Facts;
use crate::compiled::classes::NONE;
use crate::compiled::diagram::{Diagram, Out, START};
use crate::compiled::dimension::{Dimension, Subject, TooManyOf};
use crate::compiled::predicate::{self, Predicate};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use std::collections::BTreeMap;

/// How a state is reached: what the way costs, its last state and class.
#[derive(Debug, Clone, Copy)]
struct Way {
    cost: usize,
    before: u32,
    class: u32,
}

/// One kind of effect.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) kind: Kind,
    /// How many rules there are.
    rules: u32,
    pub(super) dimensions: Vec<Dimension>,
    pub(super) diagram: Diagram,
    /// The edges before each dimension.
    pub(super) out: Vec<Vec<Out>>,
    /// Every call there can be.
    pub(super) all: Part,
}

/// Some of the calls there can be.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) inhabited: Vec<Inhabited>,
    /// Behind each dimension, how each state is reached; the first is before all.
    ways: Vec<Vec<Option<Way>>>,
    lowered: Option<Lowered>,
}

/// What one capability lowers to: effects of a kind that have exactly these fields, whatever their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// The capability's name.
    pub capability: String,
    /// Its version.
    pub version: u32,
    /// The effects' kind.
    pub kind: Kind,
    /// Their fields.
    pub fields: Vec<Field>,
    /// Of code: the roots that it has, where they are always the same.
    pub roots: Option<Vec<CanonicalPath>>,
}

/// A number as a place.
pub(super) fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Space {
    /// Of what these ask about.
    pub(super) fn new(kind: Kind, predicates: &[Predicate<'_>]) -> Result<Self, TooManyOf> {
        let (dimensions, diagram) = predicate::compile(predicates)?;
        let inhabited: Vec<Inhabited> =
            dimensions.iter().map(|dimension| Inhabited::of(dimension, Some(kind))).collect();
        let out: Vec<Vec<Out>> = (0..dimensions.len()).map(|number| diagram.out(number)).collect();
        let rules = u32::try_from(predicates.len()).unwrap_or(u32::MAX);
        let all = Part { ways: ways(&out, &inhabited), inhabited, lowered: None };
        Ok(Self { kind, rules, dimensions, diagram, out, all })
    }

    /// The part of it that one capability lowers to.
    pub(super) fn of_lowered(&self, lowered: &Lowered) -> Part {
        let inhabited =
            self.dimensions.iter().zip(&self.all.inhabited).map(|(dimension, all)| match dimension
                .subject
            {
                Subject::Agent => all.clone(),
                Subject::Capability => {
                    let (name, version) = (&lowered.capability, lowered.version);
                    let class = dimension.of_capability(name, version).unwrap_or(NONE);
                    Inhabited::only(class, Sample::Capability(name.clone(), version))
                }
                Subject::Field(field) if lowered.fields.contains(&field) => all.clone().present(),
                Subject::Field(_) => Inhabited::only(NONE, Sample::Absent),
            });
        let inhabited: Vec<Inhabited> = inhabited.collect();
        let ways = ways(&self.out, &inhabited);
        Part { inhabited, ways, lowered: Some(lowered.clone()) }
    }

    /// Whether a state behind so many dimensions is reached by some call.
    pub(super) fn is_reached(&self, level: usize, state: u32) -> bool {
        self.all.ways.get(level).and_then(|ways| ways.get(at(state))).is_some_and(Option::is_some)
    }

    /// The last states that calls reach, with the rules that hold there, the cheapest first.
    pub(super) fn leaves(&self) -> Vec<(u32, &[u32])> {
        self.leaves_of(&self.all)
    }

    /// Those that these calls reach.
    pub(super) fn leaves_of(&self, part: &Part) -> Vec<(u32, &[u32])> {
        let Some(ways) = part.ways.last() else { return Vec::new() };
        let mut leaves: Vec<(usize, u32, &[u32])> = Vec::new();
        for (number, (way, rules)) in (0..).zip(ways.iter().zip(&self.diagram.last)) {
            leaves.extend(way.map(|way| (way.cost, number, rules.as_slice())));
        }
        leaves.sort_by_key(|(cost, number, _)| (*cost, *number));
        leaves.into_iter().map(|(_, number, rules)| (number, rules)).collect()
    }

    /// The sets of rules that can still hold in the states behind so many dimensions that calls reach.
    pub(super) fn states(&self, level: usize) -> Vec<Vec<u32>> {
        let all: Vec<u32> = (0..self.rules).collect();
        let mut labels: Vec<Option<Vec<u32>>> = vec![Some(all)];
        for (dimension, ways) in
            self.dimensions.iter().zip(self.all.ways.iter().skip(1)).take(level)
        {
            let label = |way: &Option<Way>| {
                let way = way.as_ref()?;
                let holding = dimension.holding.get(at(way.class))?;
                let stays = |rule: &&u32| {
                    !dimension.tested.contains(*rule) || holding.binary_search(rule).is_ok()
                };
                let before = labels.get(at(way.before))?.as_ref()?;
                Some(before.iter().filter(stays).copied().collect())
            };
            labels = ways.iter().map(label).collect();
        }
        labels.into_iter().flatten().collect()
    }

    /// A complete call that comes to a last state.
    pub(super) fn example(&self, part: &Part, leaf: u32, facts: Facts) -> Option<Example> {
        let fields = part.lowered.as_ref().map_or(self.kind.fields(), |lowered| &lowered.fields);
        let mut values: BTreeMap<Field, Value> =
            fields.iter().map(|field| (*field, usual(*field))).collect();
        let mut agent = "a".to_owned();
        let mut capability = match &part.lowered {
            Some(lowered) => (lowered.capability.clone(), lowered.version),
            None => (usual_capability(self.kind).to_owned(), 1),
        };
        let classes = part.classes_to(leaf);
        for ((dimension, inhabited), class) in
            self.dimensions.iter().zip(&part.inhabited).zip(classes)
        {
            match (dimension.subject.field(), inhabited.sample(class)?) {
                (None, Sample::Agent(name)) => agent.clone_from(name),
                (None, Sample::Capability(name, version)) => capability = (name.clone(), *version),
                (Some(field), Sample::Present(value)) => {
                    values.insert(field, value.clone());
                }
                (Some(field), Sample::Absent) => {
                    values.remove(&field);
                }
                _ => return None,
            }
        }
        let form = if self.kind == Kind::Code { Form::Code } else { Form::Exact };
        let effect = Effect::new(self.kind, form, values).ok()?;
        let (capability, version) = capability;
        Some(Example { agent, capability, version, effect, facts })
    }
}

impl Part {
    /// The classes on the way to a last state.
    fn classes_to(&self, leaf: u32) -> Vec<u32> {
        let (mut state, mut classes) = (leaf, Vec::new());
        for ways in self.ways.iter().skip(1).rev() {
            let Some(Some(way)) = ways.get(at(state)) else { break };
            classes.push(way.class);
            state = way.before;
        }
        classes.reverse();
        classes
    }
}

/// How each state is reached by values of these classes.
fn ways(out: &[Vec<Out>], inhabited: &[Inhabited]) -> Vec<Vec<Option<Way>>> {
    let mut ways = vec![vec![Some(Way { cost: 0, before: START, class: 0 })]];
    for (number, (out, inhabited)) in out.iter().zip(inhabited).enumerate() {
        let states = out
            .iter()
            .flat_map(|out| out.by_class.iter().map(|(_, to)| *to).chain([out.otherwise]));
        let states = states.max().map_or(0, |last| at(last) + 1);
        let mut next: Vec<Option<Way>> = vec![None; states];
        let reached = ways.get(number).into_iter().flatten().enumerate();
        for (before, way) in reached {
            let (Some(way), Some(out)) = (way, out.get(before)) else { continue };
            for (class, to) in edges(out, inhabited) {
                let Some(cost) = inhabited.cost(class) else { continue };
                let cost = way.cost + cost;
                let before = u32::try_from(before).unwrap_or(u32::MAX);
                if let Some(known) = next.get_mut(at(to))
                    && known.is_none_or(|known| cost < known.cost)
                {
                    *known = Some(Way { cost, before, class });
                }
            }
        }
        ways.push(next);
    }
    ways
}

/// One inhabited class for each state behind a state, or more.
fn edges<'a>(out: &'a Out, inhabited: &'a Inhabited) -> impl Iterator<Item = (u32, u32)> + 'a {
    let named = |class: &u32| out.by_class.binary_search_by_key(class, |(class, _)| *class).is_ok();
    let other = inhabited.classes().iter().find(|class| !named(class));
    let other = other.filter(|_| !has(Defect::Otherwise));
    let by_class = out.by_class.iter().copied();
    by_class.chain(other.map(|class| (*class, out.otherwise)))
}
