//! What is answered from what pdp knows, without a record.

use crate::Pdp;
use crate::call::Asked;
use crate::peers::{AUDIT, EGRESS, FORKER, INIT, OPERATORS, VAULT};
use crate::refusal::{Refusal, say};
use crate::shadow::Candidate;
use crate::state::{Came, Text};
use capabilities::{CATALOGUE, Performer, document};
use contract::bytes::Bytes;
use contract::digits::{hex, unhex_array};
use contract::door::{Status, ToDoor, VERSION};
use contract::perform::CallId;
use contract::piece;
use policy::{Call, Facts};
use serde_json::{Value as Json, json};
use std::os::fd::OwnedFd;

/// Most sources of refused requests that are counted apart in a second.
const SOURCES_MAX: usize = 256;
/// Most items of a list in one answer.
const LIST_MAX: usize = 100;
/// Most bytes of a call's pieces in one answer.
const PIECES_BYTES_MAX: usize = 4 * piece::ITEM_BYTES_MAX;

impl Pdp {
    pub(crate) fn status(&self) -> String {
        let policy = json!({
            "digest": self.applied.digest.to_string(),
            "version": self.state.policy.as_ref().map_or(0, |policy| policy.version),
        });
        let ready = |name| self.peers.has(name);
        let operators: Vec<Json> = self
            .state
            .operators
            .iter()
            .map(|(name, one)| json!({ "name": name, "recipient": one.recipient }))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "box": self.authority.map(|digest| hex(&digest)),
            "boot_us": linux::clock::boot_us(),
            "wall_us": linux::clock::wall_us(),
            "clock_known": self.moment().is_some(),
            "records": self.state.length,
            "agents": self.state.agents.values().filter(|agent| !agent.revoked).count(),
            "operators": operators,
            "stopped": self.state.stopped,
            "pending": self.state.pending.len(),
            "notices": self.state.notices.len(),
            "refused": self.state.refused,
            "policy": policy,
            "proposals": self.state.proposals.count(),
            "shadow": self.state.shadow.candidate().map(Candidate::brief),
            "rings": self.state.rings,
            "services": { "audit": ready(AUDIT), "forker": ready(FORKER), "vault": ready(VAULT),
                "egress": ready(EGRESS), "init": ready(INIT), "operators": ready(OPERATORS) },
        })
        .to_string()
    }

    /// The box's state for the console.
    pub(crate) fn state_lines(&self) -> Vec<String> {
        let state = &self.state;
        let agents = state.agents.values().filter(|agent| !agent.revoked).count();
        let mut lines = vec![format!(
            "{agents} agents{}, {} waiting for a person, {} notices, {} records",
            if state.stopped { ", all stopped" } else { "" },
            state.pending.len(),
            state.notices.len(),
            state.length
        )];
        if state.operators.is_empty() {
            lines.push("no operator yet: press Enter for a pairing code".to_owned());
        }
        for (call, pending) in state.waiting(None).into_iter().take(5) {
            let effects: Vec<String> = pending.effects.iter().map(ToString::to_string).collect();
            let line = format!("{} waits: {}", pending.agent, effects.join("; "));
            lines.push(line.chars().take(70).collect::<String>() + " " + hex(call).split_at(8).0);
        }
        lines
    }

    /// Every operator, and every group with its members.
    pub(crate) fn operators(&self) -> String {
        let operators = self.state.acts().operators();
        let groups: Json = operators
            .groups()
            .map(|(group, members)| json!({ "group": group, "members": members }))
            .collect();
        let one = |(name, one): (&String, &crate::state::Operator)| json!({ "name": name, "key": hex(&one.key), "recipient": one.recipient });
        let operators: Vec<Json> = self.state.operators.iter().map(one).collect();
        json!({ "operators": operators, "groups": groups }).to_string()
    }

    pub(crate) fn agents(&self) -> String {
        let agents: Vec<Json> = self
            .state
            .agents
            .iter()
            .map(|(name, agent)| {
                json!({ "name": name, "uid": agent.disk_uid, "paused": agent.paused,
                    "revoked": agent.revoked, "ready": agent.home.1, "source": agent.source,
                    "added_us": agent.added_us })
            })
            .collect();
        json!({ "agents": agents, "stopped": self.state.stopped }).to_string()
    }

    pub(crate) fn approvals(&self, agent: Option<&str>) -> String {
        self.state.approvals(agent).to_string()
    }

    pub(crate) fn approval_show(&self, call: &str) -> Result<String, Refusal> {
        let missing = || crate::refusal::not_found("call of this number");
        let id = unhex_array::<16>(call).ok_or_else(missing)?;
        if let Some(pending) = self.state.pending.get(&id) {
            return Ok(self.state.pending_json(&id, pending).to_string());
        }
        let known = self.state.calls.get(&id).ok_or_else(missing)?;
        Ok(json!({ "call": call, "agent": known.agent, "status": came(&known.came) }).to_string())
    }

    pub(crate) fn notices(&self) -> String {
        let list: Vec<Json> = self
            .state
            .notices
            .iter()
            .rev()
            .take(LIST_MAX)
            .map(|n| json!({ "call": hex(&n.call), "text": n.text, "wall_us": n.wall_us }))
            .collect();
        json!({ "notices": list, "count": self.state.notices.len() }).to_string()
    }

    pub(crate) fn policy_show(&self) -> String {
        let version = self.state.policy.as_ref().map_or(0, |policy| policy.version);
        json!({ "version": version, "digest": self.applied.digest.to_string(),
            "text": self.applied.text })
        .to_string()
    }

    pub(crate) fn policy_history(&self) -> String {
        let one = |text: &Text| {
            json!({ "version": text.version, "digest": text.digest.to_string(),
                "operator": text.operator, "wall_us": text.wall_us })
        };
        let texts: Vec<Json> =
            self.state.texts.iter().rev().take(LIST_MAX).rev().map(one).collect();
        json!({ "texts": texts }).to_string()
    }

    /// What an agent would get, with the rules that say so: for operators.
    pub(crate) fn explain(
        &self,
        agent: &str,
        capability: &str,
        input: &str,
    ) -> Result<String, Refusal> {
        let sealed = channel::sealed::holding(input.as_bytes());
        let sealed = sealed.map_err(|_error| Refusal::Unavailable)?;
        let (declaration, effects, _) = crate::call::lower(capability, &sealed)?;
        let (name, version) = (declaration.name, declaration.version);
        let call = Call { agent, capability: name, version };
        let set = &self.applied.set;
        let exhausted = self.used_up(&call, &effects, 0);
        let facts = Facts { exhausted };
        let mut decision = set.decide(&call, &effects, &facts);
        let reach = if crate::reach::is_asked(declaration) {
            crate::reach::through(set, (&call, &facts), &effects, &mut decision, None).1
        } else {
            Ok(Vec::new())
        };
        let each: Vec<Json> = effects
            .iter()
            .zip(&decision.effects)
            .map(|(effect, decided)| {
                let because: Vec<String> =
                    decided.because.iter().map(|because| format!("{because:?}")).collect();
                json!({ "effect": effect.to_string(), "answer": decided.answer.to_string(),
                    "because": because })
            })
            .collect();
        let mut said = json!({ "answer": decision.answer.to_string(), "effects": each });
        if let Some(members) = said.as_object_mut() {
            match reach {
                Ok(ranges) if ranges.is_empty() => {}
                Ok(ranges) => drop(members.insert("reach".to_owned(), json!(ranges))),
                Err(why) => drop(members.insert("unreachable".to_owned(), json!(why.to_string()))),
            }
        }
        Ok(said.to_string())
    }

    /// What an agent can call, with the mildest answer that it can get.
    pub(crate) fn tools(&mut self, door: &str, number: u64, (token, source): (&Bytes, &str)) {
        let name = match self.authenticate(token, source) {
            Ok((name, _)) => name,
            Err(refusal) => {
                self.count_refusal(source, refusal.code(), 1);
                return say(&mut self.peers, door, number, refusal.status(), &refusal.json());
            }
        };
        let tools: Vec<Json> = CATALOGUE
            .iter()
            .map(|declaration| {
                let mildest = mildest(&self.applied.set, &name, declaration);
                json!({ "name": declaration.name, "version": declaration.version,
                    "purpose": declaration.purpose, "when": declaration.when,
                    "risk": declaration.risk.name(), "mildest": mildest.to_string(),
                    "reads_only": declaration.risk == capabilities::Risk::R0,
                    "caged": matches!(declaration.performer, Performer::Cage(_)),
                    "input": document::schema(declaration) })
            })
            .collect();
        say(&mut self.peers, door, number, Status::Ok, &json!({ "tools": tools }).to_string());
    }

    /// What became of an agent's own call.
    pub(crate) fn poll(
        &mut self,
        (door, number): (&'static str, u64),
        (token, source): (&Bytes, &str),
        call: CallId,
        from: Option<u64>,
    ) {
        let agent = match self.authenticate(token, source) {
            Ok((agent, _)) => agent,
            Err(refusal) => {
                self.count_refusal(source, refusal.code(), 1);
                return say(&mut self.peers, door, number, refusal.status(), &refusal.json());
            }
        };
        let known = self.state.calls.get(&call).filter(|known| known.agent == agent);
        let (status, json) = match known.map(|known| known.came.clone()) {
            None => {
                let refusal = crate::refusal::not_found("call of yours with this number");
                (refusal.status(), refusal.json())
            }
            Some(Came::Ended(_, Some(place))) => {
                return self.fetch_result(door, number, place);
            }
            Some(came @ (Came::Running | Came::Pending)) => {
                if let Some(pieces) = from.and_then(|from| self.pieces(&call, from)) {
                    let media_type = piece::MEDIA_TYPE.to_owned();
                    let message = ToDoor::File { number, media_type };
                    self.peers.post(door, &(VERSION, message), vec![pieces]);
                    return;
                }
                let next = "ask again";
                (
                    Status::Pending,
                    json!({ "call": hex(&call), "status": self::came(&came),
                    "next": next })
                    .to_string(),
                )
            }
            Some(Came::Not(why)) => {
                let message = format!("not performed: {why}");
                let error = json!({ "code": why, "message": message, "call": hex(&call),
                    "next": "do without it, or ask an operator" });
                (Status::Denied, json!({ "error": error }).to_string())
            }
            Some(Came::Ended(code, None)) => (
                Status::Ok,
                json!({ "call": hex(&call), "status": "ended", "code": code }).to_string(),
            ),
        };
        say(&mut self.peers, door, number, status, &json);
    }

    /// What a call that streams has written from a byte on, as far as it fits: copied, since whoever has
    /// the file itself can still write it.
    fn pieces(&self, call: &CallId, from: u64) -> Option<OwnedFd> {
        let mut bytes = vec![0; PIECES_BYTES_MAX];
        let count = rustix::io::pread(self.streams.get(call)?, &mut bytes, from).ok()?;
        channel::sealed::holding(bytes.get(..count)?).ok()
    }

    /// Counts requests that were refused before they were calls; of too many sources the rest are one.
    pub(crate) fn count_refusal(&mut self, source: &str, reason: &str, count: u64) {
        let known = (source.to_owned(), reason.to_owned());
        let room = self.refused.len() < SOURCES_MAX || self.refused.contains_key(&known);
        let key = if room { known } else { ("others".to_owned(), reason.to_owned()) };
        *self.refused.entry(key).or_default() += count;
    }

    /// What was refused in the last second: one record a source and reason.
    pub(crate) fn record_refused(&mut self) {
        for name in self.peers.take_cut_off() {
            self.count_refusal(&name, "frames", 1);
        }
        for ((source, reason), count) in std::mem::take(&mut self.refused) {
            let facts =
                [("source", source.as_str()), ("reason", &reason), ("count", &count.to_string())];
            let draft = ledger::writer::Draft::new(ledger::Kind::Refused, &facts);
            if self.record(draft, Vec::new(), None).is_err() {
                self.count_refusal(&source, &reason, count);
            }
        }
    }
}

fn came(came: &Came) -> &str {
    match came {
        Came::Running => "running",
        Came::Pending => "pending",
        Came::Not(why) => why,
        Came::Ended(code, _) => code,
    }
}

/// The mildest answer that any input of this capability could get: that of a file in the workspace,
/// of one byte, which is what shipped policies speak of. A rule about other inputs may be stricter.
fn mildest(
    set: &policy::Compiled,
    agent: &str,
    declaration: &'static capabilities::Declaration,
) -> policy::Answer {
    let examples = declaration.examples.iter().filter_map(|example| {
        let input: Json = serde_json::from_str(example.input).ok()?;
        declaration.lower(&declaration.accept(&input).ok()?)
    });
    let answers = examples.map(|effects| {
        let asked = Asked { agent, declaration, effects, digest: [0; 32] };
        let (capability, version) = (declaration.name, declaration.version);
        let call = Call { agent, capability, version };
        set.decide(&call, &asked.effects, &Facts::default()).answer
    });
    answers.min().unwrap_or(policy::Answer::Blocked)
}
