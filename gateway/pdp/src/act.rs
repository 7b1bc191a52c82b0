//! Operators' acts: the signature and the number of a statement are checked, then the act is answered
//! from what is known, or recorded and performed on a ticket like a call.

use crate::call::{Allowed, Asked, Permit, lower, spec};
use crate::refusal::{Refusal, bad, not_found, say};
use crate::state::{Agent, PRINCIPAL};
use crate::{Pdp, Then, webhooks};
use contract::digits::{hex, unhex_array};
use contract::door::Status;
use contract::effect::{Effect, Field, Form, Kind as EffectKind, Value};
use contract::limits::AGENT_NAME_BYTES_MAX;
use contract::perform::{AgentPlace, CallId, Limits, Spec};
use contract::rings;
use contract::statement::{Act, PERFORMED, STATEMENT_BYTES_MAX, Statement};
use ledger::Kind;
use ledger::writer::Draft;
use policy::{Answer, Call, Facts};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::os::fd::OwnedFd;

/// Longest body of an act.
const BODY_BYTES_MAX: u64 = 100 << 20;
/// Names that no agent has: the one for every agent in rules, and the principals of the box's own calls.
const RESERVED: [&str; 3] = ["any", PRINCIPAL, webhooks::PRINCIPAL];
/// What an act of a service may use: only its time counts.
const LIMITS: Limits = Limits { memory_bytes: 1, tasks: 1, cpu_us: 1, wall_ms: 30_000 };

/// A statement as it came.
pub(crate) struct Signed {
    pub(crate) statement: String,
    pub(crate) signature: Vec<u8>,
    pub(crate) source: String,
}

/// A statement that an operator made: the only thing that acts are taken from.
pub(crate) struct Stated {
    pub(crate) operator: String,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) body: Option<OwnedFd>,
    pub(crate) door: &'static str,
    pub(crate) number: u64,
}

