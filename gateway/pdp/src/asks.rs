//! How often each agent asked persons lately, and how often one said no: so that nobody's list is filled,
//! and who is told no again and again is paused until an operator has looked. Folded from the ledger, on
//! the clock of this boot.

use std::collections::{BTreeMap, VecDeque};

/// Most asks of one agent within an hour.
pub(crate) const ASKS_PER_HOUR_MAX: usize = 60;
const HOUR_US: u64 = 3_600_000_000;
/// So many denials within ten minutes pause an agent.
const DENIALS: usize = 3;
const DENIALS_US: u64 = 600_000_000;

/// Of each agent when it asked, and when it was told no.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    asked: BTreeMap<String, VecDeque<u64>>,
    denied: BTreeMap<String, VecDeque<u64>>,
}

fn push(times: &mut VecDeque<u64>, at_us: u64, most: usize) {
    times.push_back(at_us);
    while times.len() > most {
        times.pop_front();
    }
}

impl Asks {
    /// It asked.
    pub(crate) fn asked(&mut self, agent: &str, at_us: u64) {
        push(self.asked.entry(agent.to_owned()).or_default(), at_us, ASKS_PER_HOUR_MAX);
    }

    /// Whether it asked so often that it must wait; `waiting` of its asks are not recorded yet.
    pub(crate) fn are_too_many(&self, agent: &str, waiting: usize, now_us: u64) -> bool {
        let since = now_us.saturating_sub(HOUR_US);
        let asked = self.asked.get(agent).into_iter().flatten().filter(|at| **at >= since);
        asked.count().saturating_add(waiting) >= ASKS_PER_HOUR_MAX
    }

    /// It was told no. True when that pauses it.
    pub(crate) fn denied(&mut self, agent: &str, at_us: u64) -> bool {
        let times = self.denied.entry(agent.to_owned()).or_default();
        push(times, at_us, DENIALS);
        let first = times.front().filter(|_| times.len() == DENIALS);
        first.is_some_and(|first| at_us.saturating_sub(*first) <= DENIALS_US)
    }

    /// An operator has looked: what was denied before counts no more.
    pub(crate) fn resumed(&mut self, agent: &str) {
        self.denied.remove(agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_asks_so_often_within_an_hour_and_no_more() {
        let mut asks = Asks::default();
        for _ in 1..ASKS_PER_HOUR_MAX {
            asks.asked("a", 5);
        }
        assert!(!asks.are_too_many("a", 0, 5) && asks.are_too_many("a", 1, 5));
        asks.asked("a", 5);
        assert!(asks.are_too_many("a", 0, 5) && asks.are_too_many("a", 0, HOUR_US + 5));
        assert!(!asks.are_too_many("b", 0, 5), "another agent's are its own");
        assert!(!asks.are_too_many("a", 0, HOUR_US + 6), "an hour slides");
    }

    #[test]
    fn three_denials_within_ten_minutes_pause_an_agent() {
        let mut asks = Asks::default();
        assert!(!asks.denied("a", 0) && !asks.denied("a", 1));
        assert!(!asks.denied("b", 2), "another agent's are its own");
        assert!(!asks.denied("a", DENIALS_US + 1), "too far apart");
        assert!(asks.denied("a", DENIALS_US + 1));
        asks.resumed("a");
        assert!(!asks.denied("a", DENIALS_US + 2), "somebody looked");
    }
}
