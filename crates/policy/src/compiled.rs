//! The engine that decides in one pass over a call, however many rules there are: for each kind of effect the
//! rules that speak of it, the classes of everything that they ask about, and a diagram over these. The
//! plain interpreter ([`crate::decide()`]) is its specification: both give the same answers for the same
//! reasons, in whatever order.

pub(crate) mod automaton;
mod classes;
mod defect;
mod diagram;
mod dimension;
mod formula;
#[cfg(test)]
mod tests;
mod walk;

use crate::answer::{Because, Call, CapabilityName, Decided, Decision, Facts, LayerKind};
use crate::decide::{self, decide_effect};
use crate::glob::Glob;
use crate::point::at_point;
use crate::rule::Rule;
use crate::set::{Layer, Set};
use crate::test::Test;
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use defect::{Defect, has};
use diagram::Diagram;
use dimension::{Dimension, Subject, TooManyOf};
use std::collections::{BTreeMap, BTreeSet};

/// A set, ready to decide.
#[derive(Debug)]
pub struct Compiled {
    set: Set,
    kinds: BTreeMap<Kind, OfKind>,
    /// The answer to a kind of which no rule speaks.
    unspoken: Decided,
}

/// Why a set is not compiled: deciding it exactly would take more than the bounds allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many combinations of what rules ask of {subject} of `{kind}` effects, above all: {}; write \
     fewer patterns with `**` in their middle, or name what they have in common",
    rules.join(", ")
)]
pub struct TooManyStates {
    /// The kind of effect.
    pub kind: Kind,
    /// What the rules ask about.
    pub subject: String,
    /// Some of the rules, as `layer/name`.
    pub rules: Vec<String>,
}

/// Most rules that [`TooManyStates`] names.
const NAMED_MAX: usize = 8;

/// A rule by its place in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    layer: usize,
    rule: usize,
}

/// The rules that speak of one kind of effect.
#[derive(Debug)]
struct OfKind {
    /// In the order of the set.
    rules: Vec<At>,
    /// What they ask about; a path last.
    dimensions: Vec<Dimension>,
    diagram: Diagram,
    /// What each last state answers while nothing is exhausted.
    answers: Vec<Leaf>,
}

/// What a state of the diagram answers.
#[derive(Debug)]
struct Leaf {
    decided: Decided,
    /// The rules that gave that answer, by their numbers; and whether it is also what no rule spoke of.
    speaking: Vec<u32>,
    is_otherwise: bool,
    /// Whether one of its rules has a limit, which may be exhausted.
    is_limited: bool,
}

impl Compiled {
    /// Compiles a set.
    ///
    /// # Errors
    /// [`TooManyStates`] beyond the bounds; never an engine that would answer otherwise.
    pub fn new(set: Set) -> Result<Self, TooManyStates> {
        let layers: Vec<&Layer> = set.layers().collect();
        let spoken = layers.iter().flat_map(|layer| &layer.rules).flat_map(|rule| &rule.effects);
        let spoken: BTreeSet<Kind> = spoken.map(|kind| kind.0).collect();
        let of_kind = |kind| OfKind::new(&layers, kind).map(|of| (kind, of));
        let kinds = spoken.into_iter().map(of_kind).collect::<Result<_, TooManyStates>>()?;
        let unspoken = answer(&layers, std::iter::empty(), &Facts::default());
        Ok(Self { kinds, unspoken, set })
    }

    /// The set.
    #[must_use]
    pub const fn set(&self) -> &Set {
        &self.set
    }

