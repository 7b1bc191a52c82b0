//! A hostile worker: the cage test puts it in the worker's place. It does what its input says, inside a
//! real cage, and answers what came of it.
#![forbid(unsafe_code)]

use capabilities as _;
use channel::Channel;
use contract::perform::{Done, VERSION, Work};
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
    let ((_, _work), fds) = channel.receive().ok()?.open(|_: &(u16, Work)| 2).ok()?;
    let mut fds = fds.into_iter().map(File::from);
    let (mut input, mut answer) = (fds.next()?, fds.next()?);
    let mut text = String::new();
    input.read_to_string(&mut text).ok()?;
    let asked: Json = serde_json::from_str(&text).ok()?;
    let attack = asked.get("path").and_then(Json::as_str).unwrap_or_default();
    let seen = attempt(attack, &channel, &mut answer);
    answer.write_all(seen.to_string().as_bytes()).ok()?;
    channel.send(&(VERSION, Done { code: "ok".to_owned() }), &[]).ok()
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
            let done = (VERSION, Done { code: "ok".to_owned() });
            channel.send(&done, &[]).ok();
            channel.send(&done, &[]).ok();
            Json::Null
        }
        "socket" => json!(std::net::TcpStream::connect("127.0.0.1:7700").is_ok()),
        "thread" => json!(std::thread::Builder::new().spawn(|| ()).is_ok()),
        "mount" => json!(
            rustix::mount::mount("none", "/", "tmpfs", rustix::mount::MountFlags::empty(), None)
                .is_ok()
        ),
        _ => Json::Null,
    }
}
