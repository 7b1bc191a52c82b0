//! `krux policy prove` and `krux policy diff`: exact questions about whole sets, each with a witness.

use super::{SetFiles, read, read_layer, read_set};
use crate::render;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use contract::effect::visible;
use ledger::{Kind, Record, frame};
use policy::{Call, CapabilityName, Diff, Property, Set, Verdict};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// The properties that every set must have, as this version ships them.
pub(super) const INVARIANTS: &str = include_str!("../../../policies/invariants.yaml");

/// What is to be proved of which set.
#[derive(Debug, Args)]
pub(crate) struct Prove {
    #[command(flatten)]
    set: SetFiles,
    /// Properties, as `never`, `always` or `only`; without them the invariants that every box has.
    #[arg(long)]
    properties: Option<String>,
    /// Writes a certificate for each property that holds, NAME.certificate, into this directory.
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,
    /// Checks the certificates in this directory instead of looking for proofs.
    #[arg(long, value_name = "DIR", conflicts_with = "certificates")]
    check: Option<PathBuf>,
}

/// What is compared.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The granting layer as it was.
    old: String,
    /// As it would be.
    new: String,
    /// A layer of limits, on both sides; may be given more than once.
    #[arg(long)]
    limits: Vec<String>,
    /// An export of a ledger, whose calls are counted in each region.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// A gate: exit code 1 if any call would be answered more mildly, otherwise 0.
    #[arg(long)]
    only_tightens: bool,
}

/// Reads properties.
pub(super) fn properties(file: &str, text: &str) -> Result<Vec<Property>> {
    policy::parse_properties(text)
        .map_err(|error| anyhow::anyhow!("{}", render::mistake(file, text, &error)))
}

/// Proves, or checks what was proved; true if all of it holds.
pub(crate) fn prove(words: &Prove, as_json: bool) -> Result<bool> {
    let set = read_set(&words.set)?;
    let properties = match &words.properties {
        Some(file) => properties(file, &read(file)?)?,
        None => properties("invariants", INVARIANTS)?,
    };
    let mut said = Vec::new();
    for property in &properties {
        let failed = match &words.check {
            Some(directory) => checked(&set, property, directory).err().map(|e| format!("{e:#}")),
            None => proved(&set, property, words.certificates.as_deref())?,
        };
        said.push((property.name.as_str(), failed));
    }
    let failures = said.iter().filter(|(_, failed)| failed.is_some()).count();
    if as_json {
        let each = said.iter().map(|(name, failed)| {
            json!({ "name": name, "holds": failed.is_none(), "counterexample": failed })
        });
        let each: Vec<Json> = each.collect();
        render::object(&json!({ "properties": each, "failures": failures }));
    } else {
        for (name, failed) in &said {
            match failed {
                None => render::line(&format!("holds {name}")),
                Some(why) => render::complain(&format!("FAILS {name}: {why}")),
            }
        }
        render::line(&format!("{} hold, {failures} fail", said.len() - failures));
    }
    Ok(failures == 0)
}

