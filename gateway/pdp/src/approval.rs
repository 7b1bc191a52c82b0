//! A person's yes or no: bound to the digest of what was seen, decided again under the policy that is
//! in force by then, performed at most once.

use crate::act::Stated;
use crate::asking::votes_of;
use crate::call::{Allowed, Asked, Permit, spec};
use crate::peers::AUDIT;
use crate::reach;
use crate::refusal::{Refusal, bad, not_found, say};
use crate::state::Pending;
use crate::{Pdp, Question, Then};
use acts::Part;
use capabilities::{Declaration, Performer};
use contract::digits::{hex, unhex_array};
use contract::door::Status;
use contract::effect::Effect;
use contract::perform::{CallId, Spec};
use contract::statement::Act;
use ledger::Kind;
use ledger::writer::{Draft, MESSAGES_VERSION, ToWriter, place_fact};
use policy::{Answer, Call, Facts};
use serde_json::{Value as Json, json};
use std::os::fd::OwnedFd;

/// A yes that waits for the call's input to be fetched.
#[derive(Debug)]
pub(crate) struct Yes {
    facts: Vec<(String, String)>,
    operator: String,
    pub(crate) door: &'static str,
    pub(crate) number: u64,
}

fn draft(call: CallId, verdict: &str, facts: &[(String, String)]) -> Draft {
    let mut draft = Draft::new(Kind::Approval, &[("verdict", verdict)]);
    draft.call = Some(call);
    draft.facts.extend(facts.iter().cloned());
    draft
}

impl Pdp {
    pub(crate) fn pending(&self, call: &str) -> Result<(CallId, Pending), Refusal> {
        let id = unhex_array::<16>(call).ok_or_else(|| bad("`call`: 32 hexadecimal digits"))?;
        match self.state.pending.get(&id) {
            Some(pending) => Ok((id, pending.clone())),
            None if self.state.calls.contains_key(&id) => {
                Err(Refusal::Conflict { message: "this call waits for nobody any more".to_owned() })
            }
            None => Err(not_found("call of this number")),
        }
    }

    /// What a person says of what waits for one.
    pub(crate) fn verdict(&mut self, stated: Stated, act: Act) -> Result<Option<String>, Refusal> {
        match act {
            Act::Accept { call, digest, reason } => {
                self.accept(stated, &call, &digest, reason.unwrap_or_default())
            }
            Act::Deny { call, reason } => self.deny(stated, &call, reason.unwrap_or_default()),
            Act::Grant { call, digest, scope, calls, seconds, reason: _ } => {
                self.grant(stated, (call, digest), scope, (calls, seconds))
            }
            Act::GrantRevoke { grant } => self.grant_revoke(stated, grant),
            _ => Err(bad("this is no verdict")),
        }
    }

    /// A call that waits, and whose end nobody is recording yet.
    fn undecided(&self, call: &str) -> Result<(CallId, Pending), Refusal> {
        let (id, pending) = self.pending(call)?;
        if self.waiting.contains_key(&id) || self.closing.contains(&id) {
            let message = "an answer to this is being recorded".to_owned();
            return Err(Refusal::Conflict { message });
        }
        Ok((id, pending))
    }

    /// Yes.
    fn accept(
        &mut self,
        stated: Stated,
        call: &str,
        digest: &str,
        reason: String,
    ) -> Result<Option<String>, Refusal> {
        let (id, pending) = self.undecided(call)?;
        if digest != pending.digest {
            let message = "the digest is not that of what waits; look at it again".to_owned();
            return Err(Refusal::Conflict { message });
        }
        let (missing, enough) = self.with_yes_of(&id, &stated.operator)?;
        let mut facts = stated.facts;
        facts.extend([("digest", digest.to_owned()), ("why", reason)].map(own));
        let (door, number, operator) = (stated.door, stated.number, stated.operator);
        let yes = Yes { facts, operator, door, number };
        if !enough {
            self.record(draft(id, "vote", &yes.facts), Vec::new(), None)?;
            let json = json!({ "call": call, "verdict": "vote", "votes": missing });
            self.wait_for(id, &yes, json.to_string());
            return Ok(None);
        }
        match self.held.remove(&id) {
            Some(input) => self.go_on(id, &yes, input)?,
            None => {
                let number = self.number();
                self.questions.insert(number, Question::Input(id, yes));
                let fetch = ToWriter::Fetch { number, place: pending.place };
                if !self.peers.post(AUDIT, &(MESSAGES_VERSION, fetch), Vec::new()) {
                    return Err(Refusal::Unavailable);
                }
            }
        }
        Ok(None)
    }

