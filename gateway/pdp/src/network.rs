//! What agents reach over the network, and what was dropped of what they tried, as far as the ledger says
//! it: the effects of calls under way, and the packets that outcomes count.

use crate::Pdp;
use crate::act::not_found;
use crate::refusal::Refusal;
use contract::digits::hex;
use contract::effect::{Effect, Kind};
use contract::perform::CallId;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

/// How many calls of an agent are remembered of which packets were dropped.
const DROPPING_MAX: usize = 32;

/// Of one agent.
#[derive(Debug, Default)]
struct Network {
    /// Calls under way, and what they were decided to connect to.
    now: BTreeMap<CallId, Vec<String>>,
    dropped_packets: u64,
    dropping: VecDeque<(CallId, u64)>,
}

/// Of all agents.
#[derive(Debug, Default)]
pub(crate) struct Networks(BTreeMap<String, Network>);

impl Networks {
    /// A call may begin.
    pub(crate) fn began(&mut self, agent: &str, call: CallId, effects: &[Effect]) {
        let connects = effects.iter().filter(|effect| effect.kind == Kind::Connect);
        let connects: Vec<String> = connects.map(ToString::to_string).collect();
        if !connects.is_empty() {
            self.0.entry(agent.to_owned()).or_default().now.insert(call, connects);
        }
    }

    /// A call is over.
    pub(crate) fn ended(&mut self, agent: &str, call: CallId, dropped_packets: u64) {
        if let Some(network) = self.0.get_mut(agent) {
            network.now.remove(&call);
        }
        if dropped_packets > 0 {
            let network = self.0.entry(agent.to_owned()).or_default();
            network.dropped_packets = network.dropped_packets.saturating_add(dropped_packets);
            network.dropping.push_back((call, dropped_packets));
            if network.dropping.len() > DROPPING_MAX {
                network.dropping.pop_front();
            }
        }
    }
}

impl Pdp {
    /// What may pass of what an agent sends, and what did not.
    pub(crate) fn agent_net(&self, name: &str) -> Result<String, Refusal> {
        if !self.state.agents.contains_key(name) {
            return Err(not_found(&format!("agent `{name}`")));
        }
        let rules = self.applied.set.layers_for(name).flat_map(|layer| {
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
        let nothing = Network::default();
        let network = self.state.networks.0.get(name).unwrap_or(&nothing);
        let now: Vec<Json> = network
            .now
            .iter()
            .map(|(call, connects)| json!({ "call": hex(call), "connects": connects }))
            .collect();
        let dropping: Vec<Json> = network
            .dropping
            .iter()
            .rev()
            .map(|(call, packets)| json!({ "call": hex(call), "packets": packets }))
            .collect();
        Ok(json!({ "agent": name, "rules": rules, "now": now,
            "dropped_packets": network.dropped_packets, "dropped": dropping })
        .to_string())
    }
}
