//! What init and a service say on the service's control socket, which is descriptor 3 at start.

use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

/// The descriptor on which a service finds its control socket.
pub const CONTROL_FD: RawFd = 3;

/// Version of the two messages below; the first element of every control frame.
pub const VERSION: u16 = 2;

/// From init to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToService {
    /// One end of the edge `name`, as the frame's only descriptor. A second one for the same name
    /// replaces the first, whose peer is gone.
    Edge {
        /// The name of the edge in the table of edges.
        name: String,
    },
    /// What an earlier run of this service gave init to keep ([`ToInit::Keep`]), as the frame's only descriptor.
    Kept,
    /// All edges have been handed out: serve, then answer [`ToInit::Ready`].
    Start,
    /// Finish what is under way and leave with code 0.
    Stop,
}

/// From a service to init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToInit {
    /// The service serves.
    Ready,
    /// The frame's only descriptor is handed to every later run of this service in this boot; init never reads or maps
    /// it. A later one replaces it. Only services whose description says so may.
    Keep,
    /// The service is alive; due within its watchdog's time.
    Alive,
    /// A line for the machine's log: at most 512 bytes, no control characters.
    Log {
        /// The line.
        line: String,
    },
}
