//! `image/flash`: what it refuses, that it reads back, and a box whose first operator is known.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::{Disk, Image, Machine, Options};

fn folder() -> Result<PathBuf> {
    let folder = tests::root().join("build/tests/flash");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn flash(words: &[&Path]) -> Result<Output> {
    let mut command = Command::new(tests::root().join("image/flash"));
    Ok(command.args(words).arg("--yes").output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_disk_that_holds_the_running_system_is_refused() -> Result<()> {
    let image = Image::release("x86_64")?.disk;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let number = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields.get(4) == Some(&"/")).then(|| fields.get(2).map(|n| (*n).to_owned())).flatten()
    });
    let node = std::fs::canonicalize(format!("/sys/dev/block/{}", number.context("no root")?));
    let Ok(node) = node else { return Ok(()) }; // the host's root is no disk: an overlay, a tmpfs
    let device = Path::new("/dev").join(node.file_name().context("no name")?);
    let output = flash(&[&image, &device])?;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let why = said(&output);
    assert!(
        why.contains("own disk") || why.contains("partition") || why.contains("mounted"),
        "{why}"
    );
    Ok(())
}

#[test]
fn what_is_no_disk_and_a_bad_key_are_refused() -> Result<()> {
    let image = Image::release("x86_64")?.disk;
    let output = flash(&[&image, Path::new("/dev/null")])?;
    assert!(said(&output).contains("is no disk"), "{}", said(&output));
    let (target, key) = (folder()?.join("refused.raw"), folder()?.join("bad.pub"));
    std::fs::write(&target, "")?;
    std::fs::write(&key, "not a key")?;
    let output = flash(&[&image, &target, Path::new("--operator"), &key])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("64 hexadecimal digits"), "{}", said(&output));
    assert_eq!(std::fs::metadata(&target)?.len(), 0, "something was written");
    Ok(())
}

/// A flashed disk boots; its META, which the box did not make, is taken as it is.
#[test]
fn a_flashed_disk_with_a_first_operator_boots() -> Result<()> {
    let image = Image::release("x86_64")?;
    let (target, key) = (folder()?.join("box.raw"), folder()?.join("operator.pub"));
    let kept = folder()?.join("operator.pub.first-pairing");
    std::fs::remove_file(&kept).ok();
    std::fs::write(&target, "")?;
    std::fs::write(&key, "ab".repeat(32))?;
    let output = flash(&[&image.disk, &target, Path::new("--operator"), &key])?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("read back"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(&kept)?.trim().len(), 64);
    std::fs::File::options().write(true).open(&target)?.set_len(8 << 30)?;
    let disk = Disk { path: target };
    std::fs::remove_file(disk.path.with_extension("vars")).ok();
    let mut machine = Machine::start(&disk, &Options::new())?;
    machine.wait_ready()?;
    assert!(machine.console().contains("first operator is known"), "{}", machine.console());
    Ok(())
}
