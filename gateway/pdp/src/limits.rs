//! Counters of the limits that last across calls: how often and how much each rule let through, on
//! the boot clock. They are folded from the facts of recorded decisions.

use policy::{Layer, LayerKind, Limits, Rate, Set};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most uses that one counter remembers; with more it says that the limit is used up.
const USES_MAX: usize = 100_000;

/// Uses of one rule: when, and how many bytes.
#[derive(Debug, Default)]
struct Uses(VecDeque<(u64, u64)>);

/// By agent, layer and rule.
#[derive(Debug, Default)]
pub(crate) struct Counters(BTreeMap<(String, String), Uses>);

impl Counters {
    /// Takes the fact `counted` of a decision: `layer/rule=bytes`, separated by blanks.
    pub(crate) fn count(&mut self, agent: &str, counted: &str, at_us: u64) {
        for use_of in counted.split(' ') {
            let Some((rule, bytes)) = use_of.rsplit_once('=') else { continue };
            let uses = self.0.entry((agent.to_owned(), rule.to_owned())).or_default();
            uses.0.push_back((at_us, bytes.parse().unwrap_or(u64::MAX)));
            if uses.0.len() > USES_MAX {
                uses.0.pop_front();
            }
        }
    }

    /// Rules whose limit one more call of `bytes` by `agent` would exceed.
    pub(crate) fn exhausted(
        &self,
        set: &Set,
        agent: &str,
        bytes: u64,
        now_us: u64,
    ) -> BTreeSet<(LayerKind, String)> {
        let mut found = BTreeSet::new();
        for layer in set.layers_for(agent) {
            for rule in &layer.rules {
                let Some(limits) = &rule.limits else { continue };
                let key = (agent.to_owned(), name(layer, &rule.name));
                let uses = self.0.get(&key);
                if uses.is_some_and(|uses| uses.is_over(limits, bytes, now_us))
                    || limits.bytes.is_some_and(|rate| bytes > rate.amount)
                {
                    found.insert((layer.kind.clone(), rule.name.clone()));
                }
            }
        }
        found
    }
}

impl Uses {
    fn is_over(&self, limits: &Limits, bytes: u64, now_us: u64) -> bool {
        let within = |rate: &Rate| {
            let since = now_us.saturating_sub(rate.seconds.saturating_mul(1_000_000));
            self.0.iter().rev().take_while(move |(at, _)| *at >= since)
        };
        let calls = limits.calls.as_ref().is_some_and(|rate| {
            u64::try_from(within(rate).count()).unwrap_or(u64::MAX) >= rate.amount
        });
        let amount = limits.bytes.as_ref().is_some_and(|rate| {
            let used = within(rate).fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
            used.saturating_add(bytes) > rate.amount
        });
        calls || amount || self.0.len() >= USES_MAX
    }
}

/// How much of the ledger each agent wrote within a day, in buckets of an hour of boot time.
#[derive(Debug, Default)]
pub(crate) struct Shares(BTreeMap<String, VecDeque<(u64, u64)>>);

const HOUR_US: u64 = 3_600_000_000;
const HOURS: u64 = 24;
/// An agent may write this part of the ledger's partition within a day.
const SHARE: u64 = 2;

impl Shares {
    /// Counts what a record and its bodies take.
    pub(crate) fn count(&mut self, agent: &str, bytes: u64, at_us: u64) {
        let hour = at_us / HOUR_US;
        let uses = self.0.entry(agent.to_owned()).or_default();
        match uses.back_mut() {
            Some((last, sum)) if *last >= hour => *sum = sum.saturating_add(bytes),
            _ => uses.push_back((hour, bytes)),
        }
        while uses.front().is_some_and(|(of, _)| of + HOURS < hour) {
            uses.pop_front();
        }
    }

    /// Whether `bytes` more would be beyond the agent's share of a ledger of this size; one whose size
    /// is not known has no share that could be used up.
    pub(crate) fn is_over(
        &self,
        agent: &str,
        bytes: u64,
        now_us: u64,
        ledger: Option<u64>,
    ) -> bool {
        let since = (now_us / HOUR_US).saturating_sub(HOURS);
        let uses = self.0.get(agent).into_iter().flatten().filter(|(hour, _)| *hour >= since);
        let used = uses.fold(bytes, |sum, (_, bytes)| sum.saturating_add(*bytes));
        ledger.is_some_and(|ledger| used > ledger / SHARE)
    }
}

/// How a rule is named in the fact `counted`.
pub(crate) fn name(layer: &Layer, rule: &str) -> String {
    format!("{}/{}", layer.kind, rule.replace([' ', '='], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        let text = "policy: box\nversion: 1\notherwise: blocked\nrules:\n  - name: w\n    agents: \
                    [any]\n    effects: [write]\n    decision: autonomous\n    limits: { calls: \
                    2/minute, bytes: 10/hour, over: approval }\n";
        Set::new(policy::parse(text).unwrap(), Vec::new()).unwrap()
    }

    #[test]
    fn an_agent_has_its_share_of_the_ledger_within_a_day() {
        let mut shares = Shares::default();
        let over = |shares: &Shares, agent: &str, bytes: u64, hour: u64| {
            shares.is_over(agent, bytes, hour * HOUR_US, Some(200))
        };
        assert!(!over(&shares, "a", 100, 0) && over(&shares, "a", 101, 0));
        shares.count("a", 60, 0);
        shares.count("a", 30, HOUR_US);
        assert!(over(&shares, "a", 11, 2) && !over(&shares, "a", 10, 2));
        assert!(!over(&shares, "b", 100, 2), "another agent's is its own");
        assert!(over(&shares, "a", 11, 24) && !over(&shares, "a", 70, 25), "a day slides");
        assert!(!shares.is_over("a", u64::MAX, 0, None));
    }

    #[test]
    fn a_rate_slides_and_is_each_agents_own() {
        let mut counters = Counters::default();
        let used = |counters: &Counters, agent, bytes, seconds: u64| {
            !counters.exhausted(&set(), agent, bytes, seconds * 1_000_000).is_empty()
        };
        assert!(!used(&counters, "a", 10, 0));
        assert!(used(&counters, "a", 11, 0));
        counters.count("a", "box/w=1", 0);
        counters.count("a", "box/w=1", 30_000_000);
        assert!(used(&counters, "a", 1, 59));
        assert!(!used(&counters, "b", 1, 59));
        assert!(!used(&counters, "a", 8, 61));
        assert!(used(&counters, "a", 9, 61));
    }
}
