//! Proposals: texts of policy that an agent sent for operators to look at. They change nothing. One is checked
//! like a text that is applied, lies in the ledger as its call's input, and is on the list until an operator
//! applies it, refuses it, or applies another policy. Here is also what pdp performs itself.

use crate::Pdp;
use crate::act::Stated;
use crate::refusal::{Refusal, not_found};
use crate::set::NotTaken;
use capabilities::Declaration;
use contract::digits::{hex, unhex_array};
use contract::door::Status;
use contract::perform::CallId;
use ledger::writer::{Draft, ToWriter};
use ledger::{Digest, Envelope};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// The capability that proposes.
const CAPABILITY: &str = "system.propose_policy";
/// Most proposals on the list; older ones lie in the ledger alone.
const PROPOSALS_MAX: usize = 64;
/// Longest reason that the list shows, in characters.
const WHY_CHARS_MAX: usize = 60;
/// Longest input of a proposal: a text of 1 MiB, escaped as JSON.
const INPUT_BYTES_MAX: u64 = 8 << 20;
/// The fact that says what was proposed: the digest of the text.
const PROPOSED: &str = "proposed";
/// Its length in bytes, and the reason that its call gave.
const BYTES: &str = "proposed_bytes";
const WHY: &str = "proposed_why";

/// One that nobody answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    agent: String,
    digest: Digest,
    /// Where its call's input lies.
    place: String,
    why: String,
    bytes: u64,
    wall_us: u64,
}

/// Those on the list, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Proposals(VecDeque<(CallId, Proposal)>);

impl Proposals {
    /// Takes a record: one of a call that proposed is on the list from now on.
    pub(crate) fn take(&mut self, record: &Envelope) {
        let fact = |name: &str| record.facts.get(name).cloned().unwrap_or_default();
        let (Some(call), Some(digest)) = (record.call, unhex_array(&fact(PROPOSED))) else {
            return;
        };
        let proposal = Proposal {
            agent: fact("agent"),
            digest: Digest(digest),
            place: fact("place.input"),
            why: fact(WHY).chars().take(WHY_CHARS_MAX).collect(),
            bytes: fact(BYTES).parse().unwrap_or(0),
            wall_us: record.wall_us,
        };
        self.0.push_back((call, proposal));
        if self.0.len() > PROPOSALS_MAX {
            self.0.pop_front();
        }
    }

    /// An operator refused it.
    pub(crate) fn refused(&mut self, call: &str) {
        self.0.retain(|(of, _)| hex(of) != call);
    }

    /// Another policy is in force: they were made of the one before.
    pub(crate) fn superseded(&mut self) {
        self.0.clear();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that this call made.
    fn of(&self, call: &str) -> Result<&Proposal, Refusal> {
        let found = self.0.iter().find(|(of, _)| hex(of) == call);
        found.map(|(_, one)| one).ok_or_else(|| not_found("proposal of this number"))
    }

    /// Whether this call proposed this text.
    pub(crate) fn are(&self, call: &str, text: &Digest) -> Result<(), Refusal> {
        if self.of(call)?.digest == *text {
            return Ok(());
        }
        let message = "the text is not the one that was proposed; look at it again".to_owned();
        Err(Refusal::Conflict { message })
    }

    /// All of them.
    fn list(&self) -> Vec<Json> {
        let one = |(call, one): &(CallId, Proposal)| {
            json!({ "call": hex(call), "agent": one.agent, "digest": one.digest.to_string(),
                "why": one.why, "bytes": one.bytes, "wall_us": one.wall_us })
        };
        self.0.iter().map(one).collect()
    }
}

/// The input of a proposal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    text: String,
    why: String,
}

/// Whether the input of the call that this is the record of must be kept: it holds what was proposed.
pub(crate) fn is_kept(draft: &Draft) -> bool {
    draft.facts.contains_key(PROPOSED)
}

