//! Shadow mode: a candidate decides beside the policy in force, and what it would answer otherwise is counted.
//! It changes no answer. What is known of it is folded from the ledger: the act that began it, its answer in the
//! record of each call that it decided too, its end. Another policy in force ends it; a boot does not.

use crate::Pdp;
use crate::act::{Stated, act_draft};
use crate::call::bytes_of;
use crate::limits::Counters;
use crate::peers::AUDIT;
use crate::refusal::{Refusal, not_found};
use crate::set::Applied;
use crate::{Question, Then};
use contract::digits::{hex, unhex_array};
use contract::door::Status;
use contract::effect::Effect;
use contract::perform::CallId;
use ledger::writer::{Draft, MESSAGES_VERSION, ToWriter};
use ledger::{Digest, Envelope};
use policy::{Answer, Call, Compiled, Facts, LayerKind};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

/// Most kinds of difference that are told apart; calls of further ones are counted as one number.
const KINDS_MAX: usize = 128;
/// The fact of a decision that says what the candidate answers.
const ANSWER: &str = "shadow";
/// The fact that says which candidate: the digest of its text.
const CANDIDATE: &str = "shadow_policy";

/// What a candidate answers to a call, as facts of the record; empty without one.
pub(crate) type Beside = Vec<(String, String)>;

/// A candidate and what it came to, as the ledger has it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Of its text.
    pub(crate) digest: Digest,
    /// Where its text lies.
    place: String,
    operator: String,
    wall_us: u64,
    /// The number of the record that began it.
    record: u64,
    /// Calls that it decided too.
    decided: u64,
    /// How many, and the last, by agent, capability, answer and the candidate's answer.
    kinds: BTreeMap<[String; 4], (u64, CallId)>,
    /// Calls of kinds beyond [`KINDS_MAX`].
    beyond: u64,
}

/// The candidate, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Shadow(Option<Candidate>);

impl Shadow {
    /// Takes the act that begins it.
    pub(crate) fn begun(&mut self, record: &Envelope) {
        let fact = |name: &str| record.facts.get(name).cloned().unwrap_or_default();
        let Some(digest) = unhex_array(&fact("candidate")) else { return };
        self.0 = Some(Candidate {
            digest: Digest(digest),
            place: fact("place.text"),
            operator: fact("operator"),
            wall_us: record.wall_us,
            record: record.sequence,
            decided: 0,
            kinds: BTreeMap::new(),
            beyond: 0,
        });
    }

    /// It is over.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }

    /// The candidate.
    pub(crate) const fn candidate(&self) -> Option<&Candidate> {
        self.0.as_ref()
    }

    /// Takes a decision: one that this candidate decided too counts.
    pub(crate) fn decided(&mut self, record: &Envelope) {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let (Some(one), Some(call)) = (&mut self.0, record.call) else { return };
        // one of before may still have decided a call whose record comes after the act
        if unhex_array(fact(CANDIDATE)) != Some(one.digest.0) {
            return;
        }
        one.decided = one.decided.saturating_add(1);
        let (answer, candidates) = (fact("answer"), fact(ANSWER));
        if answer == candidates {
            return;
        }
        let kind = [fact("agent"), fact("capability"), answer, candidates].map(str::to_owned);
        if one.kinds.len() >= KINDS_MAX && !one.kinds.contains_key(&kind) {
            one.beyond = one.beyond.saturating_add(1);
            return;
        }
        let (calls, last) = one.kinds.entry(kind).or_insert((0, call));
        *calls = calls.saturating_add(1);
        *last = call;
    }
}

impl Candidate {
    /// How many calls it would have answered otherwise.
    fn other(&self) -> u64 {
        self.kinds.values().fold(self.beyond, |sum, (calls, _)| sum.saturating_add(*calls))
    }

    /// What a status says of it.
    pub(crate) fn brief(&self) -> Json {
        json!({ "digest": self.digest.to_string(), "decided": self.decided, "other": self.other() })
    }

