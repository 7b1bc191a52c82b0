//! The plain interpreter: every rule of every layer is asked about every effect, and the most
//! restrictive answer counts. It is the specification of any engine that is faster.

use crate::parse::{Layer, LayerKind, Set};
use crate::region;
use crate::rule::Rule;
use contract::effect::{Effect, Field, Form, Kind, Value};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What a policy answers, from the mildest to the most restrictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It happens.
    Autonomous,
    /// It happens, and a person is told.
    Notify,
    /// It happens if a person says yes.
    Approval,
    /// It does not happen.
    Blocked,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Autonomous => "autonomous",
            Self::Notify => "notify",
            Self::Approval => "approval",
            Self::Blocked => "blocked",
        })
    }
}

/// A capability in a rule: `name` means all versions, `name@1` one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityName {
    name: String,
    version: Option<u32>,
}

impl CapabilityName {
    /// Reads `category.verb` or `category.verb@version`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version.parse().ok()?)),
            None => (text, None),
        };
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let (category, verb) = name.split_once('.')?;
        (word(category) && word(verb)).then(|| Self { name: name.to_owned(), version })
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        self.name == call.capability && self.version.is_none_or(|version| version == call.version)
    }
}

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| {
            Error::custom(format!("`{text}`: expected category.verb or category.verb@version"))
        })
    }
}

/// Who calls what; of a call only this is readable by rules.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The capability's name, without its version.
    pub capability: &'a str,
    /// Its version.
    pub version: u32,
}

/// What is true outside the call when it is decided, recorded with the decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Rules whose limit is used up, as the layer and the rule's name.
    pub exhausted: BTreeSet<(LayerKind, String)>,
}

/// Why an effect got its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// A rule spoke.
    Rule {
        /// Of which layer.
        layer: LayerKind,
        /// Its name.
        name: String,
        /// What it is for, if its author said so.
        reason: Option<String>,
        /// Its limit is used up, and this is what it answers then.
        exhausted: bool,
    },
    /// No rule of the granting layer speaks of this effect.
    Otherwise,
    /// The call has no effect at all.
    NoEffect,
    /// The decision would need more work than its bound allows.
    CouldNotDecide,
}

/// The answer to one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The answer.
    pub answer: Answer,
    /// What spoke for it: everything that gave this answer.
    pub because: Vec<Because>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The most restrictive answer over all effects.
    pub answer: Answer,
    /// The answer to each effect, in the call's order.
    pub effects: Vec<Decided>,
}

/// Decides a call.
#[must_use]
pub fn decide(set: &Set, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Decision {
    let mut decided: Vec<Decided> =
        effects.iter().map(|effect| decide_effect(set, call, effect, facts)).collect();
    let together = effects.iter().any(|e| e.kind == Kind::Code)
        && effects.iter().any(|e| e.kind == Kind::Secret);
    if decided.is_empty() {
        decided.push(Decided { answer: Answer::Blocked, because: vec![Because::NoEffect] });
    } else if together {
        // code never comes together with a secret, whatever rules say
        decided.push(Decided { answer: Answer::Blocked, because: vec![Because::CouldNotDecide] });
    }
    let answer = decided.iter().map(|one| one.answer).max().unwrap_or(Answer::Blocked);
    Decision { answer, effects: decided }
}

fn decide_effect(set: &Set, call: &Call<'_>, effect: &Effect, facts: &Facts) -> Decided {
    let speaking: Vec<(&Layer, Vec<&Rule>)> = set
        .layers_for(call.agent)
        .map(|layer| (layer, layer.rules.iter().filter(|r| speaks(r, call, effect)).collect()))
        .collect();
    match (effect.form, effect.get(Field::Path)) {
        (Form::Region, Some(Value::Path(root))) => region::worst(root, &speaking, effect, facts)
            .unwrap_or_else(|| Decided {
                answer: Answer::Blocked,
                because: vec![Because::CouldNotDecide],
            }),
        (Form::Region, _) => {
            Decided { answer: Answer::Blocked, because: vec![Because::CouldNotDecide] }
        }
        _ => at_point(&speaking, facts, |rule| {
            rule.conditions
                .0
                .iter()
                .all(|(field, test)| effect.get(*field).is_some_and(|value| test.holds(value)))
        }),
    }
}

/// Whether a rule speaks of the effect at all, its conditions on fields apart.
fn speaks(rule: &Rule, call: &Call<'_>, effect: &Effect) -> bool {
    rule.effects.iter().any(|kind| kind.0 == effect.kind)
        && rule.agents.iter().any(|agent| agent.matches(call.agent))
        && rule.capabilities.as_ref().is_none_or(|list| list.iter().any(|c| c.matches(call)))
}

/// The answer where `holds` says which rules' conditions hold.
pub(crate) fn at_point(
    speaking: &[(&Layer, Vec<&Rule>)],
    facts: &Facts,
    holds: impl Fn(&Rule) -> bool,
) -> Decided {
    let mut worst = Decided { answer: Answer::Autonomous, because: Vec::new() };
    let mut add = |answer: Answer, because: Because| {
        if answer > worst.answer {
            worst = Decided { answer, because: vec![because] };
        } else if answer == worst.answer {
            worst.because.push(because);
        }
    };
    for (layer, rules) in speaking {
        let mut matched = false;
        for rule in rules.iter().filter(|rule| holds(rule)) {
            matched = true;
            let key = (layer.kind.clone(), rule.name.clone());
            let exhausted = rule.limits.is_some() && facts.exhausted.contains(&key);
            let over = || rule.limits.as_ref().and_then(|l| l.over).unwrap_or(Answer::Blocked);
            let answer = if exhausted { over() } else { rule.decision };
            let (name, reason) = (rule.name.clone(), rule.reason.clone());
            add(answer, Because::Rule { layer: layer.kind.clone(), name, reason, exhausted });
        }
        if let Some(otherwise) = layer.otherwise.filter(|_| !matched) {
            add(otherwise, Because::Otherwise);
        }
    }
    worst
}
