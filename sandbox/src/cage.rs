//! What there is of a cage in every stage of its slot: the first process, its socket, its cgroup; how
//! the forker makes one and puts its part of the rings around it.

use crate::cgroup::Cgroup;
use crate::cut::places;
use crate::error::CageError;
use crate::filter::{self, Filters};
use crate::inside;
use crate::origin::{Equipment, Origin, Place};
use crate::rings::{Ring, Rings};
use capabilities::{Class, Performer};
use channel::Channel;
use contract::perform::{FromWorker, Spec, VERSION};
use contract::uids::names_an_admin;
use linux::cage::{self, Child};
use linux::process::Ended;
use linux::seccomp::Filter;
use rustix::net::SocketFlags;
use rustix::process::{WaitOptions, waitpid};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// The user outside is this and the slot's number.
const OUTSIDE_UID_BASE: u32 = 100_000;
const WORKER: &str = "/usr/bin/worker";
/// Longest that a process takes to have ended once it has closed its socket.
const ENDS_MS_MAX: u64 = 50;
/// The namespaces that are there before the child, as the kernel calls them.
const MADE_BEFORE: [&str; 2] = ["mnt", "net"];

/// What a cage is built for, before it is known for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The class of its filter.
    pub(crate) class: Class,
    pub(crate) rings: Rings,
    /// Whether the user inside is 0, with no more rights than the other has.
    pub(crate) admin: bool,
    /// Of a call that connects: then it is built for that call.
    pub(crate) direct: Option<Direct>,
}

/// Whose network a cage stands in that connects, and to which ports at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Direct {
    pub(crate) agent: u32,
    pub(crate) ports: Vec<u16>,
}

impl Direct {
    /// Of a call that was decided to connect.
    fn of(spec: &Spec) -> Option<Self> {
        let places = places(&spec.effects);
        let mut ports: Vec<u16> = places.iter().map(|place| place.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        (!ports.is_empty()).then_some(Self { agent: spec.agent.disk_uid, ports })
    }
}

impl Kind {
    /// The kind that a call needs; `None` for a capability that no cage performs.
    pub(crate) fn of(spec: &Spec) -> Option<Self> {
        match capabilities::find(&spec.capability)?.performer {
            Performer::Cage(class) => {
                // no other class has sockets, whatever its effects say
                let direct = Direct::of(spec).filter(|_| class == Class::Code);
                let class = if direct.is_some() { Class::Direct } else { class };
                let rings = Rings::of(&spec.agent.name);
                let known = |number| filter::entries(class).nth(number).is_some();
                let admin = names_an_admin(&spec.agent.name);
                rings.lacking().is_none_or(known).then_some(Self { class, rings, admin, direct })
            }
            Performer::Service(_) | Performer::Pdp => None,
        }
    }

    /// The user inside.
    const fn user(&self) -> u32 {
        if self.admin { 0 } else { inside::UID }
    }
}

/// What there is of a cage in every stage.
#[derive(Debug)]
pub(crate) struct Cage {
    number: u32,
    child: Child,
    pub(crate) socket: Channel,
    pub(crate) cgroup: Cgroup,
    pub(crate) kind: Kind,
}

impl Cage {
    /// Begins a cage under this number; it says by itself when the worker is there.
    pub(crate) fn begin(
        number: u32,
        kind: &Kind,
        disk: Option<&str>,
        filters: &Filters,
        origin: &mut Origin,
    ) -> Result<(Self, Equipment), CageError> {
        let filter = filters.of(kind)?;
        let place = origin.place(kind, outside_uid(number))?;
        let cgroup = Cgroup::make(number, &kind.rings, disk)?;
        let (child, socket) = match spawn(number, &cgroup, kind, &filter, (&place, origin)) {
            Ok(begun) => begun,
            Err(error) => {
                cgroup.remove(); // nobody is in it
                return Err(error);
            }
        };
        let mut cage = Self { number, child, socket, cgroup, kind: kind.clone() };
        match cage.admit(origin) {
            Ok(()) => {
                cage.cgroup.open();
                Ok((cage, place.into()))
            }
            Err(error) => {
                cage.cgroup.kill();
                waitpid(Some(cage.child.pid), WaitOptions::empty()).ok();
                // what is left even so is taken away before the number is used again
                cage.cgroup.remove();
                Err(error)
            }
        }
    }

    /// The user that its files belong to, seen from outside.
    pub(crate) const fn uid(&self) -> u32 {
        outside_uid(self.number)
    }

    /// The file that becomes readable when its first process is dead.
    pub(crate) fn dies(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Reaps its first process; false while it lives.
    pub(crate) fn is_reaped(&self) -> bool {
        // with an error there is no such child any more
        !matches!(waitpid(Some(self.child.pid), WaitOptions::NOHANG), Ok(None))
    }

    /// What the parent does for the child: maps, with which it goes on. It is parked only after that.
    fn admit(&self, origin: &Origin) -> Result<(), CageError> {
        let rings = &self.kind.rings;
        if rings.have(Ring::Namespace("user")) {
            cage::map_ids(self.child.pid, self.kind.user(), self.uid())?;
        }
        self.socket.send(&0_u8, &[])?;
        if rings.have(Ring::Check) {
            let process = self.child.pid.as_raw_nonzero().to_string();
            origin.shares_none(&process).map_err(CageError::SharedNamespace)?;
        }
        Ok(())
    }

    /// What the worker said.
    pub(crate) fn heard(&self) -> Result<FromWorker, CageError> {
        let heard = self.socket.receive_now()?.open(|_: &(u16, FromWorker)| 0)?;
        match heard {
            ((VERSION, said), _) => Ok(said),
            _ => Err(CageError::Unexpected),
        }
    }

    /// Whether its first process, which closed its socket without a word, ended by its filter.
    pub(crate) fn was_forbidden(&self) -> bool {
        const SIGSYS: i32 = 31;
        // the socket closes a moment before the process has ended
        let ended = linux::process::ends_within(&self.child.pidfd, ENDS_MS_MAX);
        ended.is_ok_and(|ended| ended == Some(Ended::Signal(SIGSYS)))
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
    (place, origin): (&Place, &Origin),
) -> Result<(Child, Channel), CageError> {
    // opened here: where the child is born these have no names
    let worker = File::open(WORKER).map_err(|e| CageError::File("open", WORKER.to_owned(), e))?;
    let group = cgroup.directory()?;
    let log = File::options().write(true).open("/dev/kmsg").ok();
    let (ours, theirs) = Channel::pair(SocketFlags::empty())?;
    let user =
        if kind.rings.have(Ring::Namespace("user")) { kind.user() } else { outside_uid(number) };
    let inside = move || inside::become_worker(theirs, worker.into(), kind, filter, user);
    let report = |error: &CageError| {
        log.map(|mut log| log.write_all(format!("<6>kruxos: cage: {error}\n").as_bytes()));
    };
    let made_now = cage::NAMESPACES.iter().filter(|(name, _)| !MADE_BEFORE.contains(name));
    let namespaces = made_now.filter(|(name, _)| kind.rings.have(Ring::Namespace(name)));
    let namespaces = namespaces.map(|(_, flag)| flag).sum();
    let spawn = || cage::spawn_in_namespaces(namespaces, Some(group.as_fd()), inside, report);
    let child = place.inside(origin, spawn)?;
    Ok((child, Channel::new(ours)))
}
