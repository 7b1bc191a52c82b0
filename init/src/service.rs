//! Services: described by data files of the verified root ([`description`]), started with what
//! their description grants and no more ([`start`]), supervised until the machine ends
//! ([`supervise`]).

mod acts;
pub(crate) mod description;
mod own;
mod start;
mod supervise;

pub(crate) use supervise::Supervisor;

use crate::error::BootError;
use description::Plan;

/// Reads every description and the table of edges; one that is wrong ends the boot.
pub(crate) fn load() -> Result<Plan, BootError> {
    description::load("/usr/lib/kruxos/services", "/usr/lib/kruxos/edges.toml")
}
