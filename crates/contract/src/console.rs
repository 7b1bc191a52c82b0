//! What the console and init ask of pdp.

use crate::bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Version of the messages below; the first element of every frame.
pub const VERSION: u16 = 1;

/// From the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromConsole {
    /// How the box is, as lines.
    State,
    /// A pairing code, as lines.
    Code,
}

/// To the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToConsole {
    /// Lines of at most 80 columns.
    pub lines: Vec<String>,
}

/// From init, on the edge `boot-pdp`. The answer to [`FromInit::Boot`] is the code that the call
/// ended with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromInit {
    /// Who may pair first without a console, from META.
    FirstOperator {
        /// Their Ed25519 key.
        key: Bytes,
        /// The secret that they share with the box.
        secret: Bytes,
    },
    /// A call of the principal `boot`, system.time, goes through everything.
    Boot,
}
