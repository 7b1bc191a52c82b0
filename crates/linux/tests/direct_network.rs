//! A cable and a filter whose sets change, on the kernel that runs the tests: in network namespaces that
//! the tests make, so as root; where none can be made they fail.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use linux::cage::Namespace;
use linux::netfilter::{
    self, ADMITTED_V4, ADMITTED_V6, Admission, Chain, ChainKind, Condition, Family, Hook, Rule,
    Set, Table, Verdict,
};
use linux::{KernelError, cable};
use rustix::io::Errno;
use rustix::process::Uid;
use rustix::thread::LinkNameSpaceType;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const TABLE: &str = "direct";
const AGENT: u32 = 1001;
const OTHER: u32 = 1002;
/// Shorter than the second after which TCP asks again: one attempt is one packet.
const NO_ANSWER: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_secs(10);

/// The test's thread goes into a network namespace of its own, and a second one is made, where nobody is.
fn two_networks() -> (Namespace, Namespace) {
    let kind = LinkNameSpaceType::Network;
    let host = Namespace::of(None, kind).unwrap();
    Namespace::enter_new_network().unwrap();
    let here = Namespace::of(None, kind).unwrap();
    assert!(!here.is(&host), "this is the machine's own network");
    let there = Namespace::new_network(&here).unwrap();
    assert!(!there.is(&host) && !there.is(&here), "no network of its own");
    assert!(Namespace::of(None, kind).unwrap().is(&here), "not back");
    (here, there)
}

/// What an agent's network is to have: answers, what IPv6 needs, what was admitted.
fn table() -> Table {
    let rule = |condition, then| Rule { when: vec![condition], then };
    let dropped = Rule { when: Vec::new(), then: Verdict::Drop };
    let mut needed = vec![rule(Condition::Established, Verdict::Accept)];
    // 143: who joins a group of the link says so, at a time of the kernel's choice
    needed.extend(
        [133, 134, 135, 136, 143].map(|kind| rule(Condition::IcmpV6(kind), Verdict::Accept)),
    );
    let mut output = needed.clone();
    output.push(rule(Condition::Admitted(ADMITTED_V4, Family::V4), Verdict::Accept));
    output.push(rule(Condition::Admitted(ADMITTED_V6, Family::V6), Verdict::Accept));
    needed.push(dropped.clone());
    output.push(dropped);
    let chain = |name, hook, rules| Chain { name, kind: ChainKind::Filter, hook, rules };
    Table {
        name: TABLE,
        sets: vec![
            Set { name: ADMITTED_V4, family: Family::V4 },
            Set { name: ADMITTED_V6, family: Family::V6 },
        ],
        chains: vec![chain("input", Hook::Input, needed), chain("output", Hook::Output, output)],
    }
}

/// The far network of the agent, joined to the near one and behind its filter.
struct Direct {
    near: Namespace,
    far: Namespace,
    filter: OwnedFd,
}

impl Direct {
    fn new(ends: [&str; 2], bits: u8) -> Self {
        let [near_end, far_end] = ends.map(|end| end.parse::<IpAddr>().unwrap());
        let (near, far) = two_networks();
        cable::make("direct7", "box", far.as_fd()).unwrap();
        cable::up("direct7").unwrap();
        let equip = || -> Result<OwnedFd, KernelError> {
            let filter = netfilter::open()?;
            netfilter::create(&filter, &table())?;
            cable::up("box")?;
            cable::address("box", far_end, bits)?;
            cable::default_route(near_end)?;
            Ok(filter)
        };
        let filter = far.inside(&near, equip).unwrap();
        cable::address("direct7", near_end, bits).unwrap();
        Self { near, far, filter }
    }

    /// Connects from the far network as `user`.
    fn connect(&self, user: u32, to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
        let attempt = move || {
            let user = Uid::from_raw(user);
            rustix::thread::set_thread_res_uid(user, user, user)?;
            TcpStream::connect_timeout(&to, patience)
        };
        // a thread begins in the network of the one that makes it, and its user ends with it
        let joined = || Ok::<_, KernelError>(std::thread::spawn(attempt).join());
        self.far.inside(&self.near, joined).unwrap().unwrap()
    }

    fn passes(&self, user: u32, to: SocketAddr) {
        let before = self.dropped();
        self.connect(user, to, ANSWER).unwrap();
        assert_eq!(self.dropped(), before, "{user} to {to} passed, and was counted");
    }

    fn is_dropped(&self, user: u32, to: SocketAddr) {
        let before = self.dropped();
        let error = self.connect(user, to, NO_ANSWER).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{user} to {to}: {error}");
        assert_eq!(self.dropped(), before + 1, "{user} to {to} was not counted once");
    }

