//! STATE, LEDGER and DATA: made once from a prebuilt image, grown at every boot, mounted with the
//! least. No mkfs and no resize tool is on the root.

use crate::console;
use crate::disk::{Disk, Partition, random_guid};
use crate::error::{BootError, While};
use crate::gpt;
use crate::guid::{self, Guid};
use rustix::mount::{MountFlags, mount};
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// An empty ext4 of 16 MiB; docs/boot.md has the command that makes it.
const PREBUILT: &str = "/usr/lib/kruxos/empty.ext4";
const BLOCK_BYTES: u64 = 4096;
const CHUNK_BYTES: usize = 1 << 20;

struct FileSystem {
    kind: Guid,
    name: &'static str,
    at: &'static str,
    options: &'static str,
}

const ALL: &[FileSystem] = &[
    FileSystem { kind: guid::STATE, name: "STATE", at: "/state", options: "errors=remount-ro" },
    FileSystem { kind: guid::LEDGER, name: "LEDGER", at: "/ledger", options: "errors=remount-ro" },
    FileSystem {
        kind: guid::DATA,
        name: "DATA",
        at: "/data",
        options: "errors=remount-ro,prjquota",
    },
];

/// Makes what is not made yet, mounts all three and lets them fill their partitions.
pub(crate) fn mount_all(mut disk: Disk) -> Result<(), BootError> {
    for system in ALL {
        let entry = disk.table.only(system.kind).cloned();
        let entry = entry.ok_or_else(|| BootError::new("find", system.name, "not exactly one"))?;
        let partition = disk.partition(&entry);
        let new = entry.attributes & gpt::MADE == 0;
        if new {
            make(&partition).map_err(|error| BootError::new("make", system.name, error))?;
        }
        attach(system, &partition, new)?;
        if new {
            // only now is it certain that the file system is whole; see gpt::MADE
            for made in disk.table.entries.iter_mut().filter(|e| e.number == entry.number) {
                made.attributes |= gpt::MADE;
            }
            disk.write_table()?;
            console::note(&format!("{} made", system.name));
        }
    }
    Ok(())
}

/// Unmounts all three, after every service has ended; what is still busy becomes read-only.
pub(crate) fn detach_all() {
    rustix::fs::sync();
    for system in ALL.iter().rev() {
        let gone = rustix::mount::unmount(system.at, rustix::mount::UnmountFlags::empty());
        if let Err(errno) = gone {
            console::note(&format!("unmount {}: {errno}; made read-only instead", system.name));
            rustix::mount::mount_remount(system.at, MountFlags::RDONLY, "").ok();
        }
    }
}

/// Writes the prebuilt image: the first block, which makes it a file system, last.
fn make(partition: &Partition) -> Result<(), BootError> {
    let mut image = File::open(PREBUILT).during("open", PREBUILT)?;
    let path = &partition.path;
    let device = File::options().write(true).open(path).during("open", path)?;
    let mut first = [0; 4096];
    image.read_exact(&mut first).during("read", PREBUILT)?;
    device.write_all_at(&[0; 4096], 0).during("write", path)?;
    let mut at = BLOCK_BYTES;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = image.read(&mut chunk).during("read", PREBUILT)?;
        if length == 0 {
            break;
        }
        device.write_all_at(chunk.get(..length).unwrap_or_default(), at).during("write", path)?;
        at += u64::try_from(length).unwrap_or(0);
    }
    device.sync_all().during("flush", path)?;
    device.write_all_at(&first, 0).during("write", path)?;
    device.sync_all().during("flush", path)
}

fn attach(system: &FileSystem, partition: &Partition, new: bool) -> Result<(), BootError> {
    let options = CString::new(system.options).during("mount", system.name)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    mount(&partition.path, system.at, "ext4", flags, Some(options.as_c_str()))
        .during("mount", system.name)?;
    let root = File::open(system.at).during("open", system.at)?;
    if new {
        linux::ext4::set_uuid(&root, random_guid()?)?;
    }
    linux::ext4::resize(&root, partition.bytes / BLOCK_BYTES)?;
    Ok(())
}
