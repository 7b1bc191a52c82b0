//! One cage: built for one call, behind all five rings, used once. [`Cage::build`] is the list; a
//! step that fails ends the child and the cgroup, and the call is refused.

use crate::cut::{self, Access, View};
use crate::filter;
use crate::rings::{Ring, stands};
use channel::{Channel, ChannelError};
use contract::perform::{CallId, Done, Outcome, Spec, VERSION, Work};
use linux::cage::{self, Child, Namespace};
use linux::confine::{self, Reach, Rights};
use linux::netfilter::{self, Chain, Hook, Rule, Table, Verdict};
use linux::{KernelError, process};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::net::SocketFlags;
use rustix::process::Resource;
use rustix::thread::LinkNameSpaceType;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The user inside every cage.
const INSIDE_UID: u32 = 1100;
/// The user outside is this and the slot's number.
const OUTSIDE_UID_BASE: u32 = 100_000;
const CGROUPS: &str = "/sys/fs/cgroup/cages";
const AGENTS: &str = "/data/agents";
const WORKER: &str = "/usr/bin/worker";
/// Most id maps that are kept for the next call of the same agent in the same slot.
const MAPS_MAX: usize = 256;
/// Read and write rate of one cage on the disk.
const IO_BYTES_PER_SECOND: u64 = 64 << 20;

