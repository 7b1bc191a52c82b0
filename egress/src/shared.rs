//! What all calls of one egress have in common.

use crate::connection::Idle;
use crate::lend::Vault;
use crate::settings::Settings;
use contract::links::Links;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

/// One thread has it.
pub(crate) struct Shared {
    pub(crate) vault: Vault,
    pub(crate) idle: Idle,
    pub(crate) settings: RefCell<Settings>,
    /// What net said last.
    pub(crate) links: RefCell<Links>,
}

impl Shared {
    /// The box's own addresses.
    pub(crate) fn own(&self) -> Vec<IpAddr> {
        self.links.borrow().addresses.clone()
    }

    /// The name servers to ask.
    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        self.settings.borrow().servers(&self.links.borrow().servers)
    }
}
