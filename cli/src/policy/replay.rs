//! `krux policy replay`: decides again what a ledger says was decided. Under the texts that were in force
//! each decision must come out as it was recorded; under another text the differences are grouped.

use super::{read, read_layer};
use crate::render;
use anyhow::{Context, Result, ensure};
use capabilities::Performer;
use hours::Hours;
use ledger::{Digest, Envelope, Kind, Record, frame};
use policy::{Answer, Call, CapabilityName, Compiled, Facts, Layer, LayerKind, Set};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The texts that the image of this version ships.
const SHIPPED: [&str; 3] = [
    include_str!("../../../policies/personal.yaml"),
    include_str!("../../../policies/team.yaml"),
    include_str!("../../../policies/restricted.yaml"),
];
pub(super) const SYSTEM: &str = include_str!("../../../policies/system.yaml");
/// The principal of the calls that the box makes before its doors open, which the system's limits alone decide.
const BOOT: &str = "boot";
/// The principal of what it tells webhooks, which a text of its own decides.
const BOX: &str = "box";
const WEBHOOKS: &str = include_str!("../../../policies/webhooks.yaml");
/// How often somebody who watches is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// What is replayed, and under what.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// An export of a ledger.
    export: PathBuf,
    /// A text that was in force; may be given more than once. The shipped ones are known.
    #[arg(long)]
    policy: Vec<String>,
    /// The system's limits that were in force, instead of those that this version ships.
    #[arg(long)]
    system: Option<String>,
    /// Decides under this text instead of those that were in force, and says what would be another.
    #[arg(long)]
    against: Option<String>,
}

/// The sets by the digest of their granting layer's text.
pub(super) struct Sets {
    by_digest: BTreeMap<Digest, Compiled>,
    /// Of the box's own calls.
    boot: Compiled,
    webhooks: Compiled,
    /// Instead of all others, with its windows of time.
    against: Option<(Compiled, Hours)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    same: u64,
    /// Decisions that no policy made: a paused agent's, or one of an agent that was stopped.
    held: u64,
    /// How many, by whose call of what was answered how and would be answered how; and one of them.
    other: BTreeMap<[String; 4], (u64, u64)>,
}

fn compiled(layer: Layer, system: &Layer) -> Result<Compiled> {
    Ok(Compiled::new(Set::new(layer, vec![system.clone()])?)?)
}

fn with_hours(set: Compiled) -> Result<(Compiled, Hours)> {
    let hours = Hours::of(set.set())?;
    Ok((set, hours))
}

/// The granting layer of the box's own calls.
const fn boots() -> Layer {
    let otherwise = Some(Answer::Autonomous);
    Layer { kind: LayerKind::Box, version: 1, otherwise, rules: Vec::new() }
}

fn webhooks() -> Result<Compiled> {
    Ok(Compiled::new(Set::new(policy::parse(WEBHOOKS)?, Vec::new())?)?)
}

fn is_the_boxs(agent: &str) -> bool {
    [BOOT, BOX].contains(&agent)
}

impl Sets {
    fn read(words: &Words) -> Result<Self> {
        let system = match &words.system {
            Some(file) => read_layer(file)?,
            None => policy::parse(SYSTEM)?,
        };
        let compiled = |layer: Layer| compiled(layer, &system);
        let mut by_digest = BTreeMap::new();
        for text in SHIPPED {
            by_digest.insert(Digest::of(text.as_bytes()), compiled(policy::parse(text)?)?);
        }
        for file in &words.policy {
            by_digest.insert(Digest::of(read(file)?.as_bytes()), compiled(read_layer(file)?)?);
        }
        let against = |file: &String| with_hours(compiled(read_layer(file)?)?);
        let against = words.against.as_ref().map(against).transpose()?;
        Ok(Self { by_digest, boot: compiled(boots())?, webhooks: webhooks()?, against })
    }

    /// One set instead of all others, under the limits that this version ships.
    pub(super) fn against(layer: Layer) -> Result<Self> {
        let system = policy::parse(SYSTEM)?;
        let against = Some(with_hours(compiled(layer, &system)?)?);
        let boot = compiled(boots(), &system)?;
        Ok(Self { by_digest: BTreeMap::new(), boot, webhooks: webhooks()?, against })
    }

    /// The set that decides a record again.
    fn of(&self, record: &Envelope, agent: &str) -> Result<&Compiled> {
        match agent {
            BOOT => return Ok(&self.boot),
            BOX => return Ok(&self.webhooks),
            _ => {}
        }
        if let Some((against, _)) = &self.against {
            return Ok(against);
        }
        let digest = record.policy.context("it names no policy")?;
        self.by_digest.get(&digest).with_context(|| {
            format!("the policy {digest} was in force; give its text with --policy")
        })
    }
}

