//! Counters of the limits that last across calls: how often, how much and for how long each rule let
//! through, and what of it is under way, on the boot clock. They are folded from recorded decisions and
//! their ends; what is let through counts before its record is there.

use contract::perform::CallId;
use policy::{LayerKind, Limits, Rate, Set};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most uses that one counter remembers; with more in a limit's time it says that it is used up.
const USES_MAX: usize = 100_000;

/// Uses of one rule: when, how many bytes, and the microseconds that calls took, known at their end.
#[derive(Debug, Default)]
struct Uses {
    let_through: VecDeque<(u64, u64)>,
    took: VecDeque<(u64, u64)>,
}

/// A call that was counted and has not ended.
#[derive(Debug, Clone)]
struct UnderWay {
    agent: String,
    /// The fact `counted` of its decision.
    counted: String,
    /// Whether the ledger has it: until then it is counted nowhere else.
    recorded: bool,
}

/// By agent, layer and rule; and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    uses: BTreeMap<(String, String), Uses>,
    under_way: BTreeMap<CallId, UnderWay>,
}

/// The rules and bytes of a fact `counted`: `layer/rule=bytes`, separated by blanks.
fn counted(fact: &str) -> impl Iterator<Item = (&str, u64)> {
    let uses = fact.split(' ').filter_map(|one| one.rsplit_once('='));
    uses.map(|(rule, bytes)| (rule, bytes.parse().unwrap_or(u64::MAX)))
}

impl Counters {
    /// A call was let through, and its record is on its way: it counts from now on, or two that come at
    /// once would both be the last.
    pub(crate) fn expect(&mut self, call: CallId, agent: &str, fact: &str) {
        self.take(call, agent, fact, false);
    }

    /// Its record was not made.
    pub(crate) fn forget(&mut self, call: &CallId) {
        self.under_way.remove(call);
    }

    /// No record that is not here will be: another audit begins.
    pub(crate) fn forget_unrecorded(&mut self) {
        self.under_way.retain(|_, call| call.recorded);
    }

    fn take(&mut self, call: CallId, agent: &str, fact: &str, recorded: bool) {
        if !fact.is_empty() {
            let (agent, counted) = (agent.to_owned(), fact.to_owned());
            self.under_way.insert(call, UnderWay { agent, counted, recorded });
        }
    }

    /// Takes the fact `counted` of a call that the ledger has; `goes_on` unless its record says how it
    /// ended.
    pub(crate) fn count(
        &mut self,
        call: CallId,
        agent: &str,
        fact: &str,
        at_us: u64,
        goes_on: bool,
    ) {
        self.forget(&call);
        if goes_on {
            self.take(call, agent, fact, true);
        }
        for (rule, bytes) in counted(fact) {
            let uses = self.uses.entry((agent.to_owned(), rule.to_owned())).or_default();
            push(&mut uses.let_through, (at_us, bytes));
        }
    }

