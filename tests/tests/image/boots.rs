//! Boots that reach ready, on every bus and with little memory, and what runs then.

use anyhow::Result;
use tests::{CLOCK_BY_KERNEL, Disk, Image, Machine, Options};

fn boots(name: &str, options: &Options) -> Result<Machine> {
    let disk = Disk::copy(&Image::release(options.arch)?, name)?;
    let mut machine = Machine::start(&disk, options)?;
    machine.wait_ready()?;
    Ok(machine)
}

#[test]
fn boots_from_virtio_in_256_mib() -> Result<()> {
    boots("virtio", &Options { memory_mib: 256, ..Options::new() }).map(drop)
}

#[test]
fn boots_from_nvme() -> Result<()> {
    boots("nvme", &Options { bus: "nvme", ..Options::new() }).map(drop)
}

#[test]
fn boots_from_ahci() -> Result<()> {
    boots("ahci", &Options { bus: "ahci", ..Options::new() }).map(drop)
}

#[test]
fn boots_from_usb() -> Result<()> {
    boots("usb", &Options { bus: "usb", ..Options::new() }).map(drop)
}

/// Where the vdso cannot read the clock, which the kernel may find of any machine at any time, each clock is
/// read by a system call: also those of cages, whose filters must admit it.
#[test]
fn boots_where_only_the_kernel_can_read_the_clock() -> Result<()> {
    let image = Image::release("x86_64")?;
    let options = image.direct(&image.kernel()?, &image.root_hash, CLOCK_BY_KERNEL)?;
    boots("clock", &options).map(drop)
}

#[test]
fn boots_on_aarch64() -> Result<()> {
    boots("aarch64", &Options { arch: "aarch64", memory_mib: 1024, ..Options::new() }).map(drop)
}

/// The first boot makes what the image leaves out and is blessed; the power button ends it in
/// order; the second boot finds everything, counts nothing and makes nothing.
#[test]
fn the_power_button_ends_the_machine_in_order_and_it_boots_again() -> Result<()> {
    let disk = Disk::copy(&Image::release("x86_64")?, "twice")?;
    for _ in 0..2 {
        let mut machine = Machine::start(&disk, &Options::new())?;
        machine.wait_ready()?;
        machine.monitor("system_powerdown")?;
        machine.wait_for("kruxos: powering off", 20)?;
        machine.wait_gone(20)?;
        machine.no_alarm()?;
    }
    let esp = tests::run(&mut tests::tool(&["sh", "-c", &list_esp(&disk)]))?;
    assert!(esp.contains("kruxos_0.1.0.efi"), "not blessed: {esp}");
    assert!(!esp.contains('+'), "still counted: {esp}");
    Ok(())
}

fn list_esp(disk: &Disk) -> String {
    format!("mdir -b -i {}@@1048576 ::EFI/Linux", disk.path.display())
}

/// The service of the test image, as root, tries every way to write the root; then it fails as
/// services do and is started again.
#[test]
fn root_cannot_write_the_root_and_services_are_kept_running() -> Result<()> {
    let disk = Disk::copy(&Image::test("cage")?, "probe")?;
    let mut machine = Machine::start(&disk, &Options::new())?;
    machine.wait_for("probe: third run stays", 300)?;
    let console = machine.console();
    let attempts: Vec<&str> = console.lines().filter(|line| line.contains(": refused ")).collect();
    assert_eq!(attempts.len(), 11, "{console}");
    assert!(!console.contains(": DONE"), "{console}");
    for line in ["probe ended: exit code 7", "probe: fell silent; killed", "probe: zombies: 0"] {
        assert!(console.contains(line), "no `{line}`:\n{console}");
    }
    machine.no_alarm()
}
