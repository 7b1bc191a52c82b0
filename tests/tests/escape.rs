//! One boot of the cage's test image, judged: every finding of the probe, and the escape matrix, which is
//! docs/escape.md.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use contract as _;
use ledger as _;
use serde_json as _;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use tests::{CLOCK_BY_KERNEL, Disk, Image, Machine};

/// Findings of the probe, each a line that ends in `: holds`.
const FINDINGS: usize = 203;
/// Attacks that must be there, and how many of them each of these rings must stop alone.
const ATTACKS_MIN: usize = 120;
const ALONE_MIN: usize = 5;

/// What the console says of the whole run, which takes minutes and is made once.
fn console() -> Result<&'static str> {
    static CONSOLE: OnceLock<Result<String, String>> = OnceLock::new();
    let run = || -> Result<String> {
        let image = Image::test("cage")?;
        let disk = Disk::copy(&image, "escape")?;
        // every clock by a system call, so that a filter which does not admit it is found
        let options = image.direct(&image.kernel()?, &image.root_hash, CLOCK_BY_KERNEL)?;
        let mut machine = Machine::start(&disk, &options)?;
        machine.wait_for("probe: cage: all tried", 1_500)?;
        machine.no_alarm()?;
        Ok(machine.console())
    };
    let console = CONSOLE.get_or_init(|| run().map_err(|error| format!("{error:#}")));
    console.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// The probe stands where pdp and audit will: every caged capability through a real cage, what lies
/// outside, tickets that do not fit, limits that bite, a worker looked at from outside, each ring's
/// attack beside its control, each entry of each filter taken away.
#[test]
fn a_call_is_performed_in_a_cage_behind_five_rings_and_on_a_fitting_ticket_alone() -> Result<()> {
    let console = console()?;
    tests::report(&lines_with(console, "parked cages: "));
    ensure!(!console.contains("DOES NOT HOLD"), "{}", lines_with(console, "DOES NOT HOLD"));
    let held = console.lines().filter(|line| line.trim_end().ends_with(": holds")).count();
    ensure!(
        held == FINDINGS,
        "{held} findings, not {FINDINGS}:\n{}",
        lines_with(console, ": holds")
    );
    Ok(())
}

fn lines_with(console: &str, part: &str) -> String {
    console.lines().filter(|line| line.contains(part)).map(|line| format!("{line}\n")).collect()
}

/// What an attack's file says of itself.
struct Attack {
    name: String,
    says: String,
    /// The rings that stop it, or none for one that the kernel has nothing for.
    rings: Vec<String>,
    option: Option<String>,
}

impl Attack {
    fn read(path: &std::path::Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let name = path.file_stem().and_then(|name| name.to_str()).context("name")?.to_owned();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.split_once(name).map(|(_, rest)| rest));
            line.map(|rest| rest.trim().to_owned())
        };
        let says = text.lines().next().context("empty")?;
        let says = says.trim_start_matches("/*").trim_start_matches("//!").trim().to_owned();
        let rings =
            field("Stopped by:").map(|list| list.split(',').map(|r| r.trim().to_owned()).collect());
        Ok(Self { name, says, rings: rings.unwrap_or_default(), option: field("Kernel:") })
    }
}

impl Attack {
    /// What else stops it, as a cage without that is named; nothing where this part is the only one.
    fn beside(&self, part: &str) -> Option<String> {
        let others: Vec<&str> =
            self.rings.iter().map(String::as_str).filter(|ring| *ring != part).collect();
        (!others.is_empty()).then(|| others.join("-"))
    }

    /// Whether a part of this ring stops it, and nothing else would.
    fn is_stopped_alone_by(&self, ring: &str) -> bool {
        matches!(self.rings.as_slice(), [only] if only != "nothing" && ring_of(only) == ring)
    }
}

/// Every file of the folders of tests/escape, in the order of their names.
fn attacks() -> Result<Vec<Attack>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in ["attacks", "connected"] {
        let folder = std::fs::read_dir(tests::root().join("tests/escape").join(folder))?;
        files.extend(folder.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?);
    }
    files.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    files.iter().map(|path| Attack::read(path)).collect()
}

/// How each attack ended in each cage: attack, then missing rings, then a word.
fn ends(console: &str) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut ends = BTreeMap::new();
    for line in console.lines().filter_map(|line| line.split_once("probe: escape ")) {
        let Some((name, words)) = line.1.trim_end().split_once(": ") else { continue };
        let of: BTreeMap<&str, &str> =
            words.split(' ').filter_map(|word| word.split_once('=')).collect();
        ends.insert(name, of);
    }
    ends
}

