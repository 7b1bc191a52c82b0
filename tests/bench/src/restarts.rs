//! Services that are killed: the time from the kill to ready, as an operator sees it, so with `krux`
//! and a round through the doors in it.

use crate::calls::{Dev, krux};
use crate::{Places, ROUNDS, Row, quantile, us};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// Each service, and its program.
const SERVICES: &[(&str, &str)] = &[
    ("audit", "audit"),
    ("console", "console"),
    ("egress", "egress"),
    ("forker", "forker"),
    ("net", "net"),
    ("pdp", "pdp"),
    ("vault", "vault"),
];
/// A service that was killed at once after its start waits longer: this is no early exit.
const HEALTHY: Duration = Duration::from_millis(3_500);
/// What is said aloud, with its name.
const SLOW: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// The row.
pub(crate) fn restarts(places: &Places, dev: &Dev) -> Result<Row> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        std::thread::sleep(HEALTHY);
        for (service, program) in SERVICES {
            let (starts, _) = state(places, service)?;
            let pid = descendant(dev.pid(), program)?;
            let killed = Instant::now();
            kill_process(pid, Signal::KILL)?;
            loop {
                match state(places, service) {
                    Ok((now, true)) if now > starts => break,
                    _ => ensure!(killed.elapsed() < PATIENCE, "{service} does not come back"),
                }
            }
            let took = killed.elapsed();
            if took > SLOW {
                eprintln!("restart: {service} took {took:?}");
            }
            times.push(us(took) / 1_000.0);
        }
    }
    let slowest = times.iter().copied().reduce(f64::max).unwrap_or(f64::NAN);
    Ok(Row {
        name: "restart",
        unit: "ms",
        p50: quantile(&mut times, 500),
        p99: slowest,
        peer: None,
        must: "<= 1 s from the kill to ready, the slowest",
        holds: slowest <= 1_000.0,
    })
}

/// How often a service was started, and whether it is ready.
fn state(places: &Places, name: &str) -> Result<(u64, bool)> {
    let listed: Json = serde_json::from_str(&krux(places, &["service", "list"])?)?;
    let services = listed.get("services").and_then(Json::as_array).context("services")?;
    let service = services.iter().find(|service| service.get("name") == Some(&name.into()));
    let service = service.with_context(|| format!("no service {name}"))?;
    let starts = service.get("starts").and_then(Json::as_u64).context("starts")?;
    Ok((starts, service.get("state") == Some(&"ready".into())))
}

/// The process of `program` that is a descendant of `ancestor`.
pub(crate) fn descendant(ancestor: u32, program: &str) -> Result<Pid> {
    let named = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == program
    };
    let found = descendants(ancestor)?.into_iter().find(|pid| named(*pid));
    let found = found.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    found.with_context(|| format!("no process {program}"))
}

/// Every process that descends from `ancestor`.
pub(crate) fn descendants(ancestor: u32) -> Result<Vec<u32>> {
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let is_beneath =
        |pid: u32| std::iter::successors(Some(pid), |pid| parent(*pid)).any(|pid| pid == ancestor);
    let entries = std::fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter(|pid| is_beneath(*pid)).collect())
}
