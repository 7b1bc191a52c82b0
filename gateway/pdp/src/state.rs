//! What pdp knows: a fold over the ledger and nothing else. [`State::apply`] takes every record in
//! order, at the start from the ledger's history and then as each becomes durable, so that a pdp that
//! starts again knows what the one before knew.

use crate::asks::Asks;
use crate::grants::Grants;
use crate::invariants::Invariants;
use crate::limits::{Counters, Shares};
use crate::network::Networks;
use crate::proposals::Proposals;
use crate::shadow::Shadow;
use crate::webhooks::Webhooks;
use acts::{ActError, Acts};
use contract::digits::unhex_array;
use contract::effect::{Effect, Field, Value};
use contract::perform::CallId;
use contract::{rings, webhook};
use ledger::{Digest, Envelope, Kind, Record};
use std::collections::{BTreeMap, VecDeque};

/// How many ended calls are remembered for their agents to ask about.
const ENDED_MAX: usize = 4_096;
/// The principal of the calls that the box makes itself, before its doors open.
pub(crate) const PRINCIPAL: &str = "boot";
/// Most texts of policy that are remembered; older ones lie in the ledger alone.
const TEXTS_MAX: usize = 256;
/// Most notices that wait to be acknowledged; older ones stay in the ledger alone.
const NOTICES_MAX: usize = 1_024;

/// An operator.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    /// Ed25519.
    pub(crate) key: [u8; 32],
    pub(crate) recipient: String,
}

/// An agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) disk_uid: u32,
    pub(crate) source: Option<String>,
    pub(crate) token: [u8; 32],
    pub(crate) paused: bool,
    pub(crate) revoked: bool,
    /// The call that makes its home, and whether it did.
    pub(crate) home: (CallId, bool),
    pub(crate) added_us: u64,
}

/// A call that waits for a person.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) agent: String,
    pub(crate) capability: String,
    pub(crate) effects: Vec<Effect>,
    pub(crate) digest: String,
    pub(crate) input: [u8; 32],
    pub(crate) place: String,
    pub(crate) decide_by_ms: u64,
    pub(crate) run_within_ms: u64,
    pub(crate) reason: String,
    pub(crate) asked_us: u64,
    /// Whether pieces of what its program writes are wanted while it runs.
    pub(crate) streams: bool,
    /// In this boot; those of an earlier one are over.
    pub(crate) of_this_boot: bool,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    Running,
    Pending,
    /// Refused by policy, by a person, or because nobody said yes in time; the fact's word for it.
    Not(String),
    /// How it ended, and where its answer lies if it was deferred.
    Ended(String, Option<String>),
}

/// A call, as its agent may ask about it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) agent: String,
    pub(crate) came: Came,
}

/// Something that a person is to know.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) call: CallId,
    pub(crate) text: String,
    pub(crate) wall_us: u64,
}

/// A text that was applied.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    /// Where it lies.
    pub(crate) place: String,
    pub(crate) operator: String,
    pub(crate) wall_us: u64,
}

/// The policy in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) digest: Digest,
    pub(crate) version: u64,
    /// Where its text lies; `None` for the one that the image offers.
    pub(crate) place: Option<String>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) length: u64,
    /// The latest wall time that a record has, in microseconds since 1970.
    pub(crate) wall_us: u64,
    /// The digest of the last record.
    last: Option<Digest>,
    pub(crate) operators: BTreeMap<String, Operator>,
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) stopped: bool,
    pub(crate) policy: Option<InForce>,
    /// The texts that were applied last.
    pub(crate) texts: VecDeque<Text>,
    /// What operators want of every text.
    pub(crate) invariants: Invariants,
    pub(crate) pending: BTreeMap<CallId, Pending>,
    pub(crate) calls: BTreeMap<CallId, Known>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) counters: Counters,
    pub(crate) grants: Grants,
    pub(crate) asks: Asks,
    pub(crate) shares: Shares,
    pub(crate) networks: Networks,
    pub(crate) shadow: Shadow,
    pub(crate) proposals: Proposals,
    pub(crate) webhooks: Webhooks,
    /// Requests that were refused before they were calls.
    pub(crate) refused: u64,
    /// How each ring of a cage was when it was last tried: the code of the call.
    pub(crate) rings: BTreeMap<String, String>,
    tries: BTreeMap<CallId, String>,
    acts: Acts,
    ended: VecDeque<CallId>,
    boot: [u8; 16],
}

