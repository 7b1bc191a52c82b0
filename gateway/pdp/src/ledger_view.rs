//! What pdp has from the ledger beyond records: the text of the policy, results, pages.

use crate::act::Stated;
use crate::peers::AUDIT;
use crate::refusal::{Refusal, bad, say};
use crate::set::{Applied, NotTaken};
use crate::{Pdp, Question, Then};
use contract::digits::{hex, unhex_array};
use contract::door::{self, Status, ToDoor};
use contract::statement::Act;
use ledger::Kind;
use ledger::writer::{Filter, MESSAGES_VERSION, ToWriter};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// Longest text of a policy.
const POLICY_BYTES_MAX: u64 = 1 << 20;
/// Most records of one query.
const QUERY_MAX: u64 = 10_000;
/// Frames of records (`ledger::frame`), and at the end of an export a checkpoint.
const FRAMES: &str = "application/vnd.kruxos.ledger";

impl Pdp {
    /// Asks for the text of the policy in force, unless it is here.
    pub(crate) fn load_policy(&mut self) {
        let Some(in_force) = self.state.policy.clone() else { return };
        let Some(place) = in_force.place.filter(|_| in_force.digest != self.applied.digest) else {
            return;
        };
        let number = self.number();
        self.questions.insert(number, Question::Policy);
        // until it is here, nothing may be decided by another
        self.folded = false;
        self.peers.post(AUDIT, &(MESSAGES_VERSION, ToWriter::Fetch { number, place }), Vec::new());
    }

