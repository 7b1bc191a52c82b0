//! Programs that others wrote to bring a kernel down, in cages, beside an agent that works: stress-ng and trinity.
//! In a whole cage each is ended at its first system call too many. In cages that lack the filter of system calls,
//! and for what works on files Landlock too, they do what they are for, and the other rings stand.

use crate::neighbours::{
    CALLS, TIMES, attacked, count, figures, neighbour, quantile, work, work_while,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use tests::{Client, Operated, Reply};

/// The image whose forker leaves out of an agent's cages what follows `off-` in its name.
const IMAGE: &str = "ringless";
/// Agents whose cages are whole, and such whose are not; a word that is no ring's only makes names differ.
const WHOLE: &str = "whole";
const STRESSED: &str = "off-seccomp-stress";
const FILES: &str = "off-seccomp-landlock-files";
const FUZZED: &str = "off-seccomp-fuzz";
/// Stressors of stress-ng that need no file of their own.
const STRESSORS: &[&str] = &[
    "--cpu 1",
    "--vm 1 --vm-bytes 24m",
    "--fork 1",
    "--vfork 1",
    "--pthread 1",
    "--pipe 1",
    "--mmap 1 --mmap-bytes 16m",
    "--memfd 1 --memfd-bytes 8m",
    "--timer 1",
    "--signal 1",
    "--futex 1",
    "--poll 1",
    "--eventfd 1",
    "--sockpair 1",
    "--msg 1",
    "--sem 1",
    "--kill 1",
    "--ptrace 1",
    "--prctl 1",
    "--brk 1",
    "--switch 1",
];
/// Those that work on files.
const ON_FILES: &[&str] = &[
    "--hdd 1 --hdd-bytes 8m",
    "--dir 1 --dir-dirs 64",
    "--link 1",
    "--utime 1",
    "--rename 1",
    "--flock 1",
    "--dentry 1 --dentries 64",
];
/// How a call may end whatever its program does, and in no other way.
const ENDS: [&str; 5] = ["ok", "out_of_memory", "late", "crashed", "killed"];
/// SIGSYS (signal(7)), by which a filter ends a process.
const BY_A_FILTER: i64 = 31;

/// How much is tried.
struct Extent {
    name: &'static str,
    /// Calls of the agent that works, before anything else is there.
    quiet: usize,
    /// For how long each stressor is let.
    stress_s: u32,
    /// How many runs of trinity, each with the system calls that it makes: some of these keep it from ending itself,
    /// so the more there are, the fewer runs end.
    fuzzes: u32,
    calls: u32,
}

/// What came of a command, by the command.
type Came = BTreeMap<String, Reply>;

/// One call whose `sort` becomes the program that is named.
fn run(client: &Client, command: &str) -> Result<Reply> {
    let file = json!({ "path": "mine/others", "content": command });
    let written = client.call("filesystem.write", &file);
    ensure!(written.code() == "ok", "{command}: {written:?}");
    let words = json!({ "command": ["sort", "-o", "mine/out", "mine/others"] });
    Ok(client.call("process.run", &words))
}

fn stress(stressor: &str, seconds: u32) -> String {
    format!("stress-ng {stressor} --timeout {seconds}s --temp-path /workspace/mine --metrics-brief")
}

/// All system calls are tried but two that Linux has no more and libc no number for. It opens beforehand what needs no
/// file, since Landlock would have it try for ever.
fn fuzz(seed: u32, calls: u32) -> String {
    format!(
        "trinity -q -a64 -x lookup_dcookie -x nfsservctl -l off -s {seed} -N {calls} -C 2 \
         --enable-fds=pipes,eventfd -V /workspace/mine/others"
    )
}

fn stressed(client: &Client, stressors: &[&str], seconds: u32) -> Result<Came> {
    let one = |stressor: &&str| -> Result<(String, Reply)> {
        let command = stress(stressor, seconds);
        run(client, &command).map(|reply| (command, reply))
    };
    stressors.iter().map(one).collect()
}

/// Each seed has an agent of its own, since trinity also tries what keeps the next from writing there.
fn fuzzed(clients: &[Client], calls: u32) -> Result<Came> {
    let one = |(seed, client): (u32, &Client)| -> Result<(String, Reply)> {
        let command = fuzz(seed, calls);
        run(client, &command).map(|reply| (command, reply))
    };
    (1..).zip(clients).map(one).collect()
}

/// A part of what a program answered.
fn said(reply: &Reply, part: &str) -> Option<Json> {
    reply.json.pointer("/result")?.get(part).cloned()
}

fn output(reply: &Reply) -> String {
    let of = |part| said(reply, part).and_then(|text| text.as_str().map(str::to_owned));
    of("stdout").unwrap_or_default() + &of("stderr").unwrap_or_default()
}

/// Whether stress-ng says that its one stressor did what it is for.
fn passed(reply: &Reply) -> bool {
    said(reply, "exit") == Some(json!(0)) && output(reply).contains("passed: 1:")
}

/// How many system calls trinity says that it made.
fn made(reply: &Reply) -> u64 {
    let text = output(reply);
    let number = text.split_once("Ran ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

/// How often each service was started.
fn starts(operated: &Operated) -> Result<BTreeMap<String, u64>> {
    let listed = operated.krux(&["service", "list"])?;
    let services = listed.get("services").and_then(Json::as_array).context("services")?;
    let one = |service: &Json| -> Result<(String, u64)> {
        let name = service.get("name").and_then(Json::as_str).context("name")?;
        let starts = service.get("starts").and_then(Json::as_u64).context("starts")?;
        Ok((name.to_owned(), starts))
    };
    services.iter().map(one).collect()
}

/// How often is counted what there is on a quiet box; cages are made and die while it is done.
const LOOKS_BEFORE: usize = 5;

/// The most of each that there is while nothing but the order to count is done.
fn most(operated: &Operated, client: &Client) -> Result<Vec<u64>> {
    let mut most = Vec::new();
    for look in 1..=LOOKS_BEFORE {
        let counted = count(operated, client, look)?;
        most.resize(counted.len(), 0);
        most = most.iter().zip(&counted).map(|(most, counted)| *most.max(counted)).collect();
        std::thread::sleep(Duration::from_secs(1));
    }
    ensure!(most.len() == 6, "{most:?}");
    Ok(most)
}

/// Counts again until no more is there than was before.
fn nothing_is_left(operated: &Operated, client: &Client, before: &[u64]) -> Result<()> {
    const LOOKS: usize = 30;
    let mut after = Vec::new();
    for look in 0..LOOKS {
        after = count(operated, client, LOOKS_BEFORE + 1 + look)?;
        if after.len() == 6 && after.iter().zip(before).all(|(after, before)| after <= before) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    anyhow::bail!("before {before:?}, after {after:?}")
}

/// In a whole cage neither program gets far; how they end there, and that they do is all of their calls.
fn a_whole_cage_ends_them(operated: &Operated) -> Result<()> {
    let client = neighbour(operated, WHOLE)?;
    for command in [stress("--cpu 1", 1), fuzz(1, 100)] {
        let reply = run(&client, &command)?;
        let signal = said(&reply, "signal");
        ensure!(signal == Some(json!(BY_A_FILTER)), "{command}, in a whole cage: {reply:?}");
    }
    Ok(())
}

/// What is wrong with how they ended.
fn judge(stressed: &Came, fuzzed: &Came, extent: &Extent) -> Vec<String> {
    let mut wrong = Vec::new();
    for (command, reply) in stressed.iter().chain(fuzzed) {
        if !ENDS.contains(&reply.code()) || reply.number().is_none() {
            wrong.push(format!("{command}: no typed end: {reply:?}"));
        }
    }
    for (command, reply) in stressed.iter().filter(|(_, reply)| !passed(reply)) {
        wrong.push(format!(
            "{command}: did not do what it is for: {} {}",
            reply.code(),
            output(reply)
        ));
    }
    let most = fuzzed.values().map(made).max().unwrap_or(0);
    if most < u64::from(extent.calls) {
        wrong.push(format!("trinity made at most {most} system calls: {fuzzed:?}"));
    }
    wrong
}

/// Everything at once beside an agent that works; seconds of its calls, and what came of the others'.
fn all_at_once(
    operated: &Operated,
    worker: &Client,
    extent: &Extent,
) -> Result<(Vec<f64>, Came, Came)> {
    let [stress, files] = [neighbour(operated, STRESSED)?, neighbour(operated, FILES)?];
    let seeds = 1..=extent.fuzzes;
    let fuzz: Result<Vec<Client>> =
        seeds.map(|seed| neighbour(operated, &format!("{FUZZED}-{seed}"))).collect();
    let fuzz = fuzz?;
    std::thread::scope(|scope| {
        let threads = [
            scope.spawn(|| stressed(&stress, STRESSORS, extent.stress_s)),
            scope.spawn(|| stressed(&files, ON_FILES, extent.stress_s)),
            scope.spawn(|| fuzzed(&fuzz, extent.calls)),
        ];
        let goes_on = |_count: usize| threads.iter().any(|thread| !thread.is_finished());
        let noisy = work_while(worker, goes_on);
        let end = |thread: ScopedJoinHandle<'_, Result<Came>>| {
            thread.join().ok().context("a neighbour")?
        };
        let [stress, files, fuzz] = threads.map(end);
        let mut stress = stress?;
        stress.extend(files?);
        Ok((noisy?, stress, fuzz?))
    })
}

/// The whole of it; how many times longer the worker's p99 was than on a quiet box.
fn beside(extent: &Extent) -> Result<f64> {
    let (mut operated, worker) = attacked(IMAGE, extent.name)?;
    a_whole_cage_ends_them(&operated)?;
    let quiet = work(&worker, extent.quiet)?;
    let (before, started) = (most(&operated, &worker)?, starts(&operated)?);
    let (noisy, stressed, fuzzed) = all_at_once(&operated, &worker, extent)?;
    let made: u64 = fuzzed.values().map(made).sum();
    let ends: Vec<&str> = fuzzed.values().map(Reply::code).collect();
    tests::report(&format!(
        "quiet {}; beside stress-ng and trinity {} of {} calls; trinity says {made} system calls in {ends:?}",
        figures(&quiet),
        figures(&noisy),
        noisy.len()
    ));
    nothing_is_left(&operated, &worker, &before)?;
    let tainted = before.last().context("taint")?;
    ensure!(*tainted == 0, "the kernel is tainted: {tainted}");
    operated.machine.no_alarm()?;
    ensure!(starts(&operated)? == started, "before {started:?}, after {:?}", starts(&operated)?);
    let wrong = judge(&stressed, &fuzzed, extent);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)?;
    Ok(quantile(&noisy, 990) / quantile(&quiet, 990))
}

#[test]
fn stressors_and_a_fuzzer_in_cages_harm_neither_the_box_nor_a_neighbour() -> Result<()> {
    let extent = Extent { name: "others", quiet: 60, stress_s: 1, fuzzes: 6, calls: 20 };
    beside(&extent).map(drop)
}

#[test]
#[ignore = "takes ten minutes: ./ci/test soak"]
fn stressors_and_a_fuzzer_in_cages_leave_a_neighbour_its_time() -> Result<()> {
    let extent = Extent { name: "others-soak", quiet: CALLS, stress_s: 10, fuzzes: 20, calls: 200 };
    let times = beside(&extent)?;
    ensure!(times <= TIMES, "the p99 of another agent is {times:.1} times that of a quiet box");
    Ok(())
}
