//! What the policy decision point and the audit writer say to each other.

use crate::record::{Digest, Envelope, Kind, SaltedDigest, VERSION};
use contract::bytes::Bytes;
use contract::effect::Effect;
use contract::perform::CallId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the messages below; the first element of every frame.
pub const MESSAGES_VERSION: u16 = 3;

/// A record as pdp wants it: everything but its place, its time and its bodies' digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// What is recorded.
    pub kind: Kind,
    /// The call it belongs to.
    pub call: Option<CallId>,
    /// Digest of the policy's text that was in force.
    pub policy: Option<Digest>,
    /// What else is to be known.
    pub facts: BTreeMap<String, String>,
    /// The call's effects.
    pub effects: Vec<Effect>,
}

impl Draft {
    /// A draft of this kind with these facts.
    #[must_use]
    pub fn new(kind: Kind, facts: &[(&str, &str)]) -> Self {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { kind, call: None, policy: None, facts: facts.collect(), effects: Vec::new() }
    }

    /// The envelope, for [`crate::Chain::append`] to give it its place.
    #[must_use]
    pub fn into_envelope(
        self,
        boot: [u8; 16],
        boot_us: u64,
        wall_us: u64,
        bodies: BTreeMap<String, SaltedDigest>,
    ) -> Envelope {
        let Self { kind, call, policy, facts, effects } = self;
        let (version, sequence, previous) = (VERSION, 0, Digest::NONE);
        Envelope {
            version,
            sequence,
            previous,
            kind,
            boot,
            boot_us,
            wall_us,
            call,
            policy,
            facts,
            effects,
            bodies,
        }
    }
}

/// A performer to release once the record is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its service.
    pub performer: String,
    /// SHA-256 of the spec's frame.
    pub spec: [u8; 32],
    /// The last moment to begin, in milliseconds of boot time.
    pub deadline_ms: u64,
    /// Whether the call changes something or asked a person: then its outcome is durable before
    /// anybody hears of it, and otherwise within a second.
    pub changes: bool,
    /// Whether nobody waits for the answer: then a memory file follows the bodies, into which the
    /// performer writes it, and it is kept with the outcome as the body `result`.
    pub deferred: bool,
    /// SHA-256 of the frame of the vault's spec, for a call that is to be lent secrets: the vault is released
    /// with the performer, and before it.
    pub lends: Option<[u8; 32]>,
}

/// A body that comes with a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Its name in the record.
    pub name: String,
    /// Whether it must be durable with the record, since it will be asked for again.
    pub needed: bool,
}

/// From pdp to audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToWriter {
    /// Record this; its bodies come as sealed files in this order, then the answer of a deferred
    /// call.
    Append {
        /// The record.
        draft: Draft,
        /// Its bodies.
        bodies: Vec<Body>,
        /// Whom to release.
        release: Option<Release>,
        /// Whether the record may use the reserve: operators' and recovery's.
        reserve: bool,
    },
    /// The body at this place ([`place_fact`]) as a sealed file.
    Fetch {
        /// For the answer.
        number: u64,
        /// Where it lies.
        place: String,
    },
    /// Records from this one on that pass the filter, as a sealed file of frames.
    Page {
        /// For the answer.
        number: u64,
        /// The first record.
        from: u64,
        /// Which of them.
        filter: Filter,
    },
}

/// From audit to pdp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromWriter {
    /// This record is durable.
    Appended(Bytes),
    /// The record of this call cannot be kept, so nothing is released.
    NotAppended {
        /// The call, as the draft had it.
        call: Option<CallId>,
        /// Why.
        why: NotAppended,
    },
    /// The body, with a sealed file if it is there.
    Fetched {
        /// Of the question.
        number: u64,
        /// Whether it is there.
        found: bool,
    },
    /// The page, as a sealed file.
    Page {
        /// Of the question.
        number: u64,
        /// The record to go on from.
        next: u64,
        /// Whether there is none yet: every later one is told when it is durable.
        last: bool,
        /// How large the ledger's partition is, in bytes.
        capacity_bytes: u64,
    },
}

/// Why a record is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotAppended {
    /// The ledger is full but for the reserve.
    Full,
    /// The record is longer than a record may be.
    TooLong,
}

/// Which records of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Facts that a record must have.
    pub facts: BTreeMap<String, String>,
    /// The call it must belong to.
    pub call: Option<CallId>,
    /// The kind it must be.
    pub kind: Option<Kind>,
    /// At most so many records; the last ones that fit.
    pub records_max: u64,
    /// Whether the page ends with a signed checkpoint, which asks for every record.
    pub checkpoint: bool,
}

impl Filter {
    /// Every record.
    #[must_use]
    pub fn all() -> Self {
        Self { records_max: u64::MAX, ..Self::default() }
    }

    /// Whether every record passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.call.is_none() && self.kind.is_none() && self.facts.is_empty()
    }

    /// Whether a record passes.
    #[must_use]
    pub fn passes(&self, envelope: &Envelope) -> bool {
        self.call.is_none_or(|call| envelope.call == Some(call))
            && self.kind.is_none_or(|kind| envelope.kind == kind)
            && self.facts.iter().all(|(name, value)| envelope.facts.get(name) == Some(value))
    }
}

/// The name of the fact that says where a body lies.
#[must_use]
pub fn place_fact(body: &str) -> String {
    format!("place.{body}")
}
