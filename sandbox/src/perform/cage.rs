//! Tries a ring of this cage. Where the ring holds, two of the attempts do not come back: the forker
//! knows them by how the cage ended.

use super::Performed;
use capabilities::{Accepted, Argument};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrV4, SocketType, sendto, socket};
use serde_json::json;
use std::net::Ipv4Addr;

/// More than a cage that is tried may have (`crate::cut`, of the forker).
const MEMORY_BYTES: usize = 48 << 20;
const PAGE_BYTES: usize = 4_096;
/// What is nowhere in a cage.
const OF_THE_BOX: [&str; 5] = ["/usr/sbin/init", "/usr/bin/worker", "/ledger", "/proc/1", "/data"];
/// The discard port (RFC 863).
const PORT: u16 = 9;

pub(super) fn attempt(input: &Accepted) -> Performed {
    let Some(Argument::Text(ring)) = input.get("ring") else { return Err("bad_input") };
    let stopped = match ring.as_str() {
        "namespaces" => sees_nothing(),
        "cgroup" => take_memory(),
        "seccomp" => send_signal(),
        "landlock" => is_denied(),
        "nftables" => is_dropped(),
        _ => return Err("bad_input"),
    };
    if stopped { Ok(json!({})) } else { Err("not_stopped") }
}

fn sees_nothing() -> bool {
    let is_there =
        |path: &&str| statx(CWD, *path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).is_ok();
    !OF_THE_BOX.iter().any(is_there) && rustix::system::uname().nodename().to_bytes() == b"cage"
}

/// Comes back only where nothing ends it.
fn send_signal() -> bool {
    // a call that the forker makes itself: the filter that every cage inherits from it lets it pass
    rustix::process::test_kill_process(rustix::process::Pid::INIT).ok();
    false
}

/// Comes back only where nothing ends it.
fn take_memory() -> bool {
    let mut memory = vec![0_u8; MEMORY_BYTES];
    for byte in memory.iter_mut().step_by(PAGE_BYTES) {
        *byte = 1;
    }
    std::hint::black_box(&memory).is_empty()
}

fn is_denied() -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    matches!(openat(CWD, "/", flags, Mode::empty()), Err(Errno::ACCESS))
}

fn is_dropped() -> bool {
    let Ok(socket) = socket(AddressFamily::INET, SocketType::DGRAM, None) else { return false };
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
    matches!(sendto(&socket, b"x", SendFlags::empty(), &address), Err(Errno::PERM))
}
