//! Each refusal of a use, with the same use once it is admitted.

use super::*;
use crate::secrets::tests::{Folder, canary, list, now, seal_to, unlocked};
use contract::effect::Form;
use contract::perform::{AgentPlace, Limits};
use contract::secret::{self, Binding};
use serde_json::json;

const CALL: CallId = [1; 16];

pub(crate) fn binding() -> Binding {
    Binding {
        agents: list("build-*"),
        capabilities: list("network.http_request"),
        hosts: list("api.example.com"),
        ports: vec![443],
        methods: list("GET"),
        paths: list("/v1/**"),
        uses_per_hour: Some(2),
        expires_s: Some(2_000),
    }
}

pub(crate) fn uses(names: &[&str], path: &str) -> Vec<Effect> {
    let text = |text: &str| Value::Text(text.to_owned());
    let effect = |name: &&str| {
        let fields = [
            (Field::Name, text(name)),
            (Field::Host, text("api.example.com")),
            (Field::Port, Value::Number(443)),
            (Field::Method, text("GET")),
            (Field::UrlPath, text(path)),
        ];
        Effect::new(Kind::Secret, Form::Exact, fields).unwrap()
    };
    names.iter().map(effect).collect()
}

pub(crate) fn spec(call: CallId, agent: &str, effects: Vec<Effect>) -> Spec {
    Spec {
        call,
        capability: contract::lend::CAPABILITY.to_owned(),
        agent: AgentPlace { name: agent.to_owned(), disk_uid: 1 },
        effects,
        input: [0; 32],
        limits: Limits { memory_bytes: 1, tasks: 1, cpu_us: 1, wall_ms: 1_000 },
        alone: false,
        streams: false,
        reach: Vec::new(),
    }
}

fn purpose() -> Purpose {
    Purpose { capability: "network.http_request@1".to_owned() }
}

struct Desk {
    secrets: Secrets,
    lending: Lending,
    recipient: age::x25519::Recipient,
    _folder: Folder,
}

/// An unlocked vault with one secret, `token`, bound as above.
fn desk(name: &str) -> Desk {
    let folder = Folder::new(name);
    let (mut secrets, recipient) = unlocked(&folder);
    let input = seal_to(&recipient, "token", canary(1), Some(binding()));
    secrets.act("vault.add", input.to_string().as_bytes(), now(1)).unwrap();
    Desk { secrets, lending: Lending::default(), recipient, _folder: folder }
}

impl Desk {
    fn release(&mut self, call: CallId, agent: &str, effects: Vec<Effect>) {
        self.lending.release(spec(call, agent, effects), purpose(), 0);
    }

    fn lend(&mut self, call: CallId, name: &str, boot_ms: u64) -> Result<u64, NotLent> {
        let now = Now { boot_ms, wall_s: 1_000 };
        self.lending.lend(&self.secrets, call, name, now).map(|(version, _lent)| version)
    }
}

#[test]
fn a_secret_is_lent_once_to_a_call_that_a_ticket_released_for_it() {
    let mut desk = desk("lent-once");
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::NoTicket));
    desk.release(CALL, "build-1", uses(&["token"], "/v1/a"));
    assert_eq!(desk.lend([2; 16], "token", 0), Err(NotLent::NoTicket), "of another call");
    assert_eq!(desk.lend(CALL, "other", 0), Err(NotLent::NoTicket), "not in its effects");
    let now = Now { boot_ms: 1_000, wall_s: 1_000 };
    let (version, lent) = desk.lending.lend(&desk.secrets, CALL, "token", now).unwrap();
    assert_eq!((version, lent.value.0.as_slice()), (1, b"canary-value-1".as_slice()));
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::NoTicket), "twice");

    desk.release([3; 16], "build-1", uses(&["token"], "/v1/a"));
    assert_eq!(desk.lend([3; 16], "token", 1_001), Err(NotLent::NoTicket), "after its time");
    desk.release([4; 16], "build-1", uses(&["token"], "/v1/a"));
    desk.lending.forget();
    assert_eq!(desk.lend([4; 16], "token", 0), Err(NotLent::NoTicket), "of another audit");
    desk.release([5; 16], "build-1", uses(&["token"], "/v1/a"));
    assert_eq!(desk.lend([5; 16], "token", 0), Ok(1), "the control");
}

