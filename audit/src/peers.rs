//! Whom audit speaks to: pdp, the vault for its own certificate, and each performer in an epoch of
//! its own. A peer that sends what is no message is cut off; init gives a new edge with a new peer.

use crate::page::Signer;
use channel::{Channel, ChannelError, Mailbox, Service};
use contract::issue::{self, FromCertifier};
use contract::perform::{self, FromAudit, ToAudit};
use ledger::writer::{FromWriter, MESSAGES_VERSION, ToWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) const PDP: &str = "pdp-audit";
pub(crate) const VAULT: &str = "audit-certifier";
/// Every performer, and its edge.
const PERFORMERS: &[(&str, &str)] = &[
    ("egress", "audit-egress"),
    ("forker", "audit-forker"),
    ("init", "audit-init"),
    ("vault", "audit-vault"),
];

struct Performer {
    name: &'static str,
    edge: &'static str,
    mailbox: Option<Mailbox>,
    epoch: u64,
}

pub(crate) struct Peers {
    pdp: Option<Mailbox>,
    vault: Option<Mailbox>,
    performers: Vec<Performer>,
    /// Who was cut off for what it sent, since somebody asked.
    broken: Vec<&'static str>,
}

/// Whether a channel ended by what came on it, and not because its other end is gone.
fn is_broken<T>(taken: &Result<T, ChannelError>) -> bool {
    !matches!(taken, Err(ChannelError::Closed))
}

impl Peers {
    pub(crate) fn open(service: &mut Service) -> Self {
        let mut mailbox = |edge: &str| service.edge(edge).map(Mailbox::new);
        let (pdp, vault) = (mailbox(PDP), mailbox(VAULT));
        let performers = PERFORMERS.iter().map(|(name, edge)| Performer {
            name,
            edge,
            mailbox: mailbox(edge),
            epoch: 0,
        });
        Self { pdp, vault, performers: performers.collect(), broken: Vec::new() }
    }

    /// Begins an epoch with every performer.
    pub(crate) fn greet_all(&mut self) {
        self.performers.iter_mut().for_each(Performer::greet);
    }

    pub(crate) fn replace_pdp(&mut self, edge: Channel) {
        self.pdp = Some(Mailbox::new(edge));
    }

    /// Cuts pdp off for what it sent.
    pub(crate) fn lose_pdp(&mut self) {
        self.pdp = None;
        self.broken.push("pdp");
    }

    pub(crate) fn take_broken(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.broken)
    }

    pub(crate) fn replace_vault(&mut self, edge: Channel) {
        self.vault = Some(Mailbox::new(edge));
    }

    pub(crate) const fn vault(&mut self) -> Option<&mut Mailbox> {
        self.vault.as_mut()
    }

    pub(crate) fn replace_performer(&mut self, name: &str, edge: Channel) {
        if let Some(performer) = self.performers.iter_mut().find(|p| p.edge == name) {
            performer.mailbox = Some(Mailbox::new(edge));
            performer.greet();
        }
    }

    /// pdp, the vault, then every performer.
    pub(crate) fn files(&self) -> Vec<Option<BorrowedFd<'_>>> {
        let first = [&self.pdp, &self.vault].map(|peer| peer.as_ref().map(AsFd::as_fd));
        let performers = self.performers.iter().map(|p| p.mailbox.as_ref().map(AsFd::as_fd));
        first.into_iter().chain(performers).collect()
    }

    /// Those that something waits for.
    pub(crate) fn full(&self) -> Vec<BorrowedFd<'_>> {
        let performers = self.performers.iter().filter_map(|p| p.mailbox.as_ref());
        let all = self.pdp.iter().chain(&self.vault).chain(performers);
        all.filter(|mailbox| mailbox.is_full()).map(AsFd::as_fd).collect()
    }

    pub(crate) fn push(&mut self) {
        let performers = self.performers.iter_mut().map(|p| &mut p.mailbox);
        for peer in [&mut self.pdp, &mut self.vault].into_iter().chain(performers) {
            if peer.as_mut().is_some_and(|mailbox| mailbox.push().is_err()) {
                *peer = None;
            }
        }
    }

    pub(crate) fn hear_pdp(&mut self) -> Option<(ToWriter, Vec<OwnedFd>)> {
        let taken = self.pdp.as_ref()?.take().and_then(|frame| {
            frame.open(|(_, message): &(u16, ToWriter)| match message {
                ToWriter::Append { bodies, release, .. } => {
                    bodies.len() + usize::from(release.as_ref().is_some_and(|r| r.deferred))
                }
                ToWriter::Fetch { .. } | ToWriter::Page { .. } => 0,
            })
        });
        match taken {
            Ok(((MESSAGES_VERSION, message), fds)) => Some((message, fds)),
            Err(ChannelError::WouldBlock) => None,
            other => {
                self.pdp = None;
                self.broken.extend(is_broken(&other).then_some("pdp"));
                None
            }
        }
    }

    pub(crate) fn hear_performers(&mut self, most: usize) -> Vec<(String, ToAudit)> {
        let mut found = Vec::new();
        for performer in &mut self.performers {
            for _ in 0..most {
                let Some(mailbox) = &performer.mailbox else { break };
                match mailbox.take().and_then(|frame| frame.open(|_: &(u16, ToAudit)| 0)) {
                    Ok(((perform::VERSION, message), _)) => {
                        found.push((performer.name.to_owned(), message));
                    }
                    Err(ChannelError::WouldBlock) => break,
                    other => {
                        performer.mailbox = None;
                        self.broken.extend(is_broken(&other).then_some(performer.name));
                    }
                }
            }
        }
        found
    }

    pub(crate) fn hear_vault(&mut self, signer: &mut Signer) {
        let Some(vault) = &self.vault else { return };
        match vault.take().and_then(|frame| frame.open(|_: &(u16, FromCertifier)| 0)) {
            Ok(((issue::VERSION, FromCertifier::Certified { certificate, authority }), _)) => {
                signer.certified(certificate.0, authority.0);
            }
            Ok(((issue::VERSION, FromCertifier::Authority { .. }), _))
            | Err(ChannelError::WouldBlock) => {}
            other => {
                self.vault = None;
                self.broken.extend(is_broken(&other).then_some("vault"));
            }
        }
    }

    pub(crate) fn tell_pdp(&mut self, message: &FromWriter, fds: Vec<OwnedFd>) {
        if let Some(pdp) = &mut self.pdp
            && pdp.post(&(MESSAGES_VERSION, message), fds).is_err()
        {
            self.pdp = None;
        }
    }

    pub(crate) fn tell_performer(&mut self, name: &str, message: &FromAudit) {
        if let Some(performer) = self.performers.iter_mut().find(|p| p.name == name) {
            performer.tell(message);
        }
    }

    /// The epoch that `performer` is in.
    pub(crate) fn epoch(&self, performer: &str) -> u64 {
        self.performers.iter().find(|p| p.name == performer).map_or(0, |p| p.epoch)
    }
}

impl Performer {
    /// Begins a new epoch; boot time in microseconds never repeats.
    fn greet(&mut self) {
        self.epoch = linux::clock::boot_us().max(self.epoch + 1);
        self.tell(&FromAudit::Epoch(self.epoch));
    }

    fn tell(&mut self, message: &FromAudit) {
        if let Some(mailbox) = &mut self.mailbox
            && mailbox.post(&(perform::VERSION, message), Vec::new()).is_err()
        {
            self.mailbox = None;
        }
    }
}
