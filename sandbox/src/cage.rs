//! What there is of a cage in every stage of its slot: the first process, its socket, its cgroup; how
//! the forker makes one and puts its part of the rings around it.

use crate::cgroup::Cgroup;
use crate::cut::places;
use crate::direct;
use crate::error::CageError;
use crate::filter::{self, Filters};
use crate::inside;
use crate::origin::Origin;
use crate::rings::{Ring, Rings};
use capabilities::{Class, Performer};
use channel::Channel;
use contract::perform::{FromWorker, Spec, VERSION};
use contract::uids::names_an_admin;
use linux::KernelError;
use linux::cage::{self, Child, Namespace};
use linux::netfilter::{self, Chain, ChainKind, Hook, Rule, Table, Verdict};
use linux::process::Ended;
use linux::seccomp::Filter;
use rustix::net::SocketFlags;
use rustix::process::{WaitOptions, waitpid};
use rustix::thread::LinkNameSpaceType;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// The user outside is this and the slot's number.
const OUTSIDE_UID_BASE: u32 = 100_000;
const WORKER: &str = "/usr/bin/worker";
/// Longest that a process takes to have ended once it has closed its socket.
const ENDS_MS_MAX: u64 = 50;
/// What the kernel calls a network namespace.
const NETWORK: &str = "net";
/// The table of ring five.
const TABLE: &str = "cage";

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

/// What the forker holds of a cage to work on it from outside.
#[derive(Debug)]
pub(crate) struct Equipment {
    pub(crate) mounts: Namespace,
    /// Speaks to the packet filter of the cage's network.
    pub(crate) packets: OwnedFd,
    /// How many packets that had dropped before this cage was there.
    pub(crate) dropped_before: u64,
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
        let own = kind.rings.have(Ring::Namespace(NETWORK));
        let network = match &kind.direct {
            _ if !own => None,
            Some(direct) => Some(origin.direct.of(direct.agent, &origin.network)?),
            None => Some(Rc::new(origin.take_network()?)),
        };
        let cgroup = Cgroup::make(number, &kind.rings, disk)?;
        let spawn = || spawn(number, &cgroup, kind, &filter);
        let spawned = match &network {
            Some(network) => network.inside(&origin.network, spawn),
            None => spawn(),
        };
        let (child, socket) = match spawned {
            Ok(begun) => begun,
            Err(error) => {
                cgroup.remove(); // nobody is in it
                return Err(error);
            }
        };
        let mut cage = Self { number, child, socket, cgroup, kind: kind.clone() };
        match cage.equip(origin, network.as_deref()) {
            Ok(equipment) => {
                cage.cgroup.open();
                Ok((cage, equipment))
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

    /// How many packets the filter of its network dropped.
    pub(crate) fn dropped_packets(packets: &OwnedFd, kind: &Kind) -> u64 {
        let table = if kind.direct.is_some() { direct::TABLE } else { TABLE };
        netfilter::packets(packets, table).unwrap_or(0)
    }

    /// What the parent does for the child: maps, with which it goes on; and meanwhile the filter of its
    /// network. It is parked only after all of it.
    fn equip(&self, origin: &Origin, own: Option<&Namespace>) -> Result<Equipment, CageError> {
        let process = self.child.pid.as_raw_nonzero().to_string();
        let rings = &self.kind.rings;
        if rings.have(Ring::Namespace("user")) {
            cage::map_ids(self.child.pid, self.kind.user(), outside_uid(self.number))?;
        }
        self.socket.send(&0_u8, &[])?;
        if rings.have(Ring::Check) {
            origin.shares_none(&process).map_err(CageError::SharedNamespace)?;
        }
        let mounts = Namespace::of(Some(self.child.pid), LinkNameSpaceType::Mount)?;
        // ring five goes into the cage's own namespace and no other
        let packets = match own {
            Some(network) => network.inside(&origin.network, || self.fence())?,
            None if rings.have(Ring::Check) => return Err(CageError::SameNetwork),
            None => netfilter::open()?,
        };
        // a network of its own is new, and asking its filter would only take its time
        let shared = self.kind.direct.is_some();
        let dropped_before = if shared { Self::dropped_packets(&packets, &self.kind) } else { 0 };
        Ok(Equipment { mounts, packets, dropped_before })
    }

    /// Ring five, from within the cage's network.
    fn fence(&self) -> Result<OwnedFd, KernelError> {
        let rings = &self.kind.rings;
        let socket = netfilter::open()?;
        if self.kind.direct.is_some() {
            // the network has its filter; what an earlier cage of this user was admitted to is not this one's
            direct::withdraw_all(&socket, self.uid())?;
            return Ok(socket);
        }
        if rings.have(Ring::Nftables) {
            netfilter::create(&socket, &drop_all())?;
        }
        // something to send on, so that it is the filter that stops it
        if self.kind.class == Class::Network || !rings.have(Ring::LoopbackDown) {
            linux::netlink::loopback_up()?;
        }
        Ok(socket)
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
) -> Result<(Child, Channel), CageError> {
    let worker = File::open(WORKER).map_err(|e| CageError::File("open", WORKER.to_owned(), e))?;
    let group = cgroup.directory()?;
    let (ours, theirs) = Channel::pair(SocketFlags::empty())?;
    let user =
        if kind.rings.have(Ring::Namespace("user")) { kind.user() } else { outside_uid(number) };
    let inside = move || inside::become_worker(theirs, worker.into(), kind, filter, user);
    let report = |error: &CageError| {
        std::fs::write("/dev/kmsg", format!("<6>kruxos: cage: {error}\n")).ok();
    };
    let namespaces = cage::NAMESPACES.iter();
    // the caller is in the cage's network already, if it has one of its own
    let namespaces =
        namespaces.filter(|(name, _)| *name != NETWORK && kind.rings.have(Ring::Namespace(name)));
    let namespaces = namespaces.map(|(_, flag)| flag).sum();
    let child = cage::spawn_in_namespaces(namespaces, Some(group.as_fd()), inside, report)?;
    Ok((child, Channel::new(ours)))
}

fn drop_all() -> Table {
    let dropped = || vec![Rule { when: Vec::new(), then: Verdict::Drop }];
    let chain = |name, hook| Chain { name, kind: ChainKind::Filter, hook, rules: dropped() };
    Table {
        name: TABLE,
        sets: Vec::new(),
        chains: vec![
            chain("input", Hook::Input),
            chain("forward", Hook::Forward),
            chain("output", Hook::Output),
        ],
    }
}
