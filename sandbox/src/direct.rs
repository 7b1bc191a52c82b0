//! The direct tier: code that was decided to connect stands in a network of its agent's own, joined to the
//! box by a cable. The network's filter drops everything but TCP to an address and port that this one
//! call's user is admitted to; the box's filter passes on what comes out of the cable, keeps it from
//! itself and from the other agents' cables, and lends it its own address.

use crate::rings::{Ring, Rings};
use linux::KernelError;
use linux::cable;
use linux::cage::Namespace;
use linux::clock::boot_ms;
use linux::netfilter::{
    self, Admission, Chain, ChainKind, Condition, Family, Hook, Rule, Set, Table, Verdict,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// The table in an agent's network.
pub(crate) const TABLE: &str = "direct";
/// Most agents that have a network at once.
const NETWORKS_MAX: u8 = 16;
/// For how long after a cage was built in it a network is not given up: longer than any call lasts.
const KEPT_MS: u64 = 180_000;
/// The end of the cable in an agent's network; its other end is `direct` and the network's number.
const INSIDE: &str = "out";
/// What a call's user is admitted to, by family.
const ADMITTED: [Set; 2] = [
    Set { name: netfilter::ADMITTED_V4, family: Family::V4 },
    Set { name: netfilter::ADMITTED_V6, family: Family::V6 },
];
/// Router and neighbour discovery (RFC 4861), without which there is no IPv6, and what says which groups a
/// link listens to (RFC 3810), which is no attempt of a call's.
const NEIGHBOUR_DISCOVERY: [u8; 5] = [133, 134, 135, 136, 143];
/// What makes the box pass packets on at all; its filter says which.
const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// A directory for each link, and two for all of them.
const LINKS: &str = "/proc/sys/net/ipv6/conf";

/// The networks of agents, and whether each has its filter: all but a test's.
#[derive(Debug, Default)]
pub(crate) struct Networks(BTreeMap<(u32, bool), Network>);

#[derive(Debug)]
struct Network {
    namespace: Rc<Namespace>,
    number: u8,
    used_ms: u64,
}

impl Networks {
    /// The network of this agent, made if it has none; `home` is the box's.
    pub(crate) fn of(
        &mut self,
        agent: u32,
        rings: &Rings,
        home: &Namespace,
    ) -> Result<Rc<Namespace>, KernelError> {
        let fenced = rings.have(Ring::Nftables);
        let of = (agent, fenced);
        if !self.0.contains_key(&of) {
            let number = self.free_number()?;
            let namespace = Rc::new(make(number, fenced, home)?);
            self.0.insert(of, Network { namespace, number, used_ms: 0 });
        }
        let full = || KernelError::new("network", agent, Errno::USERS);
        let network = self.0.get_mut(&of).ok_or_else(full)?;
        network.used_ms = boot_ms();
        Ok(Rc::clone(&network.namespace))
    }

    /// A number that no network has: the one that was used longest ago is given up for it.
    fn free_number(&mut self) -> Result<u8, KernelError> {
        let taken = |number: &u8| self.0.values().any(|network| network.number == *number);
        if let Some(free) = (0..NETWORKS_MAX).find(|number| !taken(number)) {
            return Ok(free);
        }
        let oldest = self.0.iter().min_by_key(|(_, network)| network.used_ms);
        let oldest = oldest.filter(|(_, network)| boot_ms() > network.used_ms + KEPT_MS);
        let oldest = oldest.map(|(of, _)| *of);
        let given_up = oldest.and_then(|of| self.0.remove(&of));
        let busy = || KernelError::new("network", "all sixteen are in use", Errno::USERS);
        given_up.map(|network| network.number).ok_or_else(busy)
    }
}

/// A network and its cable, behind its filter before the cable is up.
fn make(number: u8, fenced: bool, home: &Namespace) -> Result<Namespace, KernelError> {
    let namespace = Namespace::new_network(home)?;
    namespace.inside(home, || netfilter::create(&netfilter::open()?, &rules(fenced)))?;
    let outside = format!("direct{number}");
    // of a network that was given up, or of the forker before this one
    match cable::remove(&outside) {
        Err(error) if error.errno != Errno::NODEV => return Err(error),
        Ok(()) | Err(_) => {}
    }
    cable::make(&outside, INSIDE, namespace.as_fd())?;
    let addresses = [addresses_v4(number), addresses_v6(number)];
    for ([box_side, _], prefix) in addresses {
        cable::address(&outside, box_side, prefix)?;
    }
    cable::up(&outside)?;
    forward()?;
    namespace.inside(home, || {
        for ([_, agent_side], prefix) in addresses {
            cable::address(INSIDE, agent_side, prefix)?;
        }
        cable::up(INSIDE)?;
        addresses.into_iter().try_for_each(|([box_side, _], _)| cable::default_route(box_side))
    })?;
    Ok(namespace)
}

/// The box's end and the agent's, out of what nobody routes to (RFC 2544: 198.18.0.0/15).
fn addresses_v4(number: u8) -> ([IpAddr; 2], u8) {
    let of = |host| IpAddr::V4(Ipv4Addr::new(198, 18, number, host));
    ([of(1), of(2)], 30)
}

/// The same of IPv6 (RFC 4193).
fn addresses_v6(number: u8) -> ([IpAddr; 2], u8) {
    let of =
        |host| IpAddr::V6(Ipv6Addr::new(0xfd6b, 0x7275, 0x7800, u16::from(number), 0, 0, 0, host));
    ([of(1), of(2)], 64)
}

/// Has the box pass packets on, from the first network that needs it. A machine that does takes no router
/// advertisements any more unless each link is told to (ip-sysctl.rst, `accept_ra`).
fn forward() -> Result<(), KernelError> {
    let write = |file: &str, value: &str| {
        std::fs::write(file, value).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            KernelError::new("write", file, errno)
        })
    };
    for link in std::fs::read_dir(LINKS).into_iter().flatten().flatten() {
        write(&link.path().join("accept_ra").to_string_lossy(), "2")?;
    }
    FORWARDING.iter().try_for_each(|file| write(file, "1"))
}

