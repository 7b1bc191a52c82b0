//! A caged worker, looked at from outside.

use contract::perform::Limits;

const CAGES: &str = "/sys/fs/cgroup/cages";

/// A cage that has a call: its cgroup, the number of its slot, its first process.
#[derive(Debug, Clone, Default)]
pub(crate) struct AtWork {
    pub(crate) cgroup: String,
    pub(crate) slot: u32,
    pub(crate) pid: String,
}

/// The cage at work, once it is the only one with a call: those that were prepared for calls whose
/// tickets did not fit stand for a second.
pub(crate) fn at_work() -> AtWork {
    const LOOKS: usize = 40;
    for _ in 0..LOOKS {
        if let [only] = with_a_call().as_slice() {
            return only.clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    AtWork::default()
}

/// Cages with a call: their memory cap is not the one that cages wait with, and somebody is in them.
fn with_a_call() -> Vec<AtWork> {
    let standard = Limits::STANDARD.memory_bytes.to_string();
    let names = std::fs::read_dir(CAGES).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let found = names.filter_map(|name| {
        let (cgroup, slot) = (format!("{CAGES}/{name}"), name.strip_prefix("slot-")?.parse().ok()?);
        let read = |file: &str| std::fs::read_to_string(format!("{cgroup}/{file}")).ok();
        let pid = read("cgroup.procs")?.lines().next()?.to_owned();
        let works = read("memory.max")?.trim() != standard && !status(&pid).contains("State:\tZ");
        works.then_some(AtWork { cgroup, slot, pid })
    });
    found.collect()
}

/// How many cages wait, and the memory of the median one in bytes (memory.current of its cgroup).
pub(crate) fn parked() -> (usize, u64) {
    let names = std::fs::read_dir(CAGES).into_iter().flatten().flatten();
    let read = |entry: &std::fs::DirEntry, file| std::fs::read_to_string(entry.path().join(file));
    let waits = |entry: &std::fs::DirEntry| {
        read(entry, "cgroup.procs").is_ok_and(|processes| !processes.is_empty())
    };
    let used = |entry: std::fs::DirEntry| read(&entry, "memory.current").ok()?.trim().parse().ok();
    let mut used: Vec<u64> = names.filter(waits).filter_map(used).collect();
    used.sort_unstable();
    (used.len(), used.get(used.len() / 2).copied().unwrap_or(0))
}

/// What the kernel says of a process; nothing of one that is gone.
pub(crate) fn status(pid: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// What must be true of a caged worker whose user inside is this one, and what was seen.
pub(crate) fn facts(cage: &AtWork, inside: u32) -> Vec<(String, bool, String)> {
    let (pid, cgroup, uid) = (&cage.pid, &cage.cgroup, 100_000 + cage.slot);
    let mut facts = Vec::new();
    let status = status(pid);
    for (name, line) in [
        ("uid", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}").as_str()),
        ("gid", &format!("Gid:\t{uid}\t{uid}\t{uid}\t{uid}")),
        ("groups", "Groups:\t \n"),
        ("its own pid namespace", "\t1\n"),
        ("permitted capabilities", "CapPrm:\t0000000000000000"),
        ("effective capabilities", "CapEff:\t0000000000000000"),
        ("bounding capabilities", "CapBnd:\t0000000000000000"),
        ("no new privileges", "NoNewPrivs:\t1"),
        ("seccomp", "Seccomp:\t2"),
    ] {
        facts.push((name.to_owned(), status.contains(line), status.replace('\n', " ")));
    }
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    let only = [inside, uid, 1].map(|number| number.to_string());
    facts.push((format!("uid {inside} and no other"), words == only, map));
    let links = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let names: Vec<&str> =
        links.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    facts.push(("loopback and no more".to_owned(), names == ["lo"], links.replace('\n', " ")));
    for (file, value) in
        [("memory.max", "67108864"), ("pids.max", "4"), ("cpu.max", "100000 100000")]
    {
        let seen = std::fs::read_to_string(format!("{cgroup}/{file}"));
        let seen = seen.unwrap_or_default();
        facts.push((file.to_owned(), seen.trim() == value, seen));
    }
    let io = std::fs::read_to_string(format!("{cgroup}/io.max")).unwrap_or_default();
    facts.push(("io.max".to_owned(), io.contains("rbps=67108864 wbps=67108864"), io));
    // in whole pages, as the kernel keeps it
    let quarter = linux::memory::machine_bytes().unwrap_or(0) / 4;
    let seen = std::fs::read_to_string(format!("{CAGES}/memory.max")).unwrap_or_default();
    let most = (quarter * 3 / 4_096 * 4_096).to_string();
    facts.push(("three quarters of the memory for all".to_owned(), seen.trim() == most, seen));
    facts
}
