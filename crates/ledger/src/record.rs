//! One record. The envelope is final: a field is never taken away or given another meaning, and what
//! a later kind needs goes into its own `facts`.

use contract::cbor::{self, CborError};
use contract::effect::Effect;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Version of the envelope.
pub(crate) const VERSION: u16 = 1;
/// Longest record.
pub(crate) const RECORD_BYTES_MAX: usize = 60_000;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What stands before the first record.
    pub const NONE: Self = Self([0; 32]);

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest of a body behind 16 random bytes, so that a short body cannot be guessed from it once
/// body and salt were erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SaltedDigest(pub [u8; 32]);

impl SaltedDigest {
    /// The digest of `salt` and `body`.
    #[must_use]
    pub fn of(salt: &[u8; 16], body: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(salt).chain_update(body).finalize().into())
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The machine started: versions and digests are facts.
    Boot,
    /// A call was decided, whatever the answer.
    Decision,
    /// A performer began.
    Started,
    /// A call ended.
    Outcome,
    /// A person was asked, answered, or did not answer in time.
    Approval,
    /// A text of policy was put in force.
    Policy,
    /// A secret was used.
    SecretUse,
    /// An operator's signed act.
    Act,
    /// A service was started again.
    Restart,
    /// Wall time moved by more than a second.
    ClockStep,
    /// What was refused before it was a call, counted per source and second.
    Refused,
    /// The ledger was read by an operator.
    Export,
    /// After a crash: what was found, what was closed as unknown.
    Recovery,
}

/// Everything that a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`VERSION`].
    pub version: u16,
    /// Its number, from 0, without a gap.
    pub sequence: u64,
    /// Digest of the record before; [`Digest::NONE`] for the first.
    pub previous: Digest,
    /// What it is about.
    pub kind: Kind,
    /// Which boot of the machine.
    pub boot: [u8; 16],
    /// Microseconds since that boot.
    pub boot_us: u64,
    /// Microseconds since 1970, as far as the machine knew.
    pub wall_us: u64,
    /// The call that it belongs to.
    pub call: Option<[u8; 16]>,
    /// The set of policies that decided.
    pub policy: Option<Digest>,
    /// What was true outside the call, and what the kind needs: names and short texts.
    pub facts: BTreeMap<String, String>,
    /// What the call would do.
    pub effects: Vec<Effect>,
    /// Bodies beside the chain, by name.
    pub bodies: BTreeMap<String, SaltedDigest>,
}

/// An envelope and its one encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    envelope: Envelope,
    bytes: Vec<u8>,
}

/// Why bytes or an envelope are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the one encoding of an envelope.
    #[error("no record: {0}")]
    Form(#[from] CborError),
    /// An envelope of another version.
    #[error("version {0} of the envelope; this program knows {VERSION}")]
    Version(u16),
    /// Too long.
    #[error("a record of {0} bytes, at most {RECORD_BYTES_MAX}")]
    TooLong(usize),
}

impl Record {
    /// Writes an envelope down.
    ///
    /// # Errors
    /// [`RecordError::TooLong`]; nothing is cut to fit.
    pub fn new(envelope: Envelope) -> Result<Self, RecordError> {
        let bytes = cbor::encode(&envelope)?;
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        Ok(Self { envelope, bytes })
    }

    /// Reads one record, which must be in its one encoding.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let envelope: Envelope = cbor::decode(bytes)?;
        if envelope.version != VERSION {
            return Err(RecordError::Version(envelope.version));
        }
        Ok(Self { envelope, bytes: bytes.to_vec() })
    }

    /// What it says.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// How it is written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest that the next record holds.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}
