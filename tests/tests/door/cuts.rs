//! Power cuts: the box on a disk that forgets every write that no flush followed, cut in the middle of
//! calls. What was answered is in the ledger, the ledger verifies, the box comes back without help.

use anyhow::{Context, Result, ensure};
use ledger::{Record, frame};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::nbd::{Kind, Server, Side, Survival, Trigger};
use tests::{Client, Disk, Image, Operated, Options};

/// Where in a call the power went, by what the disk had seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Nothing of the call was written.
    BeforeDecision,
    /// The decision was written and not durable.
    Decided,
    /// It was durable; the cage had written nothing.
    Released,
    /// The cage's own writes had begun.
    Performing,
    /// The outcome was written and not durable.
    Ended,
    /// It was durable.
    Durable,
}

const STEPS: [Step; 6] = [
    Step::BeforeDecision,
    Step::Decided,
    Step::Released,
    Step::Performing,
    Step::Ended,
    Step::Durable,
];

/// Partitions by their names, in bytes.
type Places = BTreeMap<String, Range<u64>>;

/// One box over many power cuts.
struct Box {
    disk: PathBuf,
    folder: PathBuf,
    boots: u32,
    /// Calls that were answered as done.
    answered: BTreeSet<String>,
    earlier: Option<PathBuf>,
}

