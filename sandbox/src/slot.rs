//! A slot: one cage, from its building to its end, used for one call at most. Each stage of its life
//! is a type, and each step consumes the stage before, so that nothing can be done twice or out of
//! order: [`Building`], [`Parked`], [`Bound`], [`Dying`].

use crate::cgroup::Cgroup;
use crate::cut::{self, Cut, View, cut};
use crate::error::CageError;
use crate::filter::{self, Filters};
use crate::inside;
use crate::origin::Origin;
use crate::rings::{Ring, Rings};
use capabilities::{Class, Performer};
use channel::Channel;
use contract::perform::{CallId, FromWorker, Limits, Outcome, Spec, VERSION, Work};
use contract::rings::{FORBIDDEN_CALL, OUT_OF_MEMORY};
use linux::KernelError;
use linux::cage::{self, Child, Namespace};
use linux::clock::boot_us;
use linux::netfilter::{self, Chain, Hook, Rule, Table, Verdict};
use linux::process::Ended;
use linux::seccomp::Filter;
use rustix::net::SocketFlags;
use rustix::process::{WaitOptions, waitpid};
use rustix::thread::LinkNameSpaceType;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The user outside is this and the slot's number.
const OUTSIDE_UID_BASE: u32 = 100_000;
const AGENTS: &str = "/data/agents";
const TOOLBOX: &str = "/toolbox";
const WORKER: &str = "/usr/bin/worker";
/// Longest that a cage may take to be there.
const BUILD_MS_MAX: u64 = 10_000;
/// Longest that a process takes to have ended once it has closed its socket.
const ENDS_MS_MAX: u64 = 50;
/// The table of ring five.
const TABLE: &str = "cage";

/// What a cage is built for, before it is known for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The class of its filter.
    pub(crate) class: Class,
    pub(crate) rings: Rings,
}

impl Kind {
    /// The kind that a call needs; `None` for a capability that no cage performs.
    pub(crate) fn of(spec: &Spec) -> Option<Self> {
        match capabilities::find(&spec.capability)?.performer {
            Performer::Cage(class) => {
                let rings = Rings::of(&spec.agent.name);
                let known = |number| filter::entries(class).nth(number).is_some();
                rings.lacking().is_none_or(known).then_some(Self { class, rings })
            }
            Performer::Pdp => None,
        }
    }
}

/// What there is of a cage in every stage.
#[derive(Debug)]
struct Cage {
    number: u32,
    child: Child,
    socket: Channel,
    cgroup: Cgroup,
    kind: Kind,
}

/// Its first process is making its root and giving up its rights.
#[derive(Debug)]
pub(crate) struct Building {
    cage: Cage,
    mounts: Namespace,
    /// Speaks to the packet filter of the cage's network.
    packets: OwnedFd,
    pub(crate) deadline_ms: u64,
    begun_us: u64,
}

/// The worker is there, behind its rings, and waits; no agent is known to it.
#[derive(Debug)]
pub(crate) struct Parked {
    cage: Cage,
    mounts: Namespace,
    packets: OwnedFd,
    built_us: u64,
}

/// At its one call.
#[derive(Debug)]
pub(crate) struct Bound {
    cage: Cage,
    packets: OwnedFd,
    pub(crate) call: CallId,
    pub(crate) agent: u32,
    /// The code that it ends with where the ring that it tries holds, and where its answer goes.
    tries: Option<(&'static str, File)>,
    /// The worker said that it tries it now.
    trying: Cell<bool>,
    pub(crate) deadline_ms: u64,
    /// When its ticket was heard, in microseconds of boot time.
    begun_us: u64,
    built_us: u64,
}

/// Killed; its number is free once nothing is left of it.
#[derive(Debug)]
pub(crate) struct Dying {
    cage: Cage,
    reaped: bool,
}

/// A step that did not succeed: why, and what is left.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: CageError,
    pub(crate) left: Dying,
}

