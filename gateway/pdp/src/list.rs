//! The list of what waits for persons: bounded, and fair to agents, so that nobody's asks hide another's.

use crate::approval::parts;
use crate::refusal::Refusal;
use crate::state::{Pending, State};
use contract::digits::hex;
use contract::perform::CallId;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

/// Most calls of one agent that wait for a person.
const PENDING_MAX: usize = 32;
/// Most calls of a list, and most bytes of it as JSON: an answer is one frame.
const CALLS_MAX: usize = 100;
const BYTES_MAX: usize = 40 << 10;
/// Most characters of a call's effects in a list; `show` has all of them.
const EFFECTS_MAX: usize = 400;

impl State {
    /// Whether an agent may ask a person now; `asking` of its asks are not recorded yet.
    pub(crate) fn may_ask(&self, agent: &str, asking: usize, now_us: u64) -> Result<(), Refusal> {
        let pending = self.pending.values().filter(|pending| pending.agent == agent).count();
        if pending.saturating_add(asking) >= PENDING_MAX {
            return Err(Refusal::TooManyPending);
        }
        if self.asks.are_too_many(agent, asking, now_us) {
            return Err(Refusal::TooManyAsks);
        }
        Ok(())
    }

    /// What waits, of one agent or of all: of each agent the oldest first, one agent's after another's.
    pub(crate) fn waiting(&self, of: Option<&str>) -> Vec<(&CallId, &Pending)> {
        let mut agents: BTreeMap<&str, Vec<(&CallId, &Pending)>> = BTreeMap::new();
        for (call, pending) in &self.pending {
            if of.is_none_or(|agent| pending.agent == agent) {
                agents.entry(&pending.agent).or_default().push((call, pending));
            }
        }
        let mut rows: VecDeque<VecDeque<(&CallId, &Pending)>> = agents
            .into_values()
            .map(|mut calls| {
                calls.sort_by_key(|(_, pending)| pending.asked_us);
                calls.into()
            })
            .collect();
        let mut all = Vec::new();
        while let Some(mut row) = rows.pop_front() {
            if let Some(one) = row.pop_front() {
                all.push(one);
                rows.push_back(row);
            }
        }
        all
    }

    /// That list, as much of it as one answer holds.
    pub(crate) fn approvals(&self, of: Option<&str>) -> Json {
        let waiting = self.waiting(of);
        let (mut list, mut bytes) = (Vec::new(), 0);
        for (call, pending) in waiting.iter().take(CALLS_MAX) {
            let mut one = self.pending_json(call, pending);
            if let Some(effects) = one.get_mut("effects") {
                *effects = cut(effects);
            }
            bytes += one.to_string().len();
            if bytes > BYTES_MAX {
                break;
            }
            list.push(one);
        }
        let left_out = waiting.len() - list.len();
        let mut agents: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, pending) in waiting.iter().skip(list.len()) {
            *agents.entry(&pending.agent).or_default() += 1;
        }
        // of the agents of which most is left out
        let mut most: Vec<(&str, usize)> = agents.into_iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let most: Vec<&str> = most.into_iter().take(8).map(|(agent, _)| agent).collect();
        json!({ "approvals": list, "left_out": left_out, "left_out_of": most,
            "boot_ms": linux::clock::boot_ms() })
    }

    /// One that waits, with all of its effects.
    pub(crate) fn pending_json(&self, call: &CallId, pending: &Pending) -> Json {
        let acts = self.acts();
        let votes = acts.votes(call).map(|votes| parts(&votes.parts(acts.operators(), None)));
        let effects: Vec<String> = pending.effects.iter().map(ToString::to_string).collect();
        json!({ "call": hex(call), "agent": pending.agent, "capability": pending.capability,
            "effects": effects, "digest": pending.digest, "reason": pending.reason,
            "input_sha256": hex(&pending.input), "asked_us": pending.asked_us,
            "decide_by_ms": pending.decide_by_ms, "votes": votes })
    }
}

