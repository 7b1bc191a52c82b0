//! Asking a person. What a call deletes, moves or overwrites is looked at first, by calls of the same
//! agent that only read, each decided and recorded like any other; what they found is part of what the
//! person sees and says yes to. One that is refused, or that cannot tell, refuses the call.

use crate::call::{Allowed, Asked, Decided, Permit, most, spec};
use crate::refusal::{Refusal, say};
use crate::{Pdp, Then, Waiting};
use acts::Votes;
use capabilities::{Declaration, look};
use contract::digits::hex;
use contract::door::Status;
use contract::effect::Effect;
use contract::perform::CallId;
use ledger::writer::Draft;
use linux::clock::boot_ms;
use policy::{Answer, Decision, Set};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// Longest input of a call that waits which is held in memory as well as in the ledger.
const HELD_INPUT_BYTES_MAX: u64 = 64 << 10;
/// How long a person has, and the call afterwards, when the rule does not say.
const DECIDE_WITHIN_S: u64 = 1_800;
const RUN_WITHIN_S: u64 = 300;
/// Longest answer of a look.
const LOOK_BYTES_MAX: u64 = 64 << 10;

/// A call for which a person is to be asked.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) door: &'static str,
    pub(crate) number: u64,
    pub(crate) call: CallId,
    pub(crate) agent: String,
    pub(crate) disk_uid: u32,
    pub(crate) source: String,
    pub(crate) declaration: &'static Declaration,
    pub(crate) effects: Vec<Effect>,
    pub(crate) input_digest: [u8; 32],
    pub(crate) input: OwnedFd,
    pub(crate) input_bytes: u64,
    pub(crate) decision: Decision,
    pub(crate) draft: Draft,
    /// Effects that are still to be looked at.
    pub(crate) looks: VecDeque<usize>,
}

/// A look that is under way: at which effect, where its answer is written, and for whom.
#[derive(Debug)]
pub(crate) struct Look {
    at: usize,
    answer: OwnedFd,
    asking: Asking,
}

impl Pdp {
    /// How many calls of an agent are about to wait for a person.
    fn asking(&self, agent: &str) -> usize {
        let asks = |waiting: &&Waiting| {
            let asks = matches!(waiting.then, Then::Say(Status::Pending, _) | Then::Look(_));
            asks && waiting.agent == agent
        };
        self.waiting.values().filter(asks).count()
    }

    /// Whether this agent may ask a person now.
    pub(crate) fn may_ask(&self, agent: &str) -> Result<(), Refusal> {
        self.state.may_ask(agent, self.asking(agent), linux::clock::boot_us())
    }

    /// Looks at what is still to be looked at, then asks.
    pub(crate) fn look_and_ask(&mut self, mut asking: Asking) -> Result<(), Refusal> {
        if asking.draft.policy != Some(self.applied.digest) {
            // what was decided is not what is in force
            return Err(Refusal::Unavailable);
        }
        match asking.looks.pop_front() {
            Some(at) => self.look(at, asking),
            None => self.ask_person(asking),
        }
    }

    /// Calls for the agent what looks at one effect.
    fn look(&mut self, at: usize, asking: Asking) -> Result<(), Refusal> {
        let effect = asking.effects.get(at).ok_or(Refusal::Unavailable)?;
        let (capability, input) = look::at(effect).ok_or(Refusal::Unavailable)?;
        let copy = || channel::sealed::holding(input.to_string().as_bytes());
        let (input, kept) = (copy(), copy());
        let (Ok(input), Ok(kept)) = (input, kept) else { return Err(Refusal::Unavailable) };
        let (declaration, effects, digest) = crate::call::lower(capability, &input)?;
        let call = self.random_call()?;
        let (agent, disk_uid) = (asking.agent.clone(), asking.disk_uid);
        let asked = Asked { agent: &agent, declaration, effects, digest };
        let known = self.state.agents.get(&agent);
        let held = self.state.stopped || known.is_none_or(|known| known.paused || known.revoked);
        let decided = self.decide(&asked, held);
        let mut draft = self.draft(call, &asked, &decided, &asking.source);
        draft.facts.insert("looks_for".to_owned(), hex(&asking.call));
        let Decided { decision, counted, grant, .. } = decided;
        let Some(allowed) = Allowed::by(&decision, most(grant)) else {
            let why = match decision.answer {
                Answer::Blocked if held => ("reason", "held"),
                Answer::Blocked => ("reason", "denied"),
                // nobody is asked whether somebody may be asked
                _ => ("unseen", "asks"),
            };
            draft.facts.insert(why.0.to_owned(), why.1.to_owned());
            self.record(draft, vec![("input", false, kept)], None)?;
            let rules = Refusal::denied(call, &decision, held).message();
            let what = asked.effects.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return self.unseen(asking, "denied", format!("{what} is not allowed: {rules}"));
        };
        let performer = declaration.performer.service().ok_or(Refusal::NotThere)?;
        let answer = channel::sealed::empty().map_err(|_error| Refusal::Unavailable)?;
        let write = answer.try_clone().map_err(|_error| Refusal::Unavailable)?;
        let spec = spec(call, &asked, &agent, disk_uid);
        let permit = Permit::new(allowed, spec, performer, [input, write]);
        self.record(draft, vec![("input", false, kept)], Some(permit))?;
        self.state.counters.expect(call, &agent, &counted);
        if let Some(grant) = grant {
            self.state.grants.expect(call, grant);
        }
        let (door, number) = (asking.door, asking.number);
        let then = Then::Look(Box::new(Look { at, answer, asking }));
        self.waiting.insert(call, Waiting { door, number, agent, then });
        Ok(())
    }