/// Whether the end of an attack says that something refused it: not that it is unknown, was not tried,
/// or ran out of time.
fn is_stopped(end: &str) -> bool {
    matches!(end, "stopped" | "killed" | "out_of_memory" | "signal:9")
}

/// What is wrong with how an attack ended; the kernel's configuration for those that it lacks.
fn judge(attack: &Attack, ends: &BTreeMap<&str, &str>, config: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let end = |missing: &str| ends.get(missing).copied().unwrap_or("not tried");
    if let Some(option) = &attack.option {
        if end("seccomp") != "absent" {
            wrong.push(format!("{}: without seccomp {}", attack.name, end("seccomp")));
        }
        if config.lines().any(|line| line == format!("{option}=y")) {
            wrong.push(format!("{}: the kernel has {option}", attack.name));
        }
        return wrong;
    }
    if attack.rings == ["nothing"] {
        if end("nothing") != "succeeded" {
            wrong.push(format!("{}: {}", attack.name, end("nothing")));
        }
        return wrong;
    }
    if !is_stopped(end("nothing")) {
        wrong.push(format!("{}: in a whole cage {}", attack.name, end("nothing")));
    }
    let all = attack.rings.join("-");
    if end(&all) != "succeeded" {
        wrong.push(format!("{}: without {all} {}", attack.name, end(&all)));
    }
    for others in attack.rings.iter().filter_map(|ring| attack.beside(ring)) {
        if !is_stopped(end(&others)) {
            wrong.push(format!("{}: without {others} {}", attack.name, end(&others)));
        }
    }
    wrong
}

/// The ring that a part of the cage belongs to.
fn ring_of(part: &str) -> &'static str {
    match part {
        "seccomp" => "seccomp",
        "landlock" => "Landlock",
        "limits" => "cgroup",
        "lo" | "nftables" => "nftables",
        _ => "namespaces",
    }
}

fn matrix(attacks: &[Attack]) -> String {
    let mut text = String::from(
        "# The escape suite\n\nGenerated by `./ci/test escape` from what happened in the booted image; change \
         tests/escape/. An attack is stopped in a\nwhole cage, and succeeds in one that lacks the parts named \
         here and nothing else; where several are named, each of\nthem stops it with all the others away. Parts of ring one are \
         its namespaces, `root` (a root of its own), `noexec` (its mounts).\n\n| attack | what it does | \
         stopped by | ring |\n|---|---|---|---|\n",
    );
    let stopped =
        attacks.iter().filter(|attack| attack.option.is_none() && attack.rings != ["nothing"]);
    for attack in stopped {
        let mut rings: Vec<&str> = attack.rings.iter().map(|part| ring_of(part)).collect();
        rings.dedup();
        let parts = attack.rings.join(", ");
        writeln!(text, "| {} | {} | {parts} | {} |", attack.name, attack.says, rings.join(", "))
            .ok();
    }
    text.push_str("\n## What this kernel has nothing for\n\nShown by ENOSYS behind no filter, and by the configuration. Counts for no ring.\n\n| attack | what it does | option that is not set |\n|---|---|---|\n");
    for attack in attacks {
        if let Some(option) = &attack.option {
            writeln!(text, "| {} | {} | {option} |", attack.name, attack.says).ok();
        }
    }
    text
}

#[test]
fn nothing_gets_out_and_every_control_does() -> Result<()> {
    let console = console()?;
    let (attacks, ends) = (attacks()?, ends(console));
    let config = Image::test("cage")?.beside("kernel-config");
    let config = std::fs::read_to_string(config)?;
    let none = BTreeMap::new();
    let of = |attack: &Attack| ends.get(attack.name.as_str()).unwrap_or(&none).clone();
    let wrong: Vec<String> =
        attacks.iter().flat_map(|attack| judge(attack, &of(attack), &config)).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(attacks.len() >= ATTACKS_MIN, "{} attacks", attacks.len());
    for ring in ["namespaces", "cgroup", "seccomp", "Landlock", "nftables"] {
        let count = attacks.iter().filter(|attack| attack.is_stopped_alone_by(ring)).count();
        ensure!(count >= ALONE_MIN, "{ring} alone stops {count} attacks");
    }
    let (path, text) = (tests::root().join("docs/escape.md"), matrix(&attacks));
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(path.with_extension("md.new"), &text)?;
    anyhow::bail!("docs/escape.md is stale; move docs/escape.md.new over it")
}
