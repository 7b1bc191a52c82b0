//! A released call without a slot.

use crate::cage::Kind;
use crate::lease::Claim;
use crate::reserve::Share;
use contract::perform::Spec;
use std::os::fd::OwnedFd;

/// How long one waits.
const WAIT_MS_MAX: u64 = 5_000;
/// How long one waits that is to be alone: until the longest call before it has ended.
const WAIT_ALONE_MS_MAX: u64 = 130_000;

/// One that waits.
pub(crate) struct Waiting {
    pub(crate) spec: Spec,
    pub(crate) fds: [OwnedFd; 2],
    pub(crate) kind: Kind,
    pub(crate) share: Share,
    /// When its ticket was heard, in microseconds of boot time.
    pub(crate) since_us: u64,
}

impl Waiting {
    /// When it is given up.
    pub(crate) const fn until_ms(&self) -> u64 {
        let wait_ms = if self.spec.alone { WAIT_ALONE_MS_MAX } else { WAIT_MS_MAX };
        self.since_us / 1_000 + wait_ms
    }

    /// What it claims.
    pub(crate) const fn claim(&self) -> Claim {
        Claim::of(&self.spec)
    }
}
