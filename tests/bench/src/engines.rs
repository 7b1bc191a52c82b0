//! The pure engines: policy and ledger.

use crate::{Places, ROUNDS, Row, quantile, time};
use anyhow::{Context, Result};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use ledger::writer::Draft;
use ledger::{Chain, Kind as RecordKind};
use policy::{Call, Compiled, Facts, Set, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::time::Instant;

/// How often ours is asked in a round.
const ASKED: usize = 2_000;
/// What our engine must be in times of Cedar, by the number of rules.
const TIMES_OF_CEDAR: [(usize, f64); 4] = [(10, 5.0), (100, 5.0), (1_000, 300.0), (10_000, 300.0)];

/// Decisions over sets of 10 to 10,000 rules, beside Cedar's, regorus' and the plain interpreter's.
pub(crate) fn policy(places: &Places) -> Result<Vec<Row>> {
    let path = Value::Path(CanonicalPath::parse("/workspace/src/deep/file.rs")?);
    let effects = vec![Effect::new(Kind::Read, Form::Exact, [(Field::Path, path)])?];
    let call = Call { agent: "build-1", capability: "filesystem.read", version: 1 };
    let facts = Facts::default();
    let mut rows: Vec<Row> = Vec::new();
    let names = ["policy-10", "policy-100", "policy-1000", "policy-10000"];
    for (name, (rules, times)) in names.into_iter().zip(TIMES_OF_CEDAR) {
        let compiled = Compiled::new(set(rules)?)?;
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        let (mut cedar, mut regorus) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            fast.extend(time(ASKED, || {
                std::hint::black_box(compiled.decide(&call, &effects, &facts));
                Ok(())
            })?);
            plain.extend(time(20_000 / rules.max(200) + 20, || {
                std::hint::black_box(policy::decide(compiled.set(), &call, &effects, &facts));
                Ok(())
            })?);
            let [of_cedar, of_regorus] = others(places, rules)?;
            cedar.push(of_cedar);
            regorus.push(of_regorus);
        }
        let (p50, p99) = (quantile(&mut fast, 500), quantile(&mut fast, 990));
        let of_ten = rows.first().map_or(p50, |row| row.p50);
        let peer = quantile(&mut cedar, 500);
        let holds = p50 <= 1.0 && p50 <= 1.5 * of_ten && p50 * times <= peer;
        let must = "<= 1 us, at most 1.5 times that of 10 rules; 5 times faster than Cedar, 300 times from 1,000 rules on";
        rows.push(Row {
            name,
            unit: "us",
            p50,
            p99,
            peer: Some(("cedar-policy", peer)),
            must,
            holds,
        });
        let must = "no bound: the same beside another";
        for peer in [
            ("regorus", quantile(&mut regorus, 500)),
            ("the plain interpreter", quantile(&mut plain, 500)),
        ] {
            rows.push(Row { name, unit: "us", p50, p99, peer: Some(peer), must, holds: true });
        }
    }
    for (name, rules) in [("policy-region-10", 10), ("policy-region-10000", 10_000)] {
        rows.push(region(name, rules)?);
    }
    rows.push(load()?);
    rows.push(replay(places)?);
    for (prove, diff, globs, most) in
        [("prove-500", "diff-500", 500, 500.0), ("prove-2000", "diff-2000", 2_000, 2_000.0)]
    {
        rows.extend(questions([prove, diff], globs, most)?);
    }
    Ok(rows)
}