    fn dropped(&self) -> u64 {
        netfilter::packets(&self.filter, TABLE).unwrap()
    }
}

/// The walk of one family: `ends` are the box's address and the agent's, `nobody` is on no interface.
fn walk(ends: [&str; 2], bits: u8, nobody: &str) {
    let direct = Direct::new(ends, bits);
    let listen = || TcpListener::bind((ends[0], 0)).unwrap();
    let (listener, second) = (listen(), listen());
    let to = listener.local_addr().unwrap();
    let other_port = second.local_addr().unwrap();
    let other_address = SocketAddr::new(nobody.parse().unwrap(), to.port());
    let admission = |to: SocketAddr| Admission { user: AGENT, address: to.ip(), port: to.port() };
    let admit = |to| netfilter::admit(&direct.filter, TABLE, &admission(to)).unwrap();
    let withdraw = |to| netfilter::withdraw(&direct.filter, TABLE, &admission(to));
    let admitted = || netfilter::admitted(&direct.filter, TABLE).unwrap();

    assert_eq!(direct.dropped(), 0);
    assert_eq!(admitted(), []);
    direct.is_dropped(AGENT, to);
    admit(to);
    admit(to);
    assert_eq!(admitted(), [admission(to)]);
    direct.passes(AGENT, to);
    direct.is_dropped(OTHER, to);
    direct.is_dropped(AGENT, other_port);
    direct.is_dropped(AGENT, other_address);
    admit(other_port);
    direct.passes(AGENT, other_port);
    withdraw(to).unwrap();
    assert_eq!(admitted(), [admission(other_port)]);
    direct.is_dropped(AGENT, to);
    direct.passes(AGENT, other_port);
    assert_eq!(withdraw(to).unwrap_err().errno, Errno::NOENT);
}

#[test]
fn only_the_admitted_user_address_and_port_pass_over_ipv4_and_drops_are_counted() {
    walk(["10.77.0.1", "10.77.0.2"], 29, "10.77.0.3");
}

#[test]
fn only_the_admitted_user_address_and_port_pass_over_ipv6_and_drops_are_counted() {
    walk(["fd77::1", "fd77::2"], 64, "fd77::3");
}

#[test]
fn many_admissions_are_listed_and_a_full_set_refuses() {
    let (_, far) = two_networks();
    // the test's thread stays in this one; its table has no packets to see
    far.enter().unwrap();
    let socket = netfilter::open().unwrap();
    netfilter::create(&socket, &table()).unwrap();
    let one = |port| Admission { user: AGENT, address: "fd77::1".parse().unwrap(), port };
    for port in 1..=1024 {
        netfilter::admit(&socket, TABLE, &one(port)).unwrap();
    }
    let mut listed = netfilter::admitted(&socket, TABLE).unwrap();
    listed.sort_by_key(|admission| admission.port);
    assert_eq!(listed, (1..=1024).map(one).collect::<Vec<_>>());
    assert_eq!(netfilter::admit(&socket, TABLE, &one(1025)).unwrap_err().errno, Errno::NFILE);
    netfilter::withdraw(&socket, TABLE, &one(7)).unwrap();
    netfilter::admit(&socket, TABLE, &one(1025)).unwrap();
}

#[test]
fn a_cable_has_two_ends_and_goes_with_one() {
    let (near, far) = two_networks();
    let there = |name: &str| far.inside(&near, || cable::up(name));
    cable::make("direct7", "box", far.as_fd()).unwrap();
    cable::up("direct7").unwrap();
    there("box").unwrap();
    assert_eq!(cable::up("box").unwrap_err().errno, Errno::NODEV);
    assert_eq!(there("direct7").unwrap_err().errno, Errno::NODEV);
    let again = cable::make("direct7", "second", far.as_fd()).unwrap_err();
    assert_eq!((again.errno, again.object.as_str()), (Errno::EXIST, "direct7"));
    assert_eq!(there("second").unwrap_err().errno, Errno::NODEV);
    cable::remove("direct7").unwrap();
    assert_eq!(there("box").unwrap_err().errno, Errno::NODEV);
    assert_eq!(cable::remove("direct7").unwrap_err().errno, Errno::NODEV);
    let no_link = cable::address("direct7", "10.77.0.1".parse().unwrap(), 30).unwrap_err();
    assert_eq!(no_link.errno, Errno::NODEV);
    assert!(cable::default_route("10.77.0.1".parse().unwrap()).is_err());
}