impl State {
    /// Nothing yet; `boot` is the boot that runs.
    pub(crate) fn new(boot: [u8; 16]) -> Self {
        Self { boot, ..Self::default() }
    }

    /// What operators' acts say: who they are, their groups, whose yes calls wait for.
    pub(crate) const fn acts(&self) -> &Acts {
        &self.acts
    }

    /// The agent that has this token, if it may still call.
    pub(crate) fn by_token(&self, digest: &[u8; 32]) -> Option<(&String, &Agent)> {
        self.agents.iter().find(|(_, agent)| agent.token == *digest && !agent.revoked)
    }

    /// The disk user of the next new agent: never one that was used.
    pub(crate) fn next_disk_uid(&self) -> u32 {
        let last = self.agents.values().map(|agent| agent.disk_uid).max();
        last.unwrap_or(contract::uids::AGENTS) + 1
    }

    /// Whether a record follows the last one.
    pub(crate) fn is_next(&self, record: &Envelope) -> bool {
        record.sequence == self.length && record.previous == self.last.unwrap_or(Digest::NONE)
    }

    /// Takes the next record.
    ///
    /// An act that no operator signed is passed over: whoever forged it into the ledger got nothing.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), ActError> {
        let envelope = record.envelope();
        self.length = envelope.sequence + 1;
        self.wall_us = self.wall_us.max(envelope.wall_us);
        self.last = Some(record.digest());
        self.acts.take(envelope)?;
        let now = envelope.boot == self.boot;
        if now {
            self.try_of_ring(envelope);
        }
        match envelope.kind {
            Kind::Act => self.act(envelope),
            Kind::Policy => self.policy(envelope),
            Kind::Decision => {
                let length = u64::try_from(record.bytes().len()).unwrap_or(u64::MAX);
                self.decision(envelope, length, now);
            }
            Kind::Approval => self.approval(envelope),
            Kind::Outcome | Kind::Recovery => self.outcome(envelope),
            Kind::Refused => {
                let count = envelope.facts.get("count").and_then(|count| count.parse().ok());
                self.refused = self.refused.saturating_add(count.unwrap_or(0));
            }
            Kind::Boot
            | Kind::Started
            | Kind::SecretUse
            | Kind::Restart
            | Kind::ClockStep
            | Kind::Export => {}
        }
        Ok(())
    }

    /// What a ring came to that the boot or an operator tried; whatever this boot has not tried yet is
    /// not known. What agents try is theirs to know: one that is refused has no outcome to wait for.
    fn try_of_ring(&mut self, envelope: &Envelope) {
        let fact = |name: &str| envelope.facts.get(name).map(String::as_str).unwrap_or_default();
        let Some(call) = envelope.call else { return };
        match envelope.kind {
            Kind::Decision | Kind::Act
                if fact("capability") == rings::CAPABILITY
                    && (envelope.kind == Kind::Act || fact("agent") == PRINCIPAL) =>
            {
                let subject = envelope.effects.iter().find_map(|e| e.get(Field::Subject));
                if let Some(Value::Text(ring)) = subject {
                    self.tries.insert(call, ring.clone());
                }
            }
            Kind::Outcome | Kind::Recovery => {
                if let Some(ring) = self.tries.remove(&call) {
                    self.rings.insert(ring, fact("code").to_owned());
                }
            }
            _ => {}
        }
    }

    fn act(&mut self, envelope: &Envelope) {
        let fact = |name: &str| envelope.facts.get(name).map(String::as_str).unwrap_or_default();
        let name = fact("name").to_owned();
        match fact("act") {
            "pair" | "operator-add" => {
                if let Some(key) = unhex_array(fact("operator_key")) {
                    let recipient = fact("recipient").to_owned();
                    self.operators.insert(name, Operator { key, recipient });
                }
            }
            "operator-remove" => drop(self.operators.remove(&name)),
            "agent-add" => {
                let token = unhex_array(fact("token"));
                if let (Some(token), Ok(disk_uid), Some(call)) =
                    (token, fact("uid").parse(), envelope.call)
                {
                    let source = envelope.facts.get("source_range").cloned();
                    let (paused, revoked, home) = (false, false, (call, false));
                    let added_us = envelope.wall_us;
                    let agent = Agent { disk_uid, source, token, paused, revoked, home, added_us };
                    self.agents.insert(name, agent);
                }
            }
            "agent-rotate" => {
                if let (Some(agent), Some(token)) =
                    (self.agents.get_mut(&name), unhex_array(fact("token")))
                {
                    agent.token = token;
                }
            }
            "agent-pause" => self.change(&name, |agent| agent.paused = true),
            "agent-resume" => {
                self.change(&name, |agent| agent.paused = false);
                self.asks.resumed(&name);
            }
            "agent-revoke" => self.change(&name, |agent| agent.revoked = true),
            // those of an earlier boot are over
            "grant" if envelope.boot == self.boot => self.grants.made(envelope),
            "grant-revoke" => self.grants.revoked(fact("grant")),
            "policy-refuse" => self.proposals.refused(fact("proposal")),
            "policy-shadow" => self.shadow.begun(envelope),
            "policy-shadow-end" => self.shadow.end(),
            "invariant-add" => self.invariants.added(envelope),
            "invariant-remove" => self.invariants.removed(&name),
            "webhook-add" => self.webhooks.added(envelope),
            "webhook-remove" => self.webhooks.removed(&name),
            "webhook-test" => self.webhooks.tested(envelope),
            "stop" => self.stopped = true,
            "start" => self.stopped = false,
            "acknowledge" => self.notices.retain(|notice| Some(notice.call) != envelope.call),
            _ => {}
        }
    }

    fn change(&mut self, agent: &str, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.agents.get_mut(agent) {
            change(agent);
        }
    }

    fn policy(&mut self, envelope: &Envelope) {
        let version = envelope.facts.get("version").and_then(|version| version.parse().ok());
        if let (Some(digest), Some(version)) = (envelope.policy, version) {
            let place = envelope.facts.get("place.text").cloned();
            self.grants.end();
            self.shadow.end();
            self.proposals.superseded();
            self.texts.push_back(Text {
                version,
                digest,
                place: place.clone().unwrap_or_default(),
                operator: envelope.facts.get("operator").cloned().unwrap_or_default(),
                wall_us: envelope.wall_us,
            });
            if self.texts.len() > TEXTS_MAX {
                self.texts.pop_front();
            }
            self.policy = Some(InForce { digest, version, place });
        }
    }

    /// When a limit was used, in microseconds of this boot: what an earlier one used counts as used at the
    /// start of this one.
    fn at_us(&self, envelope: &Envelope) -> u64 {
        if envelope.boot == self.boot { envelope.boot_us } else { 0 }
    }

    fn decision(&mut self, envelope: &Envelope, length: u64, now: bool) {
        self.shadow.decided(envelope);
        self.proposals.take(envelope);
        let Some(call) = envelope.call else { return };
        self.webhooks.began(call, envelope);
        let fact = |name: &str| envelope.facts.get(name).cloned().unwrap_or_default();
        let number = |name: &str| fact(name).parse().unwrap_or(0);
        let agent = fact("agent");
        let at_us = self.at_us(envelope);
        let input_bytes: u64 = number("input_bytes");
        self.shares.count(&agent, input_bytes.saturating_add(length), at_us);
        let grant = envelope.facts.get("grant").map(String::as_str);
        self.grants.settle(call, grant);
        let came = match fact("answer").as_str() {
            // nobody was asked, since what it is about could not be shown
            "approval" if !fact("unseen").is_empty() => Came::Not("unseen".to_owned()),
            "approval" if grant.is_none() => Came::Pending,
            "blocked" => Came::Not(fact("reason")),
            answer => {
                if answer == "notify" {
                    let text = format!("{agent} called {}", fact("capability"));
                    self.notice(webhook::NOTIFIED, call, envelope, &text);
                }
                let came = begun(envelope);
                if now && came == Came::Running {
                    self.networks.began(&agent, call, &envelope.effects);
                }
                came
            }
        };
        let goes_on = came == Came::Running;
        self.counters.count(call, &agent, &fact("counted"), at_us, goes_on);
        if came == Came::Pending {
            let text = format!("{agent} asks for {}", fact("capability"));
            self.webhooks.tell(webhook::ASKED, call, &text, envelope.wall_us);
            if now {
                self.asks.asked(&agent, at_us);
            }
            let pending = Pending {
                agent: agent.clone(),
                capability: fact("capability"),
                effects: envelope.effects.clone(),
                digest: fact("digest"),
                input: unhex_array(&fact("input_digest")).unwrap_or_default(),
                place: fact("place.input"),
                decide_by_ms: number("decide_by_ms"),
                run_within_ms: number("run_within_ms"),
                reason: fact("reason"),
                asked_us: envelope.wall_us,
                streams: fact("streams") == "yes",
                of_this_boot: now,
            };
            self.pending.insert(call, pending);
        }
        self.remember(call, Known { agent, came });
    }

    fn approval(&mut self, envelope: &Envelope) {
        let Some(call) = envelope.call else { return };
        let fact = |name: &str| envelope.facts.get(name).cloned().unwrap_or_default();
        let verdict = fact("verdict");
        if verdict != "vote" {
            self.webhooks.settled(call);
        }
        match verdict.as_str() {
            // `acts` counts them
            "vote" => {}
            "accept" => {
                self.proposals.take(envelope);
                let came = begun(envelope);
                if let Some(pending) = self.pending.remove(&call) {
                    let (counted, at_us) = (fact("counted"), self.at_us(envelope));
                    let goes_on = came == Came::Running;
                    self.counters.count(call, &pending.agent, &counted, at_us, goes_on);
                    self.networks.began(&pending.agent, call, &pending.effects);
                }
                if let Some(known) = self.calls.get_mut(&call) {
                    known.came = came;
                }
            }
            verdict => {
                let pending = self.pending.remove(&call);
                if let Some(pending) = pending.filter(|_| verdict == "deny") {
                    self.denied(&pending.agent, call, envelope);
                }
                if let Some(known) = self.calls.get_mut(&call) {
                    known.came = Came::Not(verdict.to_owned());
                }
            }
        }
    }

    /// A person said no.
    fn denied(&mut self, agent: &str, call: CallId, envelope: &Envelope) {
        let now = envelope.boot == self.boot;
        if now && self.asks.denied(agent, envelope.boot_us) {
            self.change(agent, |agent| agent.paused = true);
            let text =
                format!("{agent} is paused: a person said no three times within ten minutes");
            self.notice(webhook::PAUSED, call, envelope, &text);
        }
    }

    fn outcome(&mut self, envelope: &Envelope) {
        let Some(call) = envelope.call else { return };
        let fact = |name: &str| envelope.facts.get(name).cloned();
        let code = fact("code").unwrap_or_default();
        for agent in self.agents.values_mut().filter(|agent| agent.home.0 == call) {
            agent.home.1 = code == "ok";
        }
        // what the box tells by itself it tells again
        let told = self.webhooks.ended(call, &code, self.at_us(envelope), envelope.wall_us);
        if envelope.kind == Kind::Recovery && !told {
            let text = "a call was cut off: it may have been performed or not".to_owned();
            self.notice(webhook::UNKNOWN, call, envelope, &text);
        }
        let wall_us = fact("wall_us").and_then(|wall_us| wall_us.parse().ok());
        self.counters.end(&call, wall_us.unwrap_or(0), self.at_us(envelope));
        if code == "secret_in_reply" {
            self.leaked(call, envelope);
        }
        let known = self.calls.get_mut(&call);
        let agent = known.as_ref().map(|known| known.agent.as_str());
        let dropped = fact("dropped_packets").and_then(|packets| packets.parse().ok());
        self.networks.ended(agent, call, dropped.unwrap_or(0));
        if let Some(known) = known {
            known.came = Came::Ended(code, fact("place.result"));
        }
    }

    /// A server gave back a secret that the call was lent: nothing more of its agent until a person has looked.
    fn leaked(&mut self, call: CallId, envelope: &Envelope) {
        let Some(agent) = self.calls.get(&call).map(|known| known.agent.clone()) else { return };
        self.change(&agent, |agent| agent.paused = true);
        let text = format!("{agent} is paused: a reply held a secret that its call was lent");
        self.notice(webhook::PAUSED, call, envelope, &text);
    }

    fn notice(&mut self, event: &'static str, call: CallId, envelope: &Envelope, text: &str) {
        self.webhooks.tell(event, call, text, envelope.wall_us);
        let effects: Vec<String> = envelope.effects.iter().map(ToString::to_string).collect();
        let text = if effects.is_empty() {
            text.to_owned()
        } else {
            format!("{text}: {}", effects.join("; "))
        };
        self.notices.push_back(Notice { call, text, wall_us: envelope.wall_us });
        if self.notices.len() > NOTICES_MAX {
            self.notices.pop_front();
        }
    }

    fn remember(&mut self, call: CallId, known: Known) {
        self.calls.insert(call, known);
        self.ended.push_back(call);
        while self.ended.len() > ENDED_MAX {
            if let Some(oldest) = self.ended.pop_front()
                && !self.pending.contains_key(&oldest)
            {
                self.calls.remove(&oldest);
            }
        }
    }
}

