//! META: the few facts about a box that lie outside its file systems. `image/flash` writes the same
//! form; docs/boot.md gives it byte by byte.

use serde::{Deserialize, Serialize};

/// The first eight bytes of each copy.
pub const MAGIC: &[u8; 8] = b"KRUXMETA";

/// Length of each of the two copies, the first of which begins at byte 0.
pub const COPY_BYTES: usize = 65_536;

/// What META says. Written as the magic, the body's length (8 bytes, little-endian), the body
/// (deterministic CBOR), its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// One more with each change; the highest whole copy counts.
    pub generation: u64,
    /// Names this installation; random, made with META.
    pub install: [u8; 16],
    /// Who may pair first without the console, from `image/flash --operator`.
    pub operator: Option<FirstOperator>,
}

/// The first operator of a box without a console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstOperator {
    /// The operator's Ed25519 public key.
    pub key: [u8; 32],
    /// The secret that box and operator share, under which the box proves its CA key.
    pub secret: [u8; 32],
}