/// Questions about sets of so many patterns: a property that holds and one that does not, and what changes where one
/// rule of a hundred asks from now on.
fn questions([prove, diff]: [&'static str; 2], globs: usize, most: f64) -> Result<[Row; 2]> {
    let within = set_of_globs(globs, None)?;
    let beyond = set_of_globs(globs, Some("/etc/**"))?;
    let asks = set_of_globs(globs, Some("asks"))?;
    let text = "properties: [{name: inside, only: {agents: [any], effects: [read], decision: autonomous, \
                within: {where: {path: {under: /workspace}}}}}]";
    let properties = policy::parse_properties(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let property = properties.first().context("no property")?;
    let mut proved = time(ROUNDS, || {
        anyhow::ensure!(policy::prove(&within, property)? == Verdict::Holds, "it holds");
        Ok(())
    })?;
    proved.extend(time(ROUNDS, || {
        let found = policy::prove(&beyond, property)?;
        anyhow::ensure!(matches!(found, Verdict::Fails(_)), "a counterexample");
        Ok(())
    })?);
    let mut differs = time(ROUNDS, || {
        let found = policy::diff(&within, &asks)?;
        anyhow::ensure!(found.changed().len() == globs / 100, "{}", found.changed().len());
        Ok(())
    })?;
    let must = "<= 500 ms for 500 patterns, 2 s for 2,000; never without an answer, a call with each that is no";
    let row = |name, times: &mut Vec<f64>| {
        let (p50, p99) = (quantile(times, 500) / 1e3, quantile(times, 990) / 1e3);
        Row { name, unit: "ms", p50, p99, peer: None, must, holds: p99 <= most }
    };
    Ok([row(prove, &mut proved), row(diff, &mut differs)])
}

/// A set of patterns that cross segments; with one more, or with one of a hundred asking.
fn set_of_globs(globs: usize, other: Option<&str>) -> Result<Set> {
    let mut text = "policy: box\nversion: 1\nrules:\n".to_owned();
    let more = other.filter(|other| *other != "asks");
    let paths = (0..globs).map(|glob| format!("/workspace/p{glob}/**/*.rs"));
    for (number, path) in paths.chain(more.map(str::to_owned)).enumerate() {
        let asks = other == Some("asks") && number % 100 == 0;
        let decision = if asks { "approval" } else { "autonomous" };
        writeln!(
            text,
            " - {{name: r{number},agents: [any],effects: [read],where: {{path: \"{path}\"}},decision: \
             {decision}}}"
        )?;
    }
    let layer = policy::parse(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Set::new(layer, Vec::new())?)
}

/// The medians of Cedar and regorus, in microseconds.
fn others(places: &Places, rules: usize) -> Result<[f64; 2]> {
    let output = Command::new(&places.engines).arg(rules.to_string()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |name: &str| {
        let line = said.iter().find(|line| line.get("engine").is_some_and(|of| of == name));
        line.and_then(|line| line.get("p50")?.as_f64())
            .with_context(|| format!("{name}: {output:?}"))
    };
    Ok([of("cedar-policy")?, of("regorus")?])
}

/// A list of all that there is, among so many rules of which each speaks of a part of it.
fn region(name: &'static str, rules: usize) -> Result<Row> {
    let path = Value::Path(CanonicalPath::parse("/w")?);
    let effects = vec![Effect::new(Kind::Read, Form::Region, [(Field::Path, path)])?];
    let call = Call { agent: "build-1", capability: "filesystem.list", version: 1 };
    let (compiled, facts) = (Compiled::new(set(rules)?)?, Facts::default());
    let mut fast = time(ROUNDS * ASKED, || {
        std::hint::black_box(compiled.decide(&call, &effects, &facts));
        Ok(())
    })?;
    // with many rules the interpreter gives a region up
    let asked = if rules > 10 { 0 } else { ROUNDS };
    let mut plain = time(asked, || {
        std::hint::black_box(policy::decide(compiled.set(), &call, &effects, &facts));
        Ok(())
    })?;
    let (p50, p99) = (quantile(&mut fast, 500), quantile(&mut fast, 990));
    let peer = (asked > 0).then(|| ("the plain interpreter", quantile(&mut plain, 500)));
    Ok(Row { name, unit: "us", p50, p99, peer, must: "<= 1 us", holds: p50 <= 1.0 })
}

/// How long 1,000 rules take to be compiled.
fn load() -> Result<Row> {
    let set = set(1_000)?;
    let mut took = time(ROUNDS * 4, || {
        std::hint::black_box(Compiled::new(set.clone())?);
        Ok(())
    })?;
    let (p50, p99) = (quantile(&mut took, 500) / 1e3, quantile(&mut took, 990) / 1e3);
    let (name, must) = ("policy-load-1000", "<= 250 ms to compile 1,000 rules");
    Ok(Row { name, unit: "ms", p50, p99, peer: None, must, holds: p50 <= 250.0 })
}

/// How long `krux policy replay` takes over an export of a million decisions under the first policy.
fn replay(places: &Places) -> Result<Row> {
    const DECISIONS: u64 = 1_000_000;
    let text = std::fs::read(places.tree.join("policies/personal.yaml"))?;
    let digest = ledger::Digest::of(&text);
    let facts = [
        ("agent", "build-1"),
        ("capability", "filesystem.read@1"),
        ("answer", "autonomous"),
        ("rules", "read-workspace"),
    ];
    let (mut chain, mut export) = (Chain::default(), Vec::new());
    for number in 0..DECISIONS {
        let path = CanonicalPath::parse(&format!("/workspace/src/file-{}", number % 1_000))?;
        let path = (Field::Path, Value::Path(path));
        let mut draft = Draft::new(RecordKind::Decision, &facts);
        draft.policy = Some(digest);
        draft.effects = vec![Effect::new(Kind::Read, Form::Exact, [path])?];
        let envelope = draft.into_envelope([7; 16], number, number, BTreeMap::new());
        ledger::frame::write(&mut export, &[chain.append(envelope)?.record().bytes()]);
    }
    let file = places.data.join("decisions");
    std::fs::write(&file, export)?;
    let run = || -> Result<()> {
        let mut command = Command::new(&places.krux);
        let output = command.args(["--json", "policy", "replay"]).arg(&file).output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        anyhow::ensure!(said.get("same") == Some(&DECISIONS.into()), "{output:?}");
        Ok(())
    };
    let mut took = time(ROUNDS, run)?;
    std::fs::remove_file(&file)?;
    let (p50, p99) = (quantile(&mut took, 500) / 1e6, quantile(&mut took, 990) / 1e6);
    let (name, must) = ("policy-replay-million", "<= 5 s for a million recorded decisions");
    Ok(Row { name, unit: "s", p50, p99, peer: None, must, holds: p50 <= 5.0 })
}

fn set(rules: usize) -> Result<Set> {
    let mut text = "policy: box\nversion: 1\notherwise: blocked\nrules:\n".to_owned();
    for rule in 0..rules {
        writeln!(
            text,
            " - {{name: r{rule},agents: [any],effects: [read],where: {{path: {{under: \
             /w/{rule}}}}},decision: autonomous}}"
        )?;
    }
    let layer = policy::parse(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Set::new(layer, Vec::new())?)
}

/// Records verified in a second, on one core.
pub(crate) fn ledger() -> Result<Vec<Row>> {
    const RECORDS: usize = 50_000;
    let mut chain = Chain::default();
    let mut records = Vec::with_capacity(RECORDS);
    for number in 0..RECORDS {
        let facts = [
            ("agent", "build-1"),
            ("capability", "filesystem.read@1"),
            ("answer", "autonomous"),
            ("rules", "read-workspace"),
        ];
        let at = u64::try_from(number)?;
        let draft = Draft::new(RecordKind::Decision, &facts);
        let envelope = draft.into_envelope([7; 16], at, at, BTreeMap::new());
        records.push(chain.append(envelope)?.record().bytes().to_vec());
    }
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let verified = ledger::verify(records.iter().map(Vec::as_slice))?;
        anyhow::ensure!(verified.records == u64::try_from(RECORDS)?, "not all verified");
        rates.push(RECORDS as f64 / started.elapsed().as_secs_f64());
    }
    let slowest = rates.iter().copied().reduce(f64::min).context("no round")?;
    let p50 = quantile(&mut rates, 500);
    let must = ">= 1,000,000 records/s/core";
    let (name, unit) = ("ledger-verify", "records/s");
    Ok(vec![Row { name, unit, p50, p99: slowest, peer: None, must, holds: p50 >= 1e6 }])
}
