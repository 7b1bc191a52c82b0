//! In the initramfs: open the verified root and become the init that lies in it. Nothing else is
//! there to fall back to; without a root hash that a disk answers to, the boot ends.

use crate::error::{BootError, While};
use crate::verity::{self, RootHash};
use crate::{console, disk, mounts};
use rustix::mount::{MountFlags, mount, mount_move};
use std::convert::Infallible;

/// Time for slow buses (USB enumerates for a second or more), from the kernel's start.
const DISK_MS_MAX: u64 = 30_000;
const ROOT: &str = "/root";

/// Whether this process stands in the initramfs, which is a tmpfs or ramfs.
pub(crate) fn is_initramfs() -> bool {
    const RAMFS: u64 = 0x8584_58f6;
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::statfs("/")
        .is_ok_and(|root| matches!(u64::try_from(root.f_type), Ok(RAMFS | TMPFS)))
}

/// Opens the root and executes its init; returns only with the reason why not.
pub(crate) fn run() -> Result<Infallible, BootError> {
    mounts::early()?;
    let line = std::fs::read_to_string("/proc/cmdline").during("read", "/proc/cmdline")?;
    let hash = RootHash::from_command_line(&line, "roothash")?;
    let device = verity::open("root", &hash, disk::find(hash.partitions(), DISK_MS_MAX)?)?;
    console::note("root hash found, verity device open");
    enter(&device)
}

fn enter(device: &str) -> Result<Infallible, BootError> {
    std::fs::create_dir_all(ROOT).during("make directory", ROOT)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    mount(device, ROOT, "erofs", flags, None).during("mount", device)?;
    for kernel in ["/dev", "/proc", "/sys"] {
        mount_move(kernel, format!("{ROOT}{kernel}")).during("move mount", kernel)?;
    }
    std::env::set_current_dir(ROOT).during("enter", ROOT)?;
    mount_move(".", "/").during("move mount", ROOT)?;
    rustix::process::chroot(".").during("chroot", ROOT)?;
    std::env::set_current_dir("/").during("enter", "/")?;
    let never = linux::process::execute(c"/usr/sbin/init", &[c"init".to_owned()])?;
    match never {}
}