    /// What a call asks for once this operator has said yes, and whether that is all of it.
    fn with_yes_of(&self, call: &CallId, operator: &str) -> Result<(Json, bool), Refusal> {
        let conflict = |message: &str| Refusal::Conflict { message: message.to_owned() };
        let acts = self.state.acts();
        let votes = acts.votes(call).ok_or_else(|| conflict("this call waits for nobody"))?;
        if votes.has(operator) {
            return Err(conflict("your answer was taken already"));
        }
        if !votes.counts(acts.operators(), operator) {
            return Err(conflict(
                "your yes is none of those that it waits for; `krux approve show` says whose are",
            ));
        }
        let said = parts(&votes.parts(acts.operators(), Some(operator)));
        Ok((said, votes.suffice(acts.operators(), operator)))
    }

    /// The input that was fetched for a yes.
    pub(crate) fn input_is_here(&mut self, call: CallId, yes: &Yes, input: Option<OwnedFd>) {
        let (door, number) = (yes.door, yes.number);
        let missing = || Refusal::Conflict { message: "the call's input was erased".to_owned() };
        let done = input.ok_or_else(missing).and_then(|input| self.go_on(call, yes, input));
        if let Err(refusal) = done {
            say(&mut self.peers, door, number, refusal.status(), &refusal.json());
        }
    }

    /// Decides again under the policy in force, then releases.
    fn go_on(&mut self, call: CallId, yes: &Yes, input: OwnedFd) -> Result<(), Refusal> {
        // the input may have been fetched meanwhile, and somebody else was quicker, or somebody who said yes is
        // no operator any more
        let (_, pending) = self.undecided(&hex(&call))?;
        self.operators_stay()?;
        let enough = self.with_yes_of(&call, &yes.operator)?.1;
        if !enough {
            let message = "not all whose yes it waits for are operators any more".to_owned();
            return Err(Refusal::Conflict { message });
        }
        let (declaration, effects, digest) = crate::call::lower(&pending.capability, &input)?;
        let agent = self.state.agents.get(&pending.agent).filter(|agent| !agent.revoked).cloned();
        let set = &self.applied.set;
        let (capability, version) = (declaration.name, declaration.version);
        let asked_by = Call { agent: &pending.agent, capability, version };
        let bytes = crate::call::bytes_of(&effects);
        let exhausted = self.used_up(&asked_by, &effects, bytes);
        let facts = Facts { exhausted };
        let mut decision = set.decide(&asked_by, &effects, &facts);
        let reach = if reach::is_asked(declaration) {
            reach::through(set, (&asked_by, &facts), &effects, &mut decision, None).1
        } else {
            Ok(Vec::new())
        };
        let counted = crate::call::counted(set.set(), &pending.agent, &decision, bytes);
        // another policy may ask for more yeses than there are
        let now = votes_of(set.set(), &pending.agent, &decision);
        let acts = self.state.acts();
        let votes = acts.votes(&call).map(|votes| votes.under(now));
        let enough = votes.is_some_and(|it| it.suffice(acts.operators(), &yes.operator));
        let seen: Vec<Effect> = pending.effects.iter().map(Effect::bare).collect();
        let same = digest == pending.input && effects == seen && enough;
        let allowed = Allowed::by(&decision, Answer::Approval).filter(|_| same);
        let (Some(agent), Some(allowed)) = (agent, allowed) else {
            let mut stale = draft(call, "stale", &yes.facts);
            reach::explain(&mut stale, &reach);
            self.record(stale, Vec::new(), None)?;
            let what = "the policy or the agent is not what it was; nothing was done".to_owned();
            let message = match reach {
                Ok(_) => what,
                Err(why) => format!("{what}: {why}"),
            };
            let json = json!({ "call": hex(&call), "verdict": "stale", "message": message });
            self.wait_for(call, yes, json.to_string());
            return Ok(());
        };
        if declaration.performer == Performer::Pdp {
            let added_us = agent.added_us;
            return self.accepted_here(
                call,
                yes,
                &pending,
                (declaration, added_us, counted),
                &input,
            );
        }
        let answer = channel::sealed::empty().map_err(|_error| Refusal::Unavailable)?;
        // with what must be there, which the cage sees to
        let effects = pending.effects.clone();
        let asked = Asked { agent: &pending.agent, declaration, effects, digest };
        let spec = spec(call, &asked, &pending.agent, agent.disk_uid);
        let spec = Spec { streams: pending.streams, reach: reach.unwrap_or_default(), ..spec };
        let read = pending.streams.then(|| answer.try_clone()).transpose();
        let read = read.map_err(|_error| Refusal::Unavailable)?;
        let performer = declaration.performer.service().ok_or(Refusal::NotThere)?;
        let permit = Permit::new(allowed, spec, performer, [input, answer]);
        let permit = permit.deferred(pending.run_within_ms);
        let mut accepted = draft(call, "accept", &yes.facts);
        accepted.facts.insert("counted".to_owned(), counted.clone());
        self.record(accepted, Vec::new(), Some(permit))?;
        self.state.counters.expect(call, &pending.agent, &counted);
        self.streams.extend(read.map(|answer| (call, answer)));
        let json = json!({ "call": hex(&call), "verdict": "accept" });
        self.wait_for(call, yes, json.to_string());
        Ok(())
    }

