//! Webhooks of a booted box: what waits for a person is told to a service of this machine, signed, until it is taken,
//! and by nothing that an agent can use.

use crate::approvals::{end, ready_again};
use crate::egress::holds;
use anyhow::{Context, Result, ensure};
use contract::base64;
use contract::secret::webhook_key;
use hmac::{Hmac, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use std::time::{Duration, Instant};
use tests::outside::{ADDRESS, Authority, Came, Server};
use tests::{Client, Disk, Image, Operated, Options};

const PASSPHRASE: &str = "correct horse battery staple";
const POLICY: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: files, agents: [any], effects: [observe, read, write], decision: autonomous }
  - { name: deletes, agents: [any], effects: [delete], decision: approval }
  - { name: hooks, agents: [any], capabilities: [network.webhook], effects: [connect, secret], decision: notify }
";
/// How long an event may take, also one that is sent again.
const TOLD: Duration = Duration::from_secs(60);

/// A box whose operator trusts the server's authority and made a vault.
fn boot(authority: &Authority) -> Result<Operated> {
    let disk = Disk::copy(&Image::test("smoke")?, "webhooks")?;
    let options = Options { outside: true, ..Options::new() };
    let mut operated = Operated::boot(Some(disk), "webhooks", options)?;
    operated.pair()?;
    let host = ADDRESS.to_string();
    operated.krux_on(&["network", "trust", "outside", "--host", &host], &authority.pem())?;
    let file = operated.config.join("policy.yaml");
    std::fs::write(&file, POLICY)?;
    operated.krux(&["policy", "apply", &file.display().to_string()])?;
    let code = operated.config.join("code.txt").display().to_string();
    operated.krux_on(&["vault", "unlock", "--recovery-file", &code], PASSPHRASE)?;
    Ok(operated)
}

