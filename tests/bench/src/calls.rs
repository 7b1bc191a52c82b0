//! Whole governed calls, under `krux dev`: through a door, decided, recorded durably, performed in a
//! fresh cage. The peer is bubblewrap with every namespace, starting a program that ends at once.

use crate::peers::Peers;
use crate::restarts::restarts;
use crate::{Places, ROUNDS, Row, quantile, time, us};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::Client;

const OPERATORS: u16 = 27_800;
const AGENTS: u16 = 27_700;
const CALLS: usize = 200;
/// DESIGN's bubblewrap, to which its absolute figures belong.
const BUBBLEWRAP_US: f64 = 3_600.0;

/// The services, ended with the benchmark.
pub(crate) struct Dev(Child);

impl Dev {
    /// The process that all of them descend from.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // krux leaves with its child when it is interrupted
        let pid = self.0.id().to_string();
        Command::new("pkill").args(["-TERM", "-P", &pid]).status().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn krux(places: &Places, words: &[&str]) -> Result<String> {
    let output = Command::new(&places.krux)
        .arg("--config")
        .arg(places.data.join("krux"))
        .args(["--json", "--box", "dev"])
        .args(words)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "krux {words:?}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn start(places: &Places) -> Result<Dev> {
    let data = places.data.join("box");
    let mut child = Command::new(&places.krux)
        .arg("--config")
        .arg(places.data.join("krux"))
        .args(["dev", "--operators", &OPERATORS.to_string(), "--agents", &AGENTS.to_string()])
        .arg("--programs")
        .arg(&places.programs)
        .arg("--tree")
        .arg(&places.tree)
        .arg("--data")
        .arg(&data)
        .arg("--toolbox")
        .arg(&places.toolbox)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().context("pipe")?);
    let dev = Dev(child);
    for line in output.lines().map_while(Result::ok) {
        if line.starts_with("ready") {
            return Ok(dev);
        }
    }
    anyhow::bail!("krux dev did not come up")
}

/// A box and an agent with a file to read.
fn agent(places: &Places) -> Result<(Dev, Client)> {
    let dev = start(places)?;
    let config = places.data.join("krux");
    let added: serde_json::Value =
        serde_json::from_str(&krux(places, &["agent", "add", "bench"])?)?;
    let token = added.get("token").and_then(|token| token.as_str()).context("token")?;
    let client = Client::new(&config.join("boxes/dev.json"), AGENTS, token)?;
    let content = json!({ "path": "f", "content": "x".repeat(4_096) });
    ensure!(client.call("filesystem.write", &content).code() == "ok", "write");
    Ok((dev, client))
}

/// The search for what calls leave behind.
pub(crate) fn leaks(places: &Places, count: u64) -> Result<()> {
    let (dev, client) = agent(places)?;
    crate::leaks::leaks(&dev, &client, count)
}

/// The rows.
pub(crate) fn calls(places: &Places) -> Result<Vec<Row>> {
    let (dev, client) = agent(places)?;
    time(50, || read(&client))?;
    let mut rows = cages(places, &client, &File::create(places.data.join("flush"))?)?;
    rows.push(busy(places, &client)?);
    rows.push(program(places, &client)?);
    rows.push(sustained(&client)?);
    rows.push(restarts(places, &dev)?);
    Ok(rows)
}

fn read(client: &Client) -> Result<()> {
    let reply = client.call("filesystem.read", &json!({ "path": "f" }));
    ensure!(reply.code() == "ok", "{reply:?}");
    Ok(())
}

/// Calls that find a parked cage: whole, as their client sees them, and the cage's part of them, from the
/// ticket to the worker's word, as the ledger has it; and how long those cages took to be built. A pause
/// between calls leaves the forker the time to build the next, as an agent that thinks does.
fn cages(places: &Places, client: &Client, flushed: &File) -> Result<Vec<Row>> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut others = Peers::all(places)?;
    let (mut whole, mut flushes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..CALLS {
            std::thread::sleep(PAUSE);
            whole.extend(time(1, || read(client))?);
        }
        others.round()?;
        flushes.extend(time(CALLS, || flush(flushed))?);
    }
    let others = others.medians();
    let &(bubblewrap, peer) = others.first().context("no peer")?;
    let against = peer / BUBBLEWRAP_US;
    let row = |name, fact: &str, most: f64, times: f64, must| -> Result<Row> {
        let mut took = outcomes(places, ROUNDS * CALLS, fact)?;
        let (p50, p99) = (quantile(&mut took, 500), quantile(&mut took, 990));
        let holds = p50 <= most * against && p50 * times <= peer;
        Ok(Row { name, unit: "us", p50, p99, peer: Some((bubblewrap, peer)), must, holds })
    };
    let parked = row(
        "cage-parked",
        "wall_us",
        60.0,
        30.0,
        "<= 60 us where bubblewrap takes 3.6 ms, and 30 times faster",
    )?;
    let cold = row(
        "cage-cold",
        "built_us",
        1_500.0,
        2.0,
        "<= 1.5 ms where bubblewrap takes 3.6 ms, and 2 times faster",
    )?;
    let beside = |row: &Row, name, peer| Row {
        name,
        unit: "us",
        p50: row.p50,
        p99: row.p99,
        peer: Some(peer),
        must: "no bound: the same beside another",
        holds: true,
    };
    let others = others.iter().skip(1).flat_map(|peer| {
        [beside(&parked, "cage-parked", *peer), beside(&cold, "cage-cold", *peer)]
    });
    let others: Vec<Row> = others.collect();
    let one_flush = quantile(&mut flushes, 500);
    let (p50, p99) = (quantile(&mut whole, 500), quantile(&mut whole, 990));
    let call = Row {
        name: "call-parked",
        unit: "us",
        p50,
        p99,
        peer: Some((bubblewrap, peer)),
        must: "<= 400 us + one flush, where bubblewrap takes 3.6 ms",
        holds: p50 <= 400.0 * against + one_flush,
    };
    let mut rows = vec![parked, cold];
    rows.extend(others);
    rows.extend([flush_row(one_flush, quantile(&mut flushes, 990)), call]);
    Ok(rows)
}

