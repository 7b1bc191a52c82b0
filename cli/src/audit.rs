//! The ledger: read from the box, and verified here without it.

use crate::ended::{Ended, failed};
use crate::keep::KnownBox;
use crate::pair::{holds_under, key_digest};
use crate::remote::Desk;
use crate::render;
use acts::Acts;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use contract::cbor;
use contract::digits::hex;
use contract::statement::Act;
use ed25519_dalek::{Signature, VerifyingKey};
use ledger::checkpoint::{self, Checkpoint, WRITER_CONTEXT};
use ledger::{Envelope, Record, frame};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::time::Duration;

/// Most records that one query asks for.
pub(crate) const PAGE_RECORDS: u64 = 10_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The newest records.
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u64,
        /// Go on with new ones until interrupted.
        #[arg(short, long)]
        follow: bool,
    },
    /// Records that fit.
    Query(Query),
    /// The whole ledger into a file, which ends with the box's signed checkpoint.
    Export {
        /// The file.
        file: PathBuf,
    },
    /// Verifies an export, without the box: chain, tree, checkpoint, operators' signatures.
    Verify {
        /// The export.
        file: PathBuf,
        /// Digest of the authority's key, when the box is not known here.
        #[arg(long)]
        authority: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// Of this agent.
    #[arg(long)]
    agent: Option<String>,
    /// Of this capability.
    #[arg(long)]
    capability: Option<String>,
    /// Of this call.
    #[arg(long)]
    call: Option<String>,
    /// Of this kind: decision, outcome, approval, act, policy, boot, refused, recovery, restart.
    #[arg(long)]
    kind: Option<String>,
    /// From this record on.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    match command {
        Command::Tail { lines, follow } => tail(desk, *lines, *follow, as_json),
        Command::Query(query) => {
            let Query { agent, capability, call, kind, from } = query;
            let act = |from| Act::AuditQuery {
                from,
                agent: agent.clone(),
                capability: capability.clone(),
                call: call.clone(),
                record: kind.clone(),
                max: PAGE_RECORDS,
            };
            pages(desk, *from, act, |content| show(content, as_json))?;
            Ok(Ended::Done)
        }
        Command::Export { file } => {
            let mut whole = Vec::new();
            let records = pages(
                desk,
                0,
                |from| Act::AuditExport { from },
                |content| {
                    whole.extend_from_slice(content);
                    Ok(())
                },
            )?;
            let new = file.with_extension("new");
            std::fs::write(&new, &whole)?;
            std::fs::rename(&new, file)
                .with_context(|| format!("cannot write {}", file.display()))?;
            if as_json {
                render::object(&json!({ "records": records, "bytes": whole.len() }));
            } else {
                render::line(&format!("{records} records in {}", file.display()));
            }
            Ok(Ended::Done)
        }
        Command::Verify { .. } => Ok(Ended::Usage),
    }
}

/// Every page from `from` on; returns the ledger's length.
pub(crate) fn pages(
    desk: &Desk,
    from: u64,
    act: impl Fn(u64) -> Act,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut from = from;
    loop {
        let response = desk.send(act(from), None)?;
        if response.status != 200 {
            response.json()?;
        }
        let parameter = |name: &str| {
            let words = response.media_type.split("; ");
            let found = words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name);
            found.and_then(|(_, value)| value.parse::<u64>().ok())
        };
        each(&response.body)?;
        let (next, length) = (parameter("next").unwrap_or(0), parameter("length").unwrap_or(0));
        if next >= length || next <= from {
            return Ok(next);
        }
        from = next;
    }
}

