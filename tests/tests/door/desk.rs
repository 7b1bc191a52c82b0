//! What an operator does at their desk besides the main job: another token, another place, another
//! operator, the records as they come, a stdio client, a restart.

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use tests::{Image, Operated};

/// A krux that runs beside the test, ended with it.
struct Beside(Child);

impl Beside {
    fn start(operated: &Operated, words: &[&str]) -> Result<Self> {
        let mut command = Command::new(tests::krux_program()?);
        command.arg("--config").arg(&operated.config).args(words);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Lines of its output, up to one that holds `words`.
    fn until(&mut self, words: &str) -> Result<String> {
        let output = self.0.stdout.as_mut().context("output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if line.contains(words) {
                return Ok(line);
            }
        }
        anyhow::bail!("it ended without `{words}`")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_operators_desk_works() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "desk")?;
    operated.pair()?;
    tokens(&operated)?;
    another_operator(&operated)?;
    stdio(&operated)?;
    network(&operated)?;
    crate::admin::looks_after_the_box_as_far_as_it_may(&operated)?;
    let mut tail = Beside::start(&operated, &["--json", "audit", "tail", "--follow"])?;
    operated.krux(&["agent", "pause", "worker"])?;
    tail.until("agent-pause")?;
    drop(tail);
    let started = operated.machine.console().matches("kruxos: ready after").count();
    ensure!(started == 1, "started {started} times");
    operated.krux(&["reboot"])?;
    operated.machine.wait_gone(60)
}

/// Tokens: another one in place of the first, and one that is good in one place alone.
fn tokens(operated: &Operated) -> Result<()> {
    let first = operated.agent("worker")?;
    let rotated = operated.krux(&["agent", "rotate", "worker"])?;
    let token = rotated.get("token").and_then(Json::as_str).context("token")?;
    ensure!(first.get("/v1/tools").status == 401, "the first token still counts");
    ensure!(operated.agent_with(token)?.get("/v1/tools").status == 200, "the second does not");
    operated.krux(&["agent", "add", "elsewhere", "--source", "203.0.113.0/24"])?;
    let elsewhere = operated.agent_with(&operated.token("elsewhere")?)?;
    for reply in [
        elsewhere.get("/v1/tools"),
        elsewhere.call("agent.whoami", &json!({})),
        elsewhere.get(&format!("/v1/calls/{}", "0".repeat(32))),
    ] {
        ensure!(reply.status == 401, "from another place: {reply:?}");
    }
    // QEMU's own network, from which this test comes
    operated.krux(&["agent", "add", "here", "--source", "10.0.2.0/24"])?;
    let here = operated.agent_with(&operated.token("here")?)?;
    ensure!(here.call("agent.whoami", &json!({})).status == 200, "from its own place");
    Ok(())
}

/// A second operator, signed in by the first, acts under their own name.
fn another_operator(operated: &Operated) -> Result<()> {
    let (folder, words) = operated.person("bob")?;
    let (stranger, _, _) = tests::krux(&folder, &["status"])?;
    ensure!(stranger == 4, "a stranger's exit code is {stranger}");
    operated.krux(&words.each_ref().map(String::as_str))?;
    let (code, _, said) = tests::krux(&folder, &["agent", "pause", "worker"])?;
    ensure!(code == 0, "{said}");
    let (_, acts, _) = operated.try_krux(&["audit", "query", "--kind", "act"])?;
    let by_bob = acts.iter().filter(|act| act.pointer("/facts/operator") == Some(&json!("bob")));
    ensure!(by_bob.count() == 1, "{acts:?}");
    operated.krux(&["agent", "resume", "worker"]).map(drop)
}

/// What an agent may reach: on a box as it comes what the network's capabilities are let, and no code.
fn network(operated: &Operated) -> Result<()> {
    let net = operated.krux(&["agent", "net", "worker"])?;
    let rules = net.get("rules").and_then(Json::as_array).context("rules")?;
    let of_box = rules.iter().filter(|rule| rule.get("layer") == Some(&json!("box")));
    let of_box: Vec<&str> = of_box.filter_map(|rule| rule.get("rule")?.as_str()).collect();
    ensure!(of_box == ["https-reads", "https-writes-ask", "names", "ports"], "{net}");
    let nothing = (Some(&json!([])), Some(&json!(0)));
    ensure!((net.get("now"), net.get("dropped_packets")) == nothing, "{net}");
    let (code, _, _) = operated.try_krux(&["agent", "net", "nobody"])?;
    ensure!(code == 3, "an agent that there is not: exit code {code}");
    let asked = json!({ "command": ["python3", "a.py"], "expect": "00".repeat(32),
        "connect": ["192.0.2.1:443"] });
    let worker = operated.agent_with(&operated.token("worker")?)?;
    let refused = worker.call("process.run_code", &asked);
    ensure!(refused.status == 403, "code that connects: {refused:?}");
    Ok(())
}

/// An MCP client that speaks over standard input and output.
fn stdio(operated: &Operated) -> Result<()> {
    let mut bridge = Beside::start(operated, &["mcp", "--agent", "worker"])?;
    let input = bridge.0.stdin.as_mut().context("input")?;
    let start = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "desk", "version": "1" } } });
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "system.time", "arguments": {} } });
    writeln!(input, "{start}\n{call}")?;
    input.flush()?;
    let answer: Json = serde_json::from_str(&bridge.until("\"id\":2")?)?;
    let code = answer.pointer("/result/structuredContent/code");
    ensure!(code == Some(&json!("ok")), "{answer}");
    Ok(())
}