fn flush_row(p50: f64, p99: f64) -> Row {
    let must = "no bound: what one fdatasync of 512 bytes costs here";
    Row { name: "flush", unit: "us", p50, p99, peer: None, must, holds: true }
}

/// Calls without a pause, which use up the stock of cages in no time: the next is built while they wait.
fn busy(places: &Places, client: &Client) -> Result<Row> {
    let (mut reads, mut peers) = (Vec::new(), Peers::bubblewrap(places));
    for _ in 0..ROUNDS {
        reads.extend(time(CALLS, || read(client))?);
        peers.round()?;
    }
    let peer = peers.medians().first().copied();
    let must = "no bound: calls without a pause, each in a cage that is built for it";
    let (p50, p99) = (quantile(&mut reads, 500), quantile(&mut reads, 990));
    Ok(Row { name: "call-unpaused", unit: "us", p50, p99, peer, must, holds: true })
}

/// A closed program through a parked cage, from the ticket to the worker's word, beside the same program
/// started by nobody else.
fn program(places: &Places, client: &Client) -> Result<Row> {
    const PAUSE: Duration = Duration::from_millis(8);
    const RUNS: usize = 50;
    const LOADER: &str =
        if cfg!(target_arch = "x86_64") { "ld-linux-x86-64.so.2" } else { "ld-linux-aarch64.so.1" };
    let mut alone = Vec::new();
    for _ in 0..ROUNDS {
        for _ in 0..RUNS {
            std::thread::sleep(PAUSE);
            let reply = client.call("process.run", &json!({ "command": ["wc", "f"] }));
            ensure!(reply.code() == "ok", "{reply:?}");
        }
        let folder = places.toolbox.join("wc");
        alone.extend(time(RUNS, || {
            let libraries = folder.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH));
            let status = Command::new(libraries.join(LOADER))
                .arg("--library-path")
                .arg(&libraries)
                .arg(folder.join("bin/wc"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "wc: {status}");
            Ok(())
        })?);
    }
    let mut took = outcomes(places, ROUNDS * RUNS, "wall_us")?;
    let (p50, p99) = (quantile(&mut took, 500), quantile(&mut took, 990));
    let peer = quantile(&mut alone, 500);
    let must = "<= 1 ms + the program's own start";
    let holds = p50 <= 1_000.0 + peer;
    let peer = Some(("wc alone", peer));
    Ok(Row { name: "program", unit: "us", p50, p99, peer, must, holds })
}

/// A fact of the last outcomes in the ledger.
fn outcomes(places: &Places, count: usize, fact: &str) -> Result<Vec<f64>> {
    let records = krux(places, &["audit", "query", "--kind", "outcome"])?;
    let records: Vec<serde_json::Value> =
        records.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = records.get(records.len().saturating_sub(count)..).unwrap_or_default();
    let of = |record: &serde_json::Value| record.get("facts")?.get(fact)?.as_str()?.parse().ok();
    Ok(last.iter().filter_map(of).collect())
}

fn flush(file: &File) -> Result<()> {
    let mut file = file;
    file.write_all(&[7; 512])?;
    Ok(file.sync_data()?)
}

/// Calls a second of eight clients, each call in a fresh cage.
fn sustained(client: &Client) -> Result<Row> {
    const CLIENTS: usize = 8;
    const SECONDS: u64 = 2;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let count = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let (client, count) = (client.clone(), Arc::clone(&count));
                scope.spawn(move || {
                    while started.elapsed() < Duration::from_secs(SECONDS) {
                        let reply = client.call("filesystem.read", &json!({ "path": "f" }));
                        if reply.code() == "ok" {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        rates.push(count.load(Ordering::Relaxed) as f64 / (us(started.elapsed()) / 1e6));
    }
    let slowest = rates.iter().copied().reduce(f64::min).unwrap_or(f64::NAN);
    let p50 = quantile(&mut rates, 500);
    let must = ">= 1,000/s, fresh cage each";
    let (name, unit) = ("sustained", "calls/s");
    Ok(Row { name, unit, p50, p99: slowest, peer: None, must, holds: p50 >= 1_000.0 })
}