/// Everything is dropped but what a call's user is admitted to, its answers, and how IPv6 finds its
/// neighbours; without the fence nothing is.
fn rules(fenced: bool) -> Table {
    let accept = |when: Vec<Condition>| Rule { when, then: Verdict::Accept };
    let found = || NEIGHBOUR_DISCOVERY.map(|kind| accept(vec![Condition::IcmpV6(kind)]));
    let dropped = || Rule { when: Vec::new(), then: Verdict::Drop };
    let mut input = vec![accept(vec![Condition::Established])];
    input.extend(found());
    input.push(dropped());
    let mut output = vec![accept(vec![Condition::Established])];
    output.extend(found());
    output.extend(
        ADMITTED.map(|Set { name, family }| accept(vec![Condition::Admitted(name, family)])),
    );
    output.push(dropped());
    let chain = |name, hook, rules: Vec<Rule>| {
        let rules = if fenced { rules } else { vec![accept(Vec::new())] };
        Chain { name, kind: ChainKind::Filter, hook, rules }
    };
    Table {
        name: TABLE,
        sets: ADMITTED.to_vec(),
        chains: vec![
            chain("input", Hook::Input, input),
            chain("forward", Hook::Forward, vec![dropped()]),
            chain("output", Hook::Output, output),
        ],
    }
}

/// Lets this user connect to a place.
pub(crate) fn admit(socket: &OwnedFd, user: u32, place: SocketAddr) -> Result<(), KernelError> {
    let admission = Admission { user, address: place.ip(), port: place.port() };
    netfilter::admit(socket, TABLE, &admission)
}

/// Lets this user connect nowhere.
pub(crate) fn withdraw_all(socket: &OwnedFd, user: u32) -> Result<(), KernelError> {
    let admitted = netfilter::admitted(socket, TABLE)?;
    let of_user = admitted.iter().filter(|admission| admission.user == user);
    of_user.into_iter().try_for_each(|one| netfilter::withdraw(socket, TABLE, one))
}