fn tail(desk: &Desk, lines: u64, follow: bool, as_json: bool) -> Result<Ended> {
    let status = desk.act(Act::Status)?;
    let length = status.get("records").and_then(Json::as_u64).unwrap_or(0);
    let mut from = length.saturating_sub(lines);
    let act = |from| Act::AuditQuery {
        from,
        agent: None,
        capability: None,
        call: None,
        record: None,
        max: PAGE_RECORDS,
    };
    loop {
        from = pages(desk, from, act, |content| show(content, as_json))?.max(from);
        if !follow {
            return Ok(Ended::Done);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn show(content: &[u8], as_json: bool) -> Result<()> {
    for bytes in frame::read_all(content).0 {
        let record = Record::read(bytes).context("the box sent what is no record")?;
        let envelope = record.envelope();
        if as_json {
            render::object(&as_object(envelope));
        } else {
            render::line(&as_line(envelope));
        }
    }
    Ok(())
}

fn call_digits(envelope: &Envelope) -> Option<String> {
    envelope.call.map(|call| hex(&call))
}

fn as_object(envelope: &Envelope) -> Json {
    let effects: Vec<String> = envelope.effects.iter().map(ToString::to_string).collect();
    json!({ "schema": 1, "sequence": envelope.sequence, "kind": envelope.kind,
        "boot_us": envelope.boot_us, "wall_us": envelope.wall_us, "call": call_digits(envelope),
        "policy": envelope.policy.map(|digest| digest.to_string()), "facts": envelope.facts,
        "effects": effects })
}

fn as_line(envelope: &Envelope) -> String {
    let fact = |name: &str| envelope.facts.get(name).map(String::as_str);
    let who = fact("agent").or(fact("operator")).or(fact("service")).unwrap_or("-");
    let what = fact("capability").or(fact("act")).or(fact("verdict")).or(fact("reason"));
    let how = fact("answer").or(fact("code")).unwrap_or_default();
    let effects: Vec<String> = envelope.effects.iter().map(ToString::to_string).collect();
    let kind = json!(envelope.kind);
    contract::effect::visible(&format!(
        "{:>7} {} {:8} {:8} {who:12} {} {how} {}",
        envelope.sequence,
        hours::written(envelope.wall_us),
        call_digits(envelope).unwrap_or_default().get(..8).unwrap_or("-"),
        kind.as_str().unwrap_or_default(),
        what.unwrap_or_default(),
        effects.join("; ")
    ))
}

/// What was shown of an export.
struct Shown {
    records: u64,
    root: String,
    statements: u64,
    signed: bool,
    development: bool,
}

/// `krux audit verify`.
pub(crate) fn verify(
    file: &PathBuf,
    authority: Option<&str>,
    known: Option<&KnownBox>,
    as_json: bool,
) -> Result<Ended> {
    let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let pinned = authority.or(known.map(|known| known.key_digest.as_str()));
    match examine(&content, pinned) {
        Ok(Shown { records, root, statements, signed, development }) => {
            let by =
                if signed { "signed by the box" } else { "NOT SIGNED: the end may be missing" };
            if as_json {
                render::object(&json!({ "intact": true, "records": records, "root": root,
                    "statements": statements, "signed": signed, "development": development }));
            } else {
                render::line(&format!("intact: {records} records, root {root}, {by}"));
                render::line(&format!("operators' statements checked: {statements}"));
                if development {
                    render::line("DEVELOPMENT: it was written under `krux dev`, not by a box");
                }
            }
            Ok(if signed { Ended::Done } else { Ended::NotVerified })
        }
        Err(error) => {
            if as_json {
                render::object(&json!({ "intact": false, "error": format!("{error:#}") }));
                return Ok(Ended::NotVerified);
            }
            Err(failed(Ended::NotVerified, format!("not intact: {error:#}")))
        }
    }
}

fn examine(content: &[u8], pinned: Option<&str>) -> Result<Shown> {
    let (mut frames, ended) = frame::read_all(content);
    anyhow::ensure!(
        ended,
        "record {}: the frame is cut or its checksum does not fit",
        frames.len()
    );
    let checkpoint = frames.last().and_then(|last| cbor::decode::<Checkpoint>(last).ok());
    if checkpoint.is_some() {
        frames.pop();
    }
    let verified = ledger::verify(frames.iter().copied())?;
    let root = verified.root.to_string();
    if let Some(checkpoint) = &checkpoint {
        check_checkpoint(checkpoint, pinned)?;
        anyhow::ensure!(
            checkpoint.size == verified.records && checkpoint.root == verified.root,
            "the checkpoint is over {} records with root {}, the file holds {} with root {root}",
            checkpoint.size,
            checkpoint.root,
            verified.records
        );
    }
    let records = frames.iter().map(|bytes| Record::read(bytes)).collect::<Result<Vec<_>, _>>()?;
    let statements = check_acts(&records, pinned)?;
    let mode = |record: &Record| record.envelope().facts.get("mode").cloned();
    let development = records.iter().any(|record| mode(record).as_deref() == Some("development"));
    Ok(Shown {
        development,
        records: verified.records,
        root,
        statements,
        signed: checkpoint.is_some(),
    })
}

fn check_checkpoint(checkpoint: &Checkpoint, pinned: Option<&str>) -> Result<()> {
    let digest = hex(&key_digest(&checkpoint.authority)?);
    let pinned = pinned.context("whose ledger is it? pair with the box, or give --authority")?;
    anyhow::ensure!(digest == pinned, "the checkpoint is another box's: its authority is {digest}");
    let text = [WRITER_CONTEXT, &checkpoint.key].concat();
    anyhow::ensure!(
        holds_under(&checkpoint.authority, &text, &checkpoint.certified)?,
        "the authority did not certify the key that signed the checkpoint"
    );
    let signature = Signature::from_slice(&checkpoint.signature).ok();
    let signature = signature.context("the checkpoint's signature is none")?;
    let text = checkpoint::text(checkpoint.size, &checkpoint.root);
    VerifyingKey::from_bytes(&checkpoint.key)
        .ok()
        .context("the checkpoint's key is none")?
        .verify_strict(&text, &signature)
        .ok()
        .context("the checkpoint's signature does not hold")
}

/// Checks every operator's act against the keys that the ledger itself introduced.
fn check_acts(records: &[Record], pinned: Option<&str>) -> Result<u64> {
    let mut acts = Acts::of_box(pinned);
    for record in records {
        let envelope = record.envelope();
        acts.take(envelope).with_context(|| format!("record {}", envelope.sequence))?;
    }
    Ok(acts.checked())
}
