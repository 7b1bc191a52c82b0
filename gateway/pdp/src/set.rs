//! The policy in force, and the one that decides operators' own acts.

use ledger::Digest;
use policy::{Answer, Layer, LayerKind, ParseError, Set, SetError};

/// The limits of the verified image.
const SYSTEM: &str = include_str!("../../../policies/system.yaml");
/// What the image offers at the first boot.
pub(crate) const PERSONAL: &str = include_str!("../../../policies/personal.yaml");

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("{0}")]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Set(#[from] SetError),
}

/// A set, its text and the text's digest.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) set: Set,
    pub(crate) text: String,
    pub(crate) digest: Digest,
}

/// The set of this box with `text` as its granting layer.
pub(crate) fn apply(text: &str) -> Result<Applied, NotTaken> {
    let set = Set::new(policy::parse(text)?, vec![policy::parse(SYSTEM)?])?;
    Ok(Applied { set, text: text.to_owned(), digest: Digest::of(text.as_bytes()) })
}

/// The set for operators' own acts and for the principal `boot`: the system's limits alone.
pub(crate) fn of_operators() -> Result<Set, NotTaken> {
    let otherwise = Some(Answer::Autonomous);
    let granting = Layer { kind: LayerKind::Box, version: 1, otherwise, rules: Vec::new() };
    Ok(Set::new(granting, vec![policy::parse(SYSTEM)?])?)
}
