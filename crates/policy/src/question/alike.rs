//! What rules do not tell apart: of agents' names and of the values of one field, one of each class. Whoever asks
//! about every combination of these asks about every call.

use super::QuestionError;
use super::inhabited::{Inhabited, Sample};
use super::render;
use crate::answer::LayerKind;
use crate::compiled::dimension::{Dimension, Subject};
use crate::compiled::predicate::Predicate;
use crate::glob::Glob;
use crate::rule::Rule;
use crate::set::{Layer, Set};
use crate::test::Test;
use contract::effect::{Field, Kind, Value};
use std::collections::BTreeSet;

/// Agents that no rule of a set tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentsAlike {
    /// The name of one.
    pub name: String,
    /// Which they are, in the words of rules.
    pub said: String,
    /// Whether it is one that a rule or a layer names, and no other is like it.
    pub is_one: bool,
}

/// Values of a field that no rule of a set tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuesAlike {
    /// One.
    pub value: Value,
    /// Which they are, in the words of rules.
    pub said: String,
}

/// Every class of agents.
///
/// # Errors
/// [`QuestionError`].
pub fn agents_alike(set: &Set) -> Result<Vec<AgentsAlike>, QuestionError> {
    let rules = || set.layers().flat_map(|layer| layer.rules.iter().map(move |rule| (layer, rule)));
    let of_rules: Vec<Predicate<'_>> =
        rules().map(|(layer, rule)| Predicate::of_rule(layer, rule)).collect();
    // one that is named is one alone
    let mut names: BTreeSet<String> = rules()
        .flat_map(|(_, rule)| &rule.agents)
        .map(|agent| agent.glob().as_str().to_owned())
        .filter(|name| name != "any" && !name.contains('*'))
        .collect();
    names.extend(set.layers().filter_map(|layer| match &layer.kind {
        LayerKind::Agent(name) => Some(name.clone()),
        LayerKind::Box | LayerKind::System | LayerKind::Organisation(_) => None,
    }));
    let of_names = names.iter().map(|name| Predicate {
        agent: Some(Test::OneOf(vec![Glob::exactly(name)])),
        capabilities: None,
        conditions: &[],
    });
    let predicates: Vec<Predicate<'_>> = of_rules.into_iter().chain(of_names).collect();
    let tests: Vec<(u32, &Test)> = (0..)
        .zip(&predicates)
        .filter_map(|(number, predicate)| Some((number, predicate.agent.as_ref()?)))
        .collect();
    let dimension = Dimension::of_text(Subject::Agent, &tests)
        .map_err(|too_many| too_many.named(Kind::Observe, |number| name(set, number)))?;
    let inhabited = Inhabited::of(&dimension, None);
    let each = inhabited.classes().iter().filter_map(|class| {
        let Some(Sample::Agent(name)) = inhabited.sample(*class) else { return None };
        let is_one = names.contains(name);
        let said = if is_one {
            name.clone()
        } else {
            said(&dimension, &inhabited, &predicates, *class, "every agent")
        };
        Some(AgentsAlike { name: name.clone(), said, is_one })
    });
    Ok(each.collect())
}

/// Every class of the values that a field of a kind of effect may have; those of which one of `apart` holds, and
/// those of which it does not, are apart too.
///
/// # Errors
/// [`QuestionError`].
pub fn values_alike(
    set: &Set,
    kind: Kind,
    field: Field,
    apart: &[Test],
) -> Result<Vec<ValuesAlike>, QuestionError> {
    let of_kind = |rule: &&Rule| rule.effects.iter().any(|of| of.0 == kind);
    let rules = set.layers().flat_map(|layer: &Layer| &layer.rules).filter(of_kind);
    let tests = rules.flat_map(|rule| &rule.conditions.0);
    let tests: Vec<&Test> = tests.filter(|(of, _)| *of == field).map(|(_, test)| test).collect();
    let conditions: Vec<[(Field, Test); 1]> =
        tests.into_iter().chain(apart).map(|test| [(field, test.clone())]).collect();
    let predicates: Vec<Predicate<'_>> = conditions
        .iter()
        .map(|conditions| Predicate { agent: None, capabilities: None, conditions })
        .collect();
    let numbered: Vec<(u32, &Test)> =
        (0..).zip(&conditions).map(|(number, [(_, test)])| (number, test)).collect();
    let dimension = Dimension::of_field(field, &numbered)
        .map_err(|too_many| too_many.named(kind, |_number| None))?;
    let inhabited = Inhabited::of(&dimension, None);
    let each = inhabited.classes().iter().filter_map(|class| {
        let Some(Sample::Present(value)) = inhabited.sample(*class) else { return None };
        let said = said(&dimension, &inhabited, &predicates, *class, "any");
        Some(ValuesAlike { value: value.clone(), said })
    });
    Ok(each.collect())
}

/// A class in the words of rules.
fn said(
    dimension: &Dimension,
    inhabited: &Inhabited,
    predicates: &[Predicate<'_>],
    class: u32,
    all: &str,
) -> String {
    if inhabited.classes().len() == 1 {
        return all.to_owned();
    }
    render::said(dimension, inhabited, predicates, &BTreeSet::from([class]))
}

/// The name of a rule for an error.
fn name(set: &Set, number: u32) -> Option<String> {
    let rules = set.layers().flat_map(|layer| layer.rules.iter().map(move |rule| (layer, rule)));
    let (layer, rule) = rules.into_iter().nth(usize::try_from(number).ok()?)?;
    Some(layer.rule_name(&rule.name))
}
