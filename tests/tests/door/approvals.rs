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
pub(crate) fn end(client: &Client, call: &str) -> Result<Reply> {
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

/// Asks whether a script may run: the call.
fn ask_code(operated: &Operated, client: &Client, script: &str) -> Result<String> {
    let written = client.call("filesystem.write", &json!({ "path": "a.py", "content": script }));
    ensure!(written.code() == "ok", "{written:?}");
    let digest = client.digest()?;
    let input = json!({ "command": ["python3", "a.py", "word"], "expect": digest });
    let asked = client.call("process.run_code", &input);
    ensure!(asked.status == 202, "{asked:?}");
    let call = asked.number().context("number")?;
    // what a person is asked about says all of it
    let shown = operated.krux(&["approve", "list"])?.to_string();
    for part in ["may do anything within roots=[/workspace]", "program=python3", "word", &digest] {
        ensure!(shown.contains(part), "{part} is not in {shown}");
    }
    Ok(call.to_owned())
}

/// Runs a script with an operator's yes; `meanwhile` is what its agent does before that.
fn run_code(
    operated: &Operated,
    client: &Client,
    script: &str,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Reply> {
    let call = ask_code(operated, client, script)?;
    meanwhile()?;
    operated.krux(&["approve", "accept", &call])?;
    end(client, &call)
}

#[test]
fn nothing_of_its_agent_runs_beside_what_a_person_said_yes_to() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "alone")?;
    operated.pair()?;
    let (client, other) = (operated.agent("coder")?, operated.agent("other")?);
    let write = |client: &Client, content: &str| {
        client.call("filesystem.write", &json!({ "path": "f", "content": content }))
    };
    ensure!(write(&client, "as seen").code() == "ok", "write");
    let watch = "import time
seen = set()
for _ in range(40):
    seen.add(open('f').read())
    time.sleep(0.05)
print(seen)
";
    let call = ask_code(&operated, &client, watch)?;
    operated.krux(&["approve", "accept", &call])?;
    // its ticket came before this one's: another agent's goes on beside it, its own agent's waits, or
    // is told that it would have to wait for too long
    ensure!(write(&other, "mine").code() == "ok", "another agent waited");
    let under_way = result(&client, &call);
    ensure!(under_way.status == 202, "it was over before anything ran beside it: {under_way:?}");
    let written = write(&client, "other");
    ensure!(["ok", "refused-busy"].contains(&written.code()), "{written:?}");
    let ran = end(&client, &call)?;
    let stdout = ran.json.pointer("/result/stdout").and_then(Json::as_str);
    ensure!(stdout == Some("{'as seen'}\n"), "{ran:?}");
    ensure!(write(&client, "afterwards").code() == "ok", "the workspace is not free again");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

#[test]
fn code_runs_where_a_person_said_yes_to_what_is_there_and_reaches_nothing_else() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "code")?;
    operated.pair()?;
    let client = operated.agent("coder")?;
    let exists =
        |path: &str| client.call("filesystem.stat", &json!({ "path": path })).code() == "ok";
    let script = "import sys, os\nopen('made.txt', 'w').write('x')\nprint(6 * 7, sys.argv[1:])\n";
    // its agent changes what was seen: nothing runs
    let changed = run_code(&operated, &client, script, || {
        let other = json!({ "path": "b.py", "content": "print('other')" });
        ensure!(client.call("filesystem.write", &other).code() == "ok", "write");
        Ok(())
    })?;
    ensure!(changed.code() == "changed" && !exists("made.txt"), "{changed:?}");
    let ran = run_code(&operated, &client, script, || Ok(()))?;
    let stdout = ran.json.pointer("/result/stdout").and_then(Json::as_str);
    ensure!(stdout == Some("42 ['word']\n") && exists("made.txt"), "{ran:?}");
    // no file but the workspace's, none of it executed, no socket, no other program
    let tries = "import os, subprocess
def tried(name, work):
    try: work(); print(name, 'done')
    except OSError as error: print(name, error.errno)
tried('passwd', lambda: open('/etc/passwd'))
tried('proc', lambda: os.listdir('/proc'))
tried('data', lambda: os.listdir('/data'))
tried('shell', lambda: subprocess.run(['/bin/sh', '-c', 'true']))
tried('own', lambda: (os.chmod('a.py', 0o755), subprocess.run(['/workspace/a.py'])))
tried('root', lambda: open('/x', 'w'))
import socket
tried('socket', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
";
    let seen = run_code(&operated, &client, tries, || Ok(()))?;
    let stdout = seen.json.pointer("/result/stdout").and_then(Json::as_str).unwrap_or_default();
    ensure!(stdout.lines().count() == 7 && !stdout.contains("done"), "{seen:?}");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

/// Waits until pdp was started `starts` times and serves.
pub(crate) fn ready_again(operated: &Operated, starts: u64) -> Result<()> {
    started_again(operated, "pdp", starts)
}

/// Waits until a service was started `starts` times; pdp serves then.
pub(crate) fn started_again(operated: &Operated, name: &str, starts: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let (0, lines, _) = operated.try_krux(&["service", "list"])? {
            let services = lines.first().and_then(|l| l.get("services")).and_then(Json::as_array);
            let found =
                services.into_iter().flatten().find(|s| s.get("name") == Some(&json!(name)));
            if found.is_some_and(|found| found.get("starts") == Some(&json!(starts))) {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("{name} was not started again")
}
