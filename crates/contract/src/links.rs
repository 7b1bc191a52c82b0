//! What net tells egress of the box's links, at once and after every change.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Version of the message below; the first element of every frame.
pub const VERSION: u16 = 1;
/// Most servers, and most addresses, that one message names.
pub const SERVERS_MAX: usize = 4;
/// See [`SERVERS_MAX`].
pub const ADDRESSES_MAX: usize = 64;

/// From net to egress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// Name servers, as leases name them (RFC 2132, option 6).
    pub servers: Vec<IpAddr>,
    /// The box's own addresses.
    pub addresses: Vec<IpAddr>,
}