    /// A look ended.
    pub(crate) fn looked(&mut self, look: Look, code: &str) {
        let Look { at, answer, mut asking } = look;
        let (door, number, source) = (asking.door, asking.number, asking.source.clone());
        let found = asking.effects.get(at).and_then(|effect| {
            let found = look::found(effect, code, &said(&answer))?;
            Some(effect.clone().expecting(found))
        });
        let done = match (found, asking.effects.get_mut(at)) {
            (Some(found), Some(effect)) => {
                *effect = found;
                self.look_and_ask(asking)
            }
            (None, Some(effect)) => {
                let what = format!("looking at what it is about, {effect}, ended as {code}");
                self.unseen(asking, code, what)
            }
            (_, None) => Err(Refusal::Unavailable),
        };
        if let Err(refusal) = done {
            self.count_refusal(&source, refusal.code(), 1);
            say(&mut self.peers, door, number, refusal.status(), &refusal.json());
        }
    }

    /// Ends a call of which nobody could be shown what it does.
    fn unseen(&mut self, asking: Asking, code: &str, message: String) -> Result<(), Refusal> {
        let Asking { door, number, call, agent, mut draft, input, .. } = asking;
        draft.facts.insert("unseen".to_owned(), code.to_owned());
        self.record(draft, vec![("input", false, input)], None)?;
        let refusal = Refusal::Unseen { call, message };
        let then = Then::Say(refusal.status(), refusal.json());
        self.waiting.insert(call, Waiting { door, number, agent, then });
        Ok(())
    }

    /// Asks a person.
    fn ask_person(&mut self, mut asking: Asking) -> Result<(), Refusal> {
        let digest = self.question(&mut asking);
        let Asking { door, number, call, agent, effects, mut draft, input, input_bytes, .. } =
            asking;
        draft.effects = effects;
        let json = json!({ "status": "pending", "call": hex(&call), "digest": digest,
            "next": "an operator decides; ask again with the call's number" });
        // a long one lies in the ledger alone until somebody says yes
        let small = input_bytes <= HELD_INPUT_BYTES_MAX;
        let held = small.then(|| input.try_clone()).transpose();
        let held = held.map_err(|_error| Refusal::Unavailable)?;
        self.record(draft, vec![("input", true, input)], None)?;
        self.held.extend(held.map(|input| (call, input)));
        let then = Then::Say(Status::Pending, json.to_string());
        self.waiting.insert(call, Waiting { door, number, agent, then });
        Ok(())
    }

    /// The facts of a question to a person; returns its digest, which binds what is seen.
    fn question(&self, asking: &mut Asking) -> String {
        let Asking { call, agent, declaration, effects, input_digest, decision, draft, .. } =
            asking;
        let (mut decide_s, mut run_s) = (DECIDE_WITHIN_S, RUN_WITHIN_S);
        let votes = votes_of(self.applied.set.set(), agent, decision);
        let mut reasons = Vec::new();
        for (layer, rule) in self.applied.set.set().speaking(agent, decision) {
            reasons.extend(rule.reason.clone());
            if let Some(approval) = &rule.approval {
                decide_s = decide_s.min(approval.decide_within.map_or(decide_s, |span| span.0));
                run_s = run_s.min(approval.run_within.map_or(run_s, |span| span.0));
            }
            draft.facts.insert("rule".to_owned(), layer.rule_name(&rule.name));
        }
        let digest = acts::digest_of_shown(call, agent, &declaration.id(), effects, input_digest);
        // what cannot be encoded has no digest that anybody could sign
        let digest = digest.unwrap_or_default();
        let decide_by_ms = boot_ms() + decide_s.saturating_mul(1_000);
        let facts = [
            ("digest", digest.clone()),
            ("reason", reasons.join("; ")),
            ("decide_by_ms", decide_by_ms.to_string()),
            ("run_within_ms", run_s.saturating_mul(1_000).to_string()),
        ];
        let facts = facts.into_iter().chain(votes.facts());
        draft.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
        digest
    }
}

/// Whose yes the rules ask for that spoke.
pub(crate) fn votes_of(set: &Set, agent: &str, decision: &Decision) -> Votes {
    let mut votes = Votes::default();
    for (_, rule) in set.speaking(agent, decision) {
        let of = rule.approval.as_ref();
        votes.ask(of.and_then(|it| it.votes).unwrap_or(1), of.and_then(|it| it.of.as_deref()));
    }
    votes
}

/// The answer of a look; it ended, and nothing is written to it any more.
fn said(answer: &OwnedFd) -> Json {
    let bytes =
        channel::sealed::seal(answer).and_then(|()| channel::sealed::read(answer, LOOK_BYTES_MAX));
    bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
