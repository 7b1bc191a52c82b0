//! PID 1 of the disk of selftests (image/steps/selftests.py): runs each program of the kernel's own selftests
//! with a bound of time and passes on what it says, line by line with its name, to the test on the host, which
//! judges (tests/tests/selftests.rs). Nothing is judged here.
//!
//! Every program has a mount namespace, a /tmp and a directory of its own, and when it ended nobody of it is left:
//! what one leaves behind is not what another one fails on.
#![forbid(unsafe_code)]

mod shell;

use capabilities as _;
use channel as _;
use contract as _;
use ledger as _;
use linux::cage::Namespace;
use linux::process::{close_from, ends_within, execute, place, spawn};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, wait};
use rustix::system::{RebootCommand, reboot};
use serde_json as _;
use sha2 as _;
use std::convert::Infallible;
use std::error::Error;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const FOLDER: &str = "/selftests";
const CGROUPS: &str = "/sys/fs/cgroup";
/// What a program says stands here, on a file system that bounds it; the program sees another /tmp.
const SAID: &str = "/tmp/said";
const SAID_BYTES: &str = "size=8m";
/// What scripts are for.
const SHELL: &CStr = c"/bin/bash";
/// Process numbers begin again after so many: one test goes round until it gets a number a second time.
const NUMBERS: &str = "4096";
/// How long the processes that a program leaves behind may take to die.
const DYING_MS_MAX: u64 = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = shell::play(&arguments) {
        return code;
    }
    if std::process::id() != 1 {
        return ExitCode::from(2);
    }
    // whoever cannot say why it ends here shows the kernel's panic: PID 1 left
    let Ok(mut console) = prepare() else { return ExitCode::FAILURE };
    if let Err(error) = run_all(&mut console) {
        writeln!(console, "selftests: stopped: {error}").ok();
    }
    reboot(RebootCommand::PowerOff).ok();
    ExitCode::FAILURE
}

/// What a booted system has; the console is opened only once there is a /dev.
fn prepare() -> Result<File> {
    let flags = MountFlags::NOSUID;
    mount("dev", "/dev", "devtmpfs", flags, None)?;
    mount("proc", "/proc", "proc", flags, None)?;
    mount("sys", "/sys", "sysfs", flags, None)?;
    mount("cgroup", CGROUPS, "cgroup2", flags, None)?;
    mount("security", "/sys/kernel/security", "securityfs", flags, None)?;
    let size = CString::new(SAID_BYTES)?;
    mount("said", "/tmp", "tmpfs", flags, Some(size.as_c_str()))?;
    // what scripts read from
    std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd")?;
    std::os::unix::fs::symlink("/proc/self/fd/0", "/dev/stdin")?;
    Ok(File::options().write(true).open("/dev/console")?)
}

fn run_all(console: &mut File) -> Result<()> {
    delegate()?;
    std::fs::write("/proc/sys/kernel/pid_max", NUMBERS)?;
    linux::netlink::loopback_up()?;
    let list = std::fs::read_to_string(Path::new(FOLDER).join("list"))?;
    let mut taint = taint()?;
    for line in list.lines() {
        let (program, seconds) = line.split_once(' ').ok_or("a line of the list has one word")?;
        let began = Instant::now();
        let end = run(program, seconds.parse()?)?;
        let took = began.elapsed().as_millis();
        pass_on(program, console)?;
        // a warning or worse of the kernel itself is this program's finding
        let now = self::taint()?;
        let tainted = if now == taint { "" } else { ", the kernel is tainted" };
        taint = now;
        writeln!(console, "selftest {program}: end: {end}{tainted}")?;
        writeln!(console, "selftest {program}: took {took} ms")?;
    }
    writeln!(console, "selftests: all tried")?;
    Ok(())
}

/// The controllers that the kernel has, for those beneath, as a service manager does.
fn delegate() -> Result<()> {
    let offered = std::fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers"))?;
    let wanted: Vec<String> = offered.split_whitespace().map(|name| format!("+{name}")).collect();
    Ok(std::fs::write(Path::new(CGROUPS).join("cgroup.subtree_control"), wanted.join(" "))?)
}

fn taint() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/tainted")?.trim().to_owned())
}

/// Runs one program to its end or its bound, and ends whom it left behind; how it ended.
fn run(program: &str, seconds_max: u64) -> Result<String> {
    std::fs::remove_file(SAID).ok();
    let said = File::options().create_new(true).append(true).open(SAID)?;
    // by then the child's standard error is what the program says
    let child = spawn(
        || become_program(program, said),
        |error| drop(writeln!(std::io::stderr(), "not started: {error}")),
    )?;
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
    let end = ends_within(&pidfd, seconds_max.saturating_mul(1_000))?;
    end_all()?;
    remove_groups(Path::new(CGROUPS));
    Ok(end.map_or(format!("none in {seconds_max} s"), |end| end.to_string()))
}

/// The child's way to the program: its own mounts, session, directory and output.
fn become_program(program: &str, said: File) -> Result<Infallible> {
    let path = Path::new(FOLDER).join(program);
    let folder = path.parent().ok_or("a program in no folder")?;
    Namespace::enter_new_mounts()?;
    rustix::process::setsid()?;
    mount("tmp", "/tmp", "tmpfs", MountFlags::empty(), None)?;
    // on a disk: what the tests of memory cgroups write is to be cached there
    let here = Path::new("/work").join(program.replace('/', "-"));
    std::fs::create_dir(&here)?;
    std::env::set_current_dir(&here)?;
    // what a program wants beside itself, it looks for where it is started
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        std::os::unix::fs::symlink(&file, file.file_name().ok_or("a file without a name")?)?;
    }
    place(File::open("/dev/null")?.into(), 0)?;
    place(said.try_clone()?.into(), 1)?;
    place(said.into(), 2)?;
    close_from(3)?;
    let path = CString::new(path.into_os_string().into_encoded_bytes())?;
    // our kernel reads no `#!` (CONFIG_BINFMT_SCRIPT)
    if program.ends_with(".sh") {
        return Ok(execute(SHELL, &[SHELL.to_owned(), path])?);
    }
    Ok(execute(&path, std::slice::from_ref(&path))?)
}

/// Kills every process but this one, until none is left.
fn end_all() -> Result<()> {
    let deadline = Instant::now() + Duration::from_millis(DYING_MS_MAX);
    loop {
        // kill(-1): a test machine has nobody else
        match kill_process_group(Pid::INIT, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() > deadline => return Err("somebody does not die".into()),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes what cgroups a program left, the innermost first.
fn remove_groups(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
            std::fs::remove_dir(entry.path()).ok();
        }
    }
}

/// Each line that a program said, with its name before it and with nothing that moves a cursor.
fn pass_on(program: &str, console: &mut File) -> Result<()> {
    let mut said = Vec::new();
    File::open(SAID)?.read_to_end(&mut said)?;
    for line in String::from_utf8_lossy(&said).lines() {
        let shown: String = line.trim_end().replace(|c: char| c.is_control(), " ");
        writeln!(console, "selftest {program}: {shown}")?;
    }
    Ok(())
}