    /// Decides a call.
    #[must_use]
    pub fn decide(&self, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Decision {
        decide::over(effects, |effect| {
            // what no rule was compiled for, or is not of its field's type, the specification decides
            self.decide_effect(call, effect, facts)
                .unwrap_or_else(|| decide_effect(&self.set, call, effect, facts))
        })
    }

    fn decide_effect(&self, call: &Call<'_>, effect: &Effect, facts: &Facts) -> Option<Decided> {
        match (effect.form, effect.get(Field::Path), self.kinds.get(&effect.kind)) {
            (Form::Region, Some(Value::Path(root)), Some(of_kind)) => {
                self.decide_region(of_kind, call, effect, root, facts)
            }
            (Form::Region, ..) => None,
            (_, _, None) => Some(self.unspoken.clone()),
            (_, _, Some(of_kind)) => {
                let last = of_kind.walk(call, effect, of_kind.dimensions.len())?;
                self.at(of_kind, last, facts)
            }
        }
    }

    /// The most restrictive answer over every path of a region.
    fn decide_region(
        &self,
        of_kind: &OfKind,
        call: &Call<'_>,
        effect: &Effect,
        root: &CanonicalPath,
        facts: &Facts,
    ) -> Option<Decided> {
        let paths = of_kind.dimensions.len().checked_sub(1)?;
        let dimension = of_kind.dimensions.get(paths)?;
        if dimension.subject != Subject::Field(Field::Path) {
            let last = of_kind.walk(call, effect, of_kind.dimensions.len())?;
            return self.at(of_kind, last, facts);
        }
        let before = of_kind.walk(call, effect, paths)?;
        let classes = walk::classes(dimension, root)?;
        let last = classes.iter().map(|class| of_kind.diagram.step(paths, before, *class));
        let last: BTreeSet<u32> = last.collect::<Option<_>>()?;
        let leaf = |last: &u32| of_kind.answers.get(usize::try_from(*last).ok()?);
        let leaves: Vec<&Leaf> = last.iter().map(leaf).collect::<Option<_>>()?;
        if !facts.exhausted.is_empty() && leaves.iter().any(|leaf| leaf.is_limited) {
            let each = last.iter().map(|last| self.at(of_kind, *last, facts));
            return each.reduce(|worst, found| crate::region::worse(worst?, found?).into())?;
        }
        let answer = leaves.iter().map(|leaf| leaf.decided.answer).max()?;
        let worst = leaves.iter().filter(|leaf| leaf.decided.answer == answer);
        let speaking: BTreeSet<u32> =
            worst.clone().flat_map(|leaf| &leaf.speaking).copied().collect();
        let layers: Vec<&Layer> = self.set.layers().collect();
        let speaking: Vec<u32> = speaking.into_iter().collect();
        let rules = live(&speaking, &of_kind.rules).filter_map(|at| because(&layers, at));
        let otherwise = worst.clone().any(|leaf| leaf.is_otherwise).then_some(Because::Otherwise);
        Some(Decided { answer, because: rules.chain(otherwise).collect() })
    }

    /// What a last state answers.
    fn at(&self, of: &OfKind, last: u32, facts: &Facts) -> Option<Decided> {
        let last = usize::try_from(last).ok()?;
        let leaf = of.answers.get(last)?;
        if !leaf.is_limited || facts.exhausted.is_empty() || has(Defect::Exhausted) {
            return Some(leaf.decided.clone());
        }
        let layers: Vec<&Layer> = self.set.layers().collect();
        Some(answer(&layers, live(of.diagram.last.get(last)?, &of.rules), facts))
    }
}

/// The rules behind their numbers.
fn live<'a>(numbers: &'a [u32], rules: &'a [At]) -> impl Iterator<Item = At> + 'a {
    numbers.iter().filter_map(|number| rules.get(usize::try_from(*number).ok()?)).copied()
}

/// That a rule spoke.
fn because(layers: &[&Layer], at: At) -> Option<Because> {
    let layer = layers.get(at.layer)?;
    let rule = layer.rules.get(at.rule)?;
    let (name, reason) = (rule.name.clone(), rule.reason.clone());
    Some(Because::Rule { layer: layer.kind.clone(), name, reason, exhausted: false })
}

/// What these rules answer together, each in its layer.
fn answer(layers: &[&Layer], rules: impl Iterator<Item = At>, facts: &Facts) -> Decided {
    let mut speaking: Vec<(&Layer, Vec<&Rule>)> =
        layers.iter().map(|layer| (*layer, Vec::new())).collect();
    for At { layer, rule } in rules {
        if let Some((layer, live)) = speaking.get_mut(layer) {
            live.extend(layer.rules.get(rule));
        }
    }
    at_point(&speaking, facts, |_| true)
}

impl OfKind {
    fn new(layers: &[&Layer], kind: Kind) -> Result<Self, TooManyStates> {
        let mut rules = Vec::new();
        for (layer, of) in layers.iter().enumerate() {
            let speaks = |rule: &Rule| rule.effects.iter().any(|of| of.0 == kind);
            let its = of.rules.iter().enumerate().filter(|(_, rule)| speaks(rule));
            rules.extend(its.map(|(rule, _)| At { layer, rule }));
        }
        let too_many = |subject: Subject, numbers: &[u32]| {
            let at = |number: &u32| rules.get(usize::try_from(*number).ok()?);
            let name = |at: &At| {
                let layer = layers.get(at.layer)?;
                Some(format!("{}/{}", layer.kind, layer.rules.get(at.rule)?.name))
            };
            let rules = numbers.iter().filter_map(at).filter_map(name).take(NAMED_MAX).collect();
            TooManyStates { kind, subject: subject.to_string(), rules }
        };
        let dimensions = dimensions(layers, &rules)
            .map_err(|TooManyOf(subject, rules)| too_many(subject, &rules))?;
        let count = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let last = dimensions.last().map_or(Subject::Agent, |dimension| dimension.subject);
        let diagram = Diagram::new(count, &dimensions)
            .map_err(|diagram::TooMany(rules)| too_many(last, &rules))?;
        let leaf = |numbers: &Vec<u32>| {
            let limited = |at: At| Some(layers.get(at.layer)?.rules.get(at.rule)?.limits.is_some());
            let is_limited = live(numbers, &rules).any(|at| limited(at).unwrap_or(true));
            let decided = answer(layers, live(numbers, &rules), &Facts::default());
            let gave = |number: &u32| {
                let at = rules.get(usize::try_from(*number).ok()?)?;
                Some(layers.get(at.layer)?.rules.get(at.rule)?.decision == decided.answer)
            };
            let speaking = numbers.iter().filter(|number| gave(number).unwrap_or(true));
            let speaking = speaking.copied().collect();
            let is_otherwise = decided.because.contains(&Because::Otherwise);
            Leaf { decided, speaking, is_otherwise, is_limited }
        };
        let answers = diagram.last.iter().map(leaf).collect();
        Ok(Self { rules, dimensions, diagram, answers })
    }

