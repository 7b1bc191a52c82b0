//! What the image holds, file by file, and that it holds the same whoever builds it.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::Image;

/// Every ELF file of the release image.
const PROGRAMS: &[&str] = &[
    "usr/bin/audit",
    "usr/bin/console",
    "usr/bin/egress",
    "usr/bin/forker",
    "usr/bin/gateway",
    "usr/bin/net",
    "usr/bin/pdp",
    "usr/bin/vault",
    "usr/bin/worker",
    "usr/sbin/init",
];
/// Every directory that stands at the top.
const TOP: &[&str] =
    &["data", "dev", "etc", "ledger", "proc", "run", "state", "sys", "toolbox", "usr"];

fn unpacked(image: &Image, name: &str) -> Result<PathBuf> {
    let folder = tests::root().join(format!("build/tests/{name}"));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(folder.parent().context("folder")?)?;
    let extract = format!("--extract={}", folder.display());
    let root = image.beside("root.raw").display().to_string();
    tests::run(&mut tests::tool(&["fsck.erofs", &extract, &root]))?;
    Ok(folder)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut next = vec![folder.to_path_buf()];
    while let Some(folder) = next.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                next.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn the_root_holds_no_shell_no_interpreter_no_setuid_and_no_unknown_program() -> Result<()> {
    let folder = unpacked(&Image::release("x86_64")?, "content")?;
    let mut programs = BTreeSet::new();
    for path in files(&folder)? {
        let name = path.strip_prefix(&folder)?.display().to_string();
        let status = std::fs::symlink_metadata(&path)?;
        let mode = status.permissions().mode();
        assert_eq!(mode & 0o7022, 0, "{name}: mode {mode:o}");
        assert_eq!((status.uid(), status.gid()), (0, 0), "{name}: owner");
        assert!(!status.is_symlink(), "{name}: a symbolic link");
        if status.is_file() {
            let content = std::fs::read(&path)?;
            assert!(!content.starts_with(b"#!"), "{name}: a script");
            if content.starts_with(b"\x7fELF") {
                assert!(is_static(&content), "{name}: wants an interpreter");
                programs.insert(name);
            } else {
                assert_eq!(mode & 0o111, 0, "{name}: executable, and no program");
            }
        }
    }
    assert_eq!(programs, PROGRAMS.iter().map(|name| (*name).to_owned()).collect());
    let top: BTreeSet<String> = std::fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(top, TOP.iter().map(|name| (*name).to_owned()).collect());
    Ok(())
}

/// No program header of type `PT_INTERP` (elf(5), 64-bit little-endian).
fn is_static(elf: &[u8]) -> bool {
    let word = |at: usize| {
        let bytes = elf.get(at..at + 2).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)))
    };
    let start = word(32) | word(34) << 16;
    (0..word(56)).all(|index| word(start + index * word(54)) != 3)
}

/// Every test image is the release image, byte for byte, but for programs of `tests/probe` and for
/// descriptions and policies, which are data and are named here.
#[test]
fn the_test_images_differ_only_by_programs_of_the_tests_and_by_data() -> Result<()> {
    let release = content(&unpacked(&Image::release("x86_64")?, "content-release")?)?;
    let programs = ["forger", "hostile", "inspector", "killer", "planter", "probe"]
        .map(|name| format!("usr/lib/kruxos-test/{name}"));
    let cages = ["services/probe.toml", "../kruxos-test/forker", "../kruxos-test/worker"];
    let images: [(&str, &[&str], &[&str]); 4] = [
        ("hostile", &["services/agents.toml"], &[]),
        ("cage", &["edges.toml", "services/forker.toml"], &cages),
        // the two programs that can leave out a ring, in their places
        (
            "ringless",
            &["usr/bin/forker", "usr/bin/worker", "services/forker.toml"],
            &["services/killer.toml"],
        ),
        (
            "smoke",
            &["policies/invariants.yaml", "policies/system.yaml"],
            &["services/killer.toml", "services/planter.toml"],
        ),
    ];
    for (name, changed, added) in images {
        let image = content(&unpacked(&Image::test(name)?, "content-test")?)?;
        for (path, bytes) in &release {
            let data = path.strip_prefix("usr/lib/kruxos/");
            let left_out = data.is_some_and(|path| path.starts_with("services/"));
            match image.get(path) {
                Some(found) if changed.contains(&data.unwrap_or(path)) => {
                    assert_ne!(found, bytes, "{name}: {path} is said to differ");
                }
                found => {
                    assert!(found == Some(bytes) || left_out && found.is_none(), "{name}: {path}");
                }
            }
        }
        let attacks = |path: &&String| path.starts_with("usr/lib/kruxos-test/attacks/");
        let new = image.keys().filter(|path| !release.contains_key(*path) && !attacks(path));
        let new: BTreeSet<&str> = new.map(String::as_str).collect();
        let data = added.iter().map(|path| match path.strip_prefix("../") {
            Some(beside) => format!("usr/lib/{beside}"),
            None => format!("usr/lib/kruxos/{path}"),
        });
        let wanted: BTreeSet<String> = programs.clone().into_iter().chain(data).collect();
        assert_eq!(new, wanted.iter().map(String::as_str).collect(), "{name}");
    }
    Ok(())
}

