//! Every code that a door can answer with and that no other test brings up; docs/surface.md says which
//! test shows which. The box's ledger is as small as one can be, so that it can be filled.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::{Client, Disk, Image, Operated, Operator, Options, Reply};

/// Room for the first segments and no others.
const LEDGER_BYTES: u64 = 96 << 20;

const POLICY: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: all, agents: [any], effects: [observe, read, write, delete], decision: autonomous }
  - name: soon
    agents: [any]
    effects: [delete]
    where: { path: { under: /workspace/soon } }
    decision: approval
    approval: { decide_within: 2s, run_within: 1m }
  - name: asks
    agents: [any]
    effects: [write]
    where: { path: { under: /workspace/asks } }
    decision: approval
    approval: { decide_within: 30m, run_within: 1m }
";

/// What is expected of an answer: its status and its code.
fn is(reply: &Reply, status: u16, code: &str) -> Result<()> {
    ensure!(reply.status == status && reply.code() == code, "not {status} {code}: {reply:?}");
    let error = reply.json.get("error");
    let says = |name: &str| error.and_then(|error| error.get(name)).is_some();
    ensure!(status < 400 || says("message") && says("next"), "not typed: {reply:?}");
    Ok(())
}

/// Asks until it is answered in another way than these statuses.
fn beyond(statuses: &[u16], ask: impl Fn() -> Reply) -> Result<Reply> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = ask();
        if !statuses.contains(&reply.status) {
            return Ok(reply);
        }
        ensure!(Instant::now() < deadline, "still {reply:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_code_of_the_doors_comes_up() -> Result<()> {
    let disk = Disk::copy(&Image::test("smoke")?, "codes")?;
    disk.add_ledger(LEDGER_BYTES)?;
    let mut operated = Operated::boot(Some(disk), "codes", Options::new())?;
    operated.pair()?;
    let policy = operated.config.join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    let client = operated.agent("coder")?;
    of_files(&client)?;
    of_requests(&client)?;
    let deleted = client.call("filesystem.delete", &json!({ "path": "soon/x" }));
    let call = deleted.number().context("number")?.to_owned();
    ensure!(deleted.status == 202, "{deleted:?}");
    let over = beyond(&[202], || client.get(&format!("/v1/calls/{call}")))?;
    is(&over, 403, "expired")?;
    let (code, _, said) = operated.try_krux(&["service", "restart", "nosuch"])?;
    ensure!(code == 1 && said.contains("failed"), "{code}: {said}");
    away(&operated, &client)?;
    statements(&operated)?;
    full(&operated, &client)?;
    too_many(&operated.agent("asker")?)?;
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

/// How capabilities fail.
fn of_files(client: &Client) -> Result<()> {
    let long = "x".repeat((1 << 20) + 1);
    for (capability, input, status, code) in [
        ("mkdir", json!({ "path": "d" }), 200, "ok"),
        ("mkdir", json!({ "path": "d" }), 422, "exists"),
        ("read", json!({ "path": "d" }), 422, "wrong_kind"),
        ("read", json!({ "path": "nowhere" }), 422, "not_found"),
        ("write", json!({ "path": "d/f", "content": long }), 200, "ok"),
        ("delete", json!({ "path": "d" }), 422, "not_empty"),
        ("read", json!({ "path": "d/f" }), 422, "too_large"),
        ("write", json!({ "path": "b", "content": "!", "base64": true }), 422, "bad_base64"),
        // a policy that opens everything opens no more than the cage has
        ("write", json!({ "path": "/x", "content": "" }), 422, "denied"),
    ] {
        is(&client.call(&format!("filesystem.{capability}"), &input), status, code)?;
    }
    Ok(())
}

/// What is refused before it is a call.
fn of_requests(client: &Client) -> Result<()> {
    let json = ("content-type", "application/json");
    is(&client.get("/v1/calls"), 405, "bad_method")?;
    let accept = ("accept", "application/json, text/event-stream");
    let plain = ("content-type", "text/plain");
    is(&client.post("/mcp", &[plain, accept], b"{}"), 415, "bad_media_type")?;
    is(&client.post("/mcp", &[json, ("accept", "text/plain")], b"{}"), 406, "bad_media_type")?;
    let origin = ("origin", "https://example.org");
    is(&client.post("/mcp", &[json, accept, origin], b"{}"), 403, "bad_origin")?;
    // an answer before the body is over leaves a connection that is good for more
    for _ in 0..20 {
        let stranger = client.with_bearer("none");
        is(&stranger.post("/v1/calls", &[json], &vec![b' '; 256 << 10]), 401, "unauthenticated")?;
    }
    is(&client.post("/v1/calls", &[json], &vec![b' '; 41 << 20]), 413, "too_long")
}

/// While pdp starts again nobody is asked: some of an agent's calls find it so. Which of them do is
/// chance, so it is started again until one did.
fn away(operated: &Operated, client: &Client) -> Result<()> {
    const TRIES: usize = 10;
    for _ in 0..TRIES {
        let asking = client.clone();
        let (over, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (until, replies) = (Arc::clone(&over), Arc::clone(&told));
        let asker = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let reply = asking.call("agent.whoami", &json!({}));
                if let Ok(mut replies) = replies.lock() {
                    replies.push(reply);
                }
            }
        });
        operated.krux(&["service", "restart", "pdp"])?;
        // it is killed a second after the answer
        std::thread::sleep(Duration::from_secs(3));
        is(&beyond(&[503], || client.call("agent.whoami", &json!({})))?, 200, "")?;
        over.store(true, Ordering::Relaxed);
        asker.join().ok().context("the asker")?;
        let told = told.lock().map(|told| told.clone()).unwrap_or_default();
        if let Some(away) = told.iter().find(|reply| reply.code() == "unavailable") {
            return is(away, 503, "unavailable");
        }
    }
    anyhow::bail!("pdp was started again {TRIES} times, and no call found it away")
}

