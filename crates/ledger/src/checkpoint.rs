//! A checkpoint: the ledger's length and root, signed by the audit writer, whose key the box's
//! authority certified. The text is a C2SP tlog-checkpoint: origin, size, root in base 64.

use crate::record::Digest;
use serde::{Deserialize, Serialize};

/// What comes before a checkpoint's text under the signature.
pub const CONTEXT: &[u8] = b"kruxos checkpoint 1\n";
/// What comes before a writer's key under the authority's signature.
pub const WRITER_CONTEXT: &[u8] = b"kruxos audit writer 1\n";

/// A signed checkpoint, as it ends an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Always `checkpoint`.
    pub is: String,
    /// How many records.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The writer's Ed25519 key.
    pub key: [u8; 32],
    /// Ed25519 by that key over [`CONTEXT`] and [`Checkpoint::text`].
    #[serde(with = "signature")]
    pub signature: Vec<u8>,
    /// The authority's certificate (DER), and its signature over [`WRITER_CONTEXT`] and the key:
    /// ECDSA on P-256 with SHA-256, ASN.1.
    #[serde(with = "signature")]
    pub authority: Vec<u8>,
    /// See `authority`.
    #[serde(with = "signature")]
    pub certified: Vec<u8>,
}

mod signature {
    use contract::bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        Bytes(bytes.to_vec()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(from).map(|bytes| bytes.0)
    }
}

/// The text that is signed.
#[must_use]
pub fn text(size: u64, root: &Digest) -> Vec<u8> {
    let mut bytes = CONTEXT.to_vec();
    bytes.extend(format!("kruxos/audit\n{size}\n{root}\n").into_bytes());
    bytes
}