impl Building {
    /// Begins a cage under this number.
    pub(crate) fn begin(
        number: u32,
        kind: &Kind,
        disk: Option<&str>,
        filters: &Filters,
        origin: &Origin,
    ) -> Result<Self, CageError> {
        let begun_us = boot_us();
        let filter = filters.of(kind)?;
        let cgroup = Cgroup::make(number, &kind.rings, disk)?;
        let (child, socket) = match spawn(number, &cgroup, kind, &filter) {
            Ok(begun) => begun,
            Err(error) => {
                cgroup.remove(); // nobody is in it
                return Err(error);
            }
        };
        let cage = Cage { number, child, socket, cgroup, kind: kind.clone() };
        match cage.prepare(origin) {
            Ok((mounts, packets)) => {
                let deadline_ms = begun_us / 1_000 + BUILD_MS_MAX;
                Ok(Self { cage, mounts, packets, deadline_ms, begun_us })
            }
            Err(error) => {
                let mut dying = cage.kill();
                waitpid(Some(dying.cage.child.pid), WaitOptions::empty()).ok();
                // what is left even so is taken away before the number is used again
                dying.is_gone();
                Err(error)
            }
        }
    }

    /// The file that becomes readable when the worker is there, or is not going to be.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// What it said: that the worker is there.
    pub(crate) fn parked(self) -> Result<Parked, Box<Failed>> {
        let Self { cage, mounts, packets, begun_us, .. } = self;
        let built_us = boot_us().saturating_sub(begun_us);
        match cage.heard() {
            Ok(FromWorker::Parked) => Ok(Parked { cage, mounts, packets, built_us }),
            Ok(_) => Err(cage.failed(CageError::Unexpected)),
            Err(error) => Err(cage.failed(error)),
        }
    }

    /// Gives it up: its time is over.
    pub(crate) fn too_slow(self) -> Box<Failed> {
        self.cage.failed(CageError::TooSlow(BUILD_MS_MAX))
    }
}

impl Parked {
    /// Whether it is for calls that touch files.
    pub(crate) fn has_files(&self) -> bool {
        self.cage.kind.class != Class::Pure
    }

    /// The user that its files belong to, seen from outside.
    pub(crate) const fn uid(&self) -> u32 {
        outside_uid(self.cage.number)
    }

    /// The file that becomes readable when the worker is gone.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// Hands it its call: the agent's files at their place, then the work.
    pub(crate) fn bind(
        self,
        spec: &Spec,
        fds: &[OwnedFd; 2],
        begun_us: u64,
        origin: &mut Origin,
    ) -> Result<Bound, Box<Failed>> {
        let cut = cut(&spec.capability, &spec.effects);
        let [_, answer] = fds;
        let tries = cut.tries.and_then(|ends| Some((ends, File::from(answer.try_clone().ok()?))));
        match self.hand(spec, cut, fds, origin) {
            Ok(()) => Ok(Bound {
                tries,
                trying: Cell::new(false),
                cage: self.cage,
                packets: self.packets,
                call: spec.call,
                agent: spec.agent.disk_uid,
                deadline_ms: begun_us / 1_000 + spec.limits.wall_ms,
                begun_us,
                built_us: self.built_us,
            }),
            Err(error) => Err(self.cage.failed(error)),
        }
    }

    fn hand(
        &self,
        spec: &Spec,
        cut: Cut,
        fds: &[OwnedFd; 2],
        origin: &mut Origin,
    ) -> Result<(), CageError> {
        let memory_bytes = spec.limits.memory_bytes.min(cut.memory_bytes_max);
        self.cage.cgroup.set(&Limits { memory_bytes, ..spec.limits })?;
        let files = format!("{AGENTS}/{}", spec.agent.name);
        let place = match cut.view {
            View::Nothing => None,
            View::Workspace => Some((format!("{files}/workspace"), inside::WORKSPACE)),
            View::WithTrash => Some((files, inside::WITH_TRASH)),
        };
        if let Some((files, at)) = place {
            let rings = &self.cage.kind.rings;
            let users = origin.map(spec.agent.disk_uid, self.uid())?;
            let tree =
                cage::idmapped(&files, users.as_fd(), cut.writable, !rings.have(Ring::NoExec))?;
            self.mounts.inside(&origin.mount, || attach(tree.as_fd(), at))?;
        }
        if let Some(program) = cut.program {
            // where the toolbox lacks it there is nothing to execute, which the worker says
            if let Some(tree) = cage::programs(&format!("{TOOLBOX}/{program}"))? {
                self.mounts.inside(&origin.mount, || attach(tree.as_fd(), cut::PROGRAM))?;
            }
        }
        let grants = self.cage.kind.rings.keep(cut.grants);
        let work = Work { call: spec.call, capability: spec.capability.clone(), grants };
        let [input, answer] = fds;
        Ok(self.cage.socket.send(&(VERSION, work), &[input.as_fd(), answer.as_fd()])?)
    }

