//! A secret on its way to the wire. pdp tells the vault of a call whose effects use secrets, as a [spec] of its own,
//! and audit releases both that and egress's; then egress asks the vault for one value after the other.
//!
//! [spec]: crate::perform::Spec

use crate::bytes::Bytes;
use crate::perform::CallId;
use serde::{Deserialize, Serialize};

/// Version of the messages below; the first element of every frame.
pub const VERSION: u16 = 1;

/// The capability of the vault's spec. Its agent is the one that calls, its effects are the call's of kind
/// `secret`, its input is a [`Purpose`] as JSON; nobody reads its answer.
pub const CAPABILITY: &str = "secret.lend@1";

/// What the vault is to lend for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// The capability that is called, as `category.verb@version`.
    pub capability: String,
}

/// From egress to the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToVault {
    /// The value of this secret, for this call.
    Lend {
        /// The call.
        call: CallId,
        /// The secret.
        name: String,
    },
}

/// From the vault to egress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromVault {
    /// Once in the life of a call; with a sealed file, which holds a [`Lent`].
    Lent {
        /// The call.
        call: CallId,
        /// The secret.
        name: String,
        /// Which version of it.
        version: u64,
    },
    /// Nothing is lent.
    NotLent {
        /// The call.
        call: CallId,
        /// The secret.
        name: String,
        /// Why.
        why: NotLent,
    },
}

/// A value. No record, log or message but this one holds it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lent {
    /// What takes the placeholder's place on the wire.
    pub value: Bytes,
    /// What no reply may show: the value, and what it is made of.
    pub hides: Vec<Bytes>,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lent").finish_non_exhaustive()
    }
}

/// Why nothing is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotLent {
    /// The vault is locked or empty.
    Locked,
    /// No ticket released this call, or it was lent this already.
    NoTicket,
    /// No such secret, or it is not bound to this agent, capability, host, port, method or path, or it is expired or
    /// used up: an agent learns no difference.
    NotBound,
}
