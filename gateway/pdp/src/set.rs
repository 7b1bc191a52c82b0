//! The policy in force, and the one that decides operators' own acts.

use ledger::Digest;
use policy::{Answer, Compiled, Layer, LayerKind, ParseError, Set, SetError, TooManyStates};

/// The limits of the verified image, and the policy that it offers at the first boot.
const SYSTEM: &str = "/usr/lib/kruxos/policies/system.yaml";
const PERSONAL: &str = "/usr/lib/kruxos/policies/personal.yaml";

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("{0}: {1}")]
    File(&'static str, std::io::Error),
    #[error("{0}")]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Set(#[from] SetError),
    #[error("{0}")]
    TooMany(#[from] TooManyStates),
}

/// A set, its text and the text's digest.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) set: Compiled,
    pub(crate) text: String,
    pub(crate) digest: Digest,
}

/// What the verified image says: the limits above every set, and the text to begin with.
#[derive(Debug)]
pub(crate) struct Shipped {
    system: Layer,
    personal: String,
    /// The system's limits alone: for operators' own acts and for the principal `boot`.
    pub(crate) operators: Compiled,
}

impl Shipped {
    /// Reads both.
    pub(crate) fn read() -> Result<Self, NotTaken> {
        let text =
            |path| std::fs::read_to_string(path).map_err(|error| NotTaken::File(path, error));
        let system = policy::parse(&text(SYSTEM)?)?;
        let otherwise = Some(Answer::Autonomous);
        let granting = Layer { kind: LayerKind::Box, version: 1, otherwise, rules: Vec::new() };
        let operators = Compiled::new(Set::new(granting, vec![system.clone()])?)?;
        Ok(Self { system, personal: text(PERSONAL)?, operators })
    }

    /// The set that a box begins with.
    pub(crate) fn first(&self) -> Result<Applied, NotTaken> {
        self.apply(&self.personal)
    }

    /// The set with `text` as its granting layer.
    pub(crate) fn apply(&self, text: &str) -> Result<Applied, NotTaken> {
        let set = Compiled::new(Set::new(policy::parse(text)?, vec![self.system.clone()])?)?;
        Ok(Applied { set, text: text.to_owned(), digest: Digest::of(text.as_bytes()) })
    }
}