    /// An answer of audit: a file if there is one and, of a page, where to go on and whether it is the
    /// last.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        file: Option<OwnedFd>,
        page: Option<(u64, bool)>,
    ) {
        let Some(question) = self.questions.remove(&number) else { return };
        match (question, file) {
            (Question::History, file) => self.fold(file, page.is_some_and(|(_, last)| last)),
            (Question::Policy, file) => self.take_policy(file),
            (Question::Candidate, file) => self.take_candidate(file),
            (Question::Input(call, yes), file) => self.input_is_here(call, &yes, file),
            (Question::File { door, number, media_type }, Some(file)) => {
                let media_type = match page {
                    Some((next, _)) => {
                        format!("{media_type}; next={next}; length={}", self.state.length)
                    }
                    None => media_type.to_owned(),
                };
                let message = ToDoor::File { number, media_type };
                self.peers.post(door, &(door::VERSION, message), vec![file]);
            }
            (Question::File { door, number, .. }, None) => {
                let refusal = crate::refusal::not_found("such body; it was erased");
                say(&mut self.peers, door, number, refusal.status(), &refusal.json());
            }
        }
    }

    fn take_policy(&mut self, file: Option<OwnedFd>) {
        let wanted = self.state.policy.as_ref().map(|policy| policy.digest);
        match text(file).and_then(|text| self.shipped.apply(&text).ok()) {
            Some(applied) if Some(applied.digest) == wanted => {
                self.applied = applied;
                self.folded = true;
            }
            // without the policy in force nothing is decided: the box refuses, and says so
            _ => drop(self.service.log("the policy in force cannot be read; no call is taken")),
        }
    }

    /// What a text is, if the box would take it now: whether it is to be in force, in shadow, or is proposed.
    pub(crate) fn would_take(&mut self, text: &str) -> Result<Applied, NotTaken> {
        let applied = self.shipped.apply(text)?;
        let service = &mut self.service;
        self.state.invariants.hold_of(&applied, || drop(service.alive()))?;
        Ok(applied)
    }

    /// A policy that was signed for, if the box would take it, and its text as it came.
    pub(crate) fn signed_policy(
        &mut self,
        stated: &mut Stated,
        digest: &str,
    ) -> Result<(Applied, OwnedFd), Refusal> {
        let body = self.body(stated, digest)?;
        let bytes = channel::sealed::read(&body, POLICY_BYTES_MAX)
            .map_err(|_error| bad("the policy is longer than 1 MiB"))?;
        let text = String::from_utf8(bytes).map_err(|_error| bad("the policy is no UTF-8"))?;
        let applied = self.would_take(&text).map_err(|error| bad(&error.to_string()))?;
        Ok((applied, body))
    }

    /// An act that shows or changes policy.
    pub(crate) fn policy_act(
        &mut self,
        stated: Stated,
        act: Act,
    ) -> Result<Option<String>, Refusal> {
        match act {
            Act::PolicyShow => Ok(Some(self.policy_show())),
            Act::PolicyHistory => Ok(Some(self.policy_history())),
            Act::PolicyText { version } => self.policy_text(&stated, version),
            Act::PolicyExplain { agent, capability, input } => {
                self.explain(&agent, &capability, &input).map(Some)
            }
            Act::PolicyApply { body, proposal } => self.policy_apply(stated, &body, proposal),
            Act::PolicyProposals => Ok(Some(self.proposals())),
            Act::PolicyProposal { call } => self.proposal(&stated, &call),
            Act::PolicyRefuse { call } => self.proposal_refuse(stated, call),
            Act::PolicyShadow { body } => self.shadow_begin(stated, &body),
            Act::PolicyShadowEnd => self.shadow_end(stated),
            Act::PolicyShadowShow => self.shadow_said().map(|said| Some(said.to_string())),
            Act::Invariants => Ok(Some(self.invariants())),
            Act::InvariantAdd { text } => self.invariant_add(stated, text),
            Act::InvariantRemove { name } => self.invariant_remove(stated, name),
            _ => Err(Refusal::NotThere),
        }
    }

    fn policy_apply(
        &mut self,
        mut stated: Stated,
        digest: &str,
        proposal: Option<String>,
    ) -> Result<Option<String>, Refusal> {
        self.nothing_changes()?;
        let (applied, body) = self.signed_policy(&mut stated, digest)?;
        if let Some(call) = &proposal {
            self.state.proposals.are(call, &applied.digest)?;
        }
        let version = self.state.policy.as_ref().map_or(0, |policy| policy.version) + 1;
        let call = self.random_call()?;
        let mut draft = ledger::writer::Draft::new(Kind::Policy, &[("act", "policy-apply")]);
        draft.call = Some(call);
        draft.policy = Some(applied.digest);
        draft.facts.extend(stated.facts);
        draft.facts.insert("version".to_owned(), version.to_string());
        draft.facts.extend(proposal.map(|call| ("proposal".to_owned(), call)));
        self.record(draft, vec![("text", true, body)], None)?;
        self.changing = Some(call);
        let json = json!({ "call": hex(&call), "version": version,
            "digest": applied.digest.to_string() });
        self.await_call(call, stated.door, stated.number, Then::Say(Status::Ok, json.to_string()));
        Ok(None)
    }

    /// A text that was in force, as a file.
    pub(crate) fn policy_text(
        &mut self,
        stated: &Stated,
        version: u64,
    ) -> Result<Option<String>, Refusal> {
        const MEDIA_TYPE: &str = "application/yaml";
        if version == 0 {
            let file = channel::sealed::holding(self.shipped.personal().as_bytes());
            let file = file.map_err(|_error| Refusal::Unavailable)?;
            let message = ToDoor::File { number: stated.number, media_type: MEDIA_TYPE.to_owned() };
            self.peers.post(stated.door, &(door::VERSION, message), vec![file]);
            return Ok(None);
        }
        let text = self.state.texts.iter().find(|text| text.version == version);
        let missing = || crate::refusal::not_found("policy of this version");
        let place = text.map(|text| text.place.clone()).ok_or_else(missing)?;
        self.ask(stated.door, stated.number, MEDIA_TYPE, |number| ToWriter::Fetch {
            number,
            place,
        });
        Ok(None)
    }

    /// The kept answer of a call that waited for a person.
    pub(crate) fn fetch_result(&mut self, door: &'static str, number: u64, place: String) {
        let media_type = "application/json";
        let fetch = |number| ToWriter::Fetch { number, place };
        self.ask(door, number, media_type, fetch);
    }

    pub(crate) fn ask(
        &mut self,
        door: &'static str,
        number: u64,
        media_type: &'static str,
        message: impl FnOnce(u64) -> ToWriter,
    ) {
        let question = self.number();
        self.questions.insert(question, Question::File { door, number, media_type });
        if !self.peers.post(AUDIT, &(MESSAGES_VERSION, message(question)), Vec::new()) {
            self.questions.remove(&question);
            let refusal = Refusal::Unavailable;
            say(&mut self.peers, door, number, refusal.status(), &refusal.json());
        }
    }

    pub(crate) fn export(&mut self, stated: &Stated, from: u64) -> Result<Option<String>, Refusal> {
        let filter = Filter { checkpoint: true, ..Filter::all() };
        let page = |number| ToWriter::Page { number, from, filter };
        self.ask(stated.door, stated.number, FRAMES, page);
        Ok(None)
    }

    pub(crate) fn query(
        &mut self,
        stated: &Stated,
        from: u64,
        [agent, capability, call, record]: [Option<String>; 4],
        max: u64,
    ) -> Result<Option<String>, Refusal> {
        let call =
            call.map(|call| unhex_array::<16>(&call).ok_or_else(|| bad("`call`: 32 digits")));
        let kind =
            record.map(|kind| kind_named(&kind).ok_or_else(|| bad("`record`: no such kind")));
        let id = |name: String| capabilities::find(&name).map_or(name, |known| known.id());
        let named = [("agent", agent), ("capability", capability.map(id))];
        let facts: BTreeMap<String, String> =
            named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let (call, kind) = (call.transpose()?, kind.transpose()?);
        let records_max = max.min(QUERY_MAX);
        let filter = Filter { facts, call, kind, records_max, checkpoint: false };
        let page = |number| ToWriter::Page { number, from, filter };
        self.ask(stated.door, stated.number, FRAMES, page);
        Ok(None)
    }
}

/// The text of a policy that audit sent.
pub(crate) fn text(file: Option<OwnedFd>) -> Option<String> {
    let bytes = file.and_then(|file| channel::sealed::read(&file, POLICY_BYTES_MAX).ok())?;
    String::from_utf8(bytes).ok()
}

fn kind_named(name: &str) -> Option<Kind> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}
