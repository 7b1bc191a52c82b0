//! The network that a cage stands in, and ring five in it.

use crate::direct;
use crate::rings::{Ring, Rings};
use linux::KernelError;
use linux::cage::Namespace;
use linux::netfilter::{self, Chain, ChainKind, Hook, Rule, Table, Verdict};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// The filter of a cage's own network.
const TABLE: &str = "cage";

/// A network, and what speaks to its packet filter.
#[derive(Debug)]
pub(crate) struct Network {
    /// Nothing for a cage without the ring.
    namespace: Option<Rc<Namespace>>,
    packets: Packets,
}

/// What speaks to the packet filter of a network.
#[derive(Debug)]
pub(crate) struct Packets {
    socket: OwnedFd,
    table: &'static str,
    /// How many packets it had dropped before this cage was there.
    dropped_before: u64,
}

impl Packets {
    /// How many packets were dropped since the cage is there.
    pub(crate) fn dropped(&self) -> u64 {
        let dropped = netfilter::packets(&self.socket, self.table).unwrap_or(0);
        dropped.saturating_sub(self.dropped_before)
    }

    /// The socket that speaks to it.
    pub(crate) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

impl Network {
    /// A new one that nobody has been in, behind a filter that drops everything; `up`: with something
    /// to send on, so that it is the filter that stops it. It belongs to the box's user namespace: no
    /// capability that somebody in a cage could come by is good for it.
    pub(crate) fn new(home: &Namespace, rings: &Rings, up: bool) -> Result<Self, KernelError> {
        let namespace = Namespace::new_network(home)?;
        let fence = || {
            let socket = netfilter::open()?;
            if rings.have(Ring::Nftables) {
                netfilter::create(&socket, &drop_all())?;
            }
            if up || !rings.have(Ring::LoopbackDown) {
                linux::netlink::loopback_up()?;
            }
            Ok::<OwnedFd, KernelError>(socket)
        };
        let socket = namespace.inside(home, fence)?;
        let packets = Packets { socket, table: TABLE, dropped_before: 0 };
        Ok(Self { namespace: Some(Rc::new(namespace)), packets })
    }

    /// That of an agent, which has its filter; what an earlier cage of `user` was admitted to is not
    /// this one's.
    pub(crate) fn of_agent(
        namespace: Rc<Namespace>,
        home: &Namespace,
        user: u32,
    ) -> Result<Self, KernelError> {
        let socket = namespace.inside(home, netfilter::open)?;
        direct::withdraw_all(&socket, user)?;
        let dropped_before = netfilter::packets(&socket, direct::TABLE).unwrap_or(0);
        let packets = Packets { socket, table: direct::TABLE, dropped_before };
        Ok(Self { namespace: Some(namespace), packets })
    }

    /// The box's own: for a cage without the ring, which only a test's build has.
    pub(crate) fn of_the_box() -> Result<Self, KernelError> {
        let packets = Packets { socket: netfilter::open()?, table: TABLE, dropped_before: 0 };
        Ok(Self { namespace: None, packets })
    }

    /// Runs `work` in it, then comes back to `home`.
    pub(crate) fn inside<T, E: From<KernelError>>(
        &self,
        home: &Namespace,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.namespace {
            Some(namespace) => namespace.inside(home, work),
            None => work(),
        }
    }

    /// What speaks to its filter: the network itself lasts as long as somebody is in it.
    pub(crate) fn into_packets(self) -> Packets {
        self.packets
    }
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