/// What has become of a call that was let through: one that pdp performed has ended with that record.
fn begun(record: &Envelope) -> Came {
    let fact = |name: &str| record.facts.get(name).cloned();
    match fact("performed_by") {
        Some(_) => Came::Ended(fact("code").unwrap_or_default(), None),
        None => Came::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Chain;
    use ledger::writer::Draft;

    fn next(chain: &mut Chain, count: &str) -> Record {
        let draft = Draft::new(Kind::Refused, &[("count", count)]);
        let envelope = draft.into_envelope([1; 16], 0, 0, BTreeMap::new());
        chain.append(envelope).unwrap().record().clone()
    }

    #[test]
    fn what_could_not_be_shown_waits_for_nobody() {
        let (mut chain, mut state) = (Chain::default(), State::new([1; 16]));
        for (call, unseen) in [(1, false), (2, true)] {
            let facts =
                [("agent", "a"), ("capability", "filesystem.delete@1"), ("answer", "approval")];
            let mut draft = Draft::new(Kind::Decision, &facts);
            draft.call = Some([call; 16]);
            if unseen {
                draft.facts.insert("unseen".to_owned(), "too_large".to_owned());
            }
            let envelope = draft.into_envelope([1; 16], 0, 0, BTreeMap::new());
            let record = chain.append(envelope).unwrap().record().clone();
            state.apply(&record).unwrap();
            assert_eq!(state.pending.contains_key(&[call; 16]), !unseen);
        }
        let came = state.calls.get(&[2; 16]).map(|known| known.came.clone());
        assert_eq!(came, Some(Came::Not("unseen".to_owned())));
    }

    #[test]
    fn only_the_record_that_follows_in_this_very_ledger_is_next() {
        let (mut ours, mut other) = (Chain::default(), Chain::default());
        let mut state = State::new([1; 16]);
        for count in ["1", "2"] {
            let record = next(&mut ours, count);
            assert!(state.is_next(record.envelope()));
            state.apply(&record).unwrap();
            assert!(!state.is_next(record.envelope()), "twice");
        }
        next(&mut other, "1");
        next(&mut other, "3");
        assert!(!state.is_next(next(&mut other, "4").envelope()), "of another ledger");
        let mut skipped = ours.clone();
        next(&mut ours, "5");
        assert!(!state.is_next(next(&mut ours, "6").envelope()), "one left out");
        assert!(state.is_next(next(&mut skipped, "5").envelope()));
        assert_eq!((state.length, state.refused), (2, 3));
    }
}
