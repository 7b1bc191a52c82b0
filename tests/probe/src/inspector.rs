//! A hostile worker: the cage test puts it in the worker's place. It does what its input says, inside a
//! real cage, and answers what came of it.
#![forbid(unsafe_code)]

use capabilities as _;
use channel::Channel;
use contract::perform::{Access, FromWorker, Go, VERSION, Work};
use ledger as _;
use linux::confine::{Domain, Reach, Rights};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value as Json, json};
use sha2 as _;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;

/// The forker's socket.
const SOCKET: i32 = 3;

fn main() -> ExitCode {
    match work() {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn work() -> Option<()> {
    let channel = Channel::new(linux::process::inherited(SOCKET).ok()?);
    channel.send(&(VERSION, FromWorker::Parked), &[]).ok()?;
    let ((_, work), _) = channel.receive().ok()?.open(|_: &(u16, Work)| 0).ok()?;
    let (_, fds) = channel.receive().ok()?.open(|_: &(u16, Go)| 2).ok()?;
    let mut fds = fds.into_iter().map(File::from);
    let (mut input, mut answer) = (fds.next()?, fds.next()?);
    let mut text = String::new();
    (&mut input).take(1 << 20).read_to_string(&mut text).ok()?;
    let asked: Json = serde_json::from_str(&text).ok()?;
    let attack = asked.get("path").and_then(Json::as_str).unwrap_or_default();
    // the mark of a cage without ring four
    let all = matches!(work.grants.as_slice(), [only] if only.path == "/");
    if attack != "unkept" && !all {
        keep(&work)?;
    }
    let seen = attempt(attack, &channel, &mut answer);
    answer.write_all(seen.to_string().as_bytes()).ok()?;
    channel.send(&done(), &[]).ok()?;
    drop(channel.receive());
    Some(())
}

fn done() -> (u16, FromWorker) {
    (VERSION, FromWorker::Done("ok".to_owned()))
}

/// Gives up what its call is not granted, as the real one does: what it tries then is what somebody
/// can try who takes a worker over by its input.
fn keep(work: &Work) -> Option<()> {
    let rights = |access| match access {
        Access::Read => Rights::ReadThis,
        Access::Region => Rights::Read,
        Access::Write => Rights::Make,
        Access::Fill => Rights::Fill,
        Access::Rename => Rights::Rename,
        Access::Execute => Rights::Execute,
        Access::Own => Rights::Own,
    };
    let grants = work.grants.iter().filter(|grant| is_there(&grant.path));
    let files = grants.map(|grant| (grant.path.clone(), rights(grant.access))).collect();
    Domain::prepare().ok()?.enter(&Reach { files, ..Reach::default() }).ok()
}

fn attempt(attack: &str, channel: &Channel, answer: &mut File) -> Json {
    let errno = |path: &str| match File::open(path) {
        Ok(_) => json!(0),
        Err(error) => json!(error.raw_os_error()),
    };
    match attack {
        "outside" => json!(
            ["/proc/self/status", "/dev/null", "/sys", "/data", "/etc", "/usr", "/ledger"]
                .map(errno)
        ),
        "unkept" => json!({ "other": errno("/workspace/c.txt"), "write": write_errno() }),
        "stat" => json!({
            "named": is_there("/workspace/c.txt"),
            "opened": errno("/workspace/c.txt"),
        }),
        "beside" => json!({
            "made": made("/workspace/beside.txt"),
            "made beneath": made("/workspace/d/beside.txt"),
            "removed": removed("/workspace/beside.txt"),
            "removed beneath": removed("/workspace/d/beside.txt"),
            "read": errno("/workspace/c.txt"),
        }),
        "renames" => json!({
            "to the trash": renamed("/agent/workspace/c.txt", "/agent/trash/kept"),
            "and back": renamed("/agent/trash/kept", "/agent/workspace/c.txt"),
            "made": made("/agent/workspace/beside.txt"),
            "read": errno("/agent/workspace/c.txt"),
        }),
        "fills" | "moves" => region(attack),
        "undecided" => json!({ "other": errno("/workspace/c.txt") }),
        "spin" => loop {
            std::hint::black_box(0);
        },
        "flood" => {
            let chunk = [b'x'; 65_536];
            while answer.write_all(&chunk).is_ok() {}
            Json::Null
        }
        "garbage" => {
            channel.send(&"no such message", &[]).ok();
            Json::Null
        }
        "twice" => {
            channel.send(&done(), &[]).ok();
            channel.send(&done(), &[]).ok();
            Json::Null
        }
        "socket" => {
            json!(rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).is_ok())
        }
        "thread" => json!(std::thread::Builder::new().spawn(|| ()).is_ok()),
        "mount" => json!(
            rustix::mount::mount("none", "/", "tmpfs", rustix::mount::MountFlags::empty(), None)
                .is_ok()
        ),
        "names" => {
            json!(["/data/agents/bob/workspace", "/usr/bin/worker", "/ledger"].map(is_there))
        }
        "hog" => json!(hog()),
        "disk" => json!(fill_disk().is_ok()),
        _ => Json::Null,
    }
}

/// What comes of the rights on a region that is written, or on one that is moved.
fn region(attack: &str) -> Json {
    let errno = |path: &str| match File::open(path) {
        Ok(_) => json!(0),
        Err(error) => json!(error.raw_os_error()),
    };
    match attack {
        "fills" => json!({
            "listed": errno("/workspace/d"),
            "made": made("/workspace/d/fill.txt"),
            "directory made": directory_made("/workspace/d/fill"),
            "read": errno("/workspace/d/fill.txt"),
            "removed": removed("/workspace/d/fill.txt"),
            "directory removed": directory_removed("/workspace/d/fill"),
            "listed beside": errno("/workspace/e1"),
            "made beside": made("/workspace/fill.txt"),
            "directory made beside": directory_made("/workspace/fill"),
            "removed beside": removed("/workspace/c.txt"),
        }),
        _ => json!({
            "moved": renamed("/workspace/c.txt", "/workspace/d/c.txt"),
            "and back": renamed("/workspace/d/c.txt", "/workspace/c.txt"),
            "unmeasured": renamed("/workspace/e1", "/workspace/d/moved"),
            "back unmeasured": renamed("/workspace/d/moved", "/workspace/e1"),
            "directory made": directory_made("/workspace/moves"),
            "directory removed": directory_removed("/workspace/moves"),
            "made": made("/workspace/moves.txt"),
            "read": errno("/workspace/c.txt"),
            "read beneath": errno("/workspace/e1/hello.txt"),
            "written beneath": appended("/workspace/e1/hello.txt"),
        }),
    }
}

/// Whether a name exists; no right to open it is needed.
fn is_there(path: &str) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// What the kernel says to writing where only reading was decided.
fn write_errno() -> i32 {
    appended("/workspace/a.txt")
}

fn appended(path: &str) -> i32 {
    let written = File::options().append(true).open(path);
    written.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

fn number<T>(tried: rustix::io::Result<T>) -> i32 {
    tried.map_or_else(Errno::raw_os_error, |_| 0)
}

fn made(path: &str) -> i32 {
    let flags = OFlags::CREATE | OFlags::WRONLY;
    number(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600)))
}

fn removed(path: &str) -> i32 {
    number(rustix::fs::unlinkat(CWD, path, AtFlags::empty()))
}

fn directory_made(path: &str) -> i32 {
    number(rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o700)))
}

fn directory_removed(path: &str) -> i32 {
    number(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR))
}

fn renamed(from: &str, to: &str) -> i32 {
    number(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::empty()))
}

/// Touches 96 MiB of memory.
fn hog() -> usize {
    let memory = vec![1_u8; 96 << 20];
    std::hint::black_box(&memory).len()
}

/// Writes 16 MiB to the disk, a quarter of one at a time.
fn fill_disk() -> std::io::Result<()> {
    let chunk = vec![b'x'; 256 << 10];
    let mut file = File::create("/workspace/a.txt")?;
    for _ in 0..64 {
        file.write_all(&chunk)?;
        file.sync_all()?;
    }
    Ok(())
}