/// Why there is no cage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CageError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("cage socket: {0}")]
    Socket(#[from] ChannelError),
    #[error("{0} `{1}`: {2}")]
    File(&'static str, String, std::io::Error),
    #[error("confine: {0}")]
    Confine(String),
    #[error("the cage lacks a namespace of its own: it has {0}")]
    SharedNamespace(String),
    #[error("the cage's network namespace is the box's own")]
    SameNetwork,
}

/// The forker's own namespaces, to come back to.
#[derive(Debug)]
pub(crate) struct Home {
    mount: Namespace,
    network: Namespace,
    /// Names of all eight, which no cage may share.
    names: Vec<String>,
    /// User namespaces that only map: an agent's disk user to a slot's.
    maps: BTreeMap<(u32, u32), OwnedFd>,
}

impl Home {
    pub(crate) fn open() -> Result<Self, KernelError> {
        Ok(Self {
            mount: Namespace::of(None, LinkNameSpaceType::Mount)?,
            network: Namespace::of(None, LinkNameSpaceType::Network)?,
            names: namespace_names("self"),
            maps: BTreeMap::new(),
        })
    }

    /// The namespace that maps `agent` to `slot`: made once, since making one forks.
    fn map(&mut self, agent: u32, slot: u32) -> Result<&OwnedFd, KernelError> {
        if self.maps.len() >= MAPS_MAX && !self.maps.contains_key(&(agent, slot)) {
            self.maps.clear();
        }
        Ok(match self.maps.entry((agent, slot)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(cage::id_map_namespace(agent, slot)?),
        })
    }
}

/// Ring one's namespaces of a process, as the kernel names them.
fn namespace_names(process: &str) -> Vec<String> {
    let link = |name| std::fs::read_link(format!("/proc/{process}/ns/{name}"));
    let links = cage::NAMESPACES.iter().filter_map(|(name, _)| link(name).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// A worker at its call.
#[derive(Debug)]
pub(crate) struct Cage {
    pub(crate) call: CallId,
    pub(crate) slot: u32,
    pub(crate) deadline_ms: u64,
    child: Child,
    socket: Channel,
    cgroup: String,
    network: Namespace,
}

impl Cage {
    /// Builds the cage of slot `slot` for `spec` and hands the work to it.
    pub(crate) fn build(
        spec: &Spec,
        fds: &[OwnedFd; 2],
        slot: u32,
        now_ms: u64,
        home: &mut Home,
    ) -> Result<Self, CageError> {
        let outside = OUTSIDE_UID_BASE + slot;
        let cgroup = make_cgroup(spec, slot)?;
        let begun = mount_of(spec, cut::view(&spec.capability), outside, home)
            .and_then(|tree| Ok((tree, begin(spec, &cgroup)?)));
        let (tree, (child, socket)) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // nobody is in it: the slot's next call makes it anew
                std::fs::remove_dir(&cgroup).ok();
                return Err(error);
            }
        };
        let network = match Namespace::of(Some(child.pid), LinkNameSpaceType::Network) {
            Ok(network) => network,
            Err(error) => {
                take_down(&cgroup, &child);
                return Err(error.into());
            }
        };
        let deadline_ms = now_ms + spec.limits.wall_ms;
        let built = Self { call: spec.call, slot, deadline_ms, child, socket, cgroup, network };
        match built.finish(spec, fds, tree.as_ref(), outside, home) {
            Ok(()) => Ok(built),
            Err(error) => {
                built.destroy();
                Err(error)
            }
        }
    }

    /// What the parent does for the child: maps, the filter of its network, its files, its work.
    fn finish(
        &self,
        spec: &Spec,
        fds: &[OwnedFd; 2],
        tree: Option<&OwnedFd>,
        outside: u32,
        home: &Home,
    ) -> Result<(), CageError> {
        let its = namespace_names(&self.child.pid.as_raw_nonzero().to_string());
        if its.len() != cage::NAMESPACES.len() || its.iter().any(|name| home.names.contains(name)) {
            return Err(CageError::SharedNamespace(its.join(" ")));
        }
        cage::map_ids(self.child.pid, INSIDE_UID, outside)?;
        if stands(Ring::Nftables, &spec.agent.name) {
            self.filter_network(home)?;
        }
        self.step()?; // maps are there: the child makes its root
        self.socket.receive()?.open(|_: &u8| 0)?; // the root is there
        if let Some(tree) = tree {
            let at = if cut::view(&spec.capability) == View::WithTrash {
                "/agent"
            } else {
                "/workspace"
            };
            let mount = Namespace::of(Some(self.child.pid), LinkNameSpaceType::Mount)?;
            mount.inside(&home.mount, || attach(tree.as_fd(), at))?;
        }
        self.step()?; // the files are there: the child confines itself and becomes the worker
        let work = Work { call: spec.call, capability: spec.capability.clone() };
        let [input, answer] = fds;
        Ok(self.socket.send(&(VERSION, work), &[input.as_fd(), answer.as_fd()])?)
    }

    fn step(&self) -> Result<(), CageError> {
        Ok(self.socket.send(&0_u8, &[])?)
    }

    /// Ring five: everything is dropped and counted, in the cage's own namespace and no other.
    fn filter_network(&self, home: &Home) -> Result<(), CageError> {
        if self.network.is(&home.network) {
            return Err(CageError::SameNetwork);
        }
        let install = || netfilter::create(&netfilter::open()?, &drop_all());
        Ok(self.network.inside(&home.network, install)?)
    }

    /// Packets that ring five dropped.
    fn dropped_packets(&self, home: &Home) -> u64 {
        let count = self.network.inside(&home.network, || {
            let socket = netfilter::open()?;
            let mut sum = 0;
            for chain in ["input", "forward", "output"] {
                let counters = netfilter::counters(&socket, "cage", chain)?;
                sum += counters.iter().map(|counter| counter.packets).sum::<u64>();
            }
            Ok(sum)
        });
        count.unwrap_or(0)
    }

    /// What the worker said, if it said anything yet.
    pub(crate) fn take_done(&self) -> Option<Done> {
        let ((version, done), _) = self.socket.receive().ok()?.open(|_: &(u16, Done)| 0).ok()?;
        (version == VERSION).then_some(done)
    }

    /// The file that becomes readable when the worker speaks or ends.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Ends what runs in the cage; the call's outcome, with what the cage used.
    pub(crate) fn end(&self, code: &str, home: &Home) -> Outcome {
        let dropped_packets = self.dropped_packets(home);
        std::fs::write(format!("{}/cgroup.kill", self.cgroup), "1").ok();
        Outcome {
            code: if self.ran_out_of_memory() {
                "out_of_memory".to_owned()
            } else {
                code.to_owned()
            },
            memory_peak_bytes: self.number("memory.peak", ""),
            cpu_us: self.number("cpu.stat", "usage_usec "),
            dropped_packets,
        }
    }

    fn ran_out_of_memory(&self) -> bool {
        self.number("memory.events", "oom_kill ") > 0
    }

    fn number(&self, file: &str, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("{}/{file}", self.cgroup)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }

    /// Leaves nothing of it. Waits for its processes to die, which is some milliseconds: whoever asked
    /// has the outcome by then.
    pub(crate) fn destroy(self) {
        take_down(&self.cgroup, &self.child);
    }
}

/// Forks the first process of a cage into its cgroup and its namespaces; it waits for its maps.
fn begin(spec: &Spec, cgroup: &str) -> Result<(Child, Channel), CageError> {
    let open =
        |path: &str| File::open(path).map_err(|e| CageError::File("open", path.to_owned(), e));
    let (group, worker) = (open(cgroup)?, open(WORKER)?);
    let (ours, theirs) = Channel::pair(SocketFlags::empty())?;
    let view = cut::view(&spec.capability);
    let inside = move || become_worker(theirs, worker.into(), spec, view);
    let report = |error: &CageError| {
        std::fs::write("/dev/kmsg", format!("<6>kruxos: cage: {error}\n")).ok();
    };
    let namespaces = cage::NAMESPACES.iter();
    let namespaces = namespaces.filter(|(name, _)| stands(Ring::Namespace(name), &spec.agent.name));
    let namespaces = namespaces.map(|(_, flag)| flag).sum();
    let child = cage::spawn_in_namespaces(namespaces, Some(group.as_fd()), inside, report)?;
    Ok((child, Channel::new(ours)))
}

/// Kills all of a cage, reaps its first process, and takes the cgroup away.
fn take_down(cgroup: &str, child: &Child) {
    std::fs::write(format!("{cgroup}/cgroup.kill"), "1").ok();
    rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty()).ok();
    std::fs::remove_dir(cgroup).ok();
}

