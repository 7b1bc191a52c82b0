//! Operators' acts in a ledger. [`Acts`] follows the records in order and says of each whether it
//! counts: what only an operator can do has a statement, signed by somebody whom an earlier record
//! signed in, made for this box, used once, and saying what the record says. pdp asks it before it
//! takes a record, so that an act that was forged into the ledger moves nothing; `krux audit verify`
//! asks it, so that such an act is found.
#![forbid(unsafe_code)]

mod operators;
mod votes;

pub use operators::{GROUPS_MAX, Operators};
pub use votes::{Part, Votes};

use contract::digits::{hex, unhex, unhex_array};
use contract::effect::Effect;
use contract::perform::CallId;
use contract::statement::{Act, CONTEXT, Statement};
use ed25519_dalek::{Signature, VerifyingKey};
use ledger::{Digest, Envelope, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Why a record does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Only an operator does this, and none said so.
    #[error("it has no operator's statement")]
    NoStatement,
    /// The text is no statement.
    #[error("the statement cannot be read: {0}")]
    Unreadable(String),
    /// No earlier record brought this operator's key.
    #[error("nobody signed in its operator `{0}`")]
    Stranger(String),
    /// The key that it names, or another, made no such signature.
    #[error("the operator's signature does not hold")]
    Signature,
    /// Made for another box.
    #[error("the statement is for another box")]
    OtherBox,
    /// An earlier record has this statement's number.
    #[error("the statement was used before")]
    Used,
    /// The statement says something else than the record.
    #[error("the statement is of another act")]
    OtherAct,
    /// A pairing after the first: a further operator is signed in by one who is there.
    #[error("it pairs where an operator is")]
    Paired,
    /// The last operator is taken out: nobody could be asked for anything.
    #[error("it takes the last operator out")]
    Last,
    /// A yes to a call that no record asked anybody for, or not any more.
    #[error("nobody is asked for its call")]
    Unasked,
    /// Not everybody said yes whose yes its call asks for.
    #[error("not all whose yes its call asks for said so")]
    Votes,
}

/// What the records so far said about operators.
#[derive(Debug, Default)]
pub struct Acts {
    operators: Operators,
    /// Calls that wait for persons.
    calls: BTreeMap<CallId, Votes>,
    /// One for each act in the ledger, which bounds them.
    used: BTreeSet<[u8; 16]>,
    /// The box that every statement is for: the pinned one, or that of the first.
    of_box: Option<String>,
    checked: u64,
}

impl Acts {
    /// The acts of the box whose authority has this digest, in hexadecimal; without it, of the box
    /// that the first statement names.
    #[must_use]
    pub fn of_box(pinned: Option<&str>) -> Self {
        Self { of_box: pinned.map(str::to_owned), ..Self::default() }
    }

    /// How many statements held.
    #[must_use]
    pub const fn checked(&self) -> u64 {
        self.checked
    }

    /// Who is an operator, and in which groups.
    #[must_use]
    pub const fn operators(&self) -> &Operators {
        &self.operators
    }

    /// Whose yes a call waits for.
    #[must_use]
    pub fn votes(&self, call: &CallId) -> Option<&Votes> {
        self.calls.get(call)
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`ActError`]: the record does not count, and nothing of it was taken.
    pub fn take(&mut self, record: &Envelope) -> Result<(), ActError> {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let pairs = record.kind == Kind::Act && fact("act") == "pair";
        if pairs && !self.operators.is_empty() {
            return Err(ActError::Paired);
        }
        match record.facts.get("statement") {
            Some(text) => self.check(record, text)?,
            None if !pairs && is_an_operators(record) => return Err(ActError::NoStatement),
            None => {}
        }
        match record.kind {
            Kind::Act => self.follow_operators(record),
            Kind::Decision | Kind::Approval => self.follow_calls(record),
            _ => {}
        }
        Ok(())
    }

    /// Follows who is an operator.
    fn follow_operators(&mut self, record: &Envelope) {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let (name, since) = (fact("name"), record.sequence);
        match fact("act") {
            "pair" | "operator-add" => {
                if let Some(key) = unhex_array(fact("operator_key")) {
                    self.operators.add(name, key, since);
                }
            }
            "operator-remove" => self.operators.remove(name),
            "group-add" => self.operators.join(fact("group"), name, since),
            "group-remove" => self.operators.leave(fact("group"), name),
            _ => {}
        }
    }

