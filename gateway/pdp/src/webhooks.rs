//! Webhooks: whom operators want told what happens, and what each was not told yet. A fold over the ledger: what is sent
//! is a call of the box's own, and whether it was taken is that call's outcome. So an event is told at least once, also
//! where the box stops in between, and always under the same id.

use contract::digits::hex;
use contract::perform::CallId;
use contract::webhook::{ASKED, TEST};
use ledger::Envelope;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

/// The principal of the calls that tell.
pub(crate) const PRINCIPAL: &str = "box";
/// Most webhooks.
pub(crate) const WEBHOOKS_MAX: usize = 16;
/// Most events that one waits for; the oldest is left out, and counted.
const EVENTS_MAX: usize = 256;
/// How long until what was not taken is sent again, in microseconds: at first, and at most; twice as long each time.
const AGAIN_US: u64 = 5_000_000;
const AGAIN_US_MAX: u64 = 900_000_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// One of [`contract::webhook`].
    pub(crate) kind: String,
    /// The call that it is about, or the act that tries a webhook.
    pub(crate) call: CallId,
    pub(crate) text: String,
    pub(crate) wall_us: u64,
}

impl Event {
    /// The same however often it is sent.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.kind.replace('.', "-"), hex(&self.call))
    }
}

/// A call that is under way.
#[derive(Debug)]
struct Sending {
    call: CallId,
    /// The id of its event.
    event: String,
    /// Its decision is in the ledger, and so will be its end.
    recorded: bool,
}

/// A receiver.
#[derive(Debug, Default)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) secret: String,
    /// The act that made it.
    pub(crate) by: CallId,
    events: Vec<String>,
    waiting: VecDeque<Event>,
    sending: Option<Sending>,
    left_out: u64,
    /// How often in a row it did not take one.
    failures: u32,
    /// Since when on the boot clock something may be sent again.
    due_us: u64,
    /// How the last sending ended, and when.
    last: Option<(String, u64)>,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(crate) struct Webhooks(BTreeMap<String, Webhook>);

impl Webhook {
    fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
        if self.waiting.len() > EVENTS_MAX {
            self.waiting.pop_front();
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn failed(&mut self, now_us: u64) {
        let doubled = AGAIN_US.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.due_us = now_us.saturating_add(doubled.min(AGAIN_US_MAX));
    }
}

impl Webhooks {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Webhook> {
        self.0.get(name)
    }

    /// An operator wants one told.
    pub(crate) fn added(&mut self, act: &Envelope) {
        let fact = |name: &str| act.facts.get(name).cloned().unwrap_or_default();
        let events = fact("events").split(' ').map(str::to_owned).collect();
        let (url, secret, by) = (fact("url"), fact("secret"), act.call.unwrap_or_default());
        self.0.insert(fact("name"), Webhook { url, secret, by, events, ..Webhook::default() });
    }