fn drop_all() -> Table {
    let dropped = || vec![Rule { when: Vec::new(), then: Verdict::Drop }];
    let chain = |name, hook| Chain { name, hook, rules: dropped() };
    Table {
        name: "cage",
        chains: vec![
            chain("input", Hook::Input),
            chain("forward", Hook::Forward),
            chain("output", Hook::Output),
        ],
    }
}

/// Whether nothing is left of the last cage of a slot: a process that takes its time to die keeps its
/// cgroup, and so the slot.
pub(crate) fn is_gone(slot: u32) -> bool {
    let removed = std::fs::remove_dir(format!("{CGROUPS}/slot-{slot}"));
    removed.map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |()| true)
}

/// Ring two, before anybody is in it.
fn make_cgroup(spec: &Spec, slot: u32) -> Result<String, CageError> {
    let path = format!("{CGROUPS}/slot-{slot}");
    std::fs::create_dir(&path).map_err(|e| CageError::File("make cgroup", path.clone(), e))?;
    let limits = spec.limits;
    let mut files = vec![
        ("memory.max", limits.memory_bytes.to_string()),
        ("memory.oom.group", "1".to_owned()),
        ("pids.max", limits.tasks.to_string()),
        ("cpu.max", format!("{} 100000", limits.cpu_us)),
    ];
    if !cfg!(feature = "development") {
        let rates = format!("rbps={IO_BYTES_PER_SECOND} wbps={IO_BYTES_PER_SECOND}");
        files.push(("io.max", format!("{} {rates}", data_disk()?)));
    }
    if !stands(Ring::Cgroup, &spec.agent.name) {
        files.clear();
    }
    for (file, value) in files {
        let file = format!("{path}/{file}");
        if cfg!(feature = "development") && !std::path::Path::new(&file).exists() {
            continue;
        }
        if let Err(error) = std::fs::write(&file, value) {
            std::fs::remove_dir(&path).ok();
            return Err(CageError::File("limit", file, error));
        }
    }
    Ok(path)
}

/// Device number of the disk that DATA is on: io.max takes whole disks.
fn data_disk() -> Result<String, CageError> {
    let failed = |error| CageError::File("find the disk of", "/data".to_owned(), error);
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata("/data").map_err(failed)?);
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let disk = format!("/sys/dev/block/{major}:{minor}/../dev");
    Ok(std::fs::read_to_string(disk).map_err(failed)?.trim().to_owned())
}

/// The agent's files as the slot's user sees them, not attached anywhere yet.
fn mount_of(
    spec: &Spec,
    view: View,
    outside: u32,
    home: &mut Home,
) -> Result<Option<OwnedFd>, CageError> {
    let files = format!("{AGENTS}/{}", spec.agent.name);
    let place = match view {
        View::Nothing => return Ok(None),
        View::Workspace => format!("{files}/workspace"),
        View::WithTrash => files,
    };
    Ok(Some(cage::idmapped(&place, home.map(spec.agent.disk_uid, outside)?.as_fd())?))
}

