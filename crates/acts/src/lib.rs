//! Operators' acts in a ledger. [`Acts`] follows the records in order and says of each whether it
//! counts: what only an operator can do has a statement, signed by somebody whom an earlier record
//! signed in, made for this box, used once, and saying what the record says. pdp asks it before it
//! takes a record, so that an act that was forged into the ledger moves nothing; `krux audit verify`
//! asks it, so that such an act is found.
#![forbid(unsafe_code)]

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
}

/// What the records so far said about operators.
#[derive(Debug, Default)]
pub struct Acts {
    keys: BTreeMap<String, [u8; 32]>,
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

    /// Takes the next record.
    ///
    /// # Errors
    /// [`ActError`]: the record does not count, and nothing of it was taken.
    pub fn take(&mut self, record: &Envelope) -> Result<(), ActError> {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let pairs = record.kind == Kind::Act && fact("act") == "pair";
        if pairs && !self.keys.is_empty() {
            return Err(ActError::Paired);
        }
        match record.facts.get("statement") {
            Some(text) => self.check(record, text)?,
            None if !pairs && is_an_operators(record) => return Err(ActError::NoStatement),
            None => {}
        }
        let brings_a_key = pairs || record.kind == Kind::Act && fact("act") == "operator-add";
        if brings_a_key && let Some(key) = unhex_array(fact("operator_key")) {
            self.keys.insert(fact("name").to_owned(), key);
        }
        Ok(())
    }

    fn check(&mut self, record: &Envelope, text: &str) -> Result<(), ActError> {
        let statement: Statement =
            serde_json::from_str(text).map_err(|error| ActError::Unreadable(error.to_string()))?;
        let key = self.keys.get(&statement.operator);
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
        Act::OperatorAdd { name, key, recipient } => {
            recorded("operator-add")
                && is("name", name)
                && is("operator_key", key)
                && is("recipient", recipient)
        }
        Act::FileGet { agent, .. } | Act::FilePut { agent, .. } => {
            recorded("file") && is("agent", agent)
        }
        Act::CageTry { ring } => recorded("cage-try") && is("ring", ring),
        Act::Perform { name, .. } => recorded(name),
        Act::PolicyApply { .. } => record.kind == Kind::Policy,
        Act::InvariantAdd { text } => recorded("invariant-add") && is("text", text),
        Act::InvariantRemove { name } => recorded("invariant-remove") && is("name", name),
        Act::Accept { call: of, digest, .. } => {
            let verdicts = ["vote", "accept", "stale"];
            let verdict = verdicts.iter().any(|verdict| is("verdict", verdict));
            record.kind == Kind::Approval && verdict && is("digest", digest) && call(of)
        }
        Act::Grant { call: of, digest, scope, calls, seconds, .. } => {
            let number = |name: &str, value: u64| is(name, &value.to_string());
            recorded("grant")
                && is("of", of)
                && is("digest", digest)
                && record.facts.get("scope") == scope.as_ref()
                && number("calls", u64::from(*calls))
                && number("seconds", *seconds)
                && shown(record).as_ref() == Some(digest)
        }
        Act::GrantRevoke { grant } => recorded("grant-revoke") && is("grant", grant),
        Act::Deny { call: of, .. } => {
            record.kind == Kind::Approval && is("verdict", "deny") && call(of)
        }
        // these are answered, not recorded
        Act::Status
        | Act::Agents
        | Act::AgentNet { .. }
        | Act::Approvals
        | Act::ApprovalShow { .. }
        | Act::Grants
        | Act::Notices
        | Act::PolicyShow
        | Act::PolicyHistory
        | Act::Invariants
        | Act::PolicyText { .. }
        | Act::PolicyExplain { .. }
        | Act::AuditExport { .. }
        | Act::AuditQuery { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use ledger::writer::Draft;

    const BOX: &str = "aa";

    fn record(kind: Kind, facts: &[(&str, &str)]) -> Envelope {
        Draft::new(kind, facts).into_envelope([0; 16], 0, 0, BTreeMap::new())
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
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
        let statement = Statement {
            of_box: BOX.to_owned(),
            nonce: hex(&[nonce; 16]),
            operator: "ann".to_owned(),
            act: stated,
        };
        let text = serde_json::to_string(&statement).unwrap();
        let signature = key().sign(&[CONTEXT, text.as_bytes()].concat());
        let signature = hex(&signature.to_bytes());
        let facts = [("act", act), ("name", name), ("statement", &text), ("signature", &signature)];
        record(Kind::Act, &facts)
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
        elsewhere.keys.clone_from(&acts.keys);
        assert_eq!(elsewhere.take(&pause("bob", 1)), Err(ActError::OtherBox));
        assert!(matches!(
            Acts::of_box(None).take(&pause("bob", 1)),
            Err(ActError::Stranger(name)) if name == "ann"
        ));
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