/// Effects as far as a list has room for them, with how much there is beyond.
fn cut(effects: &Json) -> Json {
    let texts = effects.as_array().into_iter().flatten().filter_map(Json::as_str);
    let (mut shown, mut left, mut beyond) = (Vec::new(), EFFECTS_MAX, 0);
    for text in texts {
        let length = text.chars().count();
        let part: String = text.chars().take(left).collect();
        beyond += length.saturating_sub(left);
        left = left.saturating_sub(length);
        shown.extend(Some(part).filter(|part| !part.is_empty()));
    }
    if beyond > 0 {
        shown.push(format!("[{beyond} characters more: krux approve show]"));
    }
    json!(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::effect::{Effect, Field, Form, Kind as EffectKind, Value};
    use contract::path::CanonicalPath;
    use ledger::writer::Draft;
    use ledger::{Chain, Kind};

    const ASKS: usize = 10_000;

    /// A box's state and the ledger that it is folded from.
    struct Fold {
        state: State,
        chain: Chain,
        asked: u64,
    }

    impl Fold {
        fn take(&mut self, draft: Draft, wall_us: u64) {
            let envelope = draft.into_envelope([1; 16], 0, wall_us, BTreeMap::new());
            let record = self.chain.append(envelope).unwrap().record().clone();
            self.state.apply(&record).unwrap();
        }

        /// An agent asks for the deletion of a file with a long name, if it may.
        fn ask(&mut self, agent: &str) -> Result<CallId, Refusal> {
            self.state.may_ask(agent, 0, 0)?;
            self.asked += 1;
            let mut call = [0; 16];
            call[8..].copy_from_slice(&self.asked.to_be_bytes());
            let facts = [
                ("agent", agent),
                ("capability", "filesystem.delete@1"),
                ("answer", "approval"),
                ("decide_by_ms", "1000"),
            ];
            let mut draft = Draft::new(Kind::Decision, &facts);
            draft.call = Some(call);
            let path = format!("{}/{}", vec!["\u{202e}".repeat(80); 16].join("/"), self.asked);
            let path = Value::Path(CanonicalPath::parse(&path).unwrap());
            draft.effects.extend(Effect::new(
                EffectKind::Delete,
                Form::Exact,
                [(Field::Path, path)],
            ));
            self.take(draft, self.asked);
            Ok(call)
        }

        fn expire(&mut self, call: CallId) {
            let mut draft = Draft::new(Kind::Approval, &[("verdict", "expired")]);
            draft.call = Some(call);
            self.take(draft, 0);
        }
    }

    fn fold() -> Fold {
        Fold { state: State::new([1; 16]), chain: Chain::default(), asked: 0 }
    }

    fn count(list: &Json, agent: &str) -> usize {
        let of = |one: &&Json| one.get("agent").and_then(Json::as_str) == Some(agent);
        list.get("approvals").and_then(Json::as_array).unwrap().iter().filter(of).count()
    }

    #[test]
    fn ten_thousand_asks_of_one_agent_hide_nobody_elses() {
        let mut fold = fold();
        let mut came: BTreeMap<&str, usize> = BTreeMap::new();
        for _ in 0..ASKS {
            let said = fold.ask("loud").map_or_else(|refusal| refusal.code(), |_| "pending");
            *came.entry(said).or_default() += 1;
        }
        assert_eq!(came, BTreeMap::from([("pending", 32), ("too_many_pending", ASKS - 32)]));
        for agent in ["quiet", "other"] {
            fold.ask(agent).unwrap();
        }
        let list = fold.state.approvals(None);
        assert!(list.to_string().len() < contract::door::TEXT_BYTES_MAX, "it is one answer");
        assert_eq!((count(&list, "quiet"), count(&list, "other")), (1, 1));
        let loud = count(&list, "loud");
        assert_eq!(list.get("left_out"), Some(&json!(32 - loud)));
        assert!(loud > 8, "{loud}");
        assert_eq!(count(&fold.state.approvals(Some("quiet")), "loud"), 0);
        // one agent's after another's, the oldest first
        let order: Vec<&str> =
            fold.state.waiting(None).iter().map(|(_, one)| one.agent.as_str()).collect();
        assert_eq!(order.get(..4), Some(&["loud", "other", "quiet", "loud"][..]));
        let ages: Vec<u64> =
            fold.state.waiting(Some("loud")).iter().map(|(_, o)| o.asked_us).collect();
        assert!(ages.is_sorted());
    }

    #[test]
    fn ten_thousand_asks_that_are_answered_are_sixty_an_hour() {
        let mut fold = fold();
        let mut came: BTreeMap<&str, usize> = BTreeMap::new();
        for _ in 0..ASKS {
            let asked = fold.ask("loud");
            let said = asked.as_ref().map_or_else(Refusal::code, |_| "pending");
            *came.entry(said).or_default() += 1;
            if let Ok(call) = asked {
                fold.expire(call);
            }
        }
        assert_eq!(came, BTreeMap::from([("pending", 60), ("too_many_asks", ASKS - 60)]));
        assert!(fold.state.pending.is_empty());
        fold.ask("quiet").unwrap();
    }

    #[test]
    fn a_long_effect_is_cut_in_a_list_and_says_so() {
        let long = json!(["a".repeat(EFFECTS_MAX - 1), "bcd", "e"]);
        let shown = cut(&long);
        assert_eq!(shown.pointer("/1"), Some(&json!("b")));
        assert_eq!(shown.pointer("/2"), Some(&json!("[3 characters more: krux approve show]")));
        let short = json!(["delete /workspace/a"]);
        assert_eq!(cut(&short), short);
    }
}
