//! For operators: the rules that nearly spoke about a call, and the smallest changes under which it would get
//! another answer. Never for who asked: an agent that is told how to get through gets through (DESIGN 6). No
//! process of a box calls this.
//!
//! A rule nearly speaks of an effect if of its agents, its capabilities and the lines of its `where` exactly one does
//! not fit. A region is asked about by the path within it that got the answer.
//!
//! Changes are looked for among the values that rules name and those beside them, and, of rules, by taking in or
//! leaving out exactly what was asked about; the plain interpreter confirms each before it is given back.

mod call;
mod region;
mod rule;
#[cfg(test)]
mod tests;

use crate::answer::{Answer, Call, Decision, Facts, LayerKind};
use crate::decide::decide;
use crate::question::written;
use crate::rule::Rule;
use crate::set::{Layer, Set};
use contract::effect::{Effect, Field, Value, visible};
use std::fmt;

/// What of a call or of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A field of the effect.
    Field(Field),
    /// The calling agent.
    Agent,
    /// What it calls.
    Capability,
    /// What the rule answers.
    Decision,
}

/// A rule that would have spoken, but for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// Of which effect of the call, from 0.
    pub effect: usize,
    /// Of which layer.
    pub layer: LayerKind,
    /// The rule's name.
    pub rule: String,
    /// What it answers.
    pub decision: Answer,
    /// What did not fit.
    pub what: What,
    /// What it is; nothing where the effect lacks the field.
    pub is: Option<String>,
    /// What the rule wants, as it writes it.
    pub wants: String,
}

/// A change of one thing under which an effect, and perhaps the call, gets another answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which effect of the call, from 0.
    pub effect: usize,
    /// The rule that is changed, by its layer and name; nothing where the call is.
    pub rule: Option<(LayerKind, String)>,
    /// What of it.
    pub what: What,
    /// What it is now.
    pub from: String,
    /// What it would be.
    pub to: String,
    /// What the effect would get.
    pub effect_answer: Answer,
    /// What the whole call would.
    pub call_answer: Answer,
    /// How large it is: the kind of change, then how far it goes.
    size: (u64, u64),
}

/// A call that is asked about.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    set: &'a Set,
    call: &'a Call<'a>,
    effects: &'a [Effect],
    facts: &'a Facts,
}

/// The rules that nearly spoke about a call's effects.
#[must_use]
pub fn near(set: &Set, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Vec<Near> {
    let asked = Asked { set, call, effects, facts };
    let mut found = Vec::new();
    for (number, effect) in effects.iter().enumerate() {
        let Some(point) = region::point(&asked, effect) else { continue };
        for (layer, rule, what) in asked.near(&point) {
            let (is, wants) = (is(call, &point, what), wants(rule, what));
            let (layer, name) = (layer.kind.clone(), rule.name.clone());
            let decision = rule.decision;
            found.push(Near { effect: number, layer, rule: name, decision, what, is, wants });
        }
    }
    found
}

/// For each other answer that one change gives an effect: the smallest of the call and the smallest of a rule.
#[must_use]
pub fn changes(set: &Set, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Vec<Change> {
    let asked = Asked { set, call, effects, facts };
    let now = decide(set, call, effects, facts);
    let mut found: Vec<Change> = Vec::new();
    for number in 0..effects.len() {
        found.extend(call::changes(&asked, &now, number));
        found.extend(rule::changes(&asked, &now, number));
    }
    found.sort_by_key(|change| {
        (change.effect, change.effect_answer, change.rule.is_some(), change.size)
    });
    found.dedup_by_key(|change| (change.effect, change.effect_answer, change.rule.is_some()));
    found
}

impl<'a> Asked<'a> {
    /// The rules that nearly speak of an exact effect, each with what does not fit.
    fn near(&self, effect: &Effect) -> Vec<(&'a Layer, &'a Rule, What)> {
        let rules = self.rules(effect).into_iter();
        rules
            .filter_map(|(layer, rule)| match misfits(rule, self.call, effect).as_slice() {
                [one] => Some((layer, rule, *one)),
                _ => None,
            })
            .collect()
    }

    /// The rules that speak of this kind of effect and of this agent's layers.
    fn rules(&self, effect: &Effect) -> Vec<(&'a Layer, &'a Rule)> {
        let (set, agent) = (self.set, self.call.agent);
        let rules = |layer: &'a Layer| layer.rules.iter().map(move |rule| (layer, rule));
        let of_kind = |rule: &Rule| rule.effects.iter().any(|kind| kind.0 == effect.kind);
        set.layers_for(agent).flat_map(rules).filter(|(_, rule)| of_kind(rule)).collect()
    }

    /// The change, if the interpreter confirms that the effect gets another answer.
    fn confirmed(&self, now: &Decision, then: &Decision, change: Change) -> Option<Change> {
        let of = |decision: &Decision| decision.effects.get(change.effect).map(|one| one.answer);
        let effect_answer = of(then).filter(|answer| Some(*answer) != of(now))?;
        Some(Change { effect_answer, call_answer: then.answer, ..change })
    }
}

/// What of a rule does not fit.
fn misfits(rule: &Rule, call: &Call<'_>, effect: &Effect) -> Vec<What> {
    let fields = rule.conditions.0.iter().filter_map(|(field, test)| {
        let holds = effect.get(*field).is_some_and(|value| test.holds(value));
        (!holds).then_some(What::Field(*field))
    });
    let agent = rule.agents.iter().any(|agent| agent.matches(call.agent));
    let capabilities = rule.capabilities.as_ref();
    let capability = capabilities.is_none_or(|list| list.iter().any(|one| one.matches(call)));
    let agent = (!agent).then_some(What::Agent);
    fields.chain(agent).chain((!capability).then_some(What::Capability)).collect()
}

/// What something of a call is, as people are shown it.
fn is(call: &Call<'_>, effect: &Effect, what: What) -> Option<String> {
    match what {
        What::Field(field) => effect.get(field).map(|value| shown(field, value)),
        What::Agent => Some(visible(call.agent)),
        What::Capability => Some(format!("{}@{}", call.capability, call.version)),
        What::Decision => None,
    }
}

fn shown(field: Field, value: &Value) -> String {
    match value {
        Value::Path(path) => visible(path.as_str()),
        Value::Text(text) => visible(text),
        Value::Number(number) => crate::question::number(field, *number),
        Value::List(words) => visible(&words.join(" ")),
    }
}

/// What a rule wants of something, as it writes it.
fn wants(rule: &Rule, what: What) -> String {
    let list = |words: Vec<String>| match words.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    match what {
        What::Field(field) => {
            let test = rule.conditions.0.iter().find(|(of, _)| *of == field);
            test.map_or_else(String::new, |(_, test)| written(test, field))
        }
        What::Agent => {
            list(rule.agents.iter().map(|agent| visible(agent.glob().as_str())).collect())
        }
        What::Capability => {
            let all = rule.capabilities.iter().flatten();
            list(all.map(ToString::to_string).collect())
        }
        What::Decision => rule.decision.to_string(),
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(f, "{field}"),
            Self::Agent => f.write_str("agent"),
            Self::Capability => f.write_str("capability"),
            Self::Decision => f.write_str("decision"),
        }
    }
}

/// How many bytes must be put in, taken out or replaced to make one text of another (Levenshtein).
fn distance(a: &str, b: &str) -> u64 {
    u64::try_from(crate::text::distance(a, b)).unwrap_or(u64::MAX)
}
