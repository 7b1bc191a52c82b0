//! Webhooks: services that the box tells what happens. The key that signs is made here, sealed to the vault, and shown
//! once, for the receiver.

use crate::ended::{Ended, failed};
use crate::keep::random;
use crate::remote::Desk;
use crate::{render, secret};
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::base64;
use contract::effect::visible;
use contract::secret::{Binding, Sealed, Value, WEBHOOK_CAPABILITY, WEBHOOK_KEY};
use contract::statement::Act;
use contract::url::Url;
use contract::webhook::{CHOSEN, EVENTS};
use serde_json::{Value as Json, json};

/// The principal of the calls that tell.
const PRINCIPAL: &str = "box";

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  krux webhook add ops https://hooks.example.com/kruxos
  krux webhook add log https://hooks.example.com/all --event approval.asked,call.notified
  krux webhook test ops; krux webhook list
  krux webhook remove ops

Events: approval.asked, agent.paused, call.unknown (these without --event) and call.notified. Each is sent until its
receiver answers with 200 to 299, at least once, always under the same webhook-id; signatures are those of Standard
Webhooks. Each sending is a call of `box` in the ledger. docs/how-to/be-told.md")]
pub(crate) enum Command {
    /// One more; its key is shown once.
    Add {
        /// Lower-case letters, digits and `-`.
        name: String,
        /// Its receiver, by https.
        url: String,
        /// What it is told of.
        #[arg(long = "event", value_delimiter = ',', value_name = "EVENT",
              value_parser = clap::builder::PossibleValuesParser::new(EVENTS), default_values = CHOSEN)]
        events: Vec<String>,
    },
    /// All of them, and how telling them goes.
    List,
    /// Tells one that this is a test.
    Test {
        /// Which.
        name: String,
    },
    /// One is told nothing more, and its key is removed.
    Remove {
        /// Which.
        name: String,
    },
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    match command {
        Command::Add { name, url, events } => add(desk, name, url, events, as_json),
        Command::List => list(desk, as_json),
        Command::Test { name } => {
            let answer = desk.act(Act::WebhookTest { name: name.clone() })?;
            said(&answer, &format!("{name} is told; see krux webhook list"), as_json)
        }
        Command::Remove { name } => {
            let known = all(desk)?.into_iter().find(|one| text(one, "name") == *name);
            let answer = desk.act(Act::WebhookRemove { name: name.clone() })?;
            if let Some(secret) = known.map(|one| text(&one, "secret")) {
                let revoked = desk.perform("vault.revoke", &json!({ "name": secret }).to_string());
                revoked.with_context(|| {
                    format!(
                        "the webhook is removed, and its key is not: krux secret revoke {secret}"
                    )
                })?;
            }
            said(&answer, &format!("{name} is told nothing more"), as_json)
        }
    }
}

fn add(desk: &Desk, name: &str, url: &str, events: &[String], as_json: bool) -> Result<Ended> {
    let key = format!("{WEBHOOK_KEY}{}", base64::write(&random::<32>()?));
    let sealed = sealed(name, url, &key)?;
    if all(desk)?.iter().any(|one| text(one, "name") == name) {
        let next =
            format!("a webhook `{name}` is there; remove it first: krux webhook remove {name}");
        return Err(failed(Ended::Conflict, next));
    }
    let secret = sealed.name.clone();
    secret::put(desk, &secret::recipient(desk)?, "vault.add", &sealed)?;
    let act = Act::WebhookAdd {
        name: name.to_owned(),
        url: url.to_owned(),
        secret: secret.clone(),
        events: events.to_vec(),
    };
    let made = desk.act(act);
    if made.is_err() {
        // a key that nothing uses
        desk.perform("vault.revoke", &json!({ "name": secret }).to_string()).ok();
    }
    let made = made?;
    if as_json {
        render::object(&json!({ "name": name, "url": url, "secret": secret, "events": events,
            "key": key, "call": made.get("call") }));
    } else {
        render::line(&format!("{name} is told of {}", events.join(", ")));
        render::line(&format!("its key, for the receiver, shown this once: {key}"));
    }
    Ok(Ended::Done)
}