impl Box {
    fn new(name: &str) -> Result<(Self, Disk)> {
        let disk = Disk::copy(&Image::test("smoke")?, name)?;
        let folder = std::env::temp_dir().join(format!("kruxos-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let path = disk.path.clone();
        Ok((Self { disk: path, folder, boots: 0, answered: BTreeSet::new(), earlier: None }, disk))
    }

    /// Boots on a server of its own; pairs at the first boot, follows at the others.
    fn boot(&mut self) -> Result<(Server, Operated)> {
        self.boots += 1;
        let socket = self.folder.join(format!("disk-{}", self.boots));
        let server = Server::start(&self.disk, &socket)?;
        let options = Options { nbd: Some(socket), ..Options::new() };
        let name = format!("cut-{}", self.boots);
        let mut operated = Operated::boot(None, &name, options)?;
        match &self.earlier {
            None => operated.pair()?,
            Some(earlier) => operated.follow(earlier)?,
        }
        self.earlier = Some(operated.config.clone());
        Ok((server, operated))
    }

    /// The ledger as the box exports it: it verifies, and what was answered is in it.
    fn check(&self, operated: &Operated) -> Result<()> {
        let export = operated.config.join("export");
        let export = export.display().to_string();
        operated.krux(&["audit", "export", &export])?;
        let verified = operated.krux(&["audit", "verify", &export])?;
        ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
        let content = std::fs::read(&export)?;
        let records = frame::read_all(&content).0;
        let records = records.iter().filter_map(|bytes| Record::read(bytes).ok());
        let calls: BTreeSet<String> = records
            .filter_map(|record| record.envelope().call)
            .map(|call| contract::digits::hex(&call))
            .collect();
        let missing: Vec<&String> = self.answered.difference(&calls).collect();
        ensure!(missing.is_empty(), "answered, and not in the ledger: {missing:?}");
        Ok(())
    }
}

/// Calls at most `most` times, until one is not answered as done: the one that was cut.
fn calls(client: &Client, most: usize) -> BTreeSet<String> {
    let mut answered = BTreeSet::new();
    for count in 0..most {
        let input = json!({ "path": format!("f{}", count % 4), "content": "x".repeat(3_000) });
        let reply = client.call("filesystem.write", &input);
        match (reply.code(), reply.number()) {
            ("ok", Some(call)) => drop(answered.insert(call.to_owned())),
            _ => break,
        }
    }
    answered
}

/// A question of an earlier boot is no question any more.
fn is_over(client: &Client, call: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = client.get(&format!("/v1/calls/{call}"));
        if reply.code() == "rebooted" {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "after a reboot: {reply:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Cuts the power `cuts` times; returns how often in which step.
fn cut(name: &str, cuts: usize) -> Result<BTreeMap<Step, usize>> {
    let (mut state, _disk) = Box::new(name)?;
    let mut steps: BTreeMap<Step, usize> = BTreeMap::new();
    let (server, operated) = state.boot()?;
    let client = operated.agent("writer")?;
    let token = operated.token("writer")?;
    // the first call makes what later ones find
    ensure!(client.call("filesystem.mkdir", &json!({ "path": "d" })).code() == "ok", "mkdir");
    // asked before the first cut, and over with it
    let asked = client.call("filesystem.delete", &json!({ "path": "d" }));
    ensure!(asked.status == 202, "{asked:?}");
    let mut asked = asked.number().map(str::to_owned);
    let mut running = Some((server, operated, client));
    for index in 0..cuts {
        let (server, operated, client) = match running.take() {
            Some(running) => running,
            None => {
                let (server, operated) = state.boot()?;
                let client = operated.agent_with(&token)?;
                if let Some(call) = asked.take() {
                    is_over(&client, &call)?;
                }
                (server, operated, client)
            }
        };
        state.check(&operated)?;
        let seed = u64::try_from(index)?;
        let survival = if index % 2 == 0 { Survival::Nothing } else { Survival::Chance { seed } };
        let places = places(&state.disk)?;
        state.answered.extend(calls(&client, 3));
        let mark = server.mark()?;
        server.cut_at(trigger(index, survival, places.clone())?)?;
        let caller = std::thread::spawn(move || calls(&client, 200));
        server.wait_cut(Duration::from_secs(60)).context("the power was not cut")?;
        // the machine is killed here, after its disk is gone; nobody waits for it any more
        drop(operated);
        state.answered.extend(caller.join().ok().context("the caller")?);
        let trace = server.since(mark)?;
        ensure!(server.fault()?.is_none(), "{:?}", server.fault()?);
        *steps.entry(step(&trace, &places)).or_default() += 1;
    }
    let (server, operated) = state.boot()?;
    state.check(&operated)?;
    tests::report(&format!(
        "{cuts} cuts, {} answered calls, by step: {steps:?}",
        state.answered.len()
    ));
    drop(operated);
    drop(server);
    std::fs::remove_dir_all(&state.folder)?;
    Ok(steps)
}

/// Reads them from the disk's table.
fn places(disk: &Path) -> Result<Places> {
    let file = File::open(disk)?;
    let mut table = vec![0; 128 * 128];
    file.read_exact_at(&mut table, 1_024)?;
    let mut places = BTreeMap::new();
    for entry in table.chunks_exact(128) {
        let number = |at: usize| {
            let bytes = entry.get(at..at + 8).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let units = entry.get(56..).unwrap_or_default().chunks_exact(2);
        let units: Vec<u16> = units
            .map(|pair| pair.iter().rev().fold(0, |unit, byte| unit << 8 | u16::from(*byte)))
            .take_while(|unit| *unit != 0)
            .collect();
        let range = number(32) * 512..(number(40) + 1) * 512;
        places.insert(String::from_utf16_lossy(&units).to_lowercase(), range);
    }
    ensure!(places.contains_key("ledger") && places.contains_key("data"), "{places:?}");
    Ok(places)
}

/// The cut of this number: each step of a call in turn, before the request that leaves it or after the
/// one that enters it, in the first call or a later one.
fn trigger(index: usize, survival: Survival, places: Places) -> Result<Trigger> {
    let wanted = STEPS.get(index % STEPS.len()).copied().context("step")?;
    let round = index / STEPS.len();
    let side =
        if round % 2 == 1 && wanted != Step::BeforeDecision { Side::After } else { Side::Before };
    let mut skip = round % 3;
    let mut step = Step::BeforeDecision;
    let at = move |request: &tests::nbd::Record| {
        let next = step.after(request, &places);
        let here = match side {
            Side::Before => step == wanted && next != wanted,
            Side::After => step != wanted && next == wanted,
        };
        step = next;
        // the first decision is made once; the other steps come with every call
        let chosen = here && (skip == 0 || wanted == Step::BeforeDecision);
        skip = skip.saturating_sub(usize::from(here));
        chosen
    };
    Ok(Trigger { at: std::boxed::Box::new(at), side, survival })
}

impl Step {
    /// How far a call has come after this request: each writes its decision to LEDGER and flushes, then
    /// DATA, then its outcome to LEDGER and flushes.
    fn after(self, request: &tests::nbd::Record, places: &Places) -> Self {
        let within =
            |name: &str| places.get(name).is_some_and(|range| range.contains(&request.offset));
        match (request.kind, self) {
            (Kind::Write, Self::BeforeDecision | Self::Durable) if within("ledger") => {
                Self::Decided
            }
            (Kind::Flush, Self::Decided) => Self::Released,
            (Kind::Write, Self::Released) if within("data") => Self::Performing,
            (Kind::Write, Self::Released | Self::Performing) if within("ledger") => Self::Ended,
            (Kind::Flush, Self::Ended) => Self::Durable,
            (_, step) => step,
        }
    }
}

/// How far the last call had come, by what the disk saw since the mark.
fn step(trace: &[tests::nbd::Record], places: &Places) -> Step {
    trace.iter().fold(Step::BeforeDecision, |step, record| step.after(record, places))
}

#[test]
fn power_cuts_lose_no_answered_call() -> Result<()> {
    cut("cuts", 6).map(drop)
}

/// Fifty cuts, at least three in each step of a call; run by `ci/test soak`.
#[test]
#[ignore = "takes a quarter of an hour: ./ci/test soak"]
fn fifty_power_cuts_in_every_step_of_a_call() -> Result<()> {
    let steps = cut("cuts-soak", 52)?;
    for step in STEPS {
        let count = steps.get(&step).copied().unwrap_or(0);
        ensure!(count >= 3, "only {count} cuts in {step:?}: {steps:?}");
    }
    Ok(())
}