/// A signed statement is taken once, for this box, as it was signed.
fn statements(operated: &Operated) -> Result<()> {
    let ann = Operator::of(operated)?;
    let pause = json!({ "kind": "agent-pause", "name": "coder" });
    let (text, signature) = ann.sign(&ann.statement(&ann.number()?, &pause));
    let send = |text: &str, signature: &str| ann.send((text, signature), None);
    is(&send(&text.replace("coder", "other"), &signature), 401, "bad_signature")?;
    is(&send(&text, &signature), 200, "")?;
    is(&send(&text, &signature), 401, "bad_signature")?;
    let (text, signature) = ann.sign(&ann.statement(&"0".repeat(32), &pause));
    is(&send(&text, &signature), 401, "bad_signature")?;
    let mut elsewhere = ann.statement(&ann.number()?, &pause);
    if let Some(of_box) = elsewhere.get_mut("box") {
        *of_box = json!("0".repeat(64));
    }
    let (text, signature) = ann.sign(&elsewhere);
    is(&send(&text, &signature), 401, "bad_signature")?;
    operated.krux(&["agent", "resume", "coder"]).map(drop)
}

/// A ledger without room: what must be recorded is refused, operators still act, and the box goes on.
fn full(operated: &Operated, client: &Client) -> Result<()> {
    let input = json!({ "path": "asks/x", "content": "x".repeat(16 << 20) });
    is(&client.call("filesystem.write", &input), 507, "ledger_full")?;
    operated.krux(&["agent", "pause", "coder"])?;
    is(&client.call("agent.whoami", &json!({})), 403, "held")?;
    operated.krux(&["agent", "resume", "coder"])?;
    is(&client.call("filesystem.stat", &json!({ "path": "d" })), 200, "ok")
}

/// One call more than may wait for a person; what asks nobody goes on.
fn too_many(client: &Client) -> Result<()> {
    let input = json!({ "path": "asks/x", "content": "" });
    for _ in 0..32 {
        is(&client.call("filesystem.write", &input), 202, "pending")?;
    }
    is(&client.call("filesystem.write", &input), 429, "too_many_pending")?;
    is(&client.call("agent.whoami", &json!({})), 200, "")
}
