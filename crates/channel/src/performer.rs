//! A performer's two conversations: pdp sends it specs, audit sends it tickets, and it tells audit
//! what came of each call and keeps that until audit has it for good. Every service that acts for
//! a call speaks through one [`Performer`]; what it does with a released call is its own.

use crate::tickets::{Calls, Released, Waiting};
use crate::{Channel, ChannelError, sealed};
use contract::perform::{CallId, FromAudit, Outcome, Refusal, Spec, ToAudit, VERSION};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest input of a call.
const INPUT_BYTES_MAX: u64 = 100 << 20;
/// Most outcomes that wait to be acknowledged.
const KEPT_MAX: usize = 4_096;

/// One performer's side.
#[derive(Debug, Default)]
pub struct Performer {
    pdp: Option<Channel>,
    audit: Option<Channel>,
    calls: Calls,
    kept: BTreeMap<CallId, Outcome>,
}

/// What audit's word asks for.
#[derive(Debug)]
pub enum Heard {
    /// Nothing more.
    Nothing,
    /// Perform this; a ticket released it.
    Perform(Released),
    /// A new audit: end what earlier epochs began, then say [`Performer::settled`].
    Epoch(u64),
}

impl Performer {
    /// A performer with these edges.
    #[must_use]
    pub fn new(pdp: Option<Channel>, audit: Option<Channel>) -> Self {
        Self { pdp, audit, ..Self::default() }
    }

    /// Another pdp: the edge to the old one is gone.
    pub fn replace_pdp(&mut self, pdp: Option<Channel>) {
        self.pdp = pdp;
    }

    /// Another audit; its first word is its epoch, which voids unused tickets.
    pub fn replace_audit(&mut self, audit: Option<Channel>) {
        self.audit = audit;
    }

    /// What to wait for, pdp first.
    #[must_use]
    pub fn edges(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [self.pdp.as_ref().map(AsFd::as_fd), self.audit.as_ref().map(AsFd::as_fd)]
    }

    /// Takes one spec: its call, if it waits for a ticket now. A frame that is none ends the channel:
    /// such a peer is broken or hostile.
    pub fn hear_pdp(&mut self) -> Option<CallId> {
        let pdp = self.pdp.as_ref()?;
        let taken = pdp.receive_now().and_then(|frame| {
            let digest: [u8; 32] = Sha256::digest(frame.bytes()).into();
            let ((version, spec), fds) = frame.open(|_: &(u16, Spec)| 2)?;
            Ok((version, digest, spec, fds))
        });
        match taken {
            Ok((VERSION, digest, spec, fds)) => {
                let call = spec.call;
                let accepted = match <[_; 2]>::try_from(fds) {
                    Ok(fds) if is_what_it_says(&spec, &fds[0]) => {
                        self.calls.expect(Waiting { spec, digest, fds })
                    }
                    _ => Err(Refusal::BadSpec),
                };
                match accepted {
                    Ok(()) => return Some(call),
                    Err(why) => self.refused(call, why),
                }
            }
            Err(ChannelError::WouldBlock) => {}
            Ok(_) | Err(_) => self.pdp = None,
        }
        None
    }

    /// A call that waits for its ticket.
    #[must_use]
    pub fn waiting(&self, call: CallId) -> Option<&Waiting> {
        self.calls.waiting(call)
    }

    /// Takes one word of audit.
    pub fn hear_audit(&mut self, now_ms: u64) -> Heard {
        let Some(audit) = &self.audit else { return Heard::Nothing };
        match audit.receive_now().and_then(|frame| frame.open(|_: &(u16, FromAudit)| 0)) {
            Ok(((VERSION, FromAudit::Epoch(epoch)), _)) => {
                self.calls.begin_epoch(epoch);
                Heard::Epoch(epoch)
            }
            Ok(((VERSION, FromAudit::Acknowledged(call)), _)) => {
                self.kept.remove(&call);
                Heard::Nothing
            }
            Ok(((VERSION, FromAudit::Ticket(ticket)), _)) => {
                // the spec was sent before audit could know of the call, so it is here or never
                while has_more(self.pdp.as_ref()) {
                    self.hear_pdp();
                }
                match self.calls.release(&ticket, now_ms) {
                    Ok(released) => Heard::Perform(released),
                    Err(why) => {
                        self.refused(ticket.call, why);
                        Heard::Nothing
                    }
                }
            }
            Err(ChannelError::WouldBlock) => Heard::Nothing,
            Ok(_) | Err(_) => {
                self.audit = None;
                Heard::Nothing
            }
        }
    }

    /// Whether a word of audit is there, or its end: for who must know all that audit said before.
    #[must_use]
    pub fn audit_has_more(&self) -> bool {
        has_more(self.audit.as_ref())
    }

    /// The call began.
    pub fn started(&mut self, call: CallId) {
        self.tell(&ToAudit::Started { call });
    }

    /// The call was not begun.
    pub fn refused(&mut self, call: CallId, why: Refusal) {
        self.tell(&ToAudit::Refused { call, why });
    }

    /// The call ended; kept until audit acknowledges it.
    pub fn ended(&mut self, call: CallId, outcome: Outcome) {
        self.tell(&ToAudit::Ended { call, outcome: outcome.clone() });
        if self.kept.len() < KEPT_MAX {
            self.kept.insert(call, outcome);
        }
    }

    /// Everything of earlier epochs has ended: says it all again, and that it is all.
    pub fn settled(&mut self, epoch: u64) {
        let kept: Vec<(CallId, Outcome)> =
            self.kept.iter().map(|(call, outcome)| (*call, outcome.clone())).collect();
        for (call, outcome) in kept {
            self.tell(&ToAudit::Ended { call, outcome });
        }
        self.tell(&ToAudit::Settled { epoch });
    }

    fn tell(&mut self, message: &ToAudit) {
        if let Some(audit) = &self.audit
            && audit.send(&(VERSION, message), &[]).is_err()
        {
            self.audit = None;
        }
    }
}

fn has_more(channel: Option<&Channel>) -> bool {
    let Some(channel) = channel else { return false };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut watched = [PollFd::new(channel, PollFlags::IN)];
    poll(&mut watched, Some(&now)) == Ok(1)
}

/// Whether the input cannot change any more and is the one of the stated digest.
fn is_what_it_says(spec: &Spec, input: &OwnedFd) -> bool {
    sealed::is_sealed(input) && digest(input) == Some(spec.input)
}

fn digest(file: &OwnedFd) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut at = 0;
    let length = rustix::fs::fstat(file).ok()?.st_size;
    let mut chunk = vec![0; usize::try_from(length).ok()?.clamp(1, 1 << 16)];
    loop {
        let count = rustix::io::pread(file, &mut chunk, at).ok()?;
        if count == 0 {
            return Some(hash.finalize().into());
        }
        hash.update(chunk.get(..count)?);
        at += u64::try_from(count).ok()?;
        if at > INPUT_BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::SocketFlags;

    #[test]
    fn a_channel_that_waits_is_never_waited_for() {
        // a service is woken for a channel's end, and meets the one that replaced it
        let (pdp, _pdp_s) = Channel::pair(SocketFlags::empty()).unwrap();
        let (audit, _audit_s) = Channel::pair(SocketFlags::empty()).unwrap();
        let mut performer = Performer::new(Some(Channel::new(pdp)), Some(Channel::new(audit)));
        performer.hear_pdp();
        assert!(matches!(performer.hear_audit(0), Heard::Nothing));
        assert!(performer.edges().iter().all(Option::is_some), "nothing is no end");
    }
}
