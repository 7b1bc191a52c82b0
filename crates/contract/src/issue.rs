//! What the vault says to the doors and to pdp about the box's certificate authority.

use crate::bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Version of the messages below; the first element of every frame.
pub const VERSION: u16 = 1;

/// The beginning of a P-256 key's SubjectPublicKeyInfo (RFC 5480), up to the point.
pub const P256_KEY: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Most addresses in one certificate.
pub const ADDRESSES_MAX: usize = 16;

/// From a door to the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToCertifier {
    /// Certify this key for the box's names and these of its addresses.
    Certify {
        /// SubjectPublicKeyInfo (RFC 5280 section 4.1) of a P-256 key.
        key: Bytes,
        /// The box's own IP addresses, as text.
        addresses: Vec<String>,
    },
    /// Certify this signing key of the audit writer.
    CertifyWriter {
        /// Its Ed25519 key.
        key: Bytes,
    },
}

/// From the vault to a door, to audit, and to pdp, which gets the first one unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromCertifier {
    /// The box's authority.
    Authority {
        /// Its certificate.
        certificate: Bytes,
        /// SHA-256 of its key (SubjectPublicKeyInfo).
        key_digest: Bytes,
    },
    /// The certificate that was asked for.
    Certified {
        /// It.
        certificate: Bytes,
        /// The authority's.
        authority: Bytes,
    },
}
