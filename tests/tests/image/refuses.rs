//! Boots that must not happen: changed bits, another root hash, another kernel.

use anyhow::{Context, Result};
use std::process::Command;
use tests::{Disk, Image, Machine, Options, Part};

const LATE: u64 = 120;

/// Boots, and wants the machine to restart with `reason` on the console, never ready.
fn refuses(disk: &Disk, options: &Options, reason: &str) -> Result<()> {
    let mut machine = Machine::start(disk, options)?;
    machine.wait_for(reason, LATE)?;
    machine.wait_gone(LATE)?;
    let console = machine.console();
    anyhow::ensure!(!console.contains("kruxos: ready after"), "it was ready:\n{console}");
    Ok(())
}

#[test]
fn a_flipped_bit_in_the_root_restarts_the_machine() -> Result<()> {
    let disk = Disk::copy(&Image::release("x86_64")?, "bit-root")?;
    disk.flip(Part::Root, 1024 + 6)?;
    refuses(&disk, &Options::new(), "data block 0 is corrupted")
}

#[test]
fn a_flipped_bit_in_the_hash_tree_restarts_the_machine() -> Result<()> {
    let disk = Disk::copy(&Image::release("x86_64")?, "bit-tree")?;
    disk.flip(Part::Tree, 4096 + 6)?;
    refuses(&disk, &Options::new(), "is corrupted")
}

#[test]
fn a_flipped_bit_in_the_toolbox_restarts_the_machine() -> Result<()> {
    let disk = Disk::copy(&Image::release("x86_64")?, "bit-toolbox")?;
    disk.flip(Part::Toolbox, 1024 + 6)?;
    refuses(&disk, &Options::new(), "data block 0 is corrupted")
}

/// A forker of a test build leaves out what the command line names; with nothing to leave out, which is
/// the control, the same image is ready.
#[test]
fn a_box_that_lacks_a_ring_opens_no_door() -> Result<()> {
    let image = Image::test("ringless")?;
    for (missing, said) in [
        ("root", "namespaces: "),
        ("limits", "cgroup: "),
        ("seccomp", "seccomp: "),
        ("landlock", "landlock: "),
        ("nftables", "nftables: "),
    ] {
        let disk = Disk::copy(&image, "ringless")?;
        let more = format!("kruxos.missing={missing}");
        let options = image.direct(&image.kernel()?, &image.root_hash, &more)?;
        let mut machine = Machine::start(&disk, &options)?;
        let refused = machine.wait_for("impossible: stage call: diagnose the cage: ", LATE);
        refused.with_context(|| format!("without {missing}"))?;
        // what follows is ten seconds in which people can read it, and a restart
        machine.wait_for("restarting in 10 s", LATE)?;
        let console = machine.console();
        anyhow::ensure!(console.contains(said), "without {missing}:\n{console}");
        for door in ["agents ready after", "operators ready after"] {
            anyhow::ensure!(!console.contains(door), "without {missing}:\n{console}");
        }
    }
    let disk = Disk::copy(&image, "ringless")?;
    let options = image.direct(&image.kernel()?, &image.root_hash, "")?;
    Machine::start(&disk, &options)?.wait_ready()
}

/// Which of the two holds this box's ledger could not be known.
#[test]
fn two_disks_with_the_same_root_are_refused() -> Result<()> {
    let image = Image::release("x86_64")?;
    let (disk, twin) = (Disk::copy(&image, "one")?, Disk::copy(&image, "twin")?);
    let options = Options { second: Some(twin.path.clone()), ..Options::new() };
    refuses(&disk, &options, "this boot is impossible: find the root: more than one disk")
}

/// `digit` of the hash becomes another one.
fn altered(root_hash: &str, digit: usize) -> String {
    let change = |(index, old): (usize, char)| match (index == digit, old) {
        (false, old) => old,
        (true, '0') => '1',
        (true, _) => '0',
    };
    root_hash.chars().enumerate().map(change).collect()
}

#[test]
fn another_root_hash_finds_no_disk() -> Result<()> {
    let image = Image::release("x86_64")?;
    let disk = Disk::copy(&image, "hash-none")?;
    let options = image.direct(&image.kernel()?, &altered(&image.root_hash, 7), "")?;
    refuses(&disk, &options, "this boot is impossible: find the root: no disk carries")
}

/// Also where the partitions were renamed to fit, verity itself refuses, whichever digit it was.
#[test]
fn another_root_hash_with_partitions_to_match_is_refused_by_verity() -> Result<()> {
    let image = Image::release("x86_64")?;
    for digit in [0, 31, 32, 63] {
        let hash = altered(&image.root_hash, digit);
        let disk = Disk::copy(&image, "hash-renamed")?;
        disk.claim_root_hash(&hash)?;
        refuses(&disk, &image.direct(&image.kernel()?, &hash, "")?, "is corrupted")?;
    }
    Ok(())
}

/// The control of the two tests above: the same direct boot with the right hash is ready.
#[test]
fn the_right_root_hash_boots_directly() -> Result<()> {
    let image = Image::release("x86_64")?;
    let disk = Disk::copy(&image, "hash-right")?;
    let options = image.direct(&image.kernel()?, &image.root_hash, "")?;
    Machine::start(&disk, &options)?.wait_ready()
}

#[test]
fn a_kernel_of_another_configuration_gets_no_service_and_leaves_its_reason_in_pstore() -> Result<()>
{
    let line = "CONFIG_DEFAULT_HOSTNAME=\"other\"";
    let build = tests::root().join("image/build");
    let kernel = tests::run(Command::new(build).args(["--kernel-with", line]))?;
    let image = Image::release("x86_64")?;
    let disk = Disk::copy(&image, "kernel")?;
    let options = image.direct(kernel.trim(), &image.root_hash, "")?;
    let reason = "this boot is impossible: stage kernel: check the kernel: it has configuration";
    let mut machine = Machine::start(&disk, &options)?;
    machine.wait_for(reason, LATE)?;
    machine.wait_gone(LATE)?;
    let console = machine.console();
    assert!(!console.contains("net:"), "a service spoke:\n{console}");
    let variables = std::fs::read(disk.path.with_extension("vars"))?;
    let name: Vec<u8> = "dump-type0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let kept = variables.windows(name.len()).any(|window| window == name);
    assert!(kept, "no crash log among the firmware's variables");
    Ok(())
}
