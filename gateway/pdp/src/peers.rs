//! Whom pdp speaks to: one mailbox an edge. A peer that sends what is no message is cut off.

use channel::{Channel, ChannelError, Mailbox, Service};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) const AGENTS: &str = "agents-pdp";
pub(crate) const OPERATORS: &str = "operators-pdp";
pub(crate) const AUDIT: &str = "pdp-audit";
pub(crate) const FORKER: &str = "pdp-forker";
pub(crate) const VAULT: &str = "pdp-vault";
pub(crate) const INIT: &str = "pdp-init";
pub(crate) const EGRESS: &str = "pdp-egress";
pub(crate) const CERTIFIER: &str = "pdp-certifier";
pub(crate) const CONSOLE: &str = "console-pdp";
pub(crate) const BOOT: &str = "boot-pdp";

/// Every edge that pdp may have.
pub(crate) const ALL: [&str; 10] =
    [AGENTS, OPERATORS, AUDIT, FORKER, VAULT, INIT, EGRESS, CERTIFIER, CONSOLE, BOOT];

/// The edge on which a performer gets its specs.
pub(crate) fn edge_of(performer: &str) -> &'static str {
    match performer {
        "vault" => VAULT,
        "init" => INIT,
        "egress" => EGRESS,
        _ => FORKER,
    }
}

/// One mailbox an edge.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    mailboxes: BTreeMap<&'static str, Mailbox>,
    /// Peers that were cut off for what they sent, since this was last taken.
    cut_off: Vec<String>,
}

impl Peers {
    pub(crate) fn open(service: &mut Service) -> Self {
        let edge = |name: &'static str| Some((name, Mailbox::new(service.edge(name)?)));
        Self { mailboxes: ALL.into_iter().filter_map(edge).collect(), cut_off: Vec::new() }
    }

    /// A new peer behind an edge; the old one is gone.
    pub(crate) fn replace(&mut self, name: &str, channel: Channel) -> Option<&'static str> {
        let name = ALL.into_iter().find(|known| *known == name)?;
        self.mailboxes.insert(name, Mailbox::new(channel));
        Some(name)
    }

    /// Ends the edge to a peer that sent what no peer of its kind sends.
    pub(crate) fn cut_off(&mut self, name: &str) {
        self.mailboxes.remove(name);
        self.cut_off.push(name.to_owned());
    }

    /// Who was cut off since this was asked last.
    pub(crate) fn take_cut_off(&mut self) -> Vec<String> {
        std::mem::take(&mut self.cut_off)
    }

    /// Whether this peer was cut off since that was asked last.
    pub(crate) fn was_cut_off(&self, name: &str) -> bool {
        self.cut_off.iter().any(|known| known == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.mailboxes.contains_key(name)
    }

    /// In the order of [`ALL`]; while it is not `open` only those that tell pdp what it must know.
    pub(crate) fn files(&self, open: bool) -> Vec<Option<BorrowedFd<'_>>> {
        let heard = |name: &&&str| open || [AUDIT, CERTIFIER].contains(*name);
        let named = ALL.iter().filter(heard);
        named.map(|name| self.mailboxes.get(name).map(AsFd::as_fd)).collect()
    }

    pub(crate) fn full(&self) -> Vec<BorrowedFd<'_>> {
        self.mailboxes.values().filter(|mailbox| mailbox.is_full()).map(AsFd::as_fd).collect()
    }

    pub(crate) fn push(&mut self) {
        self.mailboxes.retain(|_, mailbox| mailbox.push().is_ok());
    }

    /// Posts a message; false when there is nobody to take it.
    pub(crate) fn post<T: serde::Serialize>(
        &mut self,
        name: &str,
        message: &T,
        fds: Vec<OwnedFd>,
    ) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(name) else { return false };
        let posted = mailbox.post(message, fds).is_ok();
        if !posted {
            self.mailboxes.remove(name);
        }
        posted
    }

    /// The next message of a peer, if one is there and is what `version` and `count` say.
    pub(crate) fn take<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &str,
        version: u16,
        count: impl FnOnce(&T) -> usize,
    ) -> Option<(T, Vec<OwnedFd>)> {
        let frame = self.mailboxes.get(name)?.take();
        match frame.and_then(|frame| frame.open(|(_, message): &(u16, T)| count(message))) {
            Ok(((found, message), fds)) if found == version => Some((message, fds)),
            Err(ChannelError::WouldBlock) => None,
            Err(ChannelError::Closed) => {
                self.mailboxes.remove(name);
                None
            }
            Ok(_) | Err(_) => {
                self.cut_off(name);
                None
            }
        }
    }
}