impl Pdp {
    /// Performs a call that pdp answers itself: its facts for the record, and what its caller is told.
    pub(crate) fn perform_here(
        &mut self,
        draft: &mut Draft,
        call: CallId,
        declaration: &Declaration,
        (agent, added_us): (&str, u64),
        input: &OwnedFd,
    ) -> (Status, String) {
        let done = if declaration.name == CAPABILITY {
            self.propose(draft, call, input)
        } else {
            Ok(json!({ "name": agent, "workspace": "/workspace", "added_us": added_us,
                "call": hex(&call) }))
        };
        let (code, answer) = match done {
            Ok(json) => ("ok", (Status::Ok, json.to_string())),
            Err(refusal) => (refusal.code(), (refusal.status(), refusal.json())),
        };
        let facts = [("performed_by", "pdp"), ("code", code)];
        draft.facts.extend(facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        answer
    }

    fn propose(
        &mut self,
        draft: &mut Draft,
        call: CallId,
        input: &OwnedFd,
    ) -> Result<Json, Refusal> {
        let bytes = channel::sealed::read(input, INPUT_BYTES_MAX);
        let proposed = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Proposed { text, why } = proposed.ok_or_else(|| Refusal::BadInput {
            message: "the input cannot be read or is too long".to_owned(),
        })?;
        let applied = self.would_take(&text).map_err(|error| not_taken(call, &error))?;
        let digest = applied.digest.to_string();
        let facts = [(PROPOSED, digest.clone()), (BYTES, text.len().to_string()), (WHY, why)];
        draft.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
        Ok(json!({ "call": hex(&call), "status": "proposed", "digest": digest,
            "next": "an operator looks at it; nothing changes until one applies it" }))
    }

    /// Those on the list.
    pub(crate) fn proposals(&self) -> String {
        json!({ "proposals": self.state.proposals.list() }).to_string()
    }

    /// What was proposed, as a file: the call's input.
    pub(crate) fn proposal(
        &mut self,
        stated: &Stated,
        call: &str,
    ) -> Result<Option<String>, Refusal> {
        let place = self.state.proposals.of(call)?.place.clone();
        self.ask(stated.door, stated.number, "application/json", |number| ToWriter::Fetch {
            number,
            place,
        });
        Ok(None)
    }

    /// Takes one off the list.
    pub(crate) fn proposal_refuse(
        &mut self,
        stated: Stated,
        call: String,
    ) -> Result<Option<String>, Refusal> {
        self.state.proposals.of(&call)?;
        self.recorded(stated, "policy-refuse", vec![("proposal", call)], None)
    }
}

/// Why a text is no proposal, with its place if it has one.
fn not_taken(call: CallId, error: &NotTaken) -> Refusal {
    let place = match error {
        NotTaken::Parse(error) if error.line > 0 => Some((error.line, error.column)),
        _ => None,
    };
    Refusal::Policy { call, message: error.to_string(), place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::Ledger;
    use crate::state::Came;
    use contract::statement::Act;
    use ledger::Kind;
    use std::collections::BTreeMap;

    fn made(call: u8, facts: &[(&str, &str)]) -> Envelope {
        let mut draft = Draft::new(Kind::Decision, facts);
        draft.call = Some([call; 16]);
        draft.into_envelope([1; 16], 0, 9, BTreeMap::new())
    }

    fn proposed(call: u8, text: &str, why: &str) -> Envelope {
        let digest = Digest::of(text.as_bytes()).to_string();
        made(call, &[(PROPOSED, &digest), ("agent", "admin"), (WHY, why), ("place.input", "0:0")])
    }

    #[test]
    fn a_proposal_is_on_the_list_until_it_is_refused_or_a_policy_is_applied() {
        let mut proposals = Proposals::default();
        proposals.take(&made(9, &[("agent", "admin"), ("code", "bad_policy")]));
        assert_eq!(proposals.count(), 0, "a call that proposed nothing");
        proposals.take(&proposed(1, "one", "why\u{1b}not"));
        proposals.take(&proposed(2, "two", ""));
        let (one, two) = (hex(&[1; 16]), hex(&[2; 16]));
        let listed = json!({ "call": one, "agent": "admin", "why": "why\u{1b}not", "bytes": 0,
            "digest": Digest::of(b"one").to_string(), "wall_us": 9 });
        assert_eq!(proposals.list().first(), Some(&listed));
        let text = Digest::of(b"one");
        assert_eq!(proposals.are(&one, &text), Ok(()));
        assert!(matches!(proposals.are(&two, &text), Err(Refusal::Conflict { .. })));
        proposals.refused(&one);
        assert!(matches!(proposals.are(&one, &text), Err(Refusal::NotFound { .. })));
        assert_eq!(proposals.count(), 1, "the other stays");
        proposals.superseded();
        assert_eq!(proposals.count(), 0);
    }

    /// A decision about a call that proposes.
    fn decided(answer: &str) -> Draft {
        let facts = [("agent", "admin"), ("capability", "system.propose_policy@1")];
        let mut draft = Draft::new(Kind::Decision, &facts);
        draft.call = Some([1; 16]);
        draft.facts.insert("answer".to_owned(), answer.to_owned());
        draft
    }

    fn performed(draft: &mut Draft) {
        let digest = Digest::of(b"one").to_string();
        let facts = [("performed_by", "pdp"), ("code", "ok"), (PROPOSED, &digest)];
        draft.facts.extend(facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_pdp_performs_has_ended_with_its_record_also_after_a_yes() {
        let came = |of: &Ledger| of.state.calls.get(&[1; 16]).map(|known| known.came.clone());
        let ended = Some(Came::Ended("ok".to_owned(), None));
        let mut of = Ledger::paired();
        let mut draft = decided("notify");
        performed(&mut draft);
        of.take(draft).unwrap();
        assert_eq!((came(&of), of.state.proposals.count()), (ended.clone(), 1));
        assert_eq!(of.state.notices.len(), 1, "it is noticed");
        // a policy asks about it
        let mut of = Ledger::paired();
        of.take(decided("approval")).unwrap();
        assert_eq!((came(&of), of.state.proposals.count()), (Some(Came::Pending), 0));
        let call = hex(&[1; 16]);
        let facts = [("verdict", "accept"), ("digest", "d"), ("agent", "admin")];
        let mut yes = Draft::new(Kind::Approval, &facts);
        yes.call = Some([1; 16]);
        performed(&mut yes);
        of.act(Act::Accept { call: call.clone(), digest: "d".to_owned(), reason: None }, yes);
        assert_eq!((came(&of), of.state.proposals.count()), (ended, 1));
        // an operator's no, and not somebody else's
        let facts = [("act", "policy-refuse"), ("proposal", call.as_str())];
        assert!(of.take(Draft::new(Kind::Act, &facts)).is_err());
        assert_eq!(of.state.proposals.count(), 1, "nobody signed it");
        let refused = Draft::new(Kind::Act, &facts);
        of.act(Act::PolicyRefuse { call: call.clone() }, refused);
        assert_eq!(of.state.proposals.count(), 0);
    }

    #[test]
    fn a_policy_that_is_applied_empties_the_list() {
        let mut of = Ledger::paired();
        let mut draft = decided("notify");
        performed(&mut draft);
        of.take(draft).unwrap();
        of.apply(&Digest::of(b"another"));
        assert_eq!(of.state.proposals.count(), 0);
    }

    #[test]
    fn the_newest_proposals_are_kept_and_fit_an_answer() {
        let mut proposals = Proposals::default();
        for number in 0..=PROPOSALS_MAX {
            let call = u8::try_from(number).unwrap();
            proposals.take(&proposed(call, "text", &"\u{1b}".repeat(500)));
        }
        assert_eq!(proposals.count(), PROPOSALS_MAX);
        assert!(proposals.of(&hex(&[0; 16])).is_err(), "the oldest goes");
        let said = json!({ "proposals": proposals.list() }).to_string();
        assert!(said.len() <= contract::door::TEXT_BYTES_MAX, "{} bytes", said.len());
    }

    #[test]
    fn a_text_that_is_none_is_refused_with_its_place() {
        let error = policy::parse("policy: box\nversion: 1\nrules:\n  - nane: a\n").unwrap_err();
        let refusal = not_taken([1; 16], &NotTaken::Parse(error));
        let said: Json = serde_json::from_str(&refusal.json()).unwrap();
        let of = |name: &str| said.pointer(&format!("/error/{name}")).cloned();
        assert_eq!(of("code"), Some(json!("bad_policy")));
        assert_eq!((of("line"), of("column")), (Some(json!(4)), Some(json!(5))), "{said}");
        assert!(of("message").unwrap().to_string().contains("did you mean `name`"), "{said}");
    }
}