/// The key, bound to the box's own calls to this receiver.
fn sealed(name: &str, url: &str, key: &str) -> Result<Sealed> {
    let url = Url::parse(url).map_err(|error| failed(Ended::Usage, format!("{url}: {error}")))?;
    if !url.tls {
        return Err(failed(Ended::Usage, "a webhook is told by https"));
    }
    let (path, _query) = url.target.split_once('?').unwrap_or((&url.target, ""));
    let binding = Binding {
        agents: vec![PRINCIPAL.to_owned()],
        capabilities: vec![WEBHOOK_CAPABILITY.to_owned()],
        hosts: vec![url.host.to_string()],
        ports: vec![url.port],
        methods: vec!["POST".to_owned()],
        paths: vec![path.to_owned()],
        uses_per_hour: None,
        expires_s: None,
    };
    let value = Value::Webhook(key.to_owned());
    Ok(Sealed { name: format!("webhook-{name}"), value, binding: Some(binding) })
}

fn all(desk: &Desk) -> Result<Vec<Json>> {
    let answer = desk.act(Act::Webhooks)?;
    Ok(answer.get("webhooks").and_then(Json::as_array).cloned().unwrap_or_default())
}

fn text(of: &Json, name: &str) -> String {
    of.get(name).map(render::text).unwrap_or_default()
}

fn list(desk: &Desk, as_json: bool) -> Result<Ended> {
    let all = all(desk)?;
    if as_json {
        render::object(&json!({ "webhooks": all }));
    } else {
        all.iter().flat_map(lines).for_each(|line| render::line(&line));
    }
    Ok(Ended::Done)
}

/// One of them, for people.
fn lines(one: &Json) -> Vec<String> {
    let number = |name: &str| one.get(name).and_then(Json::as_u64).unwrap_or(0);
    let events = one.get("events").and_then(Json::as_array).into_iter().flatten();
    let events: Vec<String> = events.map(render::text).collect();
    let last = match one.get("last").filter(|last| last.is_object()) {
        None => "nothing was sent yet".to_owned(),
        Some(last) => {
            let at = last.get("wall_us").and_then(Json::as_u64).unwrap_or(0);
            let code = text(last, "code");
            let taken = if code == "ok" { "taken".to_owned() } else { code };
            format!("last: {taken}, {}", hours::written(at))
        }
    };
    let mut lines = vec![
        format!("{:16} {}", text(one, "name"), text(one, "url")),
        format!("    {}", visible(&events.join(", "))),
        format!("    {last}; {} waiting", number("waiting")),
    ];
    match (number("failures"), number("left_out")) {
        (0, 0) => {}
        (failures, 0) => lines.push(format!("    not taken {failures} times in a row")),
        (failures, left_out) => lines.push(format!(
            "    not taken {failures} times in a row, and {left_out} events left out: too many waited"
        )),
    }
    lines
}

fn said(answer: &Json, line: &str, as_json: bool) -> Result<Ended> {
    if as_json {
        render::object(answer);
    } else {
        render::line(line);
    }
    Ok(Ended::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bound_to_its_receiver_alone() {
        let key = format!("{WEBHOOK_KEY}{}", base64::write(&[7; 32]));
        let of = |url: &str| sealed("ops", url, &key).map(|sealed| sealed.check().map(|()| sealed));
        let sealed = of("https://hooks.example:8443/a/b?c=d").unwrap().unwrap();
        let binding = sealed.binding.unwrap();
        assert_eq!(
            (sealed.name.as_str(), binding.hosts[0].as_str()),
            ("webhook-ops", "hooks.example")
        );
        assert_eq!((binding.ports[0], binding.paths[0].as_str()), (8_443, "/a/b"));
        assert_eq!((binding.agents[0].as_str(), binding.methods.len()), ("box", 1));
        for url in ["ftp://hooks.example/", "http://hooks.example/"] {
            assert!(of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn how_telling_goes_is_said() {
        let one = json!({ "name": "ops", "url": "https://h.example/", "events": ["approval.asked"],
            "waiting": 2, "failures": 3, "left_out": 0,
            "last": { "code": "not_taken", "wall_us": 1_795_406_225_000_000_u64 } });
        let shown = lines(&one);
        assert_eq!(shown.len(), 4);
        assert_eq!(shown[2], "    last: not_taken, 2026-11-23T03:57:05Z; 2 waiting");
        assert_eq!(shown[3], "    not taken 3 times in a row");
        assert_eq!(lines(&json!({}))[2], "    nothing was sent yet; 0 waiting");
    }
}