    /// A call that pdp performs itself ends with the record of the yes.
    fn accepted_here(
        &mut self,
        call: CallId,
        yes: &Yes,
        pending: &Pending,
        (declaration, added_us, counted): (&Declaration, u64, String),
        input: &OwnedFd,
    ) -> Result<(), Refusal> {
        let mut accepted = draft(call, "accept", &yes.facts);
        let who = (pending.agent.as_str(), added_us);
        let (status, said) = self.perform_here(&mut accepted, call, declaration, who, input);
        let of = [
            ("agent", pending.agent.clone()),
            ("capability", declaration.id()),
            (&place_fact("input"), pending.place.clone()),
            ("counted", counted.clone()),
        ];
        accepted.facts.extend(of.map(own));
        self.record(accepted, Vec::new(), None)?;
        self.state.counters.expect(call, &pending.agent, &counted);
        let json = match status {
            Status::Ok => json!({ "call": hex(&call), "verdict": "accept" }).to_string(),
            _ => said,
        };
        self.await_call(call, yes.door, yes.number, Then::Say(status, json));
        Ok(())
    }

    /// No.
    fn deny(
        &mut self,
        stated: Stated,
        call: &str,
        reason: String,
    ) -> Result<Option<String>, Refusal> {
        let (id, _) = self.undecided(call)?;
        let mut facts = stated.facts;
        facts.push(own(("why", reason)));
        let (door, number, operator) = (stated.door, stated.number, stated.operator);
        let yes = Yes { facts, operator, door, number };
        self.record(draft(id, "deny", &yes.facts), Vec::new(), None)?;
        self.held.remove(&id);
        self.wait_for(id, &yes, json!({ "call": call, "verdict": "deny" }).to_string());
        Ok(None)
    }

    fn wait_for(&mut self, call: CallId, yes: &Yes, json: String) {
        self.await_call(call, yes.door, yes.number, Then::Say(Status::Ok, json));
    }

    /// Ends what nobody decided in time.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        let over = |pending: &Pending| now_ms > pending.decide_by_ms && pending.of_this_boot;
        self.close(over, "expired");
    }

    /// Ends what an earlier boot asked: its questions died with it.
    pub(crate) fn end_earlier_questions(&mut self) {
        self.close(|pending| !pending.of_this_boot, "rebooted");
    }

    fn close(&mut self, over: impl Fn(&Pending) -> bool, verdict: &str) {
        let pending = &self.state.pending;
        self.closing.retain(|call| pending.contains_key(call));
        let over = pending.iter().filter(|(call, pending)| {
            over(pending) && !self.closing.contains(*call) && !self.waiting.contains_key(*call)
        });
        for call in over.map(|(call, _)| *call).collect::<Vec<CallId>>() {
            // the ledger says when; what cannot be recorded now is tried again in a second
            if self.record(draft(call, verdict, &[]), Vec::new(), None).is_ok() {
                self.held.remove(&call);
                self.closing.insert(call);
            }
        }
    }
}

/// What a call asks for, part by part: how many, of which group, who said yes and who may yet.
pub(crate) fn parts(parts: &[Part<'_>]) -> Json {
    let one = |part: &Part<'_>| json!({ "of": part.group, "votes": part.votes, "have": part.have, "may": part.may });
    parts.iter().map(one).collect()
}

fn own((name, value): (&str, String)) -> (String, String) {
    (name.to_owned(), value)
}
