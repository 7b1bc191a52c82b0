//! A service of a test image: kills services, as often and as fast as the file `kill` in a workspace
//! says (`ROUNDS PAUSE_MS NAME…`), and says at the end what was left lying about. The file `replace`
//! (`SERVICE PROGRAM`) has it put a program of the tests in a service's place, until the ledger holds
//! the words that the program is done. The file `toolbox` has it put the malicious program in the place
//! of `sort`; the file `count` has it say what there is of what calls are made with.
#![forbid(unsafe_code)]

use capabilities as _;
use channel::{ChannelError, Service, Wish, wait};
use contract as _;
use ledger as _;
use linux as _;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json as _;
use sha2 as _;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

const AGENTS: &str = "/data/agents";
const SERVICES: &str = "/sys/fs/cgroup/services";
const CAGES: &str = "/sys/fs/cgroup/cages";
const ATTACKS: &str = "/usr/lib/kruxos-test/attacks";
const VICTIM: &str = "/toolbox/sort";
/// How long a killed forker may take to have a successor.
const SUCCESSOR_MS_MAX: u64 = 10_000;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_gone) => ExitCode::FAILURE,
    }
}

fn serve() -> Result<(), ChannelError> {
    let mut service = Service::start()?;
    service.ready()?;
    loop {
        service.alive()?;
        for home in std::fs::read_dir(AGENTS).into_iter().flatten().flatten() {
            let order = home.path().join("workspace/kill");
            if let Ok(words) = std::fs::read_to_string(&order) {
                std::fs::remove_file(&order).ok();
                kill(&mut service, &words)?;
            }
            let order = home.path().join("workspace/toolbox");
            if std::fs::remove_file(&order).is_ok() {
                let bound = mount_bind(ATTACKS, VICTIM).is_ok();
                let restarted = std::fs::write(format!("{SERVICES}/forker/cgroup.kill"), "1");
                service.log(&format!("a malicious toolbox: {}", bound && restarted.is_ok()))?;
            }
            let order = home.path().join("workspace/count");
            if std::fs::remove_file(&order).is_ok() {
                service.log(&format!("counted: {}", count()))?;
            }
            let order = home.path().join("workspace/replace");
            if let Ok(words) = std::fs::read_to_string(&order) {
                std::fs::remove_file(&order).ok();
                if let Some((name, program)) = words.trim().split_once(' ') {
                    replace(&mut service, name, program)?;
                }
            }
        }
        pause(&mut service, 200)?;
    }
}

/// Waits; ends the process when init wants that.
fn pause(service: &mut Service, ms: u64) -> Result<(), ChannelError> {
    let ready = wait(&[Some(service.as_fd())], &[], ms)?;
    if ready.first() == Some(&true) && matches!(service.wish()?, Wish::Stop) {
        return Err(ChannelError::Closed);
    }
    Ok(())
}

fn kill(service: &mut Service, words: &str) -> Result<(), ChannelError> {
    let mut words = words.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let (rounds, pause_ms) = (number(), number());
    let names: Vec<&str> = words.collect();
    let (mut kills, mut outlived, mut kept_open) = (0, 0, 0);
    for _ in 0..rounds {
        for name in &names {
            let before = (*name == "forker").then(|| (caged(), opened()));
            let killed_ms = linux::clock::boot_ms();
            if std::fs::write(format!("{SERVICES}/{name}/cgroup.kill"), "1").is_ok() {
                kills += 1;
            }
            if let Some((cages, files)) = before {
                outlived += outlive(service, killed_ms, &cages)?;
                kept_open += still_open(&files);
            }
            pause(service, pause_ms)?;
            service.alive()?;
        }
    }
    // clients stop now; what is under way may end first
    service.log("kills are over")?;
    for _ in 0..10 {
        pause(service, 1_000)?;
        service.alive()?;
    }
    let (zombies, orphans) = (zombies(), orphans());
    service.log(&format!(
        "killed {kills}: {zombies} zombies, {orphans} orphaned cages, {outlived} processes and {kept_open} descriptors that outlived a forker"
    ))
}

/// The namespaces that a forker keeps some of: id maps, and places for cages.
const KEPT: [&str; 3] = ["user:[", "net:[", "mnt:["];

/// What there is of everything that a call is made with: the forker's descriptors but those of
/// namespaces, which it keeps some of; mounts; namespaces that processes are in; cgroups; processes, without
/// the kernel's own, which come and go with what there is to do. And the kernel's taint, which is 0 until it warned,
/// found a bug in itself, or worse.
fn count() -> String {
    let forker = forkers().into_iter().next().unwrap_or_default();
    let entries = |path: &str| std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_kept = |link: &String| KEPT.iter().any(|kind| link.starts_with(kind));
    let open = links(&forker, "fd").filter(|link| !is_kept(link)).count();
    let mounts = std::fs::read_to_string(format!("/proc/{forker}/mountinfo")).unwrap_or_default();
    let is_kernels = |path: &Path| {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        status.lines().any(|line| line == "Kthread:\t1")
    };
    let processes: Vec<_> = entries("/proc")
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|entry| !is_kernels(&entry.path()))
        .collect();
    let namespaces: BTreeSet<_> = processes
        .iter()
        .flat_map(|process| links(&process.file_name().to_string_lossy(), "ns"))
        .collect();
    let tainted = std::fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    format!(
        "{open} descriptors, {} mounts, {} namespaces, {} cgroups, {} processes, taint {}",
        mounts.lines().count(),
        namespaces.len(),
        entries(CAGES).filter(|entry| entry.path().is_dir()).count(),
        processes.len(),
        tainted.trim()
    )
}