#[test]
fn what_is_not_bound_and_what_is_not_there_are_one_answer() {
    let mut desk = desk("not-bound");
    let mut ask = |agent: &str, name: &str, path: &str, wall_s: u64| {
        desk.release(CALL, agent, uses(&[name], path));
        let now = Now { boot_ms: 0, wall_s };
        desk.lending.lend(&desk.secrets, CALL, name, now).map(|(version, _lent)| version)
    };
    assert_eq!(ask("other", "token", "/v1/a", 1_000), Err(NotLent::NotBound));
    assert_eq!(ask("build-1", "nothing", "/v1/a", 1_000), Err(NotLent::NotBound));
    assert_eq!(ask("build-1", "token", "/v2/a", 1_000), Err(NotLent::NotBound));
    assert_eq!(ask("build-1", "token", "/v1/a", 2_000), Err(NotLent::NotBound), "expired");
    assert_eq!(ask("build-1", "token", "/v1/a", 1_999), Ok(1), "the control");
    // one effect more, for a place that is not bound, or that is left open
    let mut two = uses(&["token"], "/v1/a");
    two.extend(uses(&["token"], "/v2/a"));
    desk.release(CALL, "build-1", two);
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::NotBound));
    let mut open = uses(&["token"], "/v1/a");
    open[0].fields.remove(&Field::Method);
    desk.release(CALL, "build-1", open);
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::NotBound));
    desk.lending.release(
        spec(CALL, "build-1", uses(&["token"], "/v1/a")),
        Purpose { capability: "network.download@1".to_owned() },
        0,
    );
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::NotBound), "another capability");
    desk.release(CALL, "build-1", uses(&["token"], "/v1/a"));
    assert_eq!(desk.lend(CALL, "token", 0), Ok(1), "the control");
}

#[test]
fn uses_within_an_hour_have_their_bound() {
    const HOUR_MS: u64 = 3_600_000;
    let mut desk = desk("uses");
    let mut lend = |number: u8, boot_ms: u64| {
        let (call, effects) = ([number; 16], uses(&["token"], "/v1/a"));
        desk.lending.release(spec(call, "build-1", effects), purpose(), boot_ms);
        desk.lend(call, "token", boot_ms)
    };
    assert_eq!([lend(1, 0), lend(2, 1)], [Ok(1); 2]);
    assert_eq!(lend(3, 2), Err(NotLent::NotBound));
    assert_eq!(lend(4, HOUR_MS), Err(NotLent::NotBound));
    assert_eq!(lend(5, HOUR_MS + MINUTE_MS), Ok(1));
}

#[test]
fn a_locked_vault_lends_nothing_and_a_new_value_is_lent_at_once() {
    let mut desk = desk("locked");
    desk.release(CALL, "build-1", uses(&["token"], "/v1/a"));
    desk.secrets.lock();
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::Locked));
    let answer = crate::secrets::tests::unlock(&mut desk.secrets).unwrap();
    let recipient = answer["recipient"].as_str().unwrap().parse().unwrap();
    let input = seal_to(&recipient, "token", canary(2), None);
    desk.secrets.act("vault.rotate", input.to_string().as_bytes(), now(2)).unwrap();
    assert_eq!(desk.lend(CALL, "token", 0), Ok(2), "the control");
    desk.release([2; 16], "build-1", uses(&["token"], "/v1/a"));
    let name = json!({ "name": "token" }).to_string();
    desk.secrets.act("vault.revoke", name.as_bytes(), now(3)).unwrap();
    assert_eq!(desk.lend([2; 16], "token", 0), Err(NotLent::NotBound), "revoked");
}

