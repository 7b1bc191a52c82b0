//! The words of a decision: who asks, what is answered, why.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Which layer a text is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// The box's own, the only one that grants.
    Box,
    /// Of the verified image.
    System,
    /// Of an organisation.
    Organisation(String),
    /// Of one agent.
    Agent(String),
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Box => f.write_str("box"),
            Self::System => f.write_str("system"),
            Self::Organisation(name) => write!(f, "organisation/{name}"),
            Self::Agent(name) => write!(f, "agent/{name}"),
        }
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

    /// Without its version.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, if one is meant.
    #[must_use]
    pub const fn version(&self) -> Option<u32> {
        self.version
    }

    pub(crate) fn matches(&self, call: &Call<'_>) -> bool {
        self.name == call.capability && self.version.is_none_or(|version| version == call.version)
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
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
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Facts {
    /// Rules whose limit is used up, closed windows of time included, as the layer and the rule's name.
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

impl Because {
    /// How records of decisions name it: the rule, or a word in brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rule { name, .. } => name,
            Self::Otherwise => "(otherwise)",
            Self::NoEffect => "(no effect)",
            Self::CouldNotDecide => "(could not decide)",
        }
    }
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

impl Decision {
    /// What spoke, as records of decisions name it: each once, sorted, separated by blanks.
    #[must_use]
    pub fn rule_names(&self) -> String {
        let because = self.effects.iter().flat_map(|decided| &decided.because);
        let names: BTreeSet<&str> = because.map(Because::name).collect();
        names.into_iter().collect::<Vec<&str>>().join(" ")
    }
}
