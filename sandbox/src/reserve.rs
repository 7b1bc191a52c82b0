//! Reservations of memory: what the caps of live cages may come to, for one agent and for all. A call
//! is admitted while its cap fits; until then it waits. Pure.
//!
//! Of tasks and processor nothing is reserved: 32 calls of at most eight tasks fit any machine, and the
//! processor is shared by weight, since a reservation of it would leave it idle.

use contract::perform::Limits;

/// Of the machine's memory, what cages may have: three quarters. The rest is the services'.
const BOX_QUARTERS: u64 = 3;
/// Most calls of one agent under way at once.
pub(crate) const AGENT_CALLS_MAX: usize = 16;

/// A live cage: whose it is, and its memory cap in bytes.
pub(crate) type Live = (u32, u64);

/// The ceilings, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ceilings {
    of_box: u64,
    of_agent: u64,
}

impl Ceilings {
    /// Those of a machine with this much memory: an agent may have half of what all may, and at least
    /// one call of any kind fits.
    pub(crate) const fn of(memory_bytes: u64) -> Self {
        let most = Limits::MOST.memory_bytes;
        let of_box = memory_bytes / 4 * BOX_QUARTERS;
        let of_box = if of_box > most { of_box } else { most };
        let of_agent = if of_box / 2 > most { of_box / 2 } else { most };
        Self { of_box, of_agent }
    }

    /// Whether a call of `agent` with this cap fits beside the live ones.
    pub(crate) fn admit(&self, live: &[Live], agent: u32, memory_bytes: u64) -> bool {
        let sum = |own: bool| {
            let counted = live.iter().filter(|(of, _)| !own || *of == agent);
            counted.fold(memory_bytes, |sum, (_, bytes)| sum.saturating_add(*bytes))
        };
        let calls = live.iter().filter(|(of, _)| *of == agent).count();
        calls < AGENT_CALLS_MAX && sum(false) <= self.of_box && sum(true) <= self.of_agent
    }
}

/// The machine's memory in bytes (proc_meminfo(5), `MemTotal`); nothing where it does not say.
pub(crate) fn machine_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn caps_are_admitted_while_they_fit() {
        let ceilings = Ceilings::of(1_024 * MIB);
        assert_eq!(ceilings, Ceilings { of_box: 768 * MIB, of_agent: 384 * MIB });
        assert!(ceilings.admit(&[], 1, 96 * MIB));
        assert!(ceilings.admit(&[(1, 288 * MIB)], 1, 96 * MIB));
        assert!(!ceilings.admit(&[(1, 289 * MIB)], 1, 96 * MIB), "its own share");
        assert!(ceilings.admit(&[(1, 384 * MIB), (2, 288 * MIB)], 3, 96 * MIB));
        assert!(!ceilings.admit(&[(1, 384 * MIB), (2, 289 * MIB)], 3, 96 * MIB), "the box's");
        let many = vec![(1, 0); AGENT_CALLS_MAX];
        assert!(!ceilings.admit(&many, 1, 0) && ceilings.admit(&many, 2, 0), "its calls");
        assert!(!ceilings.admit(&[(1, u64::MAX)], 2, 1), "no sum wraps");
    }

    #[test]
    fn on_the_smallest_machine_one_call_of_any_kind_fits() {
        for memory in [0, 64 * MIB, 128 * MIB] {
            assert!(Ceilings::of(memory).admit(&[], 1, Limits::MOST.memory_bytes));
        }
    }
}