#[test]
fn of_too_many_calls_the_oldest_is_forgotten() {
    let mut desk = desk("many");
    desk.release(CALL, "build-1", uses(&["token"], "/v1/a"));
    for number in 0..CALLS_MAX {
        let call = u128::try_from(number).unwrap().to_be_bytes();
        desk.release(call, "build-1", uses(&["token"], "/v1/a"));
    }
    assert_eq!(desk.lend(CALL, "token", 0), Err(NotLent::NoTicket));
    let last = u128::try_from(CALLS_MAX - 1).unwrap().to_be_bytes();
    assert_eq!(desk.lend(last, "token", 0), Ok(1));
    assert_eq!(desk.lending.calls.len(), CALLS_MAX);
}

#[test]
fn egress_gets_a_sealed_file_or_why_not() {
    use channel::{Channel, Mailbox};
    use contract::lend::{FromVault, Lent, ToVault, VERSION};
    use rustix::net::SocketFlags;
    let mut desk = desk("egress");
    let (ours, theirs) = Channel::pair(SocketFlags::NONBLOCK).unwrap();
    let (mut ours, theirs) = (Mailbox::new(Channel::new(ours)), Channel::new(theirs));
    let mut ask = |desk: &mut Desk| {
        let message = ToVault::Lend { call: CALL, name: "token".to_owned() };
        theirs.send(&(VERSION, message), &[]).unwrap();
        let asked = crate::egress::take(&ours).unwrap().unwrap();
        let now = Now { boot_ms: 0, wall_s: 1_000 };
        let Desk { secrets, lending, .. } = desk;
        let lent = lending.lend(secrets, asked.0, &asked.1, now);
        crate::egress::answer(&mut ours, asked, lent).unwrap();
        let files = |(_, message): &(u16, FromVault)| {
            usize::from(matches!(message, FromVault::Lent { .. }))
        };
        let ((_, message), fds) = theirs.receive_now().unwrap().open(files).unwrap();
        (message, fds)
    };
    let name = "token".to_owned();
    let (message, _) = ask(&mut desk);
    let why = NotLent::NoTicket;
    assert_eq!(message, FromVault::NotLent { call: CALL, name: name.clone(), why });
    desk.release(CALL, "build-1", uses(&["token"], "/v1/a"));
    let (message, fds) = ask(&mut desk);
    assert_eq!(message, FromVault::Lent { call: CALL, name, version: 1 });
    let lent: Lent =
        contract::cbor::decode(&channel::sealed::read(&fds[0], 1 << 16).unwrap()).unwrap();
    assert_eq!(lent.value.0, b"canary-value-1");
    theirs.send(&(VERSION + 1, ToVault::Lend { call: CALL, name: String::new() }), &[]).unwrap();
    assert!(crate::egress::take(&ours).is_err());
}

#[test]
fn a_key_of_a_webhook_is_lent_to_webhooks_alone() {
    let mut desk = desk("webhook-keys");
    let recipient = desk.recipient.clone();
    let key = format!("whsec_{}", contract::base64::write(&[7; 32]));
    let bound =
        |capability: &str| Binding { capabilities: vec![capability.to_owned()], ..binding() };
    let mut add = |name: &str, value: secret::Value, capability: &str| {
        let input = seal_to(&recipient, name, value, Some(bound(capability)));
        desk.secrets.act("vault.add", input.to_string().as_bytes(), now(1)).is_ok()
    };
    assert!(!add("hook", secret::Value::Webhook(key.clone()), "network.http_request"));
    assert!(!add("one", canary(1), "network.webhook"));
    assert!(add("hook", secret::Value::Webhook(key), "network.webhook"));
    let mut ask = |name: &str, capability: &str| {
        let purpose = Purpose { capability: capability.to_owned() };
        desk.lending.release(spec(CALL, "build-1", uses(&[name], "/v1/a")), purpose, 0);
        let now = Now { boot_ms: 0, wall_s: 1_000 };
        desk.lending.lend(&desk.secrets, CALL, name, now).map(|(_version, lent)| lent)
    };
    assert_eq!(ask("hook", "network.http_request@1").unwrap_err(), NotLent::NotBound);
    assert_eq!(ask("token", "network.webhook@1").unwrap_err(), NotLent::NotBound);
    let lent = ask("hook", "network.webhook@1").unwrap();
    assert_eq!((lent.value.0, lent.hides.len()), (vec![7; 32], 0));
    assert!(ask("token", "network.http_request@1").is_ok(), "the control");
}