    /// Takes the end of a call and how long it took.
    pub(crate) fn end(&mut self, call: &CallId, wall_us: u64, at_us: u64) {
        let Some(UnderWay { agent, counted: fact, .. }) = self.under_way.remove(call) else {
            return;
        };
        for (rule, _) in counted(&fact) {
            let uses = self.uses.entry((agent.clone(), rule.to_owned())).or_default();
            push(&mut uses.took, (at_us, wall_us));
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
                if self.is_over(limits, agent, &layer.rule_name(&rule.name), bytes, now_us) {
                    found.insert((layer.kind.clone(), rule.name.clone()));
                }
            }
        }
        found
    }

    fn is_over(&self, limits: &Limits, agent: &str, rule: &str, bytes: u64, now_us: u64) -> bool {
        let of_agent = self.under_way.values().filter(|call| call.agent == agent);
        let of_rule = |call: &&UnderWay| counted(&call.counted).any(|(of, _)| of == rule);
        let under_way: Vec<&UnderWay> = of_agent.filter(of_rule).collect();
        let expected = under_way.iter().filter(|call| !call.recorded).flat_map(|call| {
            counted(&call.counted).filter(|(of, _)| *of == rule).map(|(_, bytes)| (now_us, bytes))
        });
        let expected: Vec<(u64, u64)> = expected.collect();
        let none = Uses::default();
        let uses = self.uses.get(&(agent.to_owned(), rule.to_owned())).unwrap_or(&none);
        let let_through = |rate: &Rate| {
            let (count, sum) = within(&uses.let_through, rate, now_us);
            let more = expected.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
            (count.saturating_add(size(expected.len())), sum.saturating_add(more))
        };
        let calls = limits.calls.as_ref().is_some_and(|rate| let_through(rate).0 >= rate.amount);
        let amount = limits
            .bytes
            .as_ref()
            .is_some_and(|rate| let_through(rate).1.saturating_add(bytes) > rate.amount);
        let seconds = limits.seconds.as_ref().is_some_and(|rate| {
            within(&uses.took, rate, now_us).1 >= rate.amount.saturating_mul(1_000_000)
        });
        let concurrent =
            limits.concurrent.is_some_and(|most| size(under_way.len()) >= u64::from(most));
        let forgot = |uses: &VecDeque<(u64, u64)>, rate: &Option<Rate>| {
            let oldest = uses.front().filter(|_| uses.len() >= USES_MAX);
            oldest.zip(rate.as_ref()).is_some_and(|((at, _), rate)| *at >= since(rate, now_us))
        };
        let forgotten = forgot(&uses.let_through, &limits.calls)
            || forgot(&uses.let_through, &limits.bytes)
            || forgot(&uses.took, &limits.seconds);
        calls || amount || seconds || concurrent || forgotten
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn push(uses: &mut VecDeque<(u64, u64)>, one: (u64, u64)) {
    uses.push_back(one);
    if uses.len() > USES_MAX {
        uses.pop_front();
    }
}

/// When the period of a rate began that ends now.
const fn since(rate: &Rate, now_us: u64) -> u64 {
    now_us.saturating_sub(rate.seconds.saturating_mul(1_000_000))
}

/// How many uses the period of a rate holds that ends now, and their sum.
fn within(uses: &VecDeque<(u64, u64)>, rate: &Rate, now_us: u64) -> (u64, u64) {
    let since = since(rate, now_us);
    let uses = uses.iter().rev().take_while(|(at, _)| *at >= since);
    uses.fold((0, 0), |(count, sum): (u64, u64), (_, amount)| {
        (count.saturating_add(1), sum.saturating_add(*amount))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A set whose one rule has these limits.
    fn set(limits: &str) -> Set {
        let text = format!(
            "policy: box\nversion: 1\notherwise: blocked\nrules:\n  - {{ name: w, agents: [any], \
             effects: [write], decision: autonomous, limits: {{ {limits}, over: approval }} }}\n"
        );
        Set::new(policy::parse(&text).unwrap(), Vec::new()).unwrap()
    }

    const SECOND_US: u64 = 1_000_000;

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
        let set = set("calls: 2/minute, bytes: 10/hour");
        let used = |counters: &Counters, agent, bytes, seconds: u64| {
            !counters.exhausted(&set, agent, bytes, seconds * SECOND_US).is_empty()
        };
        assert!(!used(&counters, "a", 10, 0));
        assert!(used(&counters, "a", 11, 0));
        counters.count([1; 16], "a", "box/w=1", 0, false);
        counters.count([2; 16], "a", "box/w=1", 30 * SECOND_US, false);
        assert!(used(&counters, "a", 1, 59));
        assert!(!used(&counters, "b", 1, 59));
        assert!(!used(&counters, "a", 8, 61));
        assert!(used(&counters, "a", 9, 61));
    }

    #[test]
    fn uses_that_are_forgotten_count_while_they_may_lie_within_the_period() {
        let mut counters = Counters::default();
        let set = set("calls: 1000000/minute, concurrent: 9");
        let used = |counters: &Counters, seconds: u64| {
            !counters.exhausted(&set, "a", 0, seconds * SECOND_US).is_empty()
        };
        for _ in 1..USES_MAX {
            counters.count([1; 16], "a", "box/w=0", 30 * SECOND_US, false);
        }
        assert!(!used(&counters, 30), "each is remembered");
        counters.count([1; 16], "a", "box/w=0", 30 * SECOND_US, false);
        assert!(used(&counters, 30) && used(&counters, 90), "more may have been there");
        assert!(!used(&counters, 91), "whatever was forgotten is older than a minute");
    }

    #[test]
    fn what_is_let_through_counts_before_its_record_is_there() {
        let mut counters = Counters::default();
        let set = set("calls: 2/minute, bytes: 10/hour");
        let used = |counters: &Counters, bytes| !counters.exhausted(&set, "a", bytes, 0).is_empty();
        counters.expect([1; 16], "a", "box/w=6");
        assert!(used(&counters, 5) && !used(&counters, 4), "its bytes");
        counters.expect([2; 16], "a", "box/w=1");
        assert!(used(&counters, 0), "its call");
        counters.forget(&[2; 16]);
        assert!(!used(&counters, 4), "what was not recorded was not let through");
        counters.count([1; 16], "a", "box/w=6", 0, true);
        assert!(used(&counters, 5) && !used(&counters, 4), "once, when it is recorded");
    }

    #[test]
    fn calls_under_way_are_bounded_until_they_end_and_their_seconds_count_then() {
        let mut counters = Counters::default();
        let set = set("concurrent: 2, seconds: 10/minute");
        let used = |counters: &Counters, agent, seconds: u64| {
            !counters.exhausted(&set, agent, 0, seconds * SECOND_US).is_empty()
        };
        counters.count([1; 16], "a", "box/w=0", 0, true);
        assert!(!used(&counters, "a", 0), "one");
        counters.expect([2; 16], "a", "box/w=0");
        assert!(used(&counters, "a", 0) && !used(&counters, "b", 0), "two");
        counters.count([2; 16], "a", "box/w=0", 0, true);
        assert!(used(&counters, "a", 0), "still two");
        counters.end(&[2; 16], 9 * SECOND_US, 9 * SECOND_US);
        assert!(!used(&counters, "a", 9), "nine seconds of ten");
        counters.end(&[1; 16], SECOND_US, 10 * SECOND_US);
        assert!(used(&counters, "a", 10) && used(&counters, "a", 69), "ten");
        assert!(!used(&counters, "a", 70), "they slide");
        counters.end(&[1; 16], 60 * SECOND_US, 70 * SECOND_US);
        assert!(!used(&counters, "a", 70), "a call ends once");
        counters.count([3; 16], "a", "box/w=0", 0, false);
        counters.count([4; 16], "a", "box/w=0", 0, false);
        assert!(!used(&counters, "a", 70), "these ended with their record");
    }
}
