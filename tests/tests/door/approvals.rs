//! Calls that wait for a person: performed at most once, after a yes to exactly what was seen, under the
//! policy of that moment; also when pdp was replaced in between; never after a reboot.

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use tests::{Client, Image, Operated, Reply};

const NO_DELETE: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: all, agents: [any], effects: [observe, read, write], decision: autonomous }
";

/// A deletion that waits: its call's number.
fn ask(client: &Client) -> Result<String> {
    let written = client.call("filesystem.write", &json!({ "path": "f", "content": "x" }));
    ensure!(written.code() == "ok", "{written:?}");
    let asked = client.call("filesystem.delete", &json!({ "path": "f" }));
    ensure!(asked.status == 202, "{asked:?}");
    asked.number().map(str::to_owned).context("number")
}

fn result(client: &Client, call: &str) -> Reply {
    client.get(&format!("/v1/calls/{call}"))
}

/// What became of a call, once it is no longer under way.
fn end(client: &Client, call: &str) -> Result<Reply> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = result(client, call);
        if !matches!(reply.status, 0 | 202 | 503) {
            return Ok(reply);
        }
        ensure!(Instant::now() < deadline, "still under way: {reply:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_there(client: &Client) -> bool {
    client.call("filesystem.stat", &json!({ "path": "f" })).code() == "ok"
}

#[test]
fn a_call_that_waits_is_performed_once_after_a_yes_to_what_was_seen() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "approvals")?;
    operated.pair()?;
    let (client, other) = (operated.agent("asker")?, operated.agent("other")?);
    // another digest is another thing; a yes counts once; another agent does not see it
    let call = ask(&client)?;
    ensure!(result(&other, &call).status == 404, "another agent sees the call");
    let (code, _, _) =
        operated.try_krux(&["approve", "accept", &call, "--digest", &"0".repeat(64)])?;
    ensure!(code == 8 && is_there(&client), "a yes to another thing: exit code {code}");
    operated.krux(&["approve", "accept", &call])?;
    ensure!(end(&client, &call)?.code() == "ok" && !is_there(&client), "not performed");
    let (code, _, _) = operated.try_krux(&["approve", "accept", &call])?;
    ensure!(code != 0, "a second yes was taken");
    // a no
    let call = ask(&client)?;
    operated.krux(&["approve", "deny", &call, "--reason", "no"])?;
    let denied = end(&client, &call)?;
    ensure!(denied.status == 403 && denied.code() == "deny" && is_there(&client), "{denied:?}");
    // pdp is replaced while a call waits: the input comes from the ledger's bodies
    let call = ask(&client)?;
    operated.krux(&["service", "restart", "pdp"])?;
    ready_again(&operated, 2)?;
    operated.krux(&["approve", "accept", &call])?;
    ensure!(end(&client, &call)?.code() == "ok" && !is_there(&client), "not performed");
    // the policy changed meanwhile: stale, and nothing is done
    let call = ask(&client)?;
    let policy = operated.config.join("policy.yaml");
    std::fs::write(&policy, NO_DELETE)?;
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    let said = operated.krux(&["approve", "accept", &call])?;
    ensure!(said.get("verdict") == Some(&json!("stale")) && is_there(&client), "{said}");
    ensure!(end(&client, &call)?.code() == "stale", "its agent is told something else");
    // paused and stopped agents are held, and say why
    operated.krux(&["agent", "pause", "asker"])?;
    ensure!(client.call("agent.whoami", &json!({})).code() == "held", "a paused agent called");
    operated.krux(&["stop"])?;
    ensure!(other.call("agent.whoami", &json!({})).code() == "held", "a stopped agent called");
    operated.krux(&["start"])?;
    operated.krux(&["agent", "revoke", "asker"])?;
    ensure!(client.call("agent.whoami", &json!({})).status == 401, "a revoked agent called");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

/// Waits until pdp was started `starts` times and serves.
fn ready_again(operated: &Operated, starts: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let (0, lines, _) = operated.try_krux(&["service", "list"])? {
            let services = lines.first().and_then(|l| l.get("services")).and_then(Json::as_array);
            let pdp = services.into_iter().flatten().find(|s| s.get("name") == Some(&json!("pdp")));
            if pdp.is_some_and(|pdp| pdp.get("starts") == Some(&json!(starts))) {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("pdp was not started again")
}
