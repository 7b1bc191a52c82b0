//! What is used up at the moment of a decision: limits that lasted across calls, and windows of time that are closed.
//! The moment is the wall clock's where that can be believed. Of a clock that is behind what the box knows, or that
//! nobody has set, nothing is known, and every window is closed.

use crate::Pdp;
use contract::effect::Effect;
use policy::{Call, LayerKind};
use std::collections::BTreeSet;

/// When the image was made, in seconds since 1970.
const BUILT: &str = "/usr/lib/kruxos/built";
/// How far the wall clock may be behind the ledger's last record; microseconds. A clock is put right by this much.
const BEHIND_US_MAX: u64 = 60_000_000;

/// When the image was made, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Built(u64);

impl Built {
    /// Reads it.
    pub(crate) fn read() -> Result<Self, String> {
        let text = std::fs::read_to_string(BUILT).map_err(|error| format!("{BUILT}: {error}"))?;
        Self::of(&text).ok_or_else(|| format!("{BUILT}: expected seconds since 1970"))
    }

    fn of(text: &str) -> Option<Self> {
        text.trim().parse::<u64>().ok()?.checked_mul(1_000_000).map(Self)
    }

    /// The wall clock's moment, if it can be believed: `boot_us` is how long the box runs, `ledger_us` the latest
    /// moment that its ledger names; all in microseconds.
    ///
    /// A box does not start before its image was made: where the clock says so, init has set it to that time because
    /// it was behind, or it still is.
    fn known(self, wall_us: u64, boot_us: u64, ledger_us: u64) -> Option<u64> {
        let started_us = wall_us.checked_sub(boot_us)?;
        let is_set = started_us > self.0;
        let is_on = wall_us.saturating_add(BEHIND_US_MAX) >= ledger_us;
        (is_set && is_on).then_some(wall_us)
    }
}

impl Pdp {
    /// The wall clock's moment in microseconds since 1970, if it can be believed.
    pub(crate) fn moment(&self) -> Option<u64> {
        let (wall_us, boot_us) = (linux::clock::wall_us(), linux::clock::boot_us());
        self.built.known(wall_us, boot_us, self.state.wall_us)
    }

    /// The rules that are used up for one more call of `bytes`.
    pub(crate) fn used_up(
        &self,
        call: &Call<'_>,
        effects: &[Effect],
        bytes: u64,
    ) -> BTreeSet<(LayerKind, String)> {
        let set = self.applied.set.set();
        let now_us = linux::clock::boot_us();
        let mut found = self.state.counters.exhausted(set, call.agent, bytes, now_us);
        found.extend(self.applied.hours.closed(set, call, effects, self.moment()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: u64 = 86_400_000_000;

    #[test]
    fn a_clock_that_cannot_be_right_tells_no_moment() {
        let built = Built::of("1790000000\n").unwrap();
        let known = |wall_us, boot_us, ledger_us| built.known(wall_us, boot_us, ledger_us);
        let now = built.0 + 30 * DAY_US;
        assert_eq!(known(now, DAY_US, 0), Some(now), "a control");
        assert_eq!(known(now, DAY_US, now), Some(now));
        // init set it to the time of the image twenty seconds after the start, and it went on from there
        for later in [0, DAY_US, 10 * DAY_US] {
            assert_eq!(known(built.0 + later, 20_000_000 + later, 0), None);
        }
        assert_eq!(known(0, DAY_US, 0), None, "1970");
        assert_eq!(known(built.0 + DAY_US, DAY_US, 0), None, "it started when it was made");
        // put back: until it is where it was
        assert_eq!(known(now, DAY_US, now + DAY_US), None);
        assert_eq!(known(now, DAY_US, now + BEHIND_US_MAX + 1), None);
        assert_eq!(known(now, DAY_US, now + BEHIND_US_MAX), Some(now));
        // somebody set it right while the box runs
        assert_eq!(known(now, 20_000_000, built.0), Some(now));
    }

    #[test]
    fn the_time_of_the_image_is_a_number_of_seconds() {
        assert_eq!(Built::of("0\n"), Some(Built(0)));
        for bad in ["", "x", "-1", "1.5", "99999999999999999999", "18446744073709551615"] {
            assert_eq!(Built::of(bad), None, "{bad}");
        }
    }
}
