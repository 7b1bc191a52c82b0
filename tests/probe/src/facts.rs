//! A caged worker, looked at from outside.

/// The number of the first process in a cgroup; 0 where there is none.
pub(crate) fn first_process(cgroup: &str) -> String {
    let list = std::fs::read_to_string(format!("{cgroup}/cgroup.procs")).unwrap_or_default();
    list.lines().next().unwrap_or("0").to_owned()
}

/// What the kernel says of a process; nothing of one that is gone.
pub(crate) fn status(pid: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// What must be true of a caged worker, and what was seen.
pub(crate) fn facts(pid: &str) -> Vec<(String, bool, String)> {
    let mut facts = Vec::new();
    let status = status(pid);
    for (name, line) in [
        ("uid", "Uid:\t100000\t100000\t100000\t100000"),
        ("gid", "Gid:\t100000\t100000\t100000\t100000"),
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
    facts.push(("uid 1100 and no other".to_owned(), words == ["1100", "100000", "1"], map));
    let links = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let names: Vec<&str> =
        links.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    facts.push(("loopback and no more".to_owned(), names == ["lo"], links.replace('\n', " ")));
    for (file, value) in
        [("memory.max", "67108864"), ("pids.max", "4"), ("cpu.max", "100000 100000")]
    {
        let seen = std::fs::read_to_string(format!("/sys/fs/cgroup/cages/slot-0/{file}"));
        let seen = seen.unwrap_or_default();
        facts.push((file.to_owned(), seen.trim() == value, seen));
    }
    let io = std::fs::read_to_string("/sys/fs/cgroup/cages/slot-0/io.max").unwrap_or_default();
    facts.push(("io.max".to_owned(), io.contains("rbps=67108864 wbps=67108864"), io));
    facts
}
