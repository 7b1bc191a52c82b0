//! Two operators' programs race for every answer while the services between a yes and its deed are killed:
//! what a person said yes to happens at most once, and what is told is what happened.

use crate::kills::all_ready;
use anyhow::{Context, Result, ensure};
use ledger::{Kind, Record, frame};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests::{Client, Image, Operated, Reply};

const ASKS: usize = 16;
const POLICY: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: looks, agents: [any], effects: [observe, read], decision: autonomous }
  - { name: writes, agents: [any], effects: [write], where: { path: { under: /workspace, not: { under: /workspace/asked } } }, decision: autonomous }
  - { name: asks, agents: [any], effects: [write], where: { path: { under: /workspace/asked } }, decision: approval, approval: { decide_within: 10m, run_within: 2m } }
";
/// What each call adds to its file.
const LINE: &str = "x\n";
/// Killed between a yes and what follows it, and how often each.
const KILLED: &str = "4 600 pdp audit forker";

/// Says yes until it is known that an answer was taken.
fn accept(operated: &Operated, call: &str) -> Result<i32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (code, _, errors) = operated.try_krux(&["approve", "accept", call])?;
        if matches!(code, 0 | 8) {
            return Ok(code);
        }
        ensure!(Instant::now() < deadline, "{call}: exit code {code}: {errors}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Yes from two at once; how many of both were told that theirs was taken.
fn race(operated: &Operated, call: &str) -> Result<usize> {
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| accept(operated, call)));
        let codes = both.map(|one| one.join().ok().context("a thread").and_then(|code| code));
        let codes: Vec<i32> = codes.into_iter().collect::<Result<_>>()?;
        Ok(codes.iter().filter(|code| **code == 0).count())
    })
}

/// What became of a call, once it is no longer under way; one that waits again is answered again.
fn settled(operated: &Operated, client: &Client, call: &str) -> Result<Reply> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = client.get(&format!("/v1/calls/{call}"));
        match (reply.status, reply.code()) {
            (202, "pending") => drop(accept(operated, call)?),
            (0 | 202 | 503, _) => {}
            _ => return Ok(reply),
        }
        ensure!(Instant::now() < deadline, "still under way: {reply:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// How many verdicts and ends the ledger has of each call.
fn counted(operated: &Operated) -> Result<BTreeMap<(String, &'static str), u32>> {
    let export = operated.config.join("export");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    let verified = operated.krux(&["audit", "verify", &export.display().to_string()])?;
    ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
    let mut counted = BTreeMap::new();
    for bytes in frame::read_all(&std::fs::read(&export)?).0 {
        let Ok(record) = Record::read(bytes) else { continue };
        let envelope = record.envelope();
        let Some(call) = envelope.call else { continue };
        let what = match envelope.kind {
            Kind::Approval => "verdict",
            Kind::Outcome | Kind::Recovery => "end",
            _ => continue,
        };
        *counted.entry((contract::digits::hex(&call), what)).or_default() += 1;
    }
    Ok(counted)
}

#[test]
fn a_yes_is_performed_at_most_once_while_operators_race_and_services_die() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "verdicts")?;
    operated.pair()?;
    let client = operated.agent("asker")?;
    let policy = operated.config.join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    let made = client.call("filesystem.mkdir", &json!({ "path": "asked" }));
    ensure!(made.code() == "ok", "{made:?}");
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    let mut calls = Vec::new();
    for number in 0..ASKS {
        let input = json!({ "path": format!("asked/{number}"), "content": LINE });
        let asked = client.call("filesystem.append", &input);
        ensure!(asked.status == 202, "{asked:?}");
        calls.push(asked.number().context("number")?.to_owned());
    }
    let (quiet, rest) = calls.split_at(4);
    for call in quiet {
        ensure!(race(&operated, call)? == 1, "one of two yeses counts");
        ensure!(settled(&operated, &client, call)?.code() == "ok", "{call} was not performed");
    }
    let order = operated.config.join("order");
    std::fs::write(&order, KILLED)?;
    operated.try_krux(&["file", "put", "asker", &order.display().to_string(), "kill"])?;
    for call in rest {
        // a yes may be taken and its taker be killed before it is told
        ensure!(race(&operated, call)? <= 1, "two yeses to one call counted");
    }
    operated.machine.wait_for("zombies,", 90)?;
    all_ready(&operated)?;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for (number, call) in calls.iter().enumerate() {
        let end = settled(&operated, &client, call)?;
        let read = client.call("filesystem.read", &json!({ "path": format!("asked/{number}") }));
        let found = read.json.pointer("/result/content").and_then(serde_json::Value::as_str);
        let times = found.map_or(0, |content| content.matches(LINE).count());
        ensure!(times <= 1, "{call} was performed {times} times: {end:?}");
        ensure!(end.code() != "ok" || times == 1, "{call} is told as done and was not: {end:?}");
        *ends.entry(end.code().to_owned()).or_default() += 1;
    }
    tests::report(&format!("approved calls by how they ended: {ends:?}"));
    let doubled: Vec<_> = counted(&operated)?.into_iter().filter(|(_, count)| *count > 1).collect();
    ensure!(doubled.is_empty(), "more than one of a call: {doubled:?}");
    ensure!(ends.get("ok").is_some_and(|ok| *ok >= 8), "too few to show anything: {ends:?}");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