    pub(crate) fn removed(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// An operator tries one, now.
    pub(crate) fn tested(&mut self, act: &Envelope) {
        let of = act.facts.get("name").and_then(|name| self.0.get_mut(name));
        if let (Some(hook), Some(call)) = (of, act.call) {
            let (text, wall_us) = ("an operator tries this webhook".to_owned(), act.wall_us);
            hook.push(Event { kind: TEST.to_owned(), call, text, wall_us });
            hook.due_us = 0;
        }
    }

    /// Something happened.
    pub(crate) fn tell(&mut self, kind: &str, call: CallId, text: &str, wall_us: u64) {
        for hook in self.0.values_mut().filter(|hook| hook.events.iter().any(|of| of == kind)) {
            hook.push(Event { kind: kind.to_owned(), call, text: text.to_owned(), wall_us });
        }
    }

    /// A call waits for nobody any more: there is nothing to be told.
    pub(crate) fn settled(&mut self, call: CallId) {
        for hook in self.0.values_mut() {
            hook.waiting.retain(|event| event.kind != ASKED || event.call != call);
        }
    }

    /// What is to be sent now, and to whom.
    pub(crate) fn due(&self, now_us: u64) -> Option<(String, Event)> {
        let is_due = |hook: &&Webhook| hook.sending.is_none() && hook.due_us <= now_us;
        let mut due = self.0.iter().filter(|(_, hook)| is_due(hook));
        due.find_map(|(name, hook)| Some((name.clone(), hook.waiting.front()?.clone())))
    }

    /// A call that sends an event is on its way to the ledger.
    pub(crate) fn expect(&mut self, name: &str, call: CallId, event: &Event) {
        if let Some(hook) = self.0.get_mut(name) {
            hook.sending = Some(Sending { call, event: event.id(), recorded: false });
        }
    }

    /// It is in the ledger.
    pub(crate) fn began(&mut self, call: CallId, decision: &Envelope) {
        let fact = |name: &str| decision.facts.get(name);
        if let (Some(name), Some(event)) = (fact("webhook"), fact("event"))
            && let Some(hook) = self.0.get_mut(name)
        {
            hook.sending = Some(Sending { call, event: event.clone(), recorded: true });
        }
    }

    /// It ended; whether it is one of these.
    pub(crate) fn ended(&mut self, call: CallId, code: &str, now_us: u64, wall_us: u64) -> bool {
        let is_its = |hook: &&mut Webhook| hook.sending.as_ref().is_some_and(|it| it.call == call);
        let Some(hook) = self.0.values_mut().find(is_its) else { return false };
        let Some(Sending { event: id, .. }) = hook.sending.take() else { return false };
        hook.last = Some((code.to_owned(), wall_us));
        if code == "ok" {
            hook.waiting.retain(|event| event.id() != id);
            (hook.failures, hook.due_us) = (0, 0);
        } else {
            hook.failed(now_us);
        }
        true
    }

    /// It could not be called.
    pub(crate) fn not_called(&mut self, name: &str, now_us: u64) {
        if let Some(hook) = self.0.get_mut(name) {
            hook.failed(now_us);
        }
    }

    /// The record of a call was refused, or of all whose record is not there.
    pub(crate) fn forget_unrecorded(&mut self, of: Option<CallId>, now_us: u64) {
        for hook in self.0.values_mut() {
            let is_its = |it: &mut Sending| !it.recorded && of.is_none_or(|call| call == it.call);
            if hook.sending.take_if(is_its).is_some() {
                hook.failed(now_us);
            }
        }
    }

    /// For operators.
    pub(crate) fn json(&self) -> Json {
        let one = |(name, hook): (&String, &Webhook)| {
            let last = hook.last.as_ref().map(|it| json!({ "code": it.0, "wall_us": it.1 }));
            json!({ "name": name, "url": hook.url, "secret": hook.secret, "events": hook.events,
                "waiting": hook.waiting.len(), "left_out": hook.left_out, "failures": hook.failures,
                "last": last })
        };
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::webhook::{PAUSED, UNKNOWN};
    use ledger::Kind;
    use ledger::writer::Draft;

    const URL: &str = "https://hooks.example/x";

    fn record(kind: Kind, call: CallId, facts: &[(&str, &str)]) -> Envelope {
        let mut draft = Draft::new(kind, facts);
        draft.call = Some(call);
        draft.into_envelope([1; 16], 0, 7, BTreeMap::new())
    }

    fn with(events: &str) -> Webhooks {
        let mut hooks = Webhooks::default();
        let facts = [("name", "ops"), ("url", URL), ("secret", "s"), ("events", events)];
        hooks.added(&record(Kind::Act, [9; 16], &facts));
        hooks
    }

    /// A sending of what is due, as the ledger has it.
    fn send(hooks: &mut Webhooks, call: u8, code: &str, now_us: u64) -> Option<String> {
        let (name, event) = hooks.due(now_us)?;
        let facts = [("webhook", name.as_str()), ("event", &event.id())];
        hooks.began([call; 16], &record(Kind::Decision, [call; 16], &facts));
        assert_eq!(hooks.due(now_us), None, "one at a time");
        assert!(hooks.ended([call; 16], code, now_us, 0));
        Some(event.id())
    }

    #[test]
    fn an_event_is_told_until_it_is_taken_in_its_order_and_under_one_id() {
        let mut hooks = with("approval.asked agent.paused");
        hooks.tell(UNKNOWN, [1; 16], "not wanted", 0);
        assert_eq!(hooks.due(0), None);
        hooks.tell(ASKED, [2; 16], "first", 0);
        hooks.tell(PAUSED, [3; 16], "second", 0);
        let first = format!("approval-asked-{}", hex(&[2; 16]));
        assert_eq!(send(&mut hooks, 4, "not_taken", 0), Some(first.clone()));
        assert_eq!(hooks.due(AGAIN_US - 1), None, "not at once");
        assert_eq!(send(&mut hooks, 5, "vault_locked", AGAIN_US), Some(first.clone()));
        assert_eq!(hooks.due(3 * AGAIN_US - 1), None, "twice as long");
        assert_eq!(send(&mut hooks, 6, "ok", 3 * AGAIN_US), Some(first));
        let second = send(&mut hooks, 7, "ok", 3 * AGAIN_US).unwrap();
        assert!(second.starts_with("agent-paused-"), "{second}");
        assert_eq!(hooks.due(u64::MAX), None);
        assert!(!hooks.ended([8; 16], "ok", 0, 0), "of nobody");
        let json = hooks.json();
        assert_eq!((json[0]["waiting"].as_u64(), json[0]["failures"].as_u64()), (Some(0), Some(0)));
        assert_eq!(json[0]["last"]["code"], "ok");
    }

    #[test]
    fn what_nobody_is_asked_any_more_is_not_told() {
        let mut hooks = with("approval.asked call.unknown");
        for call in [1, 2] {
            hooks.tell(ASKED, [call; 16], "x", 0);
        }
        hooks.tell(UNKNOWN, [1; 16], "x", 0);
        hooks.settled([1; 16]);
        let told: Vec<String> = (3..6).filter_map(|call| send(&mut hooks, call, "ok", 0)).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains(&hex(&[2; 16])) && told[1].starts_with("call-unknown-"));
    }

    #[test]
    fn a_receiver_that_takes_nothing_is_asked_ever_less_and_leaves_out_the_oldest() {
        let mut hooks = with("call.unknown");
        for number in 0..u16::try_from(EVENTS_MAX).unwrap() + 3 {
            let mut call = [0; 16];
            call[..2].copy_from_slice(&number.to_be_bytes());
            hooks.tell(UNKNOWN, call, "x", 0);
        }
        let json = hooks.json();
        assert_eq!(json[0]["waiting"].as_u64(), u64::try_from(EVENTS_MAX).ok());
        assert_eq!(json[0]["left_out"].as_u64(), Some(3));
        let mut now = 0;
        for _ in 0..40 {
            assert!(send(&mut hooks, 1, "not_connected", now).is_some());
            let again = (0..).map(|n| now + n * AGAIN_US).find(|at| hooks.due(*at).is_some());
            assert!(again.unwrap() - now <= AGAIN_US_MAX);
            now = again.unwrap();
        }
        // who tries it does not wait
        assert_eq!(send(&mut hooks, 1, "not_connected", now).map(|_| hooks.due(now)), Some(None));
        hooks.tested(&record(Kind::Act, [2; 16], &[("name", "ops")]));
        assert!(hooks.due(now).is_some());
        hooks.removed("ops");
        assert_eq!((hooks.due(u64::MAX), hooks.count()), (None, 0));
    }

    #[test]
    fn what_never_came_into_the_ledger_is_sent_again() {
        let mut hooks = with("call.unknown");
        hooks.tell(UNKNOWN, [1; 16], "x", 0);
        let (name, event) = hooks.due(0).unwrap();
        hooks.expect(&name, [5; 16], &event);
        assert_eq!(hooks.due(0), None);
        hooks.forget_unrecorded(Some([6; 16]), 0);
        assert_eq!(hooks.due(AGAIN_US), None, "of another call");
        hooks.forget_unrecorded(Some([5; 16]), 0);
        assert_eq!(hooks.due(AGAIN_US), Some((name.clone(), event.clone())));
        // one whose decision is in the ledger is ended there, also by another audit
        let facts = [("webhook", name.as_str()), ("event", &event.id())];
        hooks.began([7; 16], &record(Kind::Decision, [7; 16], &facts));
        hooks.forget_unrecorded(None, 0);
        assert!(hooks.ended([7; 16], "", AGAIN_US, 0));
        assert!(hooks.due(u64::MAX).is_some(), "it is told again");
    }
}
