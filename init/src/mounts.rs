//! The kernel's own file systems, each with the least that a mount can allow.

use crate::error::{BootError, While};
use rustix::mount::{MountFlags, mount};
use std::ffi::CString;

struct Mount {
    what: &'static str,
    at: &'static str,
    flags: MountFlags,
    data: &'static str,
}

const NONE: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);
const NODEV: MountFlags = NONE.union(MountFlags::NODEV);

/// What stage 1 needs to find its disk.
const EARLY: &[Mount] = &[
    Mount { what: "devtmpfs", at: "/dev", flags: NONE, data: "mode=0755" },
    Mount { what: "proc", at: "/proc", flags: NODEV, data: "" },
    Mount { what: "sysfs", at: "/sys", flags: NODEV, data: "" },
];

/// What the running system needs; proc is mounted anew to hide other users' processes.
const RUNNING: &[Mount] = &[
    Mount { what: "proc", at: "/proc", flags: NODEV, data: "hidepid=invisible" },
    Mount { what: "tmpfs", at: "/run", flags: NODEV, data: "mode=0755,size=16m" },
    Mount { what: "cgroup2", at: "/sys/fs/cgroup", flags: NODEV, data: "nsdelegate" },
    Mount { what: "securityfs", at: "/sys/kernel/security", flags: NODEV, data: "" },
];

/// What not every machine has: firmware variables and the store of crash logs.
const WHERE_PRESENT: &[Mount] = &[
    Mount { what: "efivarfs", at: "/sys/firmware/efi/efivars", flags: NODEV, data: "" },
    Mount { what: "pstore", at: "/sys/fs/pstore", flags: NODEV, data: "" },
];

/// Mounts what stage 1 needs, making the mount points in the initramfs.
pub(crate) fn early() -> Result<(), BootError> {
    for mount in EARLY {
        std::fs::create_dir_all(mount.at).during("make directory", mount.at)?;
        raise(mount)?;
    }
    Ok(())
}

/// Mounts what the running system needs, all of it or the boot ends.
pub(crate) fn running() -> Result<(), BootError> {
    RUNNING.iter().try_for_each(raise)?;
    for mount in WHERE_PRESENT {
        if std::path::Path::new(mount.at).is_dir() {
            raise(mount)?;
        }
    }
    Ok(())
}

fn raise(entry: &Mount) -> Result<(), BootError> {
    let data = CString::new(entry.data).during("mount", entry.at)?;
    mount(entry.what, entry.at, entry.what, entry.flags, Some(data.as_c_str()))
        .during("mount", entry.at)
}
