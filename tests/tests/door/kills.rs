//! Services killed under load: they come back, nobody is told of what did not happen, nothing is lost
//! or doubled in the ledger.

use anyhow::{Context, Result, ensure};
use ledger::{Kind, Record, frame};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tests::{Client, Image, Operated, Reply};

/// Everything but init, which a kill cannot reach.
const SERVICES: &str = "forker audit pdp agents vault operators console net egress";

/// What clients were told, by the call's number.
type Told = Arc<Mutex<Vec<Reply>>>;

fn load(client: &Client, name: usize, over: &Arc<AtomicBool>, told: &Told) {
    for count in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let path = format!("f{name}-{}", count % 8);
        let reply = match count % 3 {
            0 => client.call("filesystem.write", &json!({ "path": path, "content": "x" })),
            1 => client.call("filesystem.read", &json!({ "path": path })),
            _ => client.call("agent.whoami", &json!({})),
        };
        if let Ok(mut told) = told.lock() {
            told.push(reply);
        }
    }
}

/// Kills each service `rounds` times, `pause_ms` after the one before, while three clients call.
fn killed_under_load(name: &str, rounds: u64, pause_ms: u64) -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, name)?;
    operated.pair()?;
    let clients: Vec<Client> =
        (0..3).map(|n| operated.agent(&format!("load-{n}"))).collect::<Result<_>>()?;
    let (over, told) = (Arc::new(AtomicBool::new(false)), Told::default());
    let threads: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, client)| {
            let (over, told) = (Arc::clone(&over), Arc::clone(&told));
            std::thread::spawn(move || load(&client, n, &over, &told))
        })
        .collect();
    let order = operated.config.join("order");
    std::fs::write(&order, format!("{rounds} {pause_ms} {SERVICES}"))?;
    // the answer goes by services that this ends: it may not come
    operated.try_krux(&["file", "put", "load-0", &order.display().to_string(), "kill"])?;
    let kills = rounds * u64::try_from(SERVICES.split_whitespace().count())?;
    let seconds = kills * (pause_ms + 200) / 1_000 + 90;
    operated.machine.wait_for("kills are over", seconds)?;
    over.store(true, Ordering::Relaxed);
    operated.machine.wait_for("that outlived a forker", 60)?;
    for thread in threads {
        thread.join().ok().context("a client")?;
    }
    let console = operated.machine.console();
    let said = console.lines().find(|line| line.contains("zombies,")).unwrap_or_default();
    ensure!(said.contains(&format!("killed {kills}:")), "{said}");
    let nothing =
        ": 0 zombies, 0 orphaned cages, 0 processes and 0 descriptors that outlived a forker";
    ensure!(said.contains(nothing), "{said}");
    all_ready(&operated)?;
    // a service may be ready and yet be good for nothing: a call in a cage shows that this one is
    let reply = operated.agent("after")?.call("filesystem.list", &json!({ "path": "." }));
    ensure!(reply.code() == "ok", "after the kills: {reply:?}");
    let told = told.lock().map(|told| told.clone()).unwrap_or_default();
    ledger_holds(&operated, &told)?;
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

pub(crate) fn all_ready(operated: &Operated) -> Result<()> {
    let listed = operated.krux(&["service", "list"])?;
    let services = listed.get("services").and_then(Json::as_array).cloned().unwrap_or_default();
    ensure!(services.len() > SERVICES.split_whitespace().count(), "{listed}");
    for service in &services {
        ensure!(service.get("state") == Some(&json!("ready")), "{service}");
    }
    let logs = operated.krux(&["logs"])?;
    let lines = logs.get("lines").and_then(Json::as_array).cloned().unwrap_or_default();
    let took = lines.iter().filter_map(Json::as_str).filter_map(|line| {
        let (name, rest) = line.split_once(" ready after ")?;
        Some((name.rsplit(' ').next()?, rest.strip_suffix(" ms")?.parse::<u64>().ok()?))
    });
    let mut slowest: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, ms) in took {
        let known = slowest.entry(name).or_default();
        *known = ms.max(*known);
    }
    tests::report(&format!("slowest start of each service, ms under emulation: {slowest:?}"));
    Ok(())
}

/// Every call that was answered as done is there once, with one end; no call has two of anything.
fn ledger_holds(operated: &Operated, told: &[Reply]) -> Result<()> {
    let export = operated.config.join("export");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    let verified = operated.krux(&["audit", "verify", &export.display().to_string()])?;
    ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
    let content = std::fs::read(&export)?;
    let mut seen: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for bytes in frame::read_all(&content).0 {
        let Ok(record) = Record::read(bytes) else { continue };
        let envelope = record.envelope();
        let Some(call) = envelope.call else { continue };
        let call = contract::digits::hex(&call);
        let kind = match envelope.kind {
            Kind::Decision => "decision",
            Kind::Outcome | Kind::Recovery => "end",
            _ => continue,
        };
        *seen.entry((call, kind)).or_default() += 1;
    }
    let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(doubled.is_empty(), "in the ledger more than once: {doubled:?}");
    let (mut done, mut ok, mut typed, mut away) = (0, 0, 0, 0);
    for reply in told {
        match (reply.status, reply.number()) {
            (0, _) => away += 1,
            (_, Some(call)) => {
                let there = |kind| seen.contains_key(&(call.to_owned(), kind));
                // a call of pdp's own, agent.whoami, ends with its decision
                let caged = reply.json.get("workspace").is_none();
                ensure!(there("decision"), "answered, and not in the ledger: {reply:?}");
                ensure!(!caged || there("end"), "answered, and without an end: {reply:?}");
                done += 1;
                ok += u32::from(caged && reply.code() == "ok");
            }
            (_, None) => {
                let known = ["unavailable", "interrupted", "not_here_yet"];
                ensure!(known.contains(&reply.code()), "no typed error: {reply:?}");
                typed += 1;
            }
        }
    }
    let count = told.len();
    tests::report(&format!(
        "{count} replies: {done} calls, {ok} of them in a cage and ok, {typed} typed errors, {away} without a door"
    ));
    ensure!(ok > 20, "too few calls went through to show anything: {ok} of {done}");
    Ok(())
}

#[test]
fn services_killed_under_load_come_back_and_the_ledger_is_whole() -> Result<()> {
    killed_under_load("kills", 2, 700)
}

/// A hundred times each; run by `ci/test soak`.
#[test]
#[ignore = "takes a quarter of an hour: ./ci/test soak"]
fn every_service_killed_a_hundred_times() -> Result<()> {
    killed_under_load("kills-soak", 100, 700)
}
