//! A service of the test image alone. As root it tries to write the root; then it fails in the ways
//! in which services fail, one way a run: leaves, falls silent, and at last stays. Each finding is a
//! line on the console, which the test on the host reads.
#![forbid(unsafe_code)]

mod cage;
mod codes;
mod direct;
mod escape;
mod facts;
mod filters;
mod network;
mod regions;
mod repository;
mod rings;
mod verdict;
mod worker;

use channel::{ChannelError, Service, Wish};
use ledger as _;
use rustix::mount::{MountFlags, mount_remount};
use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

const RUNS: &str = "/run/probe-runs";
const ROOT_PROGRAM: &str = "/usr/sbin/init";

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let run = std::fs::read_to_string(RUNS).map_or(0, |runs| runs.len()) + 1;
    match act(&mut service, run) {
        Ok(code) => code,
        Err(_gone) => ExitCode::FAILURE,
    }
}

fn act(service: &mut Service, run: usize) -> Result<ExitCode, ChannelError> {
    if let Ok(mut runs) = File::options().create(true).append(true).open(RUNS) {
        runs.write_all(b"x").ok();
    }
    match run {
        1 => {
            for (name, outcome) in attempts() {
                service.log(&format!("{name}: {outcome}"))?;
            }
            leave_an_orphan();
            service.ready()?;
            std::thread::sleep(Duration::from_millis(500));
            Ok(ExitCode::from(7))
        }
        2 => {
            service.ready()?;
            std::thread::sleep(Duration::from_secs(3_600));
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            service.ready()?;
            service.log(&format!("zombies: {}", zombies()))?;
            service.log(&memory())?;
            let edges = (service.edge("pdp-forker"), service.edge("audit-forker"));
            service.log("third run stays")?;
            if let (Some(pdp), Some(audit)) = edges {
                cage::Stand::new(service, pdp, audit)?.run()?;
                service.log("cage: all tried")?;
            }
            stay(service)
        }
    }
}

/// Alive until init says stop.
fn stay(service: &mut Service) -> Result<ExitCode, ChannelError> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        service.alive()?;
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut watched = [PollFd::new(&*service, PollFlags::IN)];
        if poll(&mut watched, Some(&second)) == Ok(1) && matches!(service.wish()?, Wish::Stop) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Every way in which root could write the root, and what came of it.
fn attempts() -> Vec<(&'static str, String)> {
    let said = |outcome: std::io::Result<()>| match outcome {
        Ok(()) => "DONE".to_owned(),
        Err(error) => format!("refused {}", error.raw_os_error().unwrap_or(0)),
    };
    let open = |path: &str| File::options().write(true).open(path).map(drop);
    vec![
        ("create /x", said(File::create("/x").map(drop))),
        ("create /usr/x", said(File::create("/usr/x").map(drop))),
        ("write init", said(open(ROOT_PROGRAM))),
        ("remove init", said(std::fs::remove_file(ROOT_PROGRAM))),
        ("rename init", said(std::fs::rename(ROOT_PROGRAM, "/usr/sbin/other"))),
        ("make directory", said(std::fs::create_dir("/d"))),
        ("symlink", said(std::os::unix::fs::symlink("a", "/s"))),
        ("remount", said(mount_remount("/", MountFlags::empty(), "").map_err(Into::into))),
        ("write verity device", said(open("/dev/dm-0"))),
        ("open /dev/mem", said(open("/dev/mem"))),
        ("run from /run", said(run_from("/run/probe"))),
    ]
}

/// Copies a program to where it could be written and tries to execute it there.
fn run_from(place: &str) -> std::io::Result<()> {
    std::fs::copy(ROOT_PROGRAM, place)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place, mode)?;
    let path = std::ffi::CString::new(place)?;
    let child = linux::process::spawn(
        || linux::process::execute(&path, std::slice::from_ref(&path)),
        |_error| {},
    );
    child.map_err(|error| std::io::Error::from(error.errno))?;
    // the child left with 127 (execve refused) or 2 (it is not PID 1)
    loop {
        if let Some((_, ended)) = linux::process::reap() {
            return match ended {
                linux::process::Ended::Code(127) => Err(std::io::Error::from_raw_os_error(13)),
                _ => Ok(()),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child whose child outlives it: the grandchild becomes init's to reap.
fn leave_an_orphan() {
    let parent = || -> Result<Infallible, String> {
        let grandchild = || -> Result<Infallible, String> { Err("ends at once".to_owned()) };
        linux::process::spawn(grandchild, |_error| {}).map_err(|error| error.to_string())?;
        Err("ends before its child is reaped".to_owned())
    };
    if linux::process::spawn(parent, |_error| {}).is_ok() {
        std::thread::sleep(Duration::from_millis(100));
        let _reaped = linux::process::reap();
    }
}

fn zombies() -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(") Z ")).count()
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    };
    let used = of("MemTotal:").saturating_sub(of("MemAvailable:"));
    format!("memory in use: {used} KiB of {}", of("MemTotal:"))
}
