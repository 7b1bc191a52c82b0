//! A call on its way: credential, types, lowering, decision, record, spec. A [`Permit`] is what lets a
//! spec out; it comes from a decision alone, and recording consumes it.

use crate::asking::Asking;
use crate::grants::Question;
use crate::peers::{AUDIT, edge_of};
use crate::proposals::is_kept;
use crate::reach::{self, Reach};
use crate::refusal::{Refusal, say};
use crate::shadow::Beside;
use crate::state::Agent;
use crate::{Pdp, Then, Waiting};
use capabilities::{Accepted, Declaration, Performer};
use contract::bytes::Bytes;
use contract::digits::hex;
use contract::effect::{Effect, Field, Value};
use contract::perform::{AgentPlace, CallId, Limits, Spec};
use ledger::writer::{Body, Draft, MESSAGES_VERSION, Release, ToWriter};
use ledger::{Digest, Kind};
use linux::clock::boot_ms;
use policy::{Answer, Because, Call, Decision, Facts, LayerKind, Set};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

/// Longest input.
const INPUT_BYTES_MAX: u64 = 100 << 20;
/// Most calls of one agent under way or waiting for a person.
const OPEN_MAX: usize = 64;
/// Time from a decision to its beginning.
const BEGIN_MS: u64 = 5_000;

/// A decision that lets something happen. There is no other way to a [`Permit`].
#[derive(Debug)]
pub(crate) struct Allowed(());

impl Allowed {
    /// By a decision that is at most `most` restrictive: without a person `notify`, where a person
    /// has said yes, to this call or by a grant, `approval`.
    pub(crate) fn by(decision: &Decision, most: Answer) -> Option<Self> {
        (decision.answer <= most).then_some(Self(()))
    }
}

/// A decided call that may happen, on its way to a performer. Recording consumes it.
#[derive(Debug)]
pub(crate) struct Permit {
    spec: Spec,
    performer: &'static str,
    input: OwnedFd,
    answer: OwnedFd,
    changes: bool,
    deferred: bool,
    deadline_ms: u64,
}

impl Permit {
    /// The way of a call that a policy or a person let through.
    pub(crate) fn new(
        _allowed: Allowed,
        spec: Spec,
        performer: &'static str,
        fds: [OwnedFd; 2],
    ) -> Self {
        let [input, answer] = fds;
        let changes = spec.effects.iter().any(|effect| {
            !matches!(effect.kind, contract::effect::Kind::Observe | contract::effect::Kind::Read)
        });
        let deadline_ms = boot_ms() + BEGIN_MS;
        Self { spec, performer, input, answer, changes, deferred: false, deadline_ms }
    }

    /// Nobody waits: the answer is kept, and the call may begin until `run_within_ms` from now, alone
    /// among its agent's.
    pub(crate) fn deferred(self, run_within_ms: u64) -> Self {
        let deadline_ms = boot_ms() + run_within_ms;
        let spec = Spec { alone: true, ..self.spec };
        Self { deferred: true, changes: true, deadline_ms, spec, ..self }
    }
}

/// A request that is well formed: what is called, by whom, with what.
pub(crate) struct Asked<'a> {
    pub(crate) agent: &'a str,
    pub(crate) declaration: &'static Declaration,
    pub(crate) effects: Vec<Effect>,
    pub(crate) digest: [u8; 32],
}

impl Asked<'_> {
    /// What a grant is asked about.
    pub(crate) fn question(&self) -> Question<'_> {
        Question { agent: self.agent, declaration: self.declaration, effects: &self.effects }
    }
}

/// What was decided of a call, and with what.
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    /// The fact by which limits count it.
    pub(crate) counted: String,
    /// Limits that were used up.
    used_up: String,
    /// What a candidate in shadow answers.
    beside: Beside,
    /// The grant that lets it through.
    pub(crate) grant: Option<CallId>,
    /// Where the names that it connects to may lead.
    pub(crate) reach: Reach,
}

/// The most restrictive answer with which a call goes on without a person.
pub(crate) const fn most(grant: Option<CallId>) -> Answer {
    if grant.is_some() { Answer::Approval } else { Answer::Notify }
}

