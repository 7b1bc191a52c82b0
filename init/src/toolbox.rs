//! The toolbox: the second verified tree. It is opened like the root and mounted so that nothing of it
//! can be executed here; only the copies that cages get allow that.

use crate::disk;
use crate::error::{BootError, While};
use crate::verity::{self, RootHash};
use rustix::mount::{MountFlags, mount};

const PLACE: &str = "/toolbox";

/// Opens and mounts it, or the boot ends. It lies on the disk of the root: the same toolbox on another
/// disk means nothing.
pub(crate) fn open() -> Result<(), BootError> {
    let line = std::fs::read_to_string("/proc/cmdline").during("read", "/proc/cmdline")?;
    let hash = RootHash::from_command_line(&line, "toolboxhash")?;
    let pair = disk::of_the_root()?.pair(hash.partitions());
    let missing = || BootError::new("find", "the toolbox", "the disk of the root does not hold it");
    let device = verity::open("toolbox", &hash, pair.ok_or_else(missing)?)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(&device, PLACE, "erofs", flags, None).during("mount", PLACE)
}
