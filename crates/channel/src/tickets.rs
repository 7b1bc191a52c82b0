//! Which calls a performer may begin: specs that wait for their ticket, tickets that match. It does
//! nothing itself; a performer acts on what [`Calls::release`] hands out and on nothing else.

use crate::recent::Recent;
use contract::perform::{CallId, Refusal, Spec, Ticket};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

/// Most specs that wait at once.
const WAITING_MAX: usize = 256;
/// How many ended calls are remembered, to tell a used ticket from one without a spec.
const USED_MAX: usize = 4_096;

/// A spec that no ticket has released yet.
#[derive(Debug)]
pub struct Waiting {
    /// What was decided.
    pub spec: Spec,
    /// SHA-256 of its frame.
    pub digest: [u8; 32],
    /// The sealed input and the answer's pipe.
    pub fds: [OwnedFd; 2],
}

/// A call that may begin: proof that a matching, unused ticket came in time. It cannot be made
/// elsewhere, and performing consumes it.
#[derive(Debug)]
pub struct Released {
    spec: Spec,
    fds: [OwnedFd; 2],
}

impl Released {
    /// The call.
    #[must_use]
    pub const fn call(&self) -> CallId {
        self.spec.call
    }

    /// What it performs.
    #[must_use]
    pub fn capability(&self) -> &str {
        &self.spec.capability
    }

    /// The spec, and its two descriptors.
    #[must_use]
    pub fn into_parts(self) -> (Spec, [OwnedFd; 2]) {
        (self.spec, self.fds)
    }
}

/// Specs, the epoch, and which calls have begun.
#[derive(Debug, Default)]
pub struct Calls {
    epoch: Option<u64>,
    waiting: BTreeMap<CallId, Waiting>,
    /// In the order in which they came.
    order: VecDeque<CallId>,
    used: Recent<CallId, USED_MAX>,
}

impl Calls {
    /// A new start of audit: tickets of another epoch are void from now on.
    pub const fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
    }

    /// Takes a spec to wait for its ticket; of too many the oldest is forgotten.
    ///
    /// # Errors
    /// [`Refusal::Used`].
    pub fn expect(&mut self, waiting: Waiting) -> Result<(), Refusal> {
        let call = waiting.spec.call;
        if self.used.contains(&call) || self.waiting.contains_key(&call) {
            return Err(Refusal::Used);
        }
        // a spec whose record was refused gets no ticket ever: the oldest makes room for the newest
        self.order.retain(|known| self.waiting.contains_key(known));
        if self.order.len() >= WAITING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
        self.order.push_back(call);
        self.waiting.insert(call, waiting);
        Ok(())
    }

    /// A spec that waits for its ticket.
    #[must_use]
    pub fn waiting(&self, call: CallId) -> Option<&Waiting> {
        self.waiting.get(&call)
    }

    /// Releases the call that `ticket` is for, once. A ticket that does not fit voids the spec: what
    /// was shown wrong is not tried again.
    ///
    /// # Errors
    /// [`Refusal`], the first reason.
    pub fn release(&mut self, ticket: &Ticket, now_ms: u64) -> Result<Released, Refusal> {
        if self.epoch != Some(ticket.epoch) {
            return Err(Refusal::OtherEpoch);
        }
        if self.used.contains(&ticket.call) {
            return Err(Refusal::Used);
        }
        let waiting = self.waiting.remove(&ticket.call).ok_or(Refusal::NoSpec)?;
        self.used.note(ticket.call);
        if waiting.digest != ticket.spec {
            return Err(Refusal::OtherDigest);
        }
        if now_ms > ticket.deadline_ms {
            return Err(Refusal::Late);
        }
        Ok(Released { spec: waiting.spec, fds: waiting.fds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::perform::{AgentPlace, Limits};
    use std::fs::File;

    fn waiting(call: u8) -> Waiting {
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let spec = Spec {
            call: [call; 16],
            capability: "system.time@1".to_owned(),
            agent: AgentPlace { name: "a".to_owned(), disk_uid: 1 },
            effects: Vec::new(),
            input: [0; 32],
            limits: Limits { memory_bytes: 1, tasks: 1, cpu_us: 1, wall_ms: 1 },
            alone: false,
            streams: false,
            reach: Vec::new(),
        };
        Waiting { spec, digest: [call; 32], fds: [null(), null()] }
    }

    fn ticket(call: u8) -> Ticket {
        Ticket { call: [call; 16], sequence: 1, spec: [call; 32], deadline_ms: 100, epoch: 5 }
    }

    fn calls() -> Calls {
        let mut calls = Calls::default();
        calls.begin_epoch(5);
        calls.expect(waiting(1)).unwrap();
        calls
    }

    #[test]
    fn a_matching_ticket_releases_once() {
        let mut calls = calls();
        assert!(calls.release(&ticket(1), 100).is_ok());
        assert_eq!(calls.release(&ticket(1), 0).unwrap_err(), Refusal::Used);
        assert_eq!(calls.expect(waiting(1)).unwrap_err(), Refusal::Used);
    }

    #[test]
    fn every_other_ticket_is_refused() {
        let check = |change: fn(&mut Ticket), now_ms| {
            let (unchanged, mut ticket) = (ticket(1), ticket(1));
            change(&mut ticket);
            let mut calls = calls();
            let first = calls.release(&ticket, now_ms).unwrap_err();
            (first, calls.release(&unchanged, 0).is_ok())
        };
        assert_eq!(check(|t| t.spec = [9; 32], 0), (Refusal::OtherDigest, false));
        assert_eq!(check(|_| {}, 101), (Refusal::Late, false));
        assert_eq!(check(|t| t.epoch = 4, 0), (Refusal::OtherEpoch, true));
        assert_eq!(check(|t| t.call = [2; 16], 0), (Refusal::NoSpec, true));
    }

    #[test]
    fn specs_without_a_ticket_do_not_stand_in_the_way_for_ever() {
        let mut calls = calls();
        for number in 0..WAITING_MAX {
            let mut next = waiting(2);
            next.spec.call = u128::try_from(number).unwrap().to_be_bytes();
            calls.expect(next).unwrap();
        }
        assert_eq!(calls.release(&ticket(1), 0).unwrap_err(), Refusal::NoSpec);
        let mut last = ticket(2);
        last.call = u128::try_from(WAITING_MAX - 1).unwrap().to_be_bytes();
        assert!(calls.release(&last, 0).is_ok());
        assert_eq!(calls.waiting.len(), WAITING_MAX - 1);
    }

    #[test]
    fn without_an_epoch_no_ticket_counts_and_a_new_one_voids_the_old() {
        let mut silent = Calls::default();
        silent.expect(waiting(1)).unwrap();
        assert_eq!(silent.release(&ticket(1), 0).unwrap_err(), Refusal::OtherEpoch);
        let mut calls = calls();
        calls.begin_epoch(6);
        assert_eq!(calls.release(&ticket(1), 0).unwrap_err(), Refusal::OtherEpoch);
    }
}
