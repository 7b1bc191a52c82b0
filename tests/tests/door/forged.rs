//! A pdp that was taken over, beside the real services: what it repeats, changes or makes up is refused
//! and counted; an operator's act that it forges into the ledger moves nothing and is found.

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use tests::{Image, Operated};

/// What the forger tries besides acts.
const FINDINGS: usize = 12;

#[test]
fn a_pdp_that_was_taken_over_forges_nothing_that_counts() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "forged")?;
    operated.pair()?;
    let client = operated.agent("victim")?;
    let order = operated.config.join("order");
    std::fs::write(&order, "pdp forger")?;
    // the answer goes by the pdp that this ends: it may not come
    operated.try_krux(&["file", "put", "victim", &order.display().to_string(), "replace"])?;
    operated.machine.wait_for("forger: all tried", 180)?;
    operated.machine.wait_for("pdp is itself again: true", 60)?;
    let console = operated.machine.console();
    ensure!(console.contains("forger for pdp: true"), "{console}");
    ensure!(!console.contains("DOES NOT HOLD"), "{console}");
    let held = console.lines().filter(|line| line.contains("forger ") && line.contains(": holds"));
    ensure!(held.count() == FINDINGS, "not {FINDINGS} findings:\n{console}");
    operated.machine.wait_for("does not count: it pairs where an operator is", 60)?;
    // the box is as it was: the same agents, not stopped, and its agent calls
    let agents = operated.krux(&["agent", "list"])?;
    let names = agents.get("agents").and_then(Json::as_array).cloned().unwrap_or_default();
    let names: Vec<_> = names.iter().filter_map(|agent| agent.get("name")).collect();
    ensure!(names == [&json!("victim")], "{agents}");
    let reply = client.call("system.time", &json!({}));
    ensure!(reply.code() == "ok", "{reply:?}");
    // and the forgery is found, by its number
    let export = operated.config.join("export").display().to_string();
    operated.krux(&["audit", "export", &export])?;
    let (code, lines, _) = operated.try_krux(&["audit", "verify", &export])?;
    let said = lines.first().and_then(|line| line.get("error")).and_then(Json::as_str);
    let said = said.context("no error")?;
    ensure!(code == 9 && said.contains("it has no operator's statement"), "{code}: {said}");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