    /// All of it; `decides` says whether its text is here.
    fn said(&self, decides: bool) -> Json {
        let kinds: Vec<Json> = self
            .kinds
            .iter()
            .map(|([agent, capability, answer, candidates], (calls, last))| {
                json!({ "agent": agent, "capability": capability, "answer": answer,
                    "candidate": candidates, "calls": calls, "last": hex(last) })
            })
            .collect();
        json!({ "digest": self.digest.to_string(), "operator": self.operator,
            "wall_us": self.wall_us, "record": self.record, "decides": decides,
            "decided": self.decided, "other": self.other(), "kinds": kinds,
            "beyond": self.beyond })
    }
}

/// What a candidate answers to a call while these of its windows of time are closed. Limits that last are its own
/// rules': used up as far as calls were counted under the same layer and name.
fn answer(
    candidate: &Compiled,
    counters: &Counters,
    (call, effects, by_service): (&Call<'_>, &[Effect], bool),
    closed: BTreeSet<(LayerKind, String)>,
    now_us: u64,
) -> Answer {
    let (agent, bytes) = (call.agent, bytes_of(effects));
    let mut exhausted = counters.exhausted(candidate.set(), agent, bytes, now_us);
    exhausted.extend(closed);
    let facts = Facts { exhausted };
    let decision = match by_service {
        // as the policy in force decides such a call
        true => candidate.decide_reaching(call, effects, &facts),
        false => candidate.decide(call, effects, &facts),
    };
    decision.answer
}

impl Pdp {
    /// What the candidate answers to a call that was just decided, and that a service performs or not.
    pub(crate) fn beside(&self, call: &Call<'_>, effects: &[Effect], by_service: bool) -> Beside {
        let Some(candidate) = &self.candidate else { return Beside::new() };
        let Applied { set, digest, hours, .. } = candidate;
        let closed = hours.closed(set.set(), call, effects, self.moment());
        let now_us = linux::clock::boot_us();
        let asked = (call, effects, by_service);
        let answer = answer(set, &self.state.counters, asked, closed, now_us);
        let said = [(ANSWER, answer.to_string()), (CANDIDATE, digest.to_string())];
        said.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Has the candidate decide that the ledger names: at once where it was just checked, otherwise once its text
    /// is here. Nothing waits for it.
    pub(crate) fn load_candidate(&mut self) {
        let wanted = self.state.shadow.candidate();
        if wanted.map(|one| one.digest) == self.candidate.as_ref().map(|one| one.digest) {
            return;
        }
        let (digest, place) = wanted.map(|one| (one.digest, one.place.clone())).unzip();
        self.candidate = self.checked.take_if(|one| Some(one.digest) == digest);
        if self.candidate.is_none()
            && let Some(place) = place
        {
            let number = self.number();
            self.questions.insert(number, Question::Candidate);
            let fetch = ToWriter::Fetch { number, place };
            self.peers.post(AUDIT, &(MESSAGES_VERSION, fetch), Vec::new());
        }
    }

    /// A candidate's text that was asked for.
    pub(crate) fn take_candidate(&mut self, file: Option<OwnedFd>) {
        let Some(wanted) = self.state.shadow.candidate().map(|one| one.digest) else { return };
        match crate::ledger_view::text(file).and_then(|text| self.shipped.apply(&text).ok()) {
            Some(one) if one.digest == wanted => self.candidate = Some(one),
            // one of before; the text of this one is on its way
            Some(_) => {}
            None => {
                let line = "the candidate in shadow cannot be read, so it decides nothing";
                drop(self.service.log(line));
            }
        }
    }

    /// Begins with a candidate, in place of one that is there.
    pub(crate) fn shadow_begin(
        &mut self,
        mut stated: Stated,
        digest: &str,
    ) -> Result<Option<String>, Refusal> {
        let (applied, body) = self.signed_policy(&mut stated, digest)?;
        let call = self.random_call()?;
        let digest = applied.digest.to_string();
        let facts = vec![("candidate", digest.clone())];
        let draft = act_draft(call, "policy-shadow", stated.facts, facts);
        let answer = json!({ "call": hex(&call), "digest": digest });
        let whom = (stated.door, stated.number);
        let recorded =
            self.record_shadow(draft, vec![("text", true, body)], (call, whom), &answer)?;
        self.checked = Some(applied);
        Ok(recorded)
    }

    /// Ends it; the answer is what it came to.
    pub(crate) fn shadow_end(&mut self, stated: Stated) -> Result<Option<String>, Refusal> {
        let answer = self.shadow_said()?;
        let call = self.random_call()?;
        let draft = act_draft(call, "policy-shadow-end", stated.facts, Vec::new());
        self.record_shadow(draft, Vec::new(), (call, (stated.door, stated.number)), &answer)
    }

    fn record_shadow(
        &mut self,
        draft: Draft,
        bodies: Vec<(&str, bool, OwnedFd)>,
        (call, (door, number)): (CallId, (&'static str, u64)),
        answer: &Json,
    ) -> Result<Option<String>, Refusal> {
        self.record(draft, bodies, None)?;
        self.await_call(call, door, number, Then::Say(Status::Ok, answer.to_string()));
        Ok(None)
    }

    /// What it came to so far.
    pub(crate) fn shadow_said(&self) -> Result<Json, Refusal> {
        let one = self.state.shadow.candidate();
        let one = one.ok_or_else(|| not_found("candidate in shadow"))?;
        Ok(one.said(self.candidate.as_ref().is_some_and(|set| set.digest == one.digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::Ledger;
    use crate::state::State;
    use contract::effect::{Field, Form, Kind as EffectKind, Value};
    use contract::path::CanonicalPath;
    use contract::statement::Act;
    use ledger::Kind;
    use ledger::writer::Draft;
    use policy::Set;

    /// A box's policy with these rules, without limits above it.
    fn policy(rules: &str) -> Compiled {
        let text = format!("policy: box\nversion: 1\nrules:\n{rules}");
        Compiled::new(Set::new(policy::parse(&text).unwrap(), Vec::new()).unwrap()).unwrap()
    }

    fn rule(name: &str, rest: &str) -> String {
        format!(
            "  - {{ name: {name}, agents: [any], effects: [read], decision: autonomous{rest} }}\n"
        )
    }

    fn effects() -> Vec<Effect> {
        let path = Value::Path(CanonicalPath::parse("/workspace/a").unwrap());
        vec![Effect::new(EffectKind::Read, Form::Exact, [(Field::Path, path)]).unwrap()]
    }

    #[test]
    fn a_candidate_decides_with_its_own_limits_as_far_as_they_were_counted() {
        let mut counters = Counters::default();
        counters.count([1; 16], "a", "box/reads=0", 0, false);
        let (once, twice) = (", limits: { calls: 1/hour }", ", limits: { calls: 2/hour }");
        for (rules, wanted) in [
            (rule("reads", ""), "autonomous"),
            (rule("reads", twice), "autonomous"),
            (rule("reads", once), "blocked"),
            (rule("another", once), "autonomous"),
        ] {
            let call = Call { agent: "a", capability: "filesystem.read", version: 1 };
            let effects = effects();
            let asked = (&call, effects.as_slice(), false);
            let said = answer(&policy(&rules), &counters, asked, BTreeSet::new(), 0);
            assert_eq!(said.to_string(), wanted, "{rules}");
        }
    }

    impl Ledger {
        fn begin(&mut self, candidate: &Digest) {
            let body = candidate.to_string();
            let facts = [("act", "policy-shadow"), ("candidate", body.as_str())];
            let draft = Draft::new(Kind::Act, &facts);
            self.act(Act::PolicyShadow { body: body.clone() }, draft);
        }

        fn end(&mut self) {
            let draft = Draft::new(Kind::Act, &[("act", "policy-shadow-end")]);
            self.act(Act::PolicyShadowEnd, draft);
        }

        /// A decision, and what a candidate answered beside it.
        fn decided(&mut self, call: u8, agent: &str, answer: &str, beside: Option<(&str, Digest)>) {
            let facts = [("agent", agent), ("capability", "filesystem.read@1"), ("answer", answer)];
            let mut draft = Draft::new(Kind::Decision, &facts);
            draft.call = Some([call; 16]);
            if let Some((answer, candidate)) = beside {
                draft.facts.insert(ANSWER.to_owned(), answer.to_owned());
                draft.facts.insert(CANDIDATE.to_owned(), candidate.to_string());
            }
            self.take(draft).unwrap();
        }

        /// What the candidate came to.
        fn said(&self) -> Option<Json> {
            self.state.shadow.candidate().map(|one| one.said(true))
        }
    }

    #[test]
    fn only_what_a_candidate_would_answer_otherwise_is_counted() {
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let mut of = Ledger::paired();
        of.decided(1, "a", "notify", Some(("blocked", one)));
        assert_eq!(of.said(), None, "before it began");
        of.begin(&one);
        of.decided(2, "a", "notify", Some(("blocked", one)));
        of.decided(3, "a", "notify", Some(("blocked", one)));
        of.decided(4, "b", "notify", Some(("notify", one)));
        of.decided(5, "a", "notify", None);
        of.decided(6, "a", "notify", Some(("blocked", other)));
        let said = of.said().unwrap();
        assert_eq!((&said["decided"], &said["other"]), (&json!(3), &json!(2)), "{said}");
        let kind = json!({ "agent": "a", "capability": "filesystem.read@1", "answer": "notify",
            "candidate": "blocked", "calls": 2, "last": "03".repeat(16) });
        assert_eq!(said["kinds"], json!([kind]));
        // a pdp that starts again, in another boot, knows the same of it
        let mut again = State::new([2; 16]);
        for record in &of.records {
            again.apply(record).unwrap();
        }
        assert_eq!(again.shadow.candidate().map(|one| one.said(true)), Some(said));
        // another candidate begins at nothing
        of.begin(&other);
        of.decided(7, "a", "notify", Some(("blocked", one)));
        assert_eq!(of.said().unwrap()["decided"], json!(0));
    }

    #[test]
    fn a_candidate_is_over_at_its_end_and_with_another_policy() {
        let one = Digest::of(b"one");
        let mut of = Ledger::paired();
        of.begin(&one);
        assert!(of.said().is_some());
        of.end();
        assert_eq!(of.said(), None);
        of.begin(&one);
        of.apply(&Digest::of(b"applied"));
        assert_eq!(of.said(), None);
    }

    #[test]
    fn a_candidate_that_nobody_signed_is_none() {
        let mut of = Ledger::paired();
        let body = Digest::of(b"one").to_string();
        let facts = [("act", "policy-shadow"), ("candidate", body.as_str())];
        let forged = of.take(Draft::new(Kind::Act, &facts));
        assert_eq!(forged, Err(acts::ActError::NoStatement));
        assert_eq!(of.said(), None);
        of.begin(&Digest::of(b"one"));
        assert!(of.said().is_some(), "signed, it is one");
    }

    #[test]
    fn kinds_of_difference_have_a_bound_and_none_is_lost() {
        let one = Digest::of(b"one");
        let mut of = Ledger::paired();
        of.begin(&one);
        for number in 0..KINDS_MAX + 2 {
            of.decided(1, &format!("a{number}"), "notify", Some(("blocked", one)));
        }
        of.decided(2, "a0", "notify", Some(("blocked", one)));
        let said = of.said().unwrap();
        assert_eq!(said["kinds"].as_array().unwrap().len(), KINDS_MAX);
        assert_eq!((&said["beyond"], &said["other"]), (&json!(2), &json!(KINDS_MAX + 3)));
        assert!(said.to_string().len() < contract::door::TEXT_BYTES_MAX);
    }
}
