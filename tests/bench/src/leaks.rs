//! Many calls, then nothing more than before: descriptors, mounts, namespaces, cgroups, processes and
//! memory of the services; and how many calls failed at their first attempt.

use crate::calls::Dev;
use crate::restarts::{descendant, descendants};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::Client;

const CLIENTS: usize = 8;
/// Calls before the first count: what is made once is there then.
const WARM_UP: u64 = 2_000;
/// How long what is dying may take to be gone.
const SETTLE: Duration = Duration::from_secs(3);
/// How often is said how far it is.
const PROGRESS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);
/// Most namespaces that the forker keeps: an id map for each agent and slot, networks and mounts made
/// ahead, and the mounts of each cage.
const KEPT_MAX: usize = 256 + 16 + 44;
/// Memory may grow with what the ledger's readers keep: a record's number and a call's end.
const BYTES_A_CALL_MAX: u64 = 2_048;

/// What there is of everything.
#[derive(Debug)]
struct Count {
    /// But those of namespaces.
    descriptors: usize,
    /// Namespaces that the forker keeps by a descriptor: id maps and places for cages, both bounded.
    kept: usize,
    mounts: usize,
    namespaces: usize,
    cgroups: usize,
    processes: usize,
    memory_bytes: u64,
}

/// Makes `calls` calls; says what was counted, and fails where something stayed or a call failed.
pub(crate) fn leaks(dev: &Dev, client: &Client, calls: u64) -> Result<()> {
    make(client, WARM_UP)?;
    let before = count(dev)?;
    let started = Instant::now();
    let failed = make(client, calls)?;
    let took = started.elapsed().as_secs_f64();
    let after = count(dev)?;
    println!(
        "{}",
        json!({ "name": "leaks", "calls": calls, "seconds": took.round(), "failed": failed,
            "before": format!("{before:?}"), "after": format!("{after:?}") })
    );
    ensure!(failed * 100_000 <= calls, "{failed} of {calls} calls failed");
    let whole = after.descriptors <= before.descriptors
        && after.mounts <= before.mounts
        && after.namespaces <= before.namespaces
        && after.cgroups <= before.cgroups
        && after.processes <= before.processes;
    ensure!(after.kept <= KEPT_MAX, "{} namespaces kept", after.kept);
    ensure!(whole, "something stayed: {before:?} {after:?}");
    let grown = after.memory_bytes.saturating_sub(before.memory_bytes);
    ensure!(grown <= calls * BYTES_A_CALL_MAX + (16 << 20), "memory grew by {grown} bytes");
    Ok(())
}

/// Makes calls that read a file; how many failed.
fn make(client: &Client, calls: u64) -> Result<u64> {
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut said = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while done.fetch_add(1, Ordering::Relaxed) < calls {
                    let reply = client.call("filesystem.read", &json!({ "path": "f" }));
                    if reply.code() != "ok" {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("leaks: {reply:?}");
                    }
                }
            });
        }
        while done.load(Ordering::Relaxed) < calls {
            std::thread::sleep(LOOK);
            if said.elapsed() >= PROGRESS {
                eprintln!("  {} of {calls} calls", done.load(Ordering::Relaxed).min(calls));
                said = Instant::now();
            }
        }
    });
    Ok(failed.load(Ordering::Relaxed))
}

/// Counts, once what was dying has had its time.
fn count(dev: &Dev) -> Result<Count> {
    std::thread::sleep(SETTLE);
    let forker = descendant(dev.pid(), "forker")?;
    let forker = format!("/proc/{}", forker.as_raw_nonzero());
    let entries = |path: String| -> Result<usize> {
        Ok(std::fs::read_dir(&path).with_context(|| path.clone())?.count())
    };
    let all = descendants(dev.pid())?;
    let mut namespaces = BTreeSet::new();
    let mut memory_bytes = 0;
    for pid in &all {
        for name in ["ipc", "mnt", "net", "pid", "time", "user", "uts", "cgroup"] {
            namespaces.extend(std::fs::read_link(format!("/proc/{pid}/ns/{name}")).ok());
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        memory_bytes += kib.unwrap_or(0) * 1_024;
    }
    let open: Vec<_> = std::fs::read_dir(format!("{forker}/fd"))?.flatten().collect();
    let is_kept = |link: &std::path::PathBuf| {
        let link = link.to_string_lossy();
        ["user:[", "net:[", "mnt:["].iter().any(|kind| link.starts_with(kind))
    };
    let links = open.iter().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let kept = links.filter(is_kept).count();
    let mounts = std::fs::read_to_string(format!("{forker}/mountinfo"))?.lines().count();
    let cages = ["/sys/fs/cgroup/kruxos-dev/cages", "/sys/fs/cgroup/unified/kruxos-dev/cages"];
    let cages = cages.iter().find(|path| std::fs::metadata(path).is_ok());
    Ok(Count {
        descriptors: open.len() - kept,
        kept,
        mounts,
        namespaces: namespaces.len(),
        cgroups: entries((*cages.context("no cgroup of cages")?).to_owned())?,
        processes: all.len(),
        memory_bytes,
    })
}