    /// Follows whose yes calls wait for.
    fn follow_calls(&mut self, record: &Envelope) {
        let Some(call) = record.call else { return };
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        if record.kind == Kind::Decision {
            let by_grant = !fact("grant").is_empty();
            if fact("answer") == "approval" && !by_grant && fact("unseen").is_empty() {
                self.calls.insert(call, Votes::read(record));
            }
        } else if fact("verdict") == "vote" {
            if let Some(votes) = self.calls.get_mut(&call) {
                votes.voted(fact("operator"));
            }
        } else {
            self.calls.remove(&call);
        }
    }

    /// Whether what the operators are, and who said yes so far, admits the record of this operator.
    fn is_admitted(&self, record: &Envelope, operator: &str) -> Result<(), ActError> {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let name = fact("name");
        let known = |name: &str| self.operators.key(name).is_some();
        match (record.kind, fact("act"), fact("verdict")) {
            (Kind::Act, "operator-remove", _) if self.operators.len() <= 1 => Err(ActError::Last),
            (Kind::Act, "operator-remove" | "group-add", _) if !known(name) => {
                Err(ActError::Stranger(name.to_owned()))
            }
            (Kind::Approval, _, "vote" | "accept") => {
                // a vote says in its own fact whose it is
                if fact("operator") != operator {
                    return Err(ActError::OtherAct);
                }
                let votes = record.call.and_then(|call| self.calls.get(&call));
                let votes = votes.ok_or(ActError::Unasked)?;
                let enough = fact("verdict") == "vote" || votes.suffice(&self.operators, operator);
                if enough { Ok(()) } else { Err(ActError::Votes) }
            }
            _ => Ok(()),
        }
    }

    fn check(&mut self, record: &Envelope, text: &str) -> Result<(), ActError> {
        let statement: Statement =
            serde_json::from_str(text).map_err(|error| ActError::Unreadable(error.to_string()))?;
        let key = self.operators.key(&statement.operator);
        let key = key.ok_or_else(|| ActError::Stranger(statement.operator.clone()))?;
        let signature = record.facts.get("signature").and_then(|digits| unhex(digits));
        if !holds(key, text, &signature.unwrap_or_default()) {
            return Err(ActError::Signature);
        }
        if self.of_box.as_ref().is_some_and(|of_box| *of_box != statement.of_box) {
            return Err(ActError::OtherBox);
        }
        if !says(&statement.act, record) {
            return Err(ActError::OtherAct);
        }
        self.is_admitted(record, &statement.operator)?;
        let number = unhex_array(&statement.nonce);
        let number = number.ok_or_else(|| ActError::Unreadable("its number".to_owned()))?;
        if !self.used.insert(number) {
            return Err(ActError::Used);
        }
        self.of_box.get_or_insert(statement.of_box);
        self.checked += 1;
        Ok(())
    }
}

/// Whether `signature` is that of the statement `text` under `key` (RFC 8032).
#[must_use]
pub fn holds(key: &[u8; 32], text: &str, signature: &[u8]) -> bool {
    let key = VerifyingKey::from_bytes(key).ok();
    let signature = Signature::from_slice(signature).ok();
    let text = [CONTEXT, text.as_bytes()].concat();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(&text, &signature).is_ok())
}

/// Whether such a record exists only because an operator said so.
fn is_an_operators(record: &Envelope) -> bool {
    let verdict = record.facts.get("verdict").map(String::as_str);
    match record.kind {
        Kind::Act | Kind::Policy => true,
        Kind::Approval => !matches!(verdict, Some("expired" | "rebooted")),
        _ => false,
    }
}

/// The digest of what is shown to a person who is asked: the call, who calls what, every effect, the
/// input's own digest. A yes is bound to it. Nothing where there is no encoding that could be signed.
#[must_use]
pub fn digest_of_shown(
    call: &CallId,
    agent: &str,
    capability: &str,
    effects: &[Effect],
    input: &[u8; 32],
) -> Option<String> {
    let shown = (call, agent, capability, effects, input);
    contract::cbor::encode(&shown).ok().map(|bytes| Digest::of(&bytes).to_string())
}