impl Sets {
    /// Which rules are used up: those that the record names. Under another text its own windows of time are closed or
    /// open as they are at the moment of the record, whatever was recorded of rules of these names.
    fn exhausted(
        &self,
        record: &Envelope,
        call: &Call<'_>,
        set: &Set,
    ) -> BTreeSet<(LayerKind, String)> {
        let named = record.facts.get("exhausted").map(String::as_str).unwrap_or_default();
        let mut exhausted = set.rules_named(named);
        if let Some((against, hours)) = self.against.as_ref().filter(|_| !is_the_boxs(call.agent)) {
            let rules = against
                .set()
                .layers()
                .flat_map(|layer| layer.rules.iter().map(move |rule| (&layer.kind, rule)));
            for (layer, rule) in rules.filter(|(_, rule)| rule.is_limited_by_time_alone()) {
                exhausted.remove(&(layer.clone(), rule.name.clone()));
            }
            let at = Some(record.wall_us);
            exhausted.extend(hours.closed(against.set(), call, &record.effects, at));
        }
        exhausted
    }
}

impl Replayed {
    fn take(&mut self, sets: &Sets, record: &Envelope) -> Result<()> {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let (agent, recorded) = (fact("agent"), fact("answer"));
        if fact("reason") == "held" {
            self.held += 1;
            return Ok(());
        }
        let name = CapabilityName::read(fact("capability")).context("it names no capability")?;
        let version = name.version().context("its capability has no version")?;
        let call = Call { agent, capability: name.name(), version };
        let set = sets.of(record, agent)?;
        let exhausted = sets.exhausted(record, &call, set.set());
        let facts = Facts { exhausted };
        let declaration = capabilities::find(fact("capability"));
        let by_service =
            declaration.is_some_and(|it| matches!(it.performer, Performer::Service(_)));
        // a grant leaves other addresses than the rules alone do, and is not replayed
        let decision = if by_service && fact("grant").is_empty() {
            set.decide_reaching(&call, &record.effects, &facts)
        } else {
            set.decide(&call, &record.effects, &facts)
        };
        // the box's own calls say no rules
        let rules = (!is_the_boxs(agent) && sets.against.is_none()).then(|| decision.rule_names());
        let answer = decision.answer.to_string();
        if answer == recorded && rules.as_ref().is_none_or(|rules| rules == fact("rules")) {
            self.same += 1;
            return Ok(());
        }
        let now = match rules {
            Some(rules) if answer == recorded => format!("{answer}, by {rules}"),
            _ => answer,
        };
        let key = [agent, fact("capability"), recorded, &now].map(str::to_owned);
        let group = self.other.entry(key).or_insert((0, record.sequence));
        group.0 += 1;
        Ok(())
    }
}

/// Replays an export.
pub(crate) fn run(words: &Words, as_json: bool) -> Result<bool> {
    let sets = Sets::read(words)?;
    let mut replayed = Replayed::default();
    replayed.export(&sets, &words.export, as_json)?;
    if as_json {
        render::object(&replayed.json());
    } else {
        replayed.lines().iter().for_each(|line| render::line(line));
    }
    Ok(replayed.other.is_empty())
}

impl Replayed {
    /// Takes every decision of an export.
    pub(super) fn export(&mut self, sets: &Sets, file: &Path, quiet: bool) -> Result<()> {
        let shown = file.display();
        let content = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        self.frames(sets, &content, quiet).with_context(|| shown.to_string())
    }

    /// Takes every decision of these frames.
    pub(super) fn frames(&mut self, sets: &Sets, content: &[u8], quiet: bool) -> Result<()> {
        let (frames, whole) = frame::read_all(content);
        ensure!(whole, "it is cut or damaged; `krux audit verify` says where");
        let mut told = Instant::now();
        for (at, bytes) in frames.iter().enumerate() {
            // the last frame of an export is the checkpoint over the others
            let Ok(record) = Record::read(bytes) else {
                ensure!(at + 1 == frames.len(), "frame {at} is no record");
                continue;
            };
            let envelope = record.envelope();
            if envelope.kind == Kind::Decision {
                let number = envelope.sequence;
                self.take(sets, envelope).with_context(|| format!("record {number}"))?;
            }
            if !quiet && told.elapsed() >= TOLD_EVERY {
                render::complain(&format!("record {at} of {}", frames.len()));
                told = Instant::now();
            }
        }
        Ok(())
    }

    /// What came of it, for programs.
    pub(super) fn json(&self) -> Json {
        let groups = self.other.iter().map(|([agent, capability, was, now], (count, example))| {
            json!({ "agent": agent, "capability": capability, "recorded": was, "now": now,
                "count": count, "example": example })
        });
        let groups: Vec<Json> = groups.collect();
        json!({ "same": self.same, "held": self.held, "differ": self.differ(), "groups": groups })
    }

    /// The same for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let group =
            |([agent, capability, was, now], (count, example)): (&[String; 4], &(u64, u64))| {
                let line = format!(
                    "{count} of {agent} to {capability}: {was}, now {now}; record {example}"
                );
                contract::effect::visible(&line)
            };
        let mut lines: Vec<String> = self.other.iter().map(group).collect();
        let (same, held) = (self.same, self.held);
        lines.push(format!("{same} the same, {} another, {held} held", self.differ()));
        lines
    }

    fn differ(&self) -> u64 {
        self.other.values().map(|(count, _)| count).sum()
    }
}