/// The event number `count` of those that came, once it is there.
fn event(server: &Server, count: usize) -> Result<Came> {
    let end = Instant::now() + TOLD;
    loop {
        if let Some(came) = server.came().into_iter().nth(count) {
            return Ok(came);
        }
        ensure!(Instant::now() < end, "{count} events came, and no other: {:?}", server.came());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn header(came: &Came, name: &str) -> Result<String> {
    let mut pairs = came.head.lines().filter_map(|line| line.split_once(": "));
    let found = pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned());
    found.with_context(|| format!("no {name} in {came:?}"))
}

/// What an event says, if its receiver's key signed it.
fn said(came: &Came, key: &str) -> Result<Json> {
    let key = webhook_key(key).context("key")?;
    let (id, seconds) = (header(came, "webhook-id")?, header(came, "webhook-timestamp")?);
    let mac = Hmac::<Sha256>::new_from_slice(&key);
    let mut mac = mac.ok().context("no key")?;
    mac.update(format!("{id}.{seconds}.{}", came.body).as_bytes());
    let signature = header(came, "webhook-signature")?;
    let signature = signature.strip_prefix("v1,").and_then(base64::read).context("signature")?;
    ensure!(mac.verify_slice(&signature).is_ok(), "the signature is not of this key: {came:?}");
    ensure!(came.head.starts_with("POST /ok/hook HTTP/1.1"), "{came:?}");
    Ok(serde_json::from_str(&came.body)?)
}

/// A deletion that waits: its number.
fn ask(client: &Client, path: &str) -> Result<String> {
    let written = client.call("filesystem.write", &json!({ "path": path, "content": "x" }));
    ensure!(written.code() == "ok", "{written:?}");
    let asked = client.call("filesystem.delete", &json!({ "path": path }));
    ensure!(asked.status == 202, "{asked:?}");
    asked.number().map(str::to_owned).context("number")
}

fn listed(operated: &Operated, name: &str) -> Result<Json> {
    let list = operated.krux(&["webhook", "list"])?;
    let all = list.get("webhooks").and_then(Json::as_array).context("webhooks")?;
    let one = all.iter().find(|one| one.get("name") == Some(&json!(name)));
    one.cloned().context("not listed")
}

/// What waits while the vault is locked is told once it is open; what was taken is told by no later pdp again.
fn told_in_the_end(operated: &Operated, agent: &Client, server: &Server, key: &str) -> Result<()> {
    operated.krux(&["vault", "lock"])?;
    let [gone, waits] = [ask(agent, "gone")?, ask(agent, "waits")?];
    let end_of = Instant::now() + TOLD;
    loop {
        let one = listed(operated, "ops")?;
        if one.pointer("/last/code") == Some(&json!("vault_locked")) {
            ensure!(one.get("waiting") == Some(&json!(2)), "{one}");
            break;
        }
        ensure!(Instant::now() < end_of, "{one}");
        std::thread::sleep(Duration::from_millis(100));
    }
    operated.krux(&["approve", "deny", &gone])?;
    end(agent, &gone)?;
    operated.krux(&["service", "restart", "pdp"])?;
    ready_again(operated, 2)?;
    operated.krux_on(&["vault", "unlock"], PASSPHRASE)?;
    let before = server.came().len();
    let came = said(&event(server, before)?, key)?;
    ensure!(came.pointer("/data/call") == Some(&json!(waits)), "not what waits: {came}");
    operated.krux(&["webhook", "test", "ops"])?;
    let came = said(&event(server, before + 1)?, key)?;
    ensure!(came.get("type") == Some(&json!("webhook.test")), "told again: {came}");
    Ok(())
}

#[test]
fn what_waits_for_a_person_is_told_signed_until_it_is_taken() -> Result<()> {
    let authority = Authority::new()?;
    let server = Server::start(&authority)?;
    let mut operated = boot(&authority)?;
    let url = |path: &str| format!("https://{ADDRESS}:{}{path}", server.port);
    let made = operated.krux(&["webhook", "add", "ops", &url("/ok/hook")])?;
    let key = made.get("key").and_then(Json::as_str).context("key")?.to_owned();
    let twice = operated.try_krux(&["webhook", "add", "ops", &url("/ok/hook")])?.0;
    ensure!(twice == 8, "added twice: exit code {twice}");
    let plain = url("/ok/hook").replace("https:", "http:");
    ensure!(operated.try_krux(&["webhook", "add", "plain", &plain])?.0 == 2, "by http");

    operated.krux(&["webhook", "test", "ops"])?;
    let test = said(&event(&server, 0)?, &key)?;
    ensure!(test.get("type") == Some(&json!("webhook.test")), "{test}");

    let agent = operated.agent("worker")?;
    let call = ask(&agent, "first")?;
    let came = event(&server, 1)?;
    let asked = said(&came, &key)?;
    ensure!(header(&came, "webhook-id")? == format!("approval-asked-{call}"), "{came:?}");
    ensure!(asked.get("type") == Some(&json!("approval.asked")), "{asked}");
    for part in ["worker", "filesystem.delete@1", "/workspace/first", call.as_str()] {
        ensure!(asked.to_string().contains(part), "{part} is not in {asked}");
    }
    let shown = operated.krux(&["approve", "show", &call])?;
    ensure!(asked.pointer("/data/digest") == shown.get("digest"), "{asked} and {shown}");
    operated.krux(&["approve", "accept", &call])?;
    ensure!(end(&agent, &call)?.code() == "ok", "the call itself");

    told_in_the_end(&operated, &agent, &server, &key)?;

    // the key is lent to the box's own calls, and to no agent's
    let input = json!({ "url": url("/ok/hook"), "secret": "webhook-ops", "id": "a", "body": "{}" });
    let count = server.came().len();
    let refused = agent.call("network.webhook", &input);
    ensure!(refused.code() == "secret_refused", "{refused:?}");

    // a receiver that does not take it is asked again, and said to operators
    operated.krux(&["webhook", "add", "moved", &url("/moved"), "--event", "call.notified"])?;
    operated.krux(&["webhook", "test", "moved"])?;
    event(&server, count)?;
    let end_of = Instant::now() + TOLD;
    while listed(&operated, "moved")?.pointer("/last/code") != Some(&json!("not_taken")) {
        ensure!(Instant::now() < end_of, "{}", listed(&operated, "moved")?);
        std::thread::sleep(Duration::from_millis(100));
    }
    for name in ["moved", "ops"] {
        operated.krux(&["webhook", "remove", name])?;
    }
    let secrets = operated.krux(&["secret", "list"])?;
    ensure!(secrets.get("secrets") == Some(&json!([])), "keys stay: {secrets}");

    let export = operated.config.join("export.bin");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    operated.krux(&["audit", "verify", &export.display().to_string()])?;
    let bytes = std::fs::read(&export)?;
    ensure!(
        holds(bytes.as_slice(), "webhook-test")?,
        "the export holds no event: nothing was searched"
    );
    ensure!(!holds(bytes.as_slice(), &key)?, "the key is in the ledger");
    operated.machine.no_alarm()?;
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