fn attach(tree: BorrowedFd<'_>, at: &str) -> Result<(), KernelError> {
    use rustix::mount::{MoveMountFlags, move_mount};
    move_mount(tree, "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| KernelError::new("move_mount", at, errno))
}

/// In the child: a root of its own, then every right given up, then the worker.
fn become_worker(
    socket: OwnedFd,
    worker: OwnedFd,
    spec: &Spec,
    view: View,
) -> Result<Infallible, CageError> {
    let channel = Channel::new(socket);
    channel.receive()?.open(|_: &u8| 0)?; // maps are there
    confine::enter_user(INSIDE_UID)?;
    if stands(Ring::Root, &spec.agent.name) {
        own_root(view)?;
    }
    rustix::system::sethostname(b"cage").map_err(|e| KernelError::new("sethostname", "cage", e))?;
    channel.send(&0_u8, &[])?;
    channel.receive()?.open(|_: &u8| 0)?; // the files are there
    rustix::process::setsid().map_err(|errno| KernelError::new("setsid", "", errno))?;
    linux::signal::unblock_all()?;
    confine::limit(Resource::Core, 0)?;
    confine::no_new_privileges()?;
    let wanted = |error: confine::LandlockError| CageError::Confine(error.to_string());
    let copy = worker.try_clone().map_err(|e| CageError::File("copy", WORKER.to_owned(), e))?;
    if stands(Ring::Landlock, &spec.agent.name) {
        confine::landlock(&reach(spec, view, copy)).map_err(wanted)?;
    }
    confine::drop_capabilities()?;
    let filter = filter::of_class(view != View::Nothing);
    let filter = filter.map_err(|error| CageError::Confine(error.to_string()))?;
    // 0 is /dev/null; 1 and 2 must not stay the box's log
    let null = || rustix::io::dup(rustix::stdio::stdin());
    for number in [1, 2] {
        let null = null().map_err(|errno| KernelError::new("dup", "/dev/null", errno))?;
        process::place(null, number)?;
    }
    process::place(channel.into_socket(), 3)?;
    process::place(worker, 4)?;
    process::close_from(5)?;
    // only now: those of the cages beside this one counted as long as they were open here
    confine::limit(Resource::Nofile, 32)?;
    if stands(Ring::Seccomp, &spec.agent.name) {
        filter.install().map_err(|error| CageError::Confine(error.to_string()))?;
    }
    Ok(process::execute_open(4, c"worker")?)
}

/// Ring one's files: an empty tmpfs as root, with a mount point for the view and nothing else.
fn own_root(view: View) -> Result<(), KernelError> {
    use rustix::mount::{mount, mount_change, unmount};
    let failed = |what: &'static str| move |errno| KernelError::new(what, "cage root", errno);
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(failed("mount"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", "/run", "tmpfs", flags, Some(c"size=64k,nr_inodes=16,mode=0755"))
        .map_err(failed("mount"))?;
    let place = match view {
        View::Nothing => None,
        View::Workspace => Some("/run/workspace"),
        View::WithTrash => Some("/run/agent"),
    };
    if let Some(place) = place {
        rustix::fs::mkdir(place, rustix::fs::Mode::from_raw_mode(0o755))
            .map_err(failed("mkdir"))?;
    }
    rustix::process::chdir("/run").map_err(failed("chdir"))?;
    rustix::process::pivot_root(".", ".").map_err(failed("pivot_root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(failed("umount2"))?;
    rustix::process::chdir("/").map_err(failed("chdir"))
}

/// Ring four: what `cut` grants, as far as it exists; a path that does not is not found by the worker
/// either, and one that leads through a link is refused by it.
fn reach(spec: &Spec, view: View, worker: OwnedFd) -> Reach {
    let rights = |access| match access {
        Access::Read => Rights::Read,
        Access::Write => Rights::Make,
        Access::Rename => Rights::Rename,
    };
    let grants = cut::cut(&spec.effects, view).into_iter();
    let files = grants
        .filter(|grant| std::fs::symlink_metadata(&grant.path).is_ok_and(|s| !s.is_symlink()))
        .map(|grant| (grant.path, rights(grant.access)))
        .collect();
    Reach { files, programs: vec![worker], ..Reach::default() }
}
