//! The measurements. Each row runs its peer in the same run, rounds of the one between rounds of the
//! other, so that what else the machine does weighs on both. Started by `ci/bench`.
//!
//!     bench KRUX PROGRAMS TREE DATA TOOLBOX NOTHING ENGINES [NAME [COUNT]]
//!
//! One JSON object a line: name, unit, p50, p99, peer, peer_p50, ratio, must, holds.
#![forbid(unsafe_code)]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "figures for people, on standard output; what was slow, on standard error"
)]

mod calls;
mod engines;
mod leaks;
mod peers;
mod restarts;
mod rings;

use anyhow::{Context, Result};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Rounds of each measurement, interleaved with its peer's.
const ROUNDS: usize = 5;

/// Calls of the search for leaks, when nobody says how many.
const LEAKS: u64 = 1_000_000;

/// Where things are.
struct Places {
    krux: PathBuf,
    programs: PathBuf,
    tree: PathBuf,
    data: PathBuf,
    toolbox: PathBuf,
    /// A static program that ends at once.
    nothing: PathBuf,
    /// The program that asks other policy engines (tests/engines).
    engines: PathBuf,
}

/// One row.
struct Row {
    name: &'static str,
    unit: &'static str,
    p50: f64,
    p99: f64,
    /// What it is compared with, and its median.
    peer: Option<(&'static str, f64)>,
    /// What DESIGN 14 asks for, in words.
    must: &'static str,
    holds: bool,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let place = |index: usize| words.get(index).map(PathBuf::from).context("see ci/bench");
    let places = Places {
        krux: place(0)?,
        programs: place(1)?,
        tree: place(2)?,
        data: place(3)?,
        toolbox: place(4)?,
        nothing: place(5)?,
        engines: place(6)?,
    };
    let wanted = words.get(7).map(String::as_str);
    if wanted == Some("leaks") {
        let count = words.get(8).map_or(Ok(LEAKS), |count| count.parse())?;
        return calls::leaks(&places, count);
    }
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    if is_wanted("policy") {
        engines::policy(&places)?.iter().for_each(print);
    }
    if is_wanted("ledger") {
        engines::ledger()?.iter().for_each(print);
    }
    if is_wanted("cage") {
        rings::rings()?.iter().for_each(print);
    }
    if is_wanted("call") {
        calls::calls(&places)?.iter().for_each(print);
    }
    Ok(())
}

fn print(row: &Row) {
    let Row { name, unit, p50, p99, peer, must, holds } = row;
    let round = |figure: f64| (figure * 1_000.0).round() / 1_000.0;
    let ratio = peer.map(|(_, peer)| round(p50 / peer));
    println!(
        "{}",
        json!({ "name": name, "unit": unit, "p50": round(*p50), "p99": round(*p99),
            "peer": peer.map(|(name, _)| name), "peer_p50": peer.map(|(_, p50)| round(p50)),
            "ratio": ratio, "must": must, "holds": holds })
    );
}

/// Times `count` runs; microseconds each.
fn time(count: usize, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        run()?;
        times.push(us(started.elapsed()));
    }
    Ok(times)
}

fn us(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1_000.0
}

/// The value below which so many in a thousand lie.
fn quantile(times: &mut [f64], per_thousand: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let index = (times.len() * per_thousand / 1_000).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or(f64::NAN)
}
