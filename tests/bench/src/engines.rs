//! The pure engines: policy and ledger.

use crate::{ROUNDS, Row, quantile, time};
use anyhow::{Context, Result};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use ledger::writer::Draft;
use ledger::{Chain, Kind as RecordKind};
use policy::{Call, Compiled, Facts, Set};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

/// Decisions over sets of 10 to 10,000 rules, beside the plain interpreter's.
pub(crate) fn policy() -> Result<Vec<Row>> {
    let path = Value::Path(CanonicalPath::parse("/workspace/src/deep/file.rs")?);
    let effects = vec![Effect::new(Kind::Read, Form::Exact, [(Field::Path, path)])?];
    let call = Call { agent: "build-1", capability: "filesystem.read", version: 1 };
    let facts = Facts::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut loads = Vec::new();
    for (name, rules) in
        [("policy-10", 10), ("policy-100", 100), ("policy-1000", 1_000), ("policy-10000", 10_000)]
    {
        let set = set(rules)?;
        if rules == 1_000 {
            loads = time(ROUNDS, || {
                std::hint::black_box(Compiled::new(set.clone())?);
                Ok(())
            })?;
        }
        let compiled = Compiled::new(set)?;
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            fast.extend(time(2_000, || {
                std::hint::black_box(compiled.decide(&call, &effects, &facts));
                Ok(())
            })?);
            plain.extend(time(20_000 / rules.max(200) + 20, || {
                std::hint::black_box(policy::decide(compiled.set(), &call, &effects, &facts));
                Ok(())
            })?);
        }
        let (p50, p99) = (quantile(&mut fast, 500), quantile(&mut fast, 990));
        let of_ten = rows.first().map_or(p50, |row| row.p50);
        let holds = p50 <= 1.0 && p50 <= 1.5 * of_ten;
        let must = "<= 1 us, and at most 1.5 times that of 10 rules";
        let peer = Some(("the plain interpreter", quantile(&mut plain, 500)));
        rows.push(Row { name, unit: "us", p50, p99, peer, must, holds });
    }
    let (p50, p99) = (quantile(&mut loads, 500) / 1e3, quantile(&mut loads, 990) / 1e3);
    let (name, must) = ("policy-load-1000", "<= 250 ms to compile 1,000 rules");
    rows.push(Row { name, unit: "ms", p50, p99, peer: None, must, holds: p50 <= 250.0 });
    Ok(rows)
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
