//! What net tells egress of the box's links, at once and after every change.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Version of the message below; the first element of every frame.
pub const VERSION: u16 = 1;
/// Most servers that one message names.
pub const SERVERS_MAX: usize = 4;
/// Most addresses that one message names: sixteen cables of agents' networks have three each, and a link as
/// many as its router announces.
pub const ADDRESSES_MAX: usize = 256;

/// From net to egress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// Name servers, as leases name them (RFC 2132, option 6).
    pub servers: Vec<IpAddr>,
    /// The box's own addresses, its loopback's among them. None: they are not known, or more than
    /// [`ADDRESSES_MAX`], and nothing may be connected to.
    pub addresses: Vec<IpAddr>,
}
