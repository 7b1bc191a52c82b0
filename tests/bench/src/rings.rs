//! What each ring costs by itself, natively: the difference that it makes to a child that is born and
//! ends, or the time that a child takes to put it on. No row has a bound; the cage as a whole has.

use crate::{ROUNDS, Row, quantile, us};
use anyhow::{Context, Result, ensure};
use linux::cage::{NAMESPACES, Namespace, spawn_in_namespaces};
use linux::confine::{Domain, Reach, Rights, no_new_privileges};
use linux::netfilter::{self, Chain, ChainKind, Hook, Rule, Table, Verdict};
use linux::seccomp::{Admits, Filter};
use rustix::process::{WaitOptions, waitpid};
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Instant;

const CHILDREN: usize = 100;
/// As many calls as a worker's filter has.
const CALLS: [&str; 24] = [
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
    "fcntl",
    "read",
    "write",
    "close",
    "sendmsg",
    "recvmsg",
    "exit_group",
    "openat",
    "openat2",
    "newfstatat",
    "fstat",
    "pread64",
    "getdents64",
    "fsync",
    "mkdirat",
    "renameat2",
];

/// The rows.
pub(crate) fn rings() -> Result<Vec<Row>> {
    let all: u64 = NAMESPACES.iter().map(|(_, flag)| flag).sum();
    let network = NAMESPACES.iter().filter(|(name, _)| *name == "net").map(|(_, flag)| flag).sum();
    let (mut plain, mut namespaces, mut net, mut cgroups) = (vec![], vec![], vec![], vec![]);
    // compiled once, as the forker does
    let calls: Vec<(&str, Admits<'_>)> = CALLS.iter().map(|call| (*call, Admits::All)).collect();
    let filter = Filter::compile(&calls)?;
    let (mut filters, mut domains, mut tables) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        for _ in 0..CHILDREN {
            plain.push(born(0)?);
            namespaces.push(born(all)?);
            net.push(born(network)?);
            cgroups.push(cgroup()?);
            filters.push(in_a_child(0, || seccomp(&filter))?);
            domains.push(in_a_child(0, domain)?);
            tables.push(in_a_child(network, table)?);
        }
    }
    let nothing = quantile(&mut plain, 500);
    let row = |name, mut times: Vec<f64>, less: f64| Row {
        name,
        unit: "us",
        p50: quantile(&mut times, 500) - less,
        p99: quantile(&mut times, 990) - less,
        peer: None,
        must: "no bound: one ring alone",
        holds: true,
    };
    Ok(vec![
        row("child", plain.clone(), 0.0),
        row("ring-namespaces", namespaces, nothing),
        row("of that the network", net, nothing),
        row("ring-cgroup", cgroups, 0.0),
        row("ring-seccomp", filters, 0.0),
        row("ring-landlock", domains, 0.0),
        row("ring-nftables", tables, 0.0),
    ])
}

/// A child in these namespaces, from its making to its end.
fn born(namespaces: u64) -> Result<f64> {
    let started = Instant::now();
    let ends = || -> Result<Infallible, &str> { Err("at once") };
    let child = spawn_in_namespaces(namespaces, None, ends, |_| {})?;
    waitpid(Some(child.pid), WaitOptions::empty())?;
    Ok(us(started.elapsed()))
}

/// A cgroup with a cage's limits, as far as this host has them, made and removed.
fn cgroup() -> Result<f64> {
    let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root = root.iter().find(|path| File::open(format!("{path}/cgroup.controllers")).is_ok());
    let path = format!("{}/kruxos-bench", root.context("no cgroup v2")?);
    let started = Instant::now();
    std::fs::create_dir(&path)?;
    for (file, limit) in
        [("memory.max", "67108864"), ("pids.max", "8"), ("cpu.max", "100000 100000")]
    {
        // one that the host lacks costs nothing, and is not counted
        std::fs::write(format!("{path}/{file}"), limit).ok();
    }
    std::fs::remove_dir(&path)?;
    Ok(us(started.elapsed()))
}

/// How long a step takes in a child of its own, by the child's clock.
fn in_a_child(namespaces: u64, step: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (reader, writer) = std::io::pipe()?;
    let writer = OwnedFd::from(writer);
    let inside = move || -> Result<Infallible, String> {
        let started = Instant::now();
        step().map_err(|error| error.to_string())?;
        let took = started.elapsed().as_nanos();
        File::from(writer).write_all(took.to_string().as_bytes()).ok();
        Err("done".to_owned())
    };
    let child = spawn_in_namespaces(namespaces, None, inside, |_| {})?;
    let mut took = String::new();
    File::from(OwnedFd::from(reader)).read_to_string(&mut took)?;
    waitpid(Some(child.pid), WaitOptions::empty())?;
    ensure!(!took.is_empty(), "a ring could not be put on");
    Ok(took.parse::<f64>()? / 1_000.0)
}

fn seccomp(filter: &Filter) -> Result<()> {
    no_new_privileges()?;
    Ok(filter.install()?)
}

fn domain() -> Result<()> {
    no_new_privileges()?;
    let files = vec![("/usr".to_owned(), Rights::Read), ("/tmp".to_owned(), Rights::Make)];
    Ok(Domain::prepare()?.enter(&Reach { files, ..Reach::default() })?)
}

fn table() -> Result<()> {
    let home = Namespace::of(None, rustix::thread::LinkNameSpaceType::Network)?;
    let init =
        Namespace::of(rustix::process::getppid(), rustix::thread::LinkNameSpaceType::Network)?;
    ensure!(!home.is(&init), "this is the host's network");
    let drop_all = || vec![Rule { when: Vec::new(), then: Verdict::Drop }];
    let chain = |name, hook| Chain { name, kind: ChainKind::Filter, hook, rules: drop_all() };
    let chains = vec![chain("input", Hook::Input), chain("output", Hook::Output)];
    Ok(netfilter::create(&netfilter::open()?, &Table { name: "cage", sets: Vec::new(), chains })?)
}
