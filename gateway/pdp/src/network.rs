//! What agents reach over the network, and what was dropped of what they tried, as far as the ledger says
//! it: the effects of calls under way, and the packets that outcomes count.

use crate::Pdp;
use crate::refusal::{Refusal, not_found};
use contract::digits::hex;
use contract::effect::{Effect, Kind};
use contract::perform::CallId;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

/// How many calls of an agent are remembered of which packets were dropped.
const DROPPING_MAX: usize = 32;

/// A call under way: whose it is, and what it was decided to connect to.
#[derive(Debug)]
struct Connecting {
    agent: String,
    connects: Vec<String>,
}

/// What was dropped of one agent's.
#[derive(Debug, Default)]
struct Dropped {
    packets: u64,
    /// Of its last calls of which something was.
    calls: VecDeque<(CallId, u64)>,
}

/// Of all agents.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    now: BTreeMap<CallId, Connecting>,
    dropped: BTreeMap<String, Dropped>,
}

impl Networks {
    /// A call may begin.
    pub(crate) fn began(&mut self, agent: &str, call: CallId, effects: &[Effect]) {
        let connects = effects.iter().filter(|effect| effect.kind == Kind::Connect);
        let connects: Vec<String> = connects.map(ToString::to_string).collect();
        if !connects.is_empty() {
            self.now.insert(call, Connecting { agent: agent.to_owned(), connects });
        }
    }

    /// A call is over; `agent` made it, where that is remembered.
    pub(crate) fn ended(&mut self, agent: Option<&str>, call: CallId, packets: u64) {
        let began = self.now.remove(&call).map(|connecting| connecting.agent);
        let agent = began.or_else(|| agent.map(str::to_owned));
        let Some(agent) = agent.filter(|_| packets > 0) else { return };
        let dropped = self.dropped.entry(agent).or_default();
        dropped.packets = dropped.packets.saturating_add(packets);
        dropped.calls.push_back((call, packets));
        if dropped.calls.len() > DROPPING_MAX {
            dropped.calls.pop_front();
        }
    }
}

impl Pdp {
    /// What may pass of what an agent sends, and what did not.
    pub(crate) fn agent_net(&self, name: &str) -> Result<String, Refusal> {
        if !self.state.agents.contains_key(name) {
            return Err(not_found(&format!("agent `{name}`")));
        }
        let rules = self.applied.set.set().layers_for(name).flat_map(|layer| {
            let speaks = |rule: &&policy::Rule| {
                let network = [Kind::Connect, Kind::Resolve];
                rule.agents.iter().any(|agent| agent.matches(name))
                    && rule.effects.iter().any(|effect| network.contains(&effect.0))
            };
            let layer_name = layer.kind.to_string();
            layer.rules.iter().filter(speaks).map(move |rule| {
                json!({ "layer": layer_name, "rule": rule.name, "answer": rule.decision.to_string(),
                    "reason": rule.reason })
            })
        });
        let rules: Vec<Json> = rules.collect();
        let networks = &self.state.networks;
        let its = |connecting: &Connecting| connecting.agent == name;
        let now: Vec<Json> = networks
            .now
            .iter()
            .filter(|(_, connecting)| its(connecting))
            .map(|(call, it)| json!({ "call": hex(call), "connects": it.connects }))
            .collect();
        let nothing = Dropped::default();
        let dropped = networks.dropped.get(name).unwrap_or(&nothing);
        let dropping: Vec<Json> = dropped
            .calls
            .iter()
            .rev()
            .map(|(call, packets)| json!({ "call": hex(call), "packets": packets }))
            .collect();
        Ok(json!({ "agent": name, "rules": rules, "now": now,
            "dropped_packets": dropped.packets, "dropped": dropping })
        .to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::effect::{Field, Form, Value};

    fn connect() -> Vec<Effect> {
        let fields = [
            (Field::Address, Value::Text("203.0.113.2".to_owned())),
            (Field::Port, Value::Number(443)),
        ];
        vec![Effect::new(Kind::Connect, Form::Exact, fields).unwrap()]
    }

    #[test]
    fn a_call_that_ended_is_under_way_no_more_though_nobody_remembers_whose_it_was() {
        let mut networks = Networks::default();
        networks.began("alice", [1; 16], &connect());
        networks.began("alice", [2; 16], &[]);
        assert_eq!(networks.now.len(), 1, "only what connects");
        networks.ended(None, [1; 16], 3);
        assert!(networks.now.is_empty());
        networks.ended(Some("alice"), [2; 16], 4);
        networks.ended(None, [3; 16], 5);
        assert_eq!(networks.dropped.get("alice").map(|dropped| dropped.packets), Some(7));
    }
}
