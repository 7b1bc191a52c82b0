//! Five agents that take all they can get, each in its own way, beside one that works: what they cost it,
//! and that an operator still gets through.

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::{Client, Image, Operated};

/// Programs of tests/escape/neighbours; the fifth is `filesystem.write`, which flushes.
const PROGRAMS: [&str; 4] = ["bomb", "hog", "filler", "inodes"];
/// Calls of the agent that works, quiet and beside the others.
pub(crate) const CALLS: usize = 600;
/// How many times longer than on a quiet box its p99 may be.
pub(crate) const TIMES: f64 = 2.0;
/// Time for all five to be at it.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// Time for a forker that was exchanged to have cages.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A box of a test image whose `sort` is malicious, and an agent that works there and has a file `f`.
pub(crate) fn attacked(image: &str, name: &str) -> Result<(Operated, Client)> {
    let mut operated = Operated::start(&Image::test(image)?, name)?;
    operated.pair()?;
    let worker = operated.agent("worker")?;
    let file = json!({ "path": "f", "content": "x".repeat(4_096) });
    ensure!(worker.call("filesystem.write", &file).code() == "ok", "write");
    let order = json!({ "path": "toolbox", "content": "" });
    ensure!(worker.call("filesystem.write", &order).code() == "ok", "order");
    operated.machine.wait_for("a malicious toolbox: true", 30)?;
    // the forker is another one then
    let deadline = Instant::now() + READY_WITHIN;
    while worker.call("filesystem.stat", &json!({ "path": "f" })).code() != "ok" {
        ensure!(Instant::now() < deadline, "no cage behind the malicious toolbox");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((operated, worker))
}

/// An agent beside it, with a directory for what it makes.
pub(crate) fn neighbour(operated: &Operated, name: &str) -> Result<Client> {
    let client = operated.agent(name)?;
    let made = client.call("filesystem.mkdir", &json!({ "path": "mine" }));
    ensure!(made.code() == "ok", "{made:?}; console:\n{}", operated.machine.tail());
    Ok(client)
}

/// Seconds of each call of an agent that works for so many calls, with a pause as one that thinks makes.
pub(crate) fn work(client: &Client, calls: usize) -> Result<Vec<f64>> {
    work_while(client, |count| count < calls)
}

/// The same for as long as something, which is told how many there were, is to go on.
pub(crate) fn work_while(client: &Client, goes_on: impl Fn(usize) -> bool) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    while goes_on(took.len()) {
        std::thread::sleep(Duration::from_millis(50));
        let started = Instant::now();
        let reply = client.call("filesystem.read", &json!({ "path": "f" }));
        ensure!(reply.code() == "ok", "{reply:?}");
        took.push(started.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

pub(crate) fn quantile(sorted: &[f64], permille: usize) -> f64 {
    sorted.get(sorted.len() * permille / 1_000).copied().unwrap_or(f64::NAN)
}

/// What people look at of these.
pub(crate) fn figures(sorted: &[f64]) -> String {
    let [p50, p99] = [500, 990].map(|permille| (quantile(sorted, permille) * 1e3).round());
    format!("p50 {p50} ms, p99 {p99} ms")
}

/// One call after another until it is over; how each kind of end was counted.
fn rage(client: &Client, program: Option<&str>, over: &AtomicBool, ends: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        let input = |program: &str| {
            let path = format!("mine/{program}");
            json!({ "command": ["sort", "-o", "mine/out", path] })
        };
        let reply = match program {
            Some(program) => client.call("process.run", &input(program)),
            None => client.call("filesystem.write", &json!({ "path": "f", "content": "x" })),
        };
        // ended by a limit or by its own, but a call that was begun
        ends.fetch_add(u64::from(reply.number().is_some()), Ordering::Relaxed);
    }
}

#[test]
#[ignore = "takes five minutes: ./ci/test soak"]
fn five_noisy_neighbours_leave_the_others_their_time() -> Result<()> {
    let (mut operated, worker) = attacked("smoke", "neighbours")?;
    std::thread::sleep(UNDER_WAY);
    work(&worker, CALLS)?;
    let quiet = work(&worker, CALLS)?;
    let over = Arc::new(AtomicBool::new(false));
    let mut ends = Vec::new();
    let mut threads = Vec::new();
    for program in PROGRAMS.iter().copied().map(Some).chain([None]) {
        let client = neighbour(&operated, &format!("noisy-{}", program.unwrap_or("flusher")))?;
        let (over, count) = (Arc::clone(&over), Arc::new(AtomicU64::new(0)));
        ends.push((program.unwrap_or("flusher"), Arc::clone(&count)));
        threads.push(std::thread::spawn(move || rage(&client, program, &over, &count)));
    }
    std::thread::sleep(UNDER_WAY);
    let noisy = work(&worker, CALLS)?;
    // an operator approves and exports meanwhile
    let asked = worker.call("filesystem.delete", &json!({ "path": "f" }));
    let call = asked.number().unwrap_or_default().to_owned();
    ensure!(asked.status == 202, "{asked:?}");
    let started = Instant::now();
    operated.krux(&["approve", "accept", &call])?;
    let approved = started.elapsed();
    let export = operated.config.join("export");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    let exported = started.elapsed() - approved;
    let verified = operated.krux(&["audit", "verify", &export.display().to_string()])?;
    ensure!(verified.get("intact") == Some(&Json::Bool(true)), "{verified}");
    over.store(true, Ordering::Relaxed);
    let ends: Vec<(&str, u64)> =
        ends.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect();
    tests::report(&format!(
        "quiet {}; beside five {}; approved in {approved:?}, exported in {exported:?}; calls ended: {ends:?}",
        figures(&quiet),
        figures(&noisy)
    ));
    let times = quantile(&noisy, 990) / quantile(&quiet, 990);
    ensure!(times <= TIMES, "the p99 of another agent is {times:.1} times that of a quiet box");
    drop(threads);
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

/// What the box says that there is, once what is dying has had its time.
fn counted(operated: &Operated, client: &Client, times: usize) -> Result<Vec<u64>> {
    std::thread::sleep(UNDER_WAY);
    count(operated, client, times)
}

/// What the box says that there is, asked for so many times with this one: descriptors, mounts, namespaces, cgroups,
/// processes, and the kernel's taint (tests/probe/src/killer.rs).
pub(crate) fn count(operated: &Operated, client: &Client, times: usize) -> Result<Vec<u64>> {
    let order = json!({ "path": "count", "content": "" });
    ensure!(client.call("filesystem.write", &order).code() == "ok", "order");
    for _ in 0..100 {
        let console = operated.machine.console();
        let lines: Vec<&str> = console.lines().filter(|line| line.contains("counted: ")).collect();
        if let (Some(line), true) = (lines.last(), lines.len() >= times) {
            let said = line.split_once("counted: ").map_or("", |(_, said)| said);
            return Ok(said.split_whitespace().filter_map(|word| word.parse().ok()).collect());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("nothing was counted")
}

#[test]
#[ignore = "takes half an hour: ./ci/test soak"]
fn fifty_thousand_calls_beside_a_neighbour_leave_nothing() -> Result<()> {
    const MANY: u64 = 50_000;
    const CLIENTS: usize = 4;
    let (mut operated, worker) = attacked("smoke", "fifty-thousand")?;
    let noisy = neighbour(&operated, "noisy-bomb")?;
    let many = |most: u64| {
        let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while done.fetch_add(1, Ordering::Relaxed) < most {
                        let reply = worker.call("filesystem.read", &json!({ "path": "f" }));
                        failed.fetch_add(u64::from(reply.code() != "ok"), Ordering::Relaxed);
                    }
                });
            }
        });
        failed.load(Ordering::Relaxed)
    };
    std::thread::sleep(UNDER_WAY);
    let early = many(1_000);
    let before = counted(&operated, &worker, 1)?;
    let over = Arc::new(AtomicBool::new(false));
    let rages = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || rage(&noisy, Some("bomb"), &over, &AtomicU64::new(0)))
    };
    let started = Instant::now();
    let failed = many(MANY);
    let took = started.elapsed().as_secs();
    over.store(true, Ordering::Relaxed);
    rages.join().ok().context("the neighbour")?;
    let after = counted(&operated, &worker, 2)?;
    tests::report(&format!(
        "{MANY} calls in {took} s, {failed} failed (and {early} of the first 1,000); before {before:?}, after {after:?}"
    ));
    ensure!(failed == 0, "{failed} calls failed");
    ensure!(
        before.len() == 6 && after.iter().zip(&before).all(|(after, before)| after <= before),
        "something stayed"
    );
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