/// Reads the input and lowers it.
pub(crate) fn lower(
    capability: &str,
    input: &OwnedFd,
) -> Result<(&'static Declaration, Vec<Effect>, [u8; 32]), Refusal> {
    let declaration = capabilities::find(capability).ok_or(Refusal::UnknownCapability)?;
    let bytes = channel::sealed::read(input, INPUT_BYTES_MAX).map_err(|_e| Refusal::BadInput {
        message: "the input cannot be read or is too long".to_owned(),
    })?;
    let json: Json = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::BadInput { message: format!("no JSON: {error}") })?;
    let accepted: Accepted = declaration
        .accept(&json)
        .map_err(|error| Refusal::BadInput { message: error.to_string() })?;
    let effects = declaration.lower(&accepted).unwrap_or_default();
    Ok((declaration, effects, Sha256::digest(&bytes).into()))
}

impl Pdp {
    /// Whose call this is and how long its input, where the agent has room for one more.
    fn admit(&self, asked: &CallFrame) -> Result<(String, Agent, u64), Refusal> {
        let (name, agent) = self.authenticate(&asked.token, &asked.source)?;
        let open = self.waiting.values().filter(|waiting| waiting.agent == name).count();
        let pending = self.state.pending.values().filter(|pending| pending.agent == name).count();
        if open + pending >= OPEN_MAX {
            return Err(Refusal::TooMany);
        }
        let bytes = length(&asked.input)?;
        let now_us = linux::clock::boot_us();
        if self.state.shares.is_over(&name, bytes, now_us, self.ledger_bytes) {
            return Err(Refusal::Share);
        }
        Ok((name, agent, bytes))
    }