/// The digest of what the record of a grant says was shown.
fn shown(record: &Envelope) -> Option<String> {
    let fact = |name: &str| record.facts.get(name).map(String::as_str);
    let (call, input) = (unhex_array(fact("of")?)?, unhex_array(fact("input_digest")?)?);
    digest_of_shown(&call, fact("agent")?, fact("capability")?, &record.effects, &input)
}

/// Whether a record of an act is what this one leads to, which changes who is an operator.
fn says_of_operators(act: &Act, record: &Envelope) -> bool {
    let is = |name: &str, value: &str| record.facts.get(name).is_some_and(|fact| fact == value);
    match act {
        Act::OperatorAdd { name, key, recipient } => {
            is("act", "operator-add")
                && is("name", name)
                && is("operator_key", key)
                && is("recipient", recipient)
        }
        Act::OperatorRemove { name } => is("act", "operator-remove") && is("name", name),
        Act::GroupAdd { group, name } => {
            is("act", "group-add") && is("group", group) && is("name", name)
        }
        Act::GroupRemove { group, name } => {
            is("act", "group-remove") && is("group", group) && is("name", name)
        }
        _ => false,
    }
}

/// Whether the record is what this act leads to.
fn says(act: &Act, record: &Envelope) -> bool {
    let is = |name: &str, value: &str| record.facts.get(name).is_some_and(|fact| fact == value);
    let call = |call: &str| record.call.is_some_and(|number| hex(&number) == call);
    let recorded = |name: &str| record.kind == Kind::Act && is("act", name);
    match act {
        Act::AgentAdd { name, token, source } => {
            recorded("agent-add")
                && is("name", name)
                && is("token", token)
                && record.facts.get("source_range") == source.as_ref()
        }
        Act::AgentPause { name } => recorded("agent-pause") && is("name", name),
        Act::AgentResume { name } => recorded("agent-resume") && is("name", name),
        Act::AgentRevoke { name } => recorded("agent-revoke") && is("name", name),
        Act::AgentRotate { name, token } => {
            recorded("agent-rotate") && is("name", name) && is("token", token)
        }
        Act::Stop => recorded("stop"),
        Act::Start => recorded("start"),
        Act::Acknowledge { call: of } => recorded("acknowledge") && call(of),
        Act::OperatorAdd { .. }
        | Act::OperatorRemove { .. }
        | Act::GroupAdd { .. }
        | Act::GroupRemove { .. } => record.kind == Kind::Act && says_of_operators(act, record),
        Act::WebhookAdd { .. } | Act::WebhookRemove { .. } | Act::WebhookTest { .. } => {
            record.kind == Kind::Act && says_of_webhook(act, record)
        }
        Act::FileGet { agent, .. } | Act::FilePut { agent, .. } => {
            recorded("file") && is("agent", agent)
        }
        Act::CageTry { ring } => recorded("cage-try") && is("ring", ring),
        Act::Perform { name, .. } => recorded(name),
        Act::PolicyApply { .. }
        | Act::PolicyRefuse { .. }
        | Act::PolicyShadow { .. }
        | Act::PolicyShadowEnd
        | Act::InvariantAdd { .. }
        | Act::InvariantRemove { .. } => says_of_policy(act, record),
        Act::Accept { call: of, digest, .. } => {
            let verdicts = ["vote", "accept", "stale"];
            let verdict = verdicts.iter().any(|verdict| is("verdict", verdict));
            record.kind == Kind::Approval && verdict && is("digest", digest) && call(of)
        }
        Act::Grant { .. } => recorded("grant") && says_of_grant(act, record),
        Act::GrantRevoke { grant } => recorded("grant-revoke") && is("grant", grant),
        Act::Deny { call: of, .. } => {
            record.kind == Kind::Approval && is("verdict", "deny") && call(of)
        }
        // these are answered, not recorded
        Act::Status
        | Act::Agents
        | Act::Operators
        | Act::AgentNet { .. }
        | Act::Approvals { .. }
        | Act::ApprovalShow { .. }
        | Act::Grants
        | Act::Notices
        | Act::Webhooks
        | Act::PolicyShadowShow
        | Act::PolicyProposals
        | Act::PolicyProposal { .. }
        | Act::PolicyShow
        | Act::PolicyHistory
        | Act::Invariants
        | Act::PolicyText { .. }
        | Act::PolicyExplain { .. }
        | Act::AuditExport { .. }
        | Act::AuditQuery { .. } => false,
    }
}