/// The counterexample, or nothing where the property holds; its certificate is written then.
fn proved(set: &Set, property: &Property, to: Option<&Path>) -> Result<Option<String>> {
    if let Verdict::Fails(counterexample) = policy::prove(set, property)? {
        return Ok(Some(counterexample.to_string()));
    }
    if let Some(directory) = to {
        let made = policy::certify(set, property)?;
        let bytes = made.context("it holds, and has no certificate: a defect in this program")?;
        std::fs::create_dir_all(directory)?;
        let file = certificate(directory, property);
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(None)
}

fn checked(set: &Set, property: &Property, directory: &Path) -> Result<()> {
    let file = certificate(directory, property);
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    certificate::check(&bytes, &policy::theorem(set, property))?;
    Ok(())
}

fn certificate(directory: &Path, property: &Property) -> PathBuf {
    directory.join(format!("{}.certificate", property.name))
}

/// Compares; what the exit code says depends on `--only-tightens`.
pub(crate) fn diff(words: &Compare, as_json: bool) -> Result<bool> {
    let limits = || words.limits.iter().map(|file| read_layer(file)).collect::<Result<Vec<_>>>();
    let set = |file: &str| -> Result<Set> { Ok(Set::new(read_layer(file)?, limits()?)?) };
    let diff = policy::diff(&set(&words.old)?, &set(&words.new)?)?;
    let counted = match &words.ledger {
        Some(file) => Some(count(&diff, file)?),
        None => None,
    };
    if as_json {
        render::object(&diff_json(&diff, counted.as_deref()));
    } else {
        diff_lines(&diff, counted.as_deref()).iter().for_each(|line| render::line(line));
    }
    Ok(!words.only_tightens || diff.only_tightens())
}

/// What changes, for programs; `counted` is how many recorded calls lie in each region.
pub(super) fn diff_json(diff: &Diff, counted: Option<&[u64]>) -> Json {
    let each = diff.changed().iter().enumerate().map(|(number, changed)| {
        let regions: Vec<String> =
            changed.products.iter().map(|product| region(&product.to_string())).collect();
        let changes: Vec<String> = changed.changes.iter().map(ToString::to_string).collect();
        json!({ "effect": changed.kind.to_string(), "loosens": changed.loosens(),
            "changes": changes,
            "old": changed.old.answer.to_string(), "new": changed.new.answer.to_string(),
            "regions": regions, "more": changed.more, "witness": changed.example.to_string(),
            "calls": calls(counted, number) })
    });
    let each: Vec<Json> = each.collect();
    json!({ "changed": each, "only_tightens": diff.only_tightens() })
}

/// The same for people.
pub(super) fn diff_lines(diff: &Diff, counted: Option<&[u64]>) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, changed) in diff.changed().iter().enumerate() {
        let (old, new) = (&changed.old.answer, &changed.new.answer);
        lines.push(format!("{}: {old} -> {new}", changed.kind));
        for product in &changed.products {
            lines.push(format!("  where {}", visible(&region(&product.to_string()))));
        }
        let limits = changed.changes.iter().filter(|c| c.exhausted != c.exhausted_new);
        lines.extend(limits.map(|change| format!("  {change}")));
        if changed.more > 0 {
            lines.push(format!("  and {} regions more", changed.more));
        }
        lines.push(format!("  such as {}", changed.example));
        if let Some(calls) = calls(counted, number) {
            lines.push(format!("  {calls} recorded calls lie there"));
        }
    }
    let tightens = if diff.only_tightens() { "nothing" } else { "something" };
    let regions = diff.changed().len();
    lines.push(format!("{regions} regions change; {tightens} is answered more mildly"));
    lines
}

/// How many recorded calls lie in a region, where they were counted.
fn calls(counted: Option<&[u64]>, number: usize) -> Option<u64> {
    Some(counted?.get(number).copied().unwrap_or(0))
}

/// A product's words without the comma that they begin with.
fn region(product: &str) -> String {
    let said = product.trim_start_matches(", ");
    if said.is_empty() { "anything".to_owned() } else { said.to_owned() }
}

/// How many recorded calls have an effect in each region.
fn count(diff: &Diff, file: &Path) -> Result<Vec<u64>> {
    let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (frames, whole) = frame::read_all(&content);
    ensure!(whole, "{} is cut or damaged; `krux audit verify` says where", file.display());
    let mut calls = vec![0_u64; diff.changed().len()];
    for bytes in frames {
        // the last frame is the checkpoint over the others
        let Ok(record) = Record::read(bytes) else { continue };
        let envelope = record.envelope();
        if envelope.kind != Kind::Decision {
            continue;
        }
        let fact = |name: &str| envelope.facts.get(name).map(String::as_str).unwrap_or_default();
        let Some(name) = CapabilityName::read(fact("capability")) else {
            bail!("record {} names no capability", envelope.sequence);
        };
        let version = name.version().unwrap_or(1);
        let call = Call { agent: fact("agent"), capability: name.name(), version };
        let of = |effect| diff.regions_of(&call, effect);
        let regions: std::collections::BTreeSet<usize> =
            envelope.effects.iter().flat_map(of).collect();
        for region in regions {
            if let Some(calls) = calls.get_mut(region) {
                *calls = calls.saturating_add(1);
            }
        }
    }
    Ok(calls)
}