/// How many processes of the cages before live on when there is a forker that began after the kill: what a
/// forker makes for a moment stands beside it, and is none.
fn outlive(
    service: &mut Service,
    killed_ms: u64,
    cages: &BTreeSet<(String, String)>,
) -> Result<usize, ChannelError> {
    /// What times of processes are counted in (proc_pid_stat(5)): USER_HZ is 100.
    const TICK_MS: u64 = 10;
    let is_new = |pid: &String| {
        let begun = started(pid).and_then(|ticks| ticks.parse::<u64>().ok());
        begun.is_some_and(|ticks| ticks > killed_ms / TICK_MS)
    };
    for _ in 0..SUCCESSOR_MS_MAX / 10 {
        if forkers().iter().any(is_new) {
            return Ok(cages
                .iter()
                .filter(|(pid, begun)| started(pid).as_ref() == Some(begun))
                .count());
        }
        pause(service, 10)?;
    }
    Ok(usize::MAX)
}

/// Every process of a cage, with when it began.
fn caged() -> BTreeSet<(String, String)> {
    let entries = std::fs::read_dir(CAGES).into_iter().flatten().flatten();
    let pids = entries.flat_map(|entry| processes(&entry.path()));
    pids.filter_map(|pid| started(&pid).map(|begun| (pid, begun))).collect()
}

/// What processes of cages have open that others could have as well, and their namespaces.
fn opened() -> BTreeSet<String> {
    let shared = |link: &String| link.contains(":[") && !link.starts_with("anon_inode");
    let of = |(pid, _): (String, String)| links(&pid, "fd").chain(links(&pid, "ns"));
    caged().into_iter().flat_map(of).filter(shared).collect()
}

/// How many descriptors there are of these, but the doors' own ends of their calls' pipes, which they close
/// when they are told how the calls ended.
fn still_open(files: &BTreeSet<String>) -> usize {
    let doors = ["agents", "operators"].map(|door| processes(&Path::new(SERVICES).join(door)));
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().into_string().ok());
    let others = all.filter(|pid| !doors.iter().flatten().any(|door| door == pid));
    others.flat_map(|pid| links(&pid, "fd")).filter(|link| files.contains(link)).count()
}

/// What the links of a folder of a process lead to.
fn links(pid: &str, folder: &str) -> impl Iterator<Item = String> + use<> {
    let entries =
        std::fs::read_dir(format!("/proc/{pid}/{folder}")).into_iter().flatten().flatten();
    entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned))
}

/// When a process began (proc_pid_stat(5), starttime); nothing of one that is gone or a zombie.
fn started(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|field| (*field).to_owned()))?
}

fn forkers() -> Vec<String> {
    processes(&Path::new(SERVICES).join("forker"))
}

fn processes(cgroup: &Path) -> Vec<String> {
    let list = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    list.lines().map(str::to_owned).collect()
}

/// Another program in the place of a service's own, and back.
fn replace(service: &mut Service, name: &str, program: &str) -> Result<(), ChannelError> {
    let place = format!("/usr/bin/{name}");
    let restart = || std::fs::write(format!("{SERVICES}/{name}/cgroup.kill"), "1").is_ok();
    let bound = mount_bind(format!("/usr/lib/kruxos-test/{program}"), &place).is_ok();
    service.log(&format!("{program} for {name}: {}", bound && restart()))?;
    while !is_done(program) {
        pause(service, 500)?;
        service.alive()?;
    }
    let unbound = unmount(&place, UnmountFlags::DETACH).is_ok();
    service.log(&format!("{name} is itself again: {}", unbound && restart()))
}

/// Whether the ledger holds a program's last words.
fn is_done(program: &str) -> bool {
    let words = format!("the {program} is done");
    let segments = std::fs::read_dir("/ledger/records").into_iter().flatten().flatten();
    let mut contents = segments.filter_map(|segment| std::fs::read(segment.path()).ok());
    contents.any(|content| content.windows(words.len()).any(|part| part == words.as_bytes()))
}

fn zombies() -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(") Z ")).count()
}

/// Cages that are nobody's: without a process, or with one that is no child of the forker of now.
fn orphans() -> usize {
    let forkers = forkers();
    let is_a_child = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        parent.is_some_and(|parent| forkers.iter().any(|forker| forker == parent))
    };
    let is_kept = |cgroup: &Path| {
        let inside = processes(cgroup);
        !inside.is_empty() && inside.iter().all(is_a_child)
    };
    let entries = std::fs::read_dir(CAGES).into_iter().flatten().flatten();
    let cages = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    cages.filter(|cage| !is_kept(cage)).count()
}