/// Whether a name can be an agent's or operator's.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= AGENT_NAME_BYTES_MAX
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Pdp {
    pub(crate) fn act(
        &mut self,
        (door, number): (&'static str, u64),
        signed: &Signed,
        answer: OwnedFd,
        body: Option<OwnedFd>,
    ) {
        let done = self.operators_stay().and_then(|()| self.check(signed)).and_then(
            |(statement, facts)| {
                let Statement { operator, act, .. } = statement;
                let stated = Stated { operator, facts, body, door, number };
                self.dispatch(act, stated, answer)
            },
        );
        match done {
            Ok(None) => {}
            Ok(Some(json)) => say(&mut self.peers, door, number, Status::Ok, &json),
            Err(refusal) => {
                self.count_refusal(&signed.source, refusal.code(), 1);
                say(&mut self.peers, door, number, refusal.status(), &refusal.json());
            }
        }
    }

    /// Who signed this, for this box, now.
    fn check(&mut self, signed: &Signed) -> Result<(Statement, Vec<(String, String)>), Refusal> {
        let no = |message: &str| Refusal::Signature { message: message.to_owned() };
        if signed.statement.len() > STATEMENT_BYTES_MAX {
            return Err(Refusal::Bad { message: "the statement is too long".to_owned() });
        }
        let statement: Statement = serde_json::from_str(&signed.statement)
            .map_err(|error| Refusal::Bad { message: error.to_string() })?;
        let operator = self.state.operators.get(&statement.operator);
        let operator = operator.ok_or_else(|| no("no operator of this name is paired"))?;
        if !acts::holds(&operator.key, &signed.statement, &signed.signature) {
            return Err(no("the signature is not this operator's"));
        }
        if Some(&statement.of_box) != self.authority.map(|digest| hex(&digest)).as_ref() {
            return Err(no("the statement is for another box"));
        }
        let key = hex(&operator.key);
        if !self.take_nonce(&statement.nonce) {
            return Err(no("the statement's number was used or is too old; sign a new one"));
        }
        let facts = [
            ("operator", statement.operator.clone()),
            ("statement", signed.statement.clone()),
            ("signature", hex(&signed.signature)),
            ("key", key),
            ("source", signed.source.clone()),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok((statement, facts))
    }

    /// The answer, or `None` when it comes with a record.
    fn dispatch(
        &mut self,
        act: Act,
        stated: Stated,
        answer: OwnedFd,
    ) -> Result<Option<String>, Refusal> {
        match act {
            Act::Status => Ok(Some(self.status())),
            Act::Agents => Ok(Some(self.agents())),
            Act::AgentNet { name } => self.agent_net(&name).map(Some),
            Act::Approvals { agent } => Ok(Some(self.approvals(agent.as_deref()))),
            Act::ApprovalShow { call } => self.approval_show(&call).map(Some),
            Act::Notices => Ok(Some(self.notices())),
            act @ (Act::PolicyShow
            | Act::PolicyHistory
            | Act::PolicyText { .. }
            | Act::PolicyExplain { .. }
            | Act::PolicyApply { .. }
            | Act::PolicyProposals
            | Act::PolicyProposal { .. }
            | Act::PolicyRefuse { .. }
            | Act::PolicyShadow { .. }
            | Act::PolicyShadowEnd
            | Act::PolicyShadowShow
            | Act::Invariants
            | Act::InvariantAdd { .. }
            | Act::InvariantRemove { .. }) => self.policy_act(stated, act),
            Act::AuditExport { from } => self.export(&stated, from),
            Act::AuditQuery { from, agent, capability, call, record, max } => {
                self.query(&stated, from, [agent, capability, call, record], max)
            }
            Act::AgentAdd { name, token, source } => {
                self.agent_add(stated, &name, &token, source, answer)
            }
            Act::AgentPause { name } => self.agent_change(stated, "agent-pause", &name),
            Act::AgentResume { name } => self.agent_change(stated, "agent-resume", &name),
            Act::AgentRevoke { name } => self.agent_change(stated, "agent-revoke", &name),
            Act::AgentRotate { name, token } => self.agent_rotate(stated, name, token),
            Act::Stop => self.recorded(stated, "stop", Vec::new(), None),
            Act::Start => self.recorded(stated, "start", Vec::new(), None),
            act @ (Act::Accept { .. }
            | Act::Deny { .. }
            | Act::Grant { .. }
            | Act::GrantRevoke { .. }) => self.verdict(stated, act),
            Act::Grants => Ok(Some(self.grants())),
            act @ (Act::Webhooks
            | Act::WebhookAdd { .. }
            | Act::WebhookRemove { .. }
            | Act::WebhookTest { .. }) => self.webhook_act(stated, act),
            Act::Acknowledge { call } => self.acknowledge(stated, &call),
            Act::Operators => Ok(Some(self.operators())),
            act @ (Act::OperatorAdd { .. }
            | Act::OperatorRemove { .. }
            | Act::GroupAdd { .. }
            | Act::GroupRemove { .. }) => self.operators_change(stated, act),
            Act::CageTry { ring } => {
                let input = sealed(json!({ "ring": ring }).to_string().as_bytes())?;
                let place = (PRINCIPAL, contract::uids::AGENTS);
                let facts = vec![("ring", ring)];
                self.caged(stated, ("cage-try", facts), place, rings::CAPABILITY, [input, answer])
            }
            Act::FileGet { agent, path } => {
                let input = json!({ "path": path }).to_string();
                let input = sealed(input.as_bytes())?;
                self.file(stated, &agent, "filesystem.read", input, answer)
            }
            Act::FilePut { agent, path: _, body } => {
                let mut stated = stated;
                let input = self.body(&mut stated, &body)?;
                self.file(stated, &agent, "filesystem.write", input, answer)
            }
            Act::Perform { name, input, body } => {
                self.perform(stated, &name, &input, body.as_deref(), answer)
            }
        }
    }

    /// The body of an act, if it is the one that was signed for.
    pub(crate) fn body(&self, stated: &mut Stated, digest: &str) -> Result<OwnedFd, Refusal> {
        let body = stated.body.take().ok_or_else(|| bad("the act's body is missing"))?;
        let bytes = channel::sealed::read(&body, BODY_BYTES_MAX)
            .map_err(|_error| bad("the act's body cannot be read or is too long"))?;
        let found = hex(&Sha256::digest(&bytes));
        if found == digest { Ok(body) } else { Err(bad("the body is not the one that was signed")) }
    }

    /// Records an act that changes what pdp knows; the answer goes out with the record.
    pub(crate) fn recorded(
        &mut self,
        stated: Stated,
        act: &str,
        facts: Vec<(&str, String)>,
        call: Option<CallId>,
    ) -> Result<Option<String>, Refusal> {
        let call = call.map_or_else(|| self.random_call(), Ok)?;
        self.recorded_of(stated, (act, call), facts, Vec::new())
    }

    /// The same, of an act that speaks of effects.
    pub(crate) fn recorded_of(
        &mut self,
        stated: Stated,
        (act, call): (&str, CallId),
        facts: Vec<(&str, String)>,
        effects: Vec<Effect>,
    ) -> Result<Option<String>, Refusal> {
        let mut draft = act_draft(call, act, stated.facts, facts);
        draft.effects = effects;
        self.record(draft, Vec::new(), None)?;
        let then = Then::Say(Status::Ok, json!({ "call": hex(&call) }).to_string());
        self.await_call(call, stated.door, stated.number, then);
        Ok(None)
    }

    fn acknowledge(&mut self, stated: Stated, call: &str) -> Result<Option<String>, Refusal> {
        let known = |id: &CallId| self.state.notices.iter().any(|notice| notice.call == *id);
        let id = unhex_array::<16>(call).filter(known);
        let id = id.ok_or_else(|| not_found("notice of this call"))?;
        self.recorded(stated, "acknowledge", Vec::new(), Some(id))
    }

    fn known_agent(&self, name: &str) -> Result<&Agent, Refusal> {
        let agent = self.state.agents.get(name).filter(|agent| !agent.revoked);
        agent.ok_or_else(|| not_found(&format!("agent `{name}`")))
    }

    fn agent_rotate(
        &mut self,
        stated: Stated,
        name: String,
        token: String,
    ) -> Result<Option<String>, Refusal> {
        unhex_array::<32>(&token).ok_or_else(|| bad("`token`: 64 hexadecimal digits"))?;
        self.known_agent(&name)?;
        let facts = vec![("name", name), ("token", token)];
        self.recorded(stated, "agent-rotate", facts, None)
    }

    fn agent_change(
        &mut self,
        stated: Stated,
        act: &str,
        name: &str,
    ) -> Result<Option<String>, Refusal> {
        self.known_agent(name)?;
        self.recorded(stated, act, vec![("name", name.to_owned())], None)
    }

    fn agent_add(
        &mut self,
        stated: Stated,
        name: &str,
        token: &str,
        source: Option<String>,
        answer: OwnedFd,
    ) -> Result<Option<String>, Refusal> {
        if !is_name(name) || RESERVED.contains(&name) {
            let wanted = "`name`: lower-case letters, digits and `-`, at most 32; not `any`, `boot` or `box`";
            return Err(bad(wanted));
        }
        unhex_array::<32>(token).ok_or_else(|| bad("`token`: 64 hexadecimal digits"))?;
        if source.as_ref().is_some_and(|range| policy::Network::read(range).is_none()) {
            return Err(bad("`source`: an address or a CIDR block"));
        }
        let known = self.state.agents.get(name);
        if known.is_some_and(|agent| agent.revoked || agent.home.1) {
            let message = format!("an agent `{name}` is or was there; choose another name");
            return Err(Refusal::Conflict { message });
        }
        let disk_uid = known.map_or_else(|| self.state.next_disk_uid(), |agent| agent.disk_uid);
        let mut facts = vec![
            ("name", name.to_owned()),
            ("token", token.to_owned()),
            ("uid", disk_uid.to_string()),
        ];
        facts.extend(source.map(|range| ("source_range", range)));
        let place = AgentPlace { name: name.to_owned(), disk_uid };
        let input = sealed(b"{}")?;
        self.performed(
            stated,
            ("agent-add", "agent.make@1", "forker"),
            facts,
            place,
            [input, answer],
        )
    }

    /// A file of an agent's workspace, through a cage like the agent's own, decided by the system's
    /// limits alone: the operator's signature stands where the box's policy does.
    fn file(
        &mut self,
        stated: Stated,
        agent: &str,
        capability: &str,
        input: OwnedFd,
        answer: OwnedFd,
    ) -> Result<Option<String>, Refusal> {
        let disk_uid = self.known_agent(agent)?.disk_uid;
        let facts = vec![("agent", agent.to_owned())];
        self.caged(stated, ("file", facts), (agent, disk_uid), capability, [input, answer])
    }

    /// An act that a cage performs, decided by the system's limits alone.
    fn caged(
        &mut self,
        stated: Stated,
        (act, mut facts): (&str, Vec<(&str, String)>),
        (agent, disk_uid): (&str, u32),
        capability: &str,
        [input, answer]: [OwnedFd; 2],
    ) -> Result<Option<String>, Refusal> {
        let (declaration, effects, digest) = lower(capability, &input)?;
        let call = self.random_call()?;
        let (capability, version) = (declaration.name, declaration.version);
        let allowed = self.allow_act(call, &Call { agent, capability, version }, &effects)?;
        let asked = Asked { agent, declaration, effects, digest };
        facts.push(("capability", declaration.id()));
        let mut draft = act_draft(call, act, stated.facts, facts);
        draft.effects.clone_from(&asked.effects);
        let permit =
            Permit::new(allowed, spec(call, &asked, agent, disk_uid), "forker", [input, answer]);
        self.record(draft, Vec::new(), Some(permit))?;
        self.await_call(call, stated.door, stated.number, Then::End { streams: false });
        Ok(None)
    }

    /// An operator's act under the system's limits: the signature is the yes that these may ask for.
    fn allow_act(
        &self,
        call: CallId,
        asked: &Call<'_>,
        effects: &[Effect],
    ) -> Result<Allowed, Refusal> {
        let set = &self.shipped.operators;
        let decision = set.decide(asked, effects, &Facts::default());
        Allowed::by(&decision, Answer::Approval)
            .ok_or_else(|| Refusal::denied(call, &decision, false))
    }

    /// An act of another service.
    fn perform(
        &mut self,
        mut stated: Stated,
        name: &str,
        input: &str,
        body: Option<&str>,
        answer: OwnedFd,
    ) -> Result<Option<String>, Refusal> {
        let known = PERFORMED.iter().find(|(known, _)| *known == name);
        let (name, performer) = known.ok_or_else(|| not_found(&format!("act `{name}`")))?;
        let input = match body {
            Some(digest) => self.body(&mut stated, digest)?,
            None => sealed(input.as_bytes())?,
        };
        let place = AgentPlace { name: stated.operator.clone(), disk_uid: 0 };
        self.performed(stated, (name, name, performer), Vec::new(), place, [input, answer])
    }

    fn performed(
        &mut self,
        stated: Stated,
        (act, capability, performer): (&str, &str, &'static str),
        facts: Vec<(&str, String)>,
        agent: AgentPlace,
        [input, answer]: [OwnedFd; 2],
    ) -> Result<Option<String>, Refusal> {
        let call = self.random_call()?;
        let bytes = channel::sealed::read(&input, BODY_BYTES_MAX)
            .map_err(|_error| bad("the input cannot be read"))?;
        let name = Value::Text(act.to_owned());
        let effect = Effect::new(EffectKind::Setting, Form::Exact, [(Field::Name, name)]);
        let effects: Vec<Effect> = effect.into_iter().collect();
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let asked = Call { agent: &stated.operator, capability: act, version: 1 };
        let allowed = self.allow_act(call, &asked, &effects)?;
        let mut facts = facts;
        facts.push(("input_digest", hex(&digest)));
        let mut draft = act_draft(call, act, stated.facts, facts);
        draft.effects.clone_from(&effects);
        let (capability, limits) = (capability.to_owned(), LIMITS);
        let spec = Spec {
            call,
            capability,
            agent,
            effects,
            input: digest,
            limits,
            alone: false,
            streams: false,
            reach: Vec::new(),
        };
        let permit = Permit::new(allowed, spec, performer, [input, answer]);
        self.record(draft, Vec::new(), Some(permit))?;
        self.await_call(call, stated.door, stated.number, Then::End { streams: false });
        Ok(None)
    }
}

/// The record of an act.
pub(crate) fn act_draft(
    call: CallId,
    act: &str,
    statement: Vec<(String, String)>,
    facts: Vec<(&str, String)>,
) -> Draft {
    let mut draft = Draft::new(Kind::Act, &[("act", act)]);
    draft.call = Some(call);
    draft.facts.extend(statement);
    draft.facts.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
    draft
}

fn sealed(bytes: &[u8]) -> Result<OwnedFd, Refusal> {
    channel::sealed::holding(bytes).map_err(|_error| Refusal::Unavailable)
}
