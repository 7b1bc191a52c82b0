//! The pure engines: policy and ledger.

use crate::{ROUNDS, Row, quantile, time};
use anyhow::{Context, Result};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use ledger::writer::Draft;
use ledger::{Chain, Kind as RecordKind};
use policy::{Call, Facts, Set};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

/// Decisions of the plain interpreter over sets of 10, 1,000 and 10,000 rules.
pub(crate) fn policy() -> Result<Vec<Row>> {
    let path = Value::Path(CanonicalPath::parse("/workspace/src/deep/file.rs")?);
    let effects = vec![Effect::new(Kind::Read, Form::Exact, [(Field::Path, path)])?];
    let call = Call { agent: "build-1", capability: "filesystem.read", version: 1 };
    let mut rows = Vec::new();
    for (name, rules) in [("policy-10", 10), ("policy-1000", 1_000), ("policy-10000", 10_000)] {
        let set = set(rules)?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.extend(time(20_000 / rules.max(200) + 20, || {
                std::hint::black_box(policy::decide(&set, &call, &effects, &Facts::default()));
                Ok(())
            })?);
        }
        let (p50, p99) = (quantile(&mut times, 500), quantile(&mut times, 990));
        let must = "<= 1 us, flat (the compiled engine is not here yet)";
        rows.push(Row { name, unit: "us", p50, p99, peer: None, must, holds: p50 <= 1.0 });
    }
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
