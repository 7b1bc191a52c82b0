//! The engine that decides in one pass over a call, however many rules there are: for each kind of effect the
//! rules that speak of it, the classes of everything that they ask about, and a diagram over these. The
//! plain interpreter ([`crate::decide()`]) is its specification: both give the same answers for the same
//! reasons, in whatever order.

pub(crate) mod automaton;
mod beneath;
pub(crate) mod classes;
mod defect;
pub(crate) mod diagram;
pub(crate) mod dimension;
pub(crate) mod formula;
pub(crate) mod predicate;
mod regions;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod walk;

use crate::answer::{Because, Call, Decided, Decision, Facts};
use crate::decide::{self, decide_effect};
use crate::point::at_point;
use crate::residual::Residual;
use crate::rule::Rule;
use crate::set::{Layer, Set};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use defect::{Defect, has};
use diagram::Diagram;
use dimension::{Dimension, Subject};
use predicate::Predicate;
use regions::{Regions, Worst};
use std::collections::{BTreeMap, BTreeSet};

/// A set, ready to decide.
#[derive(Debug)]
pub struct Compiled {
    set: Set,
    kinds: BTreeMap<Kind, OfKind>,
    /// The answer to a kind of which no rule speaks.
    unspoken: Decided,
    /// What it says of addresses to which names may lead.
    pub(crate) residual: Residual,
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
    /// What regions answer, where that is made ahead.
    regions: Option<Regions>,
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
        let residual = Residual::of(&set);
        Ok(Self { kinds, unspoken, residual, set })
    }

    /// The set.
    #[must_use]
    pub const fn set(&self) -> &Set {
        &self.set
    }

    /// Decides a call.
    #[must_use]
    pub fn decide(&self, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Decision {
        decide::over(effects, |effect| self.decide_one(call, effect, facts))
    }

    /// Decides one effect of a call.
    pub(crate) fn decide_one(&self, call: &Call<'_>, effect: &Effect, facts: &Facts) -> Decided {
        // what no rule was compiled for, or is not of its field's type, the specification decides
        self.decide_effect(call, effect, facts)
            .unwrap_or_else(|| decide_effect(&self.set, call, effect, facts))
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
        if let Some(regions) = &of_kind.regions {
            return self.worst(of_kind, regions.answer(dimension, before, root)?, facts);
        }
        let classes = walk::classes(dimension, root)?;
        let last = regions::last(&of_kind.diagram, paths, before, classes)?;
        self.worst(of_kind, &Worst::of(last, &of_kind.answers)?, facts)
    }

    /// What last states answer together.
    fn worst(&self, of_kind: &OfKind, worst: &Worst, facts: &Facts) -> Option<Decided> {
        if !facts.exhausted.is_empty() && worst.is_limited {
            let each = worst.last.iter().map(|last| self.at(of_kind, *last, facts));
            return each.reduce(|worst, found| crate::region::worse(worst?, found?).into())?;
        }
        let layers: Vec<&Layer> = self.set.layers().collect();
        let speaking = worst.speaking.iter().filter_map(|number| of_kind.rule(*number));
        let rules = speaking.filter_map(|at| because(&layers, at));
        let otherwise = worst.is_otherwise.then_some(Because::Otherwise);
        Some(Decided { answer: worst.answer, because: rules.chain(otherwise).collect() })
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
        let rule =
            |at: &At| Some((*layers.get(at.layer)?, layers.get(at.layer)?.rules.get(at.rule)?));
        let predicates: Vec<Predicate<'_>> = rules
            .iter()
            .filter_map(rule)
            .map(|(layer, rule)| Predicate::of_rule(layer, rule))
            .collect();
        let (dimensions, diagram) = predicate::compile(&predicates).map_err(|too_many| {
            let at = |number: &u32| rules.get(usize::try_from(*number).ok()?);
            let name = |(layer, rule): (&Layer, &Rule)| format!("{}/{}", layer.kind, rule.name);
            too_many.named(kind, |number| at(&number).and_then(rule).map(name))
        })?;
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
        let answers: Vec<Leaf> = diagram.last.iter().map(leaf).collect();
        let regions = Regions::new(&dimensions, &diagram, &answers);
        Ok(Self { rules, dimensions, diagram, answers, regions })
    }

    /// The rule behind its number.
    fn rule(&self, number: u32) -> Option<At> {
        self.rules.get(usize::try_from(number).ok()?).copied()
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

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Capability => f.write_str("the capability"),
            Self::Agent => f.write_str("the agent"),
            Self::Field(field) => write!(f, "`{field}`"),
        }
    }
}
