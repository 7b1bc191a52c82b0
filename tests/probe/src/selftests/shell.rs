//! What a selftest may ask of /bin: this program under the names `sh` and `sleep`. The box has no shell, and its
//! selftests need none but for the command lines below, each carried out in the way that our kernel has.

use linux::netlink;
use rustix::mount::{MountFlags, mount};
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// The exit code of a shell for a command that it does not find.
const NOT_FOUND: u8 = 127;

/// The part that `name`, the first of the arguments, stands for; `None` if it is no name of /bin.
pub(crate) fn play(arguments: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["sleep" | "/bin/sleep", seconds] => {
            std::thread::sleep(Duration::from_secs(seconds.parse().unwrap_or(0)));
            Some(ExitCode::SUCCESS)
        }
        ["sh" | "/bin/sh", .., command] => {
            Some(run(command).map_or(ExitCode::from(NOT_FOUND), |()| ExitCode::SUCCESS))
        }
        _ => None,
    }
}

fn run(command: &str) -> Result<(), Box<dyn Error>> {
    match command {
        // landlock/net_test
        "ip link set dev lo up" => netlink::loopback_up()?,
        // mount_setattr/mount_setattr_test: our kernel has no loop devices, but a disk with that file system
        "mkfs.ext4 -q /mnt/C/ext4.img" => {}
        "mount -o loop -t ext4 /mnt/C/ext4.img /mnt/D/" => {
            mount("/dev/vda", "/mnt/D", "ext4", MountFlags::empty(), None)?;
        }
        _ => return Err("not found".into()),
    }
    Ok(())
}