    /// Gives it up unused.
    pub(crate) fn abandon(self) -> Dying {
        self.cage.kill()
    }
}

impl Bound {
    /// The file that becomes readable when the worker speaks or ends.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// When its ticket was heard, in milliseconds of boot time.
    pub(crate) const fn begun_ms(&self) -> u64 {
        self.begun_us / 1_000
    }

    /// The code that the worker ended with, `crashed` if it said none; nothing while it goes on.
    pub(crate) fn said(&self) -> Option<String> {
        Some(match self.cage.heard() {
            Ok(FromWorker::Done(code)) => code,
            Ok(FromWorker::Trying) => {
                self.trying.set(true);
                return None;
            }
            Ok(FromWorker::Parked) | Err(_) if self.cage.was_forbidden() => {
                FORBIDDEN_CALL.to_owned()
            }
            Ok(FromWorker::Parked) | Err(_) => "crashed".to_owned(),
        })
    }

    /// Gives it up without a word.
    pub(crate) fn abandon(self) -> Dying {
        self.cage.kill()
    }

    /// Ends what runs in it; the call's outcome, with what was used.
    pub(crate) fn end(self, code: &str) -> (Outcome, Dying) {
        let built_us = self.built_us;
        let wall_us = boot_us().saturating_sub(self.begun_us);
        let dropped_packets = netfilter::packets(&self.packets, TABLE).unwrap_or(0);
        let dying = self.cage.kill();
        let used = dying.cage.cgroup.usage();
        let code = if used.ran_out_of_memory { OUT_OF_MEMORY } else { code };
        let tries = self.tries.as_ref().filter(|_| self.trying.get());
        let code = tries.map_or(code, |(held, answer)| came_of(held, code, answer));
        let code = code.to_owned();
        let outcome = Outcome {
            code,
            memory_peak_bytes: used.memory_peak_bytes,
            cpu_us: used.cpu_us,
            throttled_us: used.throttled_us,
            memory_stall_us: used.memory_stall_us,
            dropped_packets,
            wall_us,
            built_us,
        };
        (outcome, dying)
    }
}

impl Dying {
    /// The file that becomes readable when its first process is dead; none once that is known.
    pub(crate) fn dies(&self) -> Option<BorrowedFd<'_>> {
        (!self.reaped).then(|| self.cage.child.pidfd.as_fd())
    }

    /// Whether nothing is left of it: asks, and takes away what can be.
    pub(crate) fn is_gone(&mut self) -> bool {
        if !self.reaped {
            // with an error there is no such child any more
            let waited = waitpid(Some(self.cage.child.pid), WaitOptions::NOHANG);
            self.reaped = !matches!(waited, Ok(None));
        }
        self.reaped && self.cage.cgroup.remove()
    }
}