    /// One call of an agent, up to its record.
    pub(crate) fn call(&mut self, waiting: (&'static str, u64), asked: CallFrame) {
        let (door, number) = waiting;
        let source = asked.source.clone();
        if let Err(refusal) = self.try_call(door, number, asked) {
            self.count_refusal(&source, refusal.code(), 1);
            say(&mut self.peers, door, number, refusal.status(), &refusal.json());
        }
    }

    fn try_call(
        &mut self,
        door: &'static str,
        number: u64,
        asked: CallFrame,
    ) -> Result<(), Refusal> {
        let (name, agent, input_bytes) = self.admit(&asked)?;
        let (declaration, effects, digest) = lower(&asked.capability, &asked.input)?;
        let call = self.random_call()?;
        let asked_for = Asked { agent: &name, declaration, effects, digest };
        let held = agent.paused || self.state.stopped;
        let decided = self.decide(&asked_for, held);
        let mut draft = self.draft(call, &asked_for, &decided, &asked.source);
        draft.facts.insert("input_bytes".to_owned(), input_bytes.to_string());
        let Decided { decision, counted, grant, reach, .. } = decided;
        draft.facts.extend(asked.streams.then(|| ("streams".to_owned(), "yes".to_owned())));
        let waits = |then| Waiting { door, number, agent: name.clone(), then };
        match decision.answer {
            Answer::Blocked => {
                let (why, refusal) = reach::refusal(call, (&decision, held), &reach);
                draft.facts.insert("reason".to_owned(), why.to_owned());
                self.record(draft, vec![("input", false, asked.input)], None)?;
                self.waiting.insert(call, waits(Then::Say(refusal.status(), refusal.json())));
            }
            Answer::Approval if grant.is_none() => {
                self.may_ask(&name)?;
                let Asked { effects, .. } = asked_for;
                self.look_and_ask(Asking {
                    door,
                    number,
                    call,
                    agent: name.clone(),
                    disk_uid: agent.disk_uid,
                    source: asked.source,
                    declaration,
                    looks: declaration.expects(&effects).into(),
                    effects,
                    input_digest: digest,
                    input: asked.input,
                    input_bytes,
                    decision,
                    draft,
                })?;
            }
            _ if declaration.performer == Performer::Pdp => {
                let (who, input) = ((name.as_str(), agent.added_us), asked.input);
                let (status, json) = self.perform_here(&mut draft, call, declaration, who, &input);
                let kept = is_kept(&draft);
                self.record(draft, vec![("input", kept, input)], None)?;
                self.state.counters.expect(call, &name, &counted);
                self.waiting.insert(call, waits(Then::Say(status, json)));
            }
            _ => {
                let allowed = Allowed::by(&decision, most(grant)).ok_or(Refusal::Unavailable)?;
                let performer = declaration.performer.service().ok_or(Refusal::NotThere)?;
                let streams = asked.streams;
                let reach = reach.unwrap_or_default();
                let spec = spec(call, &asked_for, &name, agent.disk_uid);
                let spec = Spec { streams, reach, ..spec };
                let kept = asked.input.try_clone().map_err(|_e| Refusal::Unavailable)?;
                let permit = Permit::new(allowed, spec, performer, [asked.input, asked.answer]);
                self.record(draft, vec![("input", false, kept)], Some(permit))?;
                self.state.counters.expect(call, &name, &counted);
                if let Some(grant) = grant {
                    self.state.grants.expect(call, grant);
                }
                self.waiting.insert(call, waits(Then::End { streams }));
            }
        }
        Ok(())
    }

    /// The agent that a token belongs to.
    pub(crate) fn authenticate(
        &self,
        token: &Bytes,
        source: &str,
    ) -> Result<(String, Agent), Refusal> {
        let digest: [u8; 32] = Sha256::digest(&token.0).into();
        let (name, agent) = self.state.by_token(&digest).ok_or(Refusal::Unauthenticated)?;
        let inside = agent.source.as_ref().is_none_or(|range| {
            let range = policy::Network::read(range).zip(source.parse().ok());
            range.is_some_and(|(range, address)| range.contains(address))
        });
        if inside { Ok((name.clone(), agent.clone())) } else { Err(Refusal::Unauthenticated) }
    }

    /// The policy's answer, with the grant that lets the call through where a person would be asked.
    pub(crate) fn decide(&self, asked: &Asked<'_>, held: bool) -> Decided {
        let Asked { agent, declaration, effects, .. } = asked;
        if held {
            let decision = Decision { answer: Answer::Blocked, effects: Vec::new() };
            let [counted, used_up] = [const { String::new() }; 2];
            let (beside, reach) = (Beside::new(), Ok(Vec::new()));
            return Decided { decision, counted, used_up, beside, grant: None, reach };
        }
        let bytes = bytes_of(effects);
        let set = &self.applied.set;
        let call = Call { agent, capability: declaration.name, version: declaration.version };
        let exhausted = self.used_up(&call, effects, bytes);
        let used_up =
            if exhausted.is_empty() { String::new() } else { names(set.set(), &exhausted) };
        let facts = Facts { exhausted };
        let mut decision = set.decide(&call, effects, &facts);
        let by_service = reach::is_asked(declaration);
        let beside = self.beside(&call, effects, by_service);
        let grant = self.granted(&asked.question(), &decision);
        let (grant, reach) = if by_service {
            reach::through(set, (&call, &facts), effects, &mut decision, grant)
        } else {
            (grant, Ok(Vec::new()))
        };
        let counted = if decision.answer < Answer::Approval {
            counted(set.set(), agent, &decision, bytes)
        } else {
            String::new()
        };
        Decided { decision, counted, used_up, beside, grant, reach }
    }

    pub(crate) fn draft(
        &self,
        call: CallId,
        asked: &Asked<'_>,
        decided: &Decided,
        source: &str,
    ) -> Draft {
        let decision = &decided.decision;
        let answer = decision.answer.to_string();
        let rules = decision.rule_names();
        let id = asked.declaration.id();
        let facts = [
            ("agent", asked.agent),
            ("capability", id.as_str()),
            ("answer", &answer),
            ("rules", &rules),
            ("source", source),
            ("input_digest", &hex(&asked.digest)),
        ];
        let mut draft = Draft::new(Kind::Decision, &facts);
        draft.call = Some(call);
        draft.policy = Some(self.applied.digest);
        draft.effects.clone_from(&asked.effects);
        draft.facts.insert("counted".to_owned(), decided.counted.clone());
        if !decided.used_up.is_empty() {
            // what a decision was made with is beside it, so that it can be made again
            draft.facts.insert("exhausted".to_owned(), decided.used_up.clone());
        }
        draft.facts.extend(decided.beside.iter().cloned());
        draft.facts.extend(decided.grant.map(|grant| ("grant".to_owned(), hex(&grant))));
        reach::explain(&mut draft, &decided.reach);
        draft
    }

    /// Sends the spec to its performer, so that the cage is prepared meanwhile, and the record and
    /// the wish to release it to audit, which alone can. Consumes the permit.
    pub(crate) fn record(
        &mut self,
        draft: Draft,
        bodies: Vec<(&str, bool, OwnedFd)>,
        permit: Option<Permit>,
    ) -> Result<(), Refusal> {
        // what an operator does may use it; what an agent or a stranger can cause may not
        let reserve = matches!(draft.kind, Kind::Act | Kind::Approval | Kind::Policy);
        let (mut named, mut fds) = (Vec::new(), Vec::new());
        for (name, needed, file) in bodies {
            named.push(Body { name: name.to_owned(), needed });
            fds.push(file);
        }
        let release = match permit {
            None => None,
            Some(permit) => {
                let frame = (contract::perform::VERSION, &permit.spec);
                let encoded = contract::cbor::encode(&frame).map_err(|_e| Refusal::Unavailable)?;
                if permit.deferred {
                    fds.push(permit.answer.try_clone().map_err(|_e| Refusal::Unavailable)?);
                }
                let lends = self.tell_lender(&permit.spec)?;
                let edge = edge_of(permit.performer);
                if !self.peers.post(edge, &frame, vec![permit.input, permit.answer]) {
                    return Err(Refusal::Unavailable);
                }
                Some(Release {
                    performer: permit.performer.to_owned(),
                    spec: Digest::of(&encoded).0,
                    deadline_ms: permit.deadline_ms,
                    changes: permit.changes,
                    deferred: permit.deferred,
                    lends,
                })
            }
        };
        let message = ToWriter::Append { draft, bodies: named, release, reserve };
        if self.peers.post(AUDIT, &(MESSAGES_VERSION, message), fds) {
            Ok(())
        } else {
            Err(Refusal::Unavailable)
        }
    }

    /// Somebody at a door waits for what becomes of a call that is no agent's request.
    pub(crate) fn await_call(&mut self, call: CallId, door: &'static str, number: u64, then: Then) {
        self.waiting.insert(call, Waiting { door, number, agent: String::new(), then });
    }

    /// A number for a new call.
    pub(crate) fn random_call(&self) -> Result<CallId, Refusal> {
        let mut call = [0; 16];
        rustix::rand::getrandom(&mut call, rustix::rand::GetRandomFlags::empty())
            .map_err(|_errno| Refusal::Unavailable)?;
        Ok(call)
    }
}

/// What a door sends of a call.
pub(crate) struct CallFrame {
    pub(crate) token: Bytes,
    pub(crate) source: String,
    pub(crate) capability: String,
    pub(crate) streams: bool,
    pub(crate) input: OwnedFd,
    pub(crate) answer: OwnedFd,
}

/// The spec of a call in the workspace of `name`.
pub(crate) fn spec(call: CallId, asked: &Asked<'_>, name: &str, disk_uid: u32) -> Spec {
    Spec {
        call,
        capability: asked.declaration.id(),
        agent: AgentPlace { name: name.to_owned(), disk_uid },
        effects: asked.effects.clone(),
        input: asked.digest,
        limits: Limits::MOST,
        alone: false,
        streams: false,
        reach: Vec::new(),
    }
}

/// The length of an input in bytes.
fn length(input: &OwnedFd) -> Result<u64, Refusal> {
    let status = rustix::fs::fstat(input).map_err(|_errno| Refusal::Unavailable)?;
    u64::try_from(status.st_size).map_err(|_negative| Refusal::Unavailable)
}

pub(crate) fn bytes_of(effects: &[Effect]) -> u64 {
    let bytes = effects.iter().filter_map(|effect| match effect.get(Field::Bytes) {
        Some(Value::Number(bytes)) => Some(*bytes),
        _ => None,
    });
    bytes.fold(0, u64::saturating_add)
}

/// The names of rules, separated by blanks.
fn names(set: &Set, rules: &BTreeSet<(LayerKind, String)>) -> String {
    let layers = set.layers().flat_map(|layer| layer.rules.iter().map(move |rule| (layer, rule)));
    let named = layers
        .filter(|(layer, rule)| rules.contains(&(layer.kind.clone(), rule.name.clone())))
        .map(|(layer, rule)| layer.rule_name(&rule.name));
    named.collect::<Vec<_>>().join(" ")
}

/// The fact from which the counters of limits are folded.
pub(crate) fn counted(set: &Set, agent: &str, decision: &Decision, bytes: u64) -> String {
    let mut words = Vec::new();
    for layer in set.layers_for(agent) {
        let counts =
            |rule: &&policy::Rule| rule.limits.is_some() && !rule.is_limited_by_time_alone();
        for rule in layer.rules.iter().filter(counts) {
            let because = decision.effects.iter().flat_map(|decided| &decided.because);
            let mut because = because.filter_map(|because| match because {
                Because::Rule { layer, name, .. } => Some((layer, name)),
                _ => None,
            });
            if because.any(|(kind, name)| *kind == layer.kind && *name == rule.name) {
                words.push(format!("{}={bytes}", layer.rule_name(&rule.name)));
            }
        }
    }
    words.join(" ")
}
