//! Checks of the tree itself: `cargo run -p ci -- [arrows|tidy|promises|budget]`, all without a name.
//! Each prints what is wrong with its place; exit code 1 when anything is.
#![forbid(unsafe_code)]

mod arrows;
mod budget;
mod promises;
mod tidy;

use anyhow::Result;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Check = fn(&Path) -> Result<Vec<String>>;

const CHECKS: &[(&str, Check)] = &[
    ("arrows", arrows::check),
    ("tidy", tidy::check),
    ("promises", promises::check),
    ("budget", budget::check),
];

fn main() -> Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default();
    let (mut good, mut bad) = (0, 0);
    for (name, check) in CHECKS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let found = check(&root)?;
        if found.is_empty() {
            good += 1;
        } else {
            bad += 1;
        }
        for line in found {
            writeln!(std::io::stderr(), "{name}: {line}")?;
        }
    }
    writeln!(std::io::stdout(), "checks: {good} passed, {bad} failed")?;
    Ok(ExitCode::from(u8::from(bad > 0 || good == 0)))
}

/// Every tracked file (or, before the first commit, every file that git would track).
fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let safe = format!("safe.directory={}", root.display());
    let output = std::process::Command::new("git")
        .args(["-c", &safe, "ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()?;
    anyhow::ensure!(output.status.success(), "git ls-files failed; these checks need a checkout");
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed.lines().map(PathBuf::from).filter(|file| root.join(file).is_file()).collect())
}
