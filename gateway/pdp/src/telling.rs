//! Telling webhooks: the acts that make them, and the calls of the box's own that send what happened. What is sent is
//! decided by policies/webhooks.yaml and signed for by the operator who added the webhook; egress sends it.

use crate::Pdp;
use crate::act::{Stated, is_name};
use crate::call::{Allowed, Asked, Permit, lower, spec};
use crate::reach;
use crate::refusal::{Refusal, bad, not_found};
use crate::webhooks::{Event, PRINCIPAL, WEBHOOKS_MAX, Webhook};
use contract::digits::hex;
use contract::effect::visible;
use contract::perform::CallId;
use contract::secret::check_name;
use contract::statement::Act;
use contract::url::Url;
use contract::webhook::{ASKED, EVENTS};
use ledger::Kind;
use ledger::writer::Draft;
use linux::clock::{boot_ms, boot_us};
use policy::{Answer, Call, Facts};
use serde_json::{Value as Json, json};

const CAPABILITY: &str = contract::secret::WEBHOOK_CAPABILITY;
const PERFORMER: &str = "egress";
/// Most characters of all effects in one event.
const EFFECTS_MAX: usize = 4_000;
/// Most characters of a notice's text in one.
const TEXT_MAX: usize = 4_000;

impl Pdp {
    /// A webhook more or less, or tried.
    pub(crate) fn webhook_act(
        &mut self,
        stated: Stated,
        act: Act,
    ) -> Result<Option<String>, Refusal> {
        let known = |name: &str| {
            let known = self.state.webhooks.get(name).is_some();
            if known { Ok(()) } else { Err(not_found(&format!("webhook `{name}`"))) }
        };
        let (act, facts) = match act {
            Act::Webhooks => return Ok(Some(self.webhooks())),
            Act::WebhookAdd { name, url, secret, events } => {
                self.may_add_webhook(&name, &url, &secret, &events)?;
                let events = ("events", events.join(" "));
                ("webhook-add", vec![("name", name), ("url", url), ("secret", secret), events])
            }
            Act::WebhookRemove { name } => {
                known(&name)?;
                ("webhook-remove", vec![("name", name)])
            }
            Act::WebhookTest { name } => {
                known(&name)?;
                ("webhook-test", vec![("name", name)])
            }
            _ => return Err(bad("this is of no webhook")),
        };
        self.recorded(stated, act, facts, None)
    }

    fn may_add_webhook(
        &self,
        name: &str,
        url: &str,
        secret: &str,
        events: &[String],
    ) -> Result<(), Refusal> {
        if !is_name(name) {
            return Err(bad("`name`: lower-case letters, digits and `-`, at most 32"));
        }
        if self.state.webhooks.get(name).is_some() {
            let message = format!("a webhook `{name}` is there; remove it first");
            return Err(Refusal::Conflict { message });
        }
        if self.state.webhooks.count() >= WEBHOOKS_MAX {
            return Err(bad("16 webhooks are there; remove one"));
        }
        let read = Url::parse(url).map_err(|error| bad(&format!("`url`: {error}")))?;
        if !read.tls {
            return Err(bad("`url`: a webhook is told by https"));
        }
        check_name(secret).map_err(|error| bad(&format!("`secret`: {}", error.expected)))?;
        let unknown = events.iter().find(|event| !EVENTS.contains(&event.as_str()));
        match unknown {
            Some(event) => Err(bad(&format!(
                "`events`: no `{}`; there are {}",
                visible(event),
                EVENTS.join(", ")
            ))),
            None if events.is_empty() => Err(bad("`events`: at least one")),
            None => Ok(()),
        }
    }

    fn webhooks(&self) -> String {
        json!({ "webhooks": self.state.webhooks.json(), "events": EVENTS }).to_string()
    }

    /// Sends what is due: to each webhook one event at a time.
    pub(crate) fn tell_webhooks(&mut self) {
        let now_us = boot_us();
        while let Some((name, event)) = self.state.webhooks.due(now_us) {
            match self.tell_one(&name, &event) {
                Ok(call) => self.state.webhooks.expect(&name, call, &event),
                Err(_not_now) => self.state.webhooks.not_called(&name, now_us),
            }
        }
    }