/// The same of a grant.
fn says_of_grant(act: &Act, record: &Envelope) -> bool {
    let is = |name: &str, value: &str| record.facts.get(name).is_some_and(|fact| fact == value);
    let number = |name: &str, value: u64| is(name, &value.to_string());
    let Act::Grant { call: of, digest, scope, calls, seconds, .. } = act else { return false };
    is("of", of)
        && is("digest", digest)
        && record.facts.get("scope") == scope.as_ref()
        && number("calls", u64::from(*calls))
        && number("seconds", *seconds)
        && shown(record).as_ref() == Some(digest)
}

/// The same of a policy: its text is the one that was signed.
fn says_of_webhook(act: &Act, record: &Envelope) -> bool {
    let is = |name: &str, value: &str| record.facts.get(name).is_some_and(|fact| fact == value);
    match act {
        Act::WebhookAdd { name, url, secret, events } => {
            is("act", "webhook-add")
                && is("name", name)
                && is("url", url)
                && is("secret", secret)
                && is("events", &events.join(" "))
        }
        Act::WebhookRemove { name } => is("act", "webhook-remove") && is("name", name),
        Act::WebhookTest { name } => is("act", "webhook-test") && is("name", name),
        _ => false,
    }
}

fn says_of_policy(act: &Act, record: &Envelope) -> bool {
    let is = |name: &str, value: &str| record.facts.get(name).is_some_and(|fact| fact == value);
    let recorded = |name: &str| record.kind == Kind::Act && is("act", name);
    match act {
        Act::PolicyApply { body, proposal } => {
            record.kind == Kind::Policy
                && record.policy.is_some_and(|text| text.to_string() == *body)
                && record.facts.get("proposal") == proposal.as_ref()
        }
        Act::PolicyRefuse { call } => recorded("policy-refuse") && is("proposal", call),
        Act::PolicyShadow { body } => recorded("policy-shadow") && is("candidate", body),
        Act::PolicyShadowEnd => recorded("policy-shadow-end"),
        Act::InvariantAdd { text } => recorded("invariant-add") && is("text", text),
        Act::InvariantRemove { name } => recorded("invariant-remove") && is("name", name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::effect::{Field, Form, Kind as EffectKind, Value};
    use contract::found::Found;
    use contract::path::CanonicalPath;
    use ed25519_dalek::{Signer, SigningKey};
    use ledger::writer::Draft;

    const BOX: &str = "aa";

    fn record(kind: Kind, facts: &[(&str, &str)]) -> Envelope {
        Draft::new(kind, facts).into_envelope([0; 16], 0, 0, BTreeMap::new())
    }

    fn key() -> SigningKey {
        key_of("ann")
    }

    fn key_of(operator: &str) -> SigningKey {
        SigningKey::from_bytes(&[operator.as_bytes()[0]; 32])
    }

    fn paired() -> Acts {
        let mut acts = Acts::of_box(Some(BOX));
        let digits = hex(key().verifying_key().as_bytes());
        let facts = [("act", "pair"), ("name", "ann"), ("operator_key", digits.as_str())];
        acts.take(&record(Kind::Act, &facts)).unwrap();
        acts
    }

    /// A record of the act `stated` that claims to be `act` of `name`.
    fn stated(stated: Act, nonce: u8, act: &str, name: &str) -> Envelope {
        stated_by("ann", stated, nonce, &[("act", act), ("name", name)])
    }

    /// The same by another operator, with these facts.
    fn stated_by(operator: &str, act: Act, nonce: u8, facts: &[(&str, &str)]) -> Envelope {
        let (of_box, nonce) = (BOX.to_owned(), hex(&[nonce; 16]));
        let statement = Statement { of_box, nonce, operator: operator.to_owned(), act };
        let text = serde_json::to_string(&statement).unwrap();
        let signature = key_of(operator).sign(&[CONTEXT, text.as_bytes()].concat());
        let signature = hex(&signature.to_bytes());
        let signed = [("operator", operator), ("statement", &text), ("signature", &signature)];
        record(Kind::Act, &[facts, &signed[..]].concat())
    }

    fn pause(name: &str, nonce: u8) -> Envelope {
        stated(Act::AgentPause { name: name.to_owned() }, nonce, "agent-pause", name)
    }

    #[test]
    fn a_signed_act_counts_once() {
        let mut acts = paired();
        assert_eq!(acts.take(&pause("bob", 1)), Ok(()));
        assert_eq!(acts.take(&pause("bob", 1)), Err(ActError::Used));
        assert_eq!(acts.take(&pause("bob", 2)), Ok(()));
        assert_eq!(acts.checked(), 2);
    }

    #[test]
    fn an_invariant_is_the_text_that_was_signed() {
        let act = || Act::InvariantAdd { text: "properties: []".to_owned() };
        let with = |nonce: u8, text: &str| {
            let mut record = stated(act(), nonce, "invariant-add", "");
            record.facts.insert("text".to_owned(), text.to_owned());
            record
        };
        let mut acts = paired();
        assert_eq!(acts.take(&with(1, "properties: [] ")), Err(ActError::OtherAct));
        assert_eq!(acts.take(&with(1, "properties: []")), Ok(()));
        let remove = |name: &str| Act::InvariantRemove { name: name.to_owned() };
        let other = stated(remove("one"), 2, "invariant-remove", "two");
        assert_eq!(acts.take(&other), Err(ActError::OtherAct));
        assert_eq!(acts.take(&stated(remove("two"), 3, "invariant-remove", "two")), Ok(()));
    }

    #[test]
    fn a_webhook_is_the_one_that_was_signed() {
        let events = ["approval.asked".to_owned(), "call.unknown".to_owned()];
        let act = |name: &str| Act::WebhookAdd {
            name: name.to_owned(),
            url: "https://a.example/".to_owned(),
            secret: "s".to_owned(),
            events: events.to_vec(),
        };
        let facts = [
            ("act", "webhook-add"),
            ("name", "ops"),
            ("url", "https://a.example/"),
            ("secret", "s"),
            ("events", "approval.asked call.unknown"),
        ];
        let mut acts = paired();
        for (name, _) in &facts[1..] {
            let mut other = stated_by("ann", act("ops"), 1, &facts);
            other.facts.insert((*name).to_owned(), "another".to_owned());
            assert_eq!(acts.take(&other), Err(ActError::OtherAct), "{name}");
        }
        assert_eq!(acts.take(&stated_by("ann", act("ops"), 1, &facts)), Ok(()));
        for (nonce, act, is) in [
            (2, Act::WebhookRemove { name: "ops".to_owned() }, "webhook-remove"),
            (3, Act::WebhookTest { name: "ops".to_owned() }, "webhook-test"),
        ] {
            assert_eq!(acts.take(&stated(act.clone(), nonce, is, "log")), Err(ActError::OtherAct));
            assert_eq!(acts.take(&stated(act, nonce, is, "ops")), Ok(()));
        }
    }

    #[test]
    fn a_forged_act_does_not_count() {
        let mut acts = paired();
        let with = |name: &str, value: &str| {
            let mut record = pause("bob", 1);
            record.facts.insert(name.to_owned(), value.to_owned());
            record
        };
        let mut bare = pause("bob", 1);
        bare.facts.remove("statement");
        let other = record(Kind::Act, &[("act", "pair"), ("name", "eve"), ("operator_key", "00")]);
        let digest = stated(Act::AgentPause { name: "bob".to_owned() }, 1, "agent-resume", "bob");
        for (record, error) in [
            (bare, ActError::NoStatement),
            (with("signature", "00"), ActError::Signature),
            (with("name", "alice"), ActError::OtherAct),
            (with("act", "agent-revoke"), ActError::OtherAct),
            (digest, ActError::OtherAct),
            (other, ActError::Paired),
            (record(Kind::Policy, &[]), ActError::NoStatement),
            (record(Kind::Approval, &[("verdict", "accept")]), ActError::NoStatement),
        ] {
            assert_eq!(acts.take(&record), Err(error));
        }
        let mut elsewhere = Acts::of_box(Some("bb"));
        elsewhere.operators.add("ann", *key().verifying_key().as_bytes(), 0);
        assert_eq!(elsewhere.take(&pause("bob", 1)), Err(ActError::OtherBox));
        assert!(matches!(
            Acts::of_box(None).take(&pause("bob", 1)),
            Err(ActError::Stranger(name)) if name == "ann"
        ));
    }

    #[test]
    fn a_text_of_policy_counts_only_as_the_one_that_was_signed() {
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let body = one.to_string();
        let applies = |nonce, text: Option<Digest>, proposal: Option<&str>, of: Option<&str>| {
            let proposal = proposal.map(str::to_owned);
            let act = Act::PolicyApply { body: body.clone(), proposal };
            let mut record = stated(act, nonce, "", "");
            (record.kind, record.policy) = (Kind::Policy, text);
            record.facts.extend(of.map(|call| ("proposal".to_owned(), call.to_owned())));
            record
        };
        let refuses = |nonce, call: &str, of: &str| {
            let mut record =
                stated(Act::PolicyRefuse { call: call.to_owned() }, nonce, "policy-refuse", "");
            record.facts.insert("proposal".to_owned(), of.to_owned());
            record
        };
        let shadows = |nonce, act: &str, candidate: &str| {
            let mut record = stated(Act::PolicyShadow { body: body.clone() }, nonce, act, "");
            record.facts.insert("candidate".to_owned(), candidate.to_owned());
            record
        };
        let end = |nonce, act: &str| stated(Act::PolicyShadowEnd, nonce, act, "");
        let mut acts = paired();
        for forged in [
            applies(1, Some(other), None, None),
            applies(1, None, None, None),
            applies(1, Some(one), Some("aa"), None),
            applies(1, Some(one), Some("aa"), Some("bb")),
            applies(1, Some(one), None, Some("aa")),
            refuses(1, "aa", "bb"),
            shadows(1, "policy-shadow", &other.to_string()),
            shadows(1, "policy-shadow", ""),
            shadows(1, "policy-shadow-end", &body),
            end(1, "policy-shadow"),
            end(1, "stop"),
            stated(Act::PolicyShadowShow, 1, "policy-shadow", ""),
        ] {
            assert_eq!(acts.take(&forged), Err(ActError::OtherAct), "{forged:?}");
        }
        for act in ["policy-shadow", "policy-shadow-end", "policy-refuse"] {
            let bare = record(Kind::Act, &[("act", act), ("candidate", &body)]);
            assert_eq!(acts.take(&bare), Err(ActError::NoStatement), "{act}");
        }
        for good in [
            applies(1, Some(one), None, None),
            applies(4, Some(one), Some("aa"), Some("aa")),
            refuses(5, "aa", "aa"),
            shadows(2, "policy-shadow", &body),
            end(3, "policy-shadow-end"),
        ] {
            assert_eq!(acts.take(&good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn a_yes_is_to_what_was_found_there() {
        let path = Value::Path(CanonicalPath::parse("a").unwrap());
        let effect = Effect::new(EffectKind::Delete, Form::Exact, [(Field::Path, path)]).unwrap();
        let digest = |found: Option<Found>| {
            let effect =
                found.map_or_else(|| effect.clone(), |found| effect.clone().expecting(found));
            digest_of_shown(&[1; 16], "a", "filesystem.delete@1", &[effect], &[2; 32]).unwrap()
        };
        let file = |bytes, digit: &str| Found::File { bytes, digest: digit.repeat(64) };
        let all = [
            None,
            Some(Found::Nothing),
            Some(file(1, "a")),
            Some(file(2, "a")),
            Some(file(1, "b")),
        ];
        let digests: BTreeSet<String> = all.iter().cloned().map(digest).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(digest(Some(file(1, "a"))), digest(Some(file(1, "a"))));
    }

    /// An approval's record by `operator`, signed with their key.
    fn approval(operator: &str, verdict: &str, nonce: u8) -> Envelope {
        let act = Act::Accept { call: hex(&[9; 16]), digest: "d".to_owned(), reason: None };
        let mut record = stated_by(operator, act, nonce, &[("verdict", verdict), ("digest", "d")]);
        record.kind = Kind::Approval;
        record.call = Some([9; 16]);
        record
    }

    /// The record number `sequence` of a call that asks for two of `managers`.
    fn asks(sequence: u64) -> Envelope {
        let facts = [("answer", "approval"), ("votes", "0"), ("votes_of", "managers=2")];
        let mut record = record(Kind::Decision, &facts);
        (record.call, record.sequence) = (Some([9; 16]), sequence);
        record
    }

    /// Ann and bob, both managers.
    fn two_managers() -> Acts {
        let mut acts = paired();
        let digits = hex(key_of("bob").verifying_key().as_bytes());
        let act = Act::OperatorAdd {
            name: "bob".to_owned(),
            key: digits.clone(),
            recipient: String::new(),
        };
        let facts = [
            ("act", "operator-add"),
            ("name", "bob"),
            ("operator_key", digits.as_str()),
            ("recipient", ""),
        ];
        acts.take(&stated_by("ann", act, 101, &facts)).unwrap();
        for (nonce, name) in [(102, "ann"), (103, "bob")] {
            let (group, name) = ("managers".to_owned(), name.to_owned());
            let facts = [("act", "group-add"), ("group", "managers"), ("name", name.as_str())];
            let act = Act::GroupAdd { group, name: name.clone() };
            acts.take(&stated_by("ann", act, nonce, &facts)).unwrap();
        }
        acts
    }

    #[test]
    fn a_call_that_asks_for_two_of_a_group_is_not_let_through_by_one() {
        let mut acts = two_managers();
        assert_eq!(acts.take(&approval("ann", "accept", 1)), Err(ActError::Unasked));
        acts.take(&asks(1)).unwrap();
        assert_eq!(acts.take(&approval("ann", "accept", 1)), Err(ActError::Votes));
        assert_eq!(acts.take(&approval("ann", "vote", 1)), Ok(()));
        assert_eq!(acts.take(&approval("ann", "accept", 2)), Err(ActError::Votes), "ann twice");
        // a vote is whose signature it has
        let mut anothers = approval("ann", "vote", 2);
        anothers.facts.insert("operator".to_owned(), "bob".to_owned());
        assert_eq!(acts.take(&anothers), Err(ActError::OtherAct));
        assert_eq!(acts.take(&approval("bob", "accept", 2)), Ok(()));
        assert_eq!(acts.take(&approval("bob", "accept", 3)), Err(ActError::Unasked), "once");
    }

    #[test]
    fn a_yes_of_who_left_is_none_and_the_last_operator_stays() {
        let leaves = |nonce| {
            let (group, name) = ("managers".to_owned(), "ann".to_owned());
            let facts = [("act", "group-remove"), ("group", "managers"), ("name", "ann")];
            stated_by("bob", Act::GroupRemove { group, name }, nonce, &facts)
        };
        let removes = |by: &str, name: &str, nonce| {
            let facts = [("act", "operator-remove"), ("name", name)];
            stated_by(by, Act::OperatorRemove { name: name.to_owned() }, nonce, &facts)
        };
        for gone in [leaves(50), removes("bob", "ann", 50)] {
            let mut acts = two_managers();
            acts.take(&asks(1)).unwrap();
            acts.take(&approval("ann", "vote", 1)).unwrap();
            acts.take(&gone).unwrap();
            assert_eq!(acts.take(&approval("bob", "accept", 2)), Err(ActError::Votes));
        }
        let mut acts = two_managers();
        assert_eq!(
            acts.take(&removes("ann", "eve", 60)),
            Err(ActError::Stranger("eve".to_owned()))
        );
        acts.take(&removes("ann", "bob", 60)).unwrap();
        let of_bob = stated_by("bob", Act::Stop, 61, &[("act", "stop")]);
        assert_eq!(acts.take(&of_bob), Err(ActError::Stranger("bob".to_owned())));
        assert_eq!(acts.take(&removes("ann", "ann", 62)), Err(ActError::Last));
        assert_eq!(acts.take(&stated_by("ann", Act::Stop, 63, &[("act", "stop")])), Ok(()));
    }

    #[test]
    fn what_no_person_decides_needs_no_statement() {
        let mut acts = paired();
        for record in [
            record(Kind::Decision, &[]),
            record(Kind::Outcome, &[]),
            record(Kind::Approval, &[("verdict", "expired")]),
        ] {
            assert_eq!(acts.take(&record), Ok(()));
        }
    }
}
