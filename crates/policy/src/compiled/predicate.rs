//! What rules ask, whatever they answer: from it the dimensions and the diagram of one kind are made, for
//! deciding and for questions alike.

use super::TooManyStates;
use super::defect::{Defect, has};
use super::diagram::{self, Diagram};
use super::dimension::{Dimension, Subject, TooManyOf};
use crate::answer::{CapabilityName, LayerKind};
use crate::glob::Glob;
use crate::rule::{AgentPattern, Rule};
use crate::set::Layer;
use crate::test::Test;
use contract::effect::{Field, Kind};
use std::collections::BTreeMap;

/// Most rules that [`TooManyStates`] names.
const NAMED_MAX: usize = 8;

/// What a rule asks of a call and its effect, its kinds apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Predicate<'a> {
    pub(crate) agent: Option<Test>,
    pub(crate) capabilities: Option<&'a [CapabilityName]>,
    pub(crate) conditions: &'a [(Field, Test)],
}

impl<'a> Predicate<'a> {
    /// Of a rule in its layer.
    pub(crate) fn of_rule(layer: &Layer, rule: &'a Rule) -> Self {
        Self {
            agent: of_agent(&layer.kind, &rule.agents),
            capabilities: rule.capabilities.as_deref(),
            conditions: &rule.conditions.0,
        }
    }
}

/// What is asked of the agent's name: nothing if it is any, in a layer for all.
pub(crate) fn of_agent(layer: &LayerKind, agents: &[AgentPattern]) -> Option<Test> {
    let any = agents.iter().any(|pattern| pattern.glob().as_str() == "any");
    let named =
        (!any).then(|| Test::OneOf(agents.iter().map(|pattern| pattern.glob().clone()).collect()));
    let of_layer = match layer {
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

/// What they ask about and the diagram over it.
pub(crate) fn compile(
    predicates: &[Predicate<'_>],
) -> Result<(Vec<Dimension>, Diagram), TooManyOf> {
    let dimensions = dimensions(predicates)?;
    let count = u32::try_from(predicates.len()).unwrap_or(u32::MAX);
    let last = dimensions.last().map_or(Subject::Agent, |dimension| dimension.subject);
    let diagram = Diagram::new(count, &dimensions)
        .map_err(|diagram::TooMany(rules)| TooManyOf(last, rules))?;
    Ok((dimensions, diagram))
}

/// What they ask about: the capability, the agent, then each field, a path last.
fn dimensions(predicates: &[Predicate<'_>]) -> Result<Vec<Dimension>, TooManyOf> {
    let mut capabilities: Vec<(u32, &[CapabilityName])> = Vec::new();
    let mut agents: Vec<(u32, &Test)> = Vec::new();
    let mut fields: BTreeMap<Field, Vec<(u32, &Test)>> = BTreeMap::new();
    for (number, predicate) in (0..).zip(predicates) {
        capabilities.extend(predicate.capabilities.map(|names| (number, names)));
        agents.extend(predicate.agent.as_ref().map(|test| (number, test)));
        for (field, test) in predicate.conditions {
            fields.entry(*field).or_default().push((number, test));
        }
    }
    let mut dimensions = Vec::new();
    if !capabilities.is_empty() {
        dimensions.push(Dimension::of_capabilities(&capabilities));
    }
    if !agents.is_empty() {
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

impl TooManyOf {
    /// With the names of its rules.
    pub(crate) fn named(&self, kind: Kind, name: impl Fn(u32) -> Option<String>) -> TooManyStates {
        let Self(subject, numbers) = self;
        let rules = numbers.iter().filter_map(|number| name(*number)).take(NAMED_MAX).collect();
        TooManyStates { kind, subject: subject.to_string(), rules }
    }
}