    /// Sends one event; the call that does.
    fn tell_one(&mut self, name: &str, event: &Event) -> Result<CallId, Refusal> {
        let Some(Webhook { url, secret, by, .. }) = self.state.webhooks.get(name) else {
            return Err(not_found("webhook"));
        };
        let (by, id, body) = (*by, event.id(), self.event(event).to_string());
        let input = json!({ "url": url, "secret": secret, "id": id, "body": body }).to_string();
        let file = || channel::sealed::holding(input.as_bytes()).map_err(|_e| Refusal::Unavailable);
        let (input, kept) = (file()?, file()?);
        let answer = channel::sealed::empty().map_err(|_e| Refusal::Unavailable)?;
        let (declaration, effects, digest) = lower(CAPABILITY, &input)?;
        let asked = Call { agent: PRINCIPAL, capability: CAPABILITY, version: declaration.version };
        let (set, facts) = (&self.shipped.webhooks, Facts::default());
        let mut decision = set.decide(&asked, &effects, &facts);
        let (_, reach) = reach::through(set, (&asked, &facts), &effects, &mut decision, None);
        let call = self.random_call()?;
        let allowed = Allowed::by(&decision, Answer::Notify);
        let allowed = allowed.ok_or_else(|| Refusal::denied(call, &decision, false))?;
        let facts = [
            ("agent", PRINCIPAL),
            ("capability", &declaration.id()),
            ("answer", &decision.answer.to_string()),
            ("added_by", &hex(&by)),
            ("webhook", name),
            ("event", &id),
            ("input_digest", &hex(&digest)),
        ];
        let mut draft = Draft::new(Kind::Decision, &facts);
        draft.call = Some(call);
        draft.effects.clone_from(&effects);
        let asked = Asked { agent: PRINCIPAL, declaration, effects, digest };
        let mut spec = spec(call, &asked, PRINCIPAL, 0);
        spec.reach = reach.unwrap_or_default();
        let permit = Permit::new(allowed, spec, PERFORMER, [input, answer]);
        self.record(draft, vec![("input", false, kept)], Some(permit))?;
        Ok(call)
    }

    /// What a receiver reads.
    fn event(&self, event: &Event) -> Json {
        let mut data = json!({
            "box": self.authority.map(|digest| hex(&digest)),
            "call": hex(&event.call),
            "text": cut(&event.text, TEXT_MAX),
        });
        let pending = self.state.pending.get(&event.call).filter(|_| event.kind == ASKED);
        if let (Some(pending), Some(data)) = (pending, data.as_object_mut()) {
            let mut left = EFFECTS_MAX;
            let mut effects = Vec::new();
            for effect in &pending.effects {
                let shown = cut(&effect.to_string(), left);
                left = left.saturating_sub(shown.chars().count());
                effects.extend(Some(shown).filter(|shown| !shown.is_empty()));
            }
            let seconds = pending.decide_by_ms.saturating_sub(boot_ms()) / 1_000;
            data.insert("agent".to_owned(), json!(pending.agent));
            data.insert("capability".to_owned(), json!(pending.capability));
            data.insert("effects_in_all".to_owned(), json!(pending.effects.len()));
            data.insert("effects".to_owned(), json!(effects));
            data.insert("reason".to_owned(), json!(cut(&pending.reason, TEXT_MAX)));
            data.insert("digest".to_owned(), json!(pending.digest));
            data.insert("decide_within_s".to_owned(), json!(seconds));
        }
        json!({ "type": event.kind, "timestamp": hours::written(event.wall_us), "data": data })
    }
}

/// The beginning of a text that may be long.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) if most > 0 => {
            format!("{}\u{2026}", text.get(..at).unwrap_or_default())
        }
        Some(_) => String::new(),
        None => text.to_owned(),
    }
}