fn content(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let list = files(folder)?.into_iter().filter(|path| path.is_file());
    list.map(|path| Ok((path.strip_prefix(folder)?.display().to_string(), std::fs::read(path)?)))
        .collect()
}

/// Reads fragments and final configuration anew, apart from the build's own check.
#[test]
fn every_requested_kernel_option_is_there_on_both_architectures() -> Result<()> {
    let folder = tests::root().join("image/kernel");
    for (arch, other) in [("x86_64", "aarch64"), ("aarch64", "x86_64")] {
        let config = std::fs::read_to_string(Image::release(arch)?.beside("kernel-config"))?;
        let final_lines: BTreeSet<&str> = config.lines().collect();
        let mut checked = 0;
        for entry in std::fs::read_dir(&folder)?.flatten() {
            if entry.file_name().to_string_lossy().contains(other) {
                continue;
            }
            let text = std::fs::read_to_string(entry.path())?;
            for line in text.lines().filter(|line| line.starts_with("CONFIG_")) {
                let (name, value) = line.split_once('=').context("no value")?;
                let absent = !final_lines.iter().any(|l| l.starts_with(&format!("{name}=")));
                let there = if value == "n" { absent } else { final_lines.contains(line) };
                assert!(there, "{arch}: {line}");
                checked += 1;
            }
        }
        assert!(checked > 200, "{arch}: only {checked} options");
        assert!(!config.contains("=m\n"), "{arch}: a module");
    }
    Ok(())
}

/// A build of the same commit from another path, with an empty cargo target.
#[test]
fn two_builds_give_the_same_root_hash() -> Result<()> {
    let image = Image::release("x86_64")?;
    let place = tests::root().join("build/tests/another/path");
    std::fs::remove_dir_all(&place).ok();
    std::fs::create_dir_all(&place)?;
    let checkout = place.join("kruxos");
    copy_tree(&tests::root(), &checkout)?;
    let output = tests::run(
        Command::new(checkout.join("image/build"))
            .arg("--output")
            .arg(place.join("out"))
            .arg("--target-dir")
            .arg(place.join("target")),
    )?;
    assert!(output.contains(&image.root_hash), "{} is not in {output}", image.root_hash);
    let names = ["root.raw", "verity.raw", "efi"];
    for ending in names {
        let other = place.join("out").join(image.beside(ending).file_name().context("name")?);
        tests::run(Command::new("cmp").arg(image.beside(ending)).arg(other))?;
    }
    std::fs::remove_dir_all(&place)?;
    Ok(())
}

/// Tracked files as they are now, with the repository, since the time of the commit counts.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let safe = format!("safe.directory={}", from.display());
    let mut git = Command::new("git");
    git.args(["-c", &safe, "ls-files", "--cached", "--others", "--exclude-standard"]);
    let list = tests::run(git.current_dir(from))?;
    for name in list.lines() {
        let target = to.join(name);
        std::fs::create_dir_all(target.parent().context("folder")?)?;
        if from.join(name).is_file() {
            std::fs::copy(from.join(name), target)?;
        }
    }
    tests::run(Command::new("cp").arg("-a").arg(from.join(".git")).arg(to.join(".git"))).map(drop)
}