impl Cage {
    /// What the parent does for the child: maps, and the filter of its network; then it goes on.
    fn prepare(&self, origin: &Origin) -> Result<(Namespace, OwnedFd), CageError> {
        let process = self.child.pid.as_raw_nonzero().to_string();
        let rings = &self.kind.rings;
        if rings.have(Ring::Check) {
            origin.shares_none(&process).map_err(CageError::SharedNamespace)?;
        }
        if rings.have(Ring::Namespace("user")) {
            cage::map_ids(self.child.pid, inside::UID, outside_uid(self.number))?;
        }
        let mounts = Namespace::of(Some(self.child.pid), LinkNameSpaceType::Mount)?;
        let network = Namespace::of(Some(self.child.pid), LinkNameSpaceType::Network)?;
        // ring five goes into the cage's own namespace and no other
        let own = !network.is(&origin.network);
        if !own && rings.have(Ring::Check) {
            return Err(CageError::SameNetwork);
        }
        let packets = network.inside(&origin.network, || {
            let socket = netfilter::open()?;
            if own && rings.have(Ring::Nftables) {
                netfilter::create(&socket, &drop_all())?;
            }
            // something to send on, so that it is the filter that stops it
            if own && (self.kind.class == Class::Network || !rings.have(Ring::LoopbackDown)) {
                linux::netlink::loopback_up()?;
            }
            Ok(socket)
        })?;
        self.socket.send(&0_u8, &[])?;
        Ok((mounts, packets))
    }

    fn heard(&self) -> Result<FromWorker, CageError> {
        let heard = self.socket.receive_now()?.open(|_: &(u16, FromWorker)| 0)?;
        match heard {
            ((VERSION, said), _) => Ok(said),
            _ => Err(CageError::Unexpected),
        }
    }

    fn failed(self, why: CageError) -> Box<Failed> {
        Box::new(Failed { why, left: self.kill() })
    }

    /// Whether its first process, which closed its socket without a word, ended by its filter.
    fn was_forbidden(&self) -> bool {
        const SIGSYS: i32 = 31;
        // the socket closes a moment before the process has ended
        let ended = linux::process::ends_within(&self.child.pidfd, ENDS_MS_MAX);
        ended.is_ok_and(|ended| ended == Some(Ended::Signal(SIGSYS)))
    }

    fn kill(self) -> Dying {
        self.cgroup.kill();
        Dying { cage: self, reaped: false }
    }
}

/// The user of a slot, seen from outside.
const fn outside_uid(number: u32) -> u32 {
    OUTSIDE_UID_BASE + number
}

/// Forks the first process of a cage into its cgroup and its namespaces; it waits for its maps.
fn spawn(
    number: u32,
    cgroup: &Cgroup,
    kind: &Kind,
    filter: &Filter,
) -> Result<(Child, Channel), CageError> {
    let worker = File::open(WORKER).map_err(|e| CageError::File("open", WORKER.to_owned(), e))?;
    let group = cgroup.directory()?;
    let (ours, theirs) = Channel::pair(SocketFlags::empty())?;
    let user =
        if kind.rings.have(Ring::Namespace("user")) { inside::UID } else { outside_uid(number) };
    let inside = move || inside::become_worker(theirs, worker.into(), kind, filter, user);
    let report = |error: &CageError| {
        std::fs::write("/dev/kmsg", format!("<6>kruxos: cage: {error}\n")).ok();
    };
    let namespaces = cage::NAMESPACES.iter();
    let namespaces = namespaces.filter(|(name, _)| kind.rings.have(Ring::Namespace(name)));
    let namespaces = namespaces.map(|(_, flag)| flag).sum();
    let child = cage::spawn_in_namespaces(namespaces, Some(group.as_fd()), inside, report)?;
    Ok((child, Channel::new(ours)))
}

/// How a call that tried a ring ends: one that did not come back, as it should, has written no answer.
fn came_of<'a>(held: &str, code: &'a str, mut answer: &File) -> &'a str {
    match code {
        "ok" if held != "ok" => "not_stopped",
        code if code == held => {
            if code != "ok" {
                answer.write_all(b"{}").ok();
            }
            "ok"
        }
        code => code,
    }
}

fn attach(tree: BorrowedFd<'_>, at: &str) -> Result<(), KernelError> {
    use rustix::mount::{MoveMountFlags, move_mount};
    move_mount(tree, "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| KernelError::new("move_mount", at, errno))
}

fn drop_all() -> Table {
    let dropped = || vec![Rule { when: Vec::new(), then: Verdict::Drop }];
    let chain = |name, hook| Chain { name, hook, rules: dropped() };
    Table {
        name: TABLE,
        chains: vec![
            chain("input", Hook::Input),
            chain("forward", Hook::Forward),
            chain("output", Hook::Output),
        ],
    }
}