    /// The state behind the first so many dimensions.
    fn walk(&self, call: &Call<'_>, effect: &Effect, count: usize) -> Option<u32> {
        let mut state = diagram::START;
        for (number, dimension) in self.dimensions.iter().take(count).enumerate() {
            state = self.diagram.step(number, state, dimension.class(call, effect)?)?;
        }
        Some(state)
    }
}

/// What these rules ask about: the capability, the agent, then each field, a path last.
fn dimensions(layers: &[&Layer], rules: &[At]) -> Result<Vec<Dimension>, TooManyOf> {
    let mut capabilities: Vec<(u32, &[CapabilityName])> = Vec::new();
    let mut agents: Vec<(u32, Test)> = Vec::new();
    let mut fields: BTreeMap<Field, Vec<(u32, &Test)>> = BTreeMap::new();
    for (number, at) in (0..).zip(rules) {
        let Some(layer) = layers.get(at.layer) else { continue };
        let Some(rule) = layer.rules.get(at.rule) else { continue };
        capabilities.extend(rule.capabilities.as_ref().map(|names| (number, names.as_slice())));
        agents.extend(of_agent(layer, rule).map(|test| (number, test)));
        for (field, test) in &rule.conditions.0 {
            fields.entry(*field).or_default().push((number, test));
        }
    }
    let mut dimensions = Vec::new();
    if !capabilities.is_empty() {
        dimensions.push(Dimension::of_capabilities(&capabilities));
    }
    if !agents.is_empty() {
        let agents: Vec<(u32, &Test)> = agents.iter().map(|(rule, test)| (*rule, test)).collect();
        dimensions.push(Dimension::of_text(Subject::Agent, &agents)?);
    }
    let path = fields.remove(&Field::Path);
    for (field, tests) in fields {
        dimensions.push(Dimension::of_field(field, &tests)?);
    }
    if let Some(tests) = path {
        dimensions.push(Dimension::of_field(Field::Path, &tests)?);
    }
    Ok(dimensions)
}

/// What a rule asks of the agent's name: nothing if it is for any, in a layer for all.
fn of_agent(layer: &Layer, rule: &Rule) -> Option<Test> {
    let any = rule.agents.iter().any(|pattern| pattern.glob().as_str() == "any");
    let named = (!any)
        .then(|| Test::OneOf(rule.agents.iter().map(|pattern| pattern.glob().clone()).collect()));
    let of_layer = match &layer.kind {
        LayerKind::Agent(name) if !has(Defect::LayerOfAgent) => {
            Some(Test::OneOf(vec![Glob::exactly(name)]))
        }
        LayerKind::Box | LayerKind::System | LayerKind::Organisation(_) | LayerKind::Agent(_) => {
            None
        }
    };
    match (named, of_layer) {
        (Some(named), Some(of_layer)) => Some(Test::All(vec![named, of_layer])),
        (one, other) => one.or(other),
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Capability => f.write_str("the capability"),
            Self::Agent => f.write_str("the agent"),
            Self::Field(field) => write!(f, "`{field}`"),
        }
    }
}
