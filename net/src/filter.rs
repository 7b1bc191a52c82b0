//! The box's own rules: nothing enters but the doors' ports and answers, nothing leaves but answers and
//! what egress, export and this service send. What is forwarded comes from agents' direct networks,
//! whose own filters let it through; it neither enters the box nor another agent's network.

use contract::uids;
use linux::KernelError;
use linux::netfilter::{self, Chain, ChainKind, Condition, Hook, Rule, Table, Verdict};

/// How the box's end of each agent's cable is called, with a number after it.
const DIRECT: &str = "direct";

/// Agents' and operators' ports.
const DOORS: [u16; 2] = [7700, 7800];
/// Router and neighbour discovery (RFC 4861), without which there is no IPv6.
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];
/// Of these, who has an address and the answer.
const NEIGHBOURS: [u8; 2] = [135, 136];
/// Packet too big (RFC 4443), without which path MTU discovery fails.
const TOO_BIG: u8 = 2;
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;

/// Puts the rules in force, whole or not at all.
pub(crate) fn install() -> Result<(), KernelError> {
    let socket = netfilter::open()?;
    netfilter::replace(&socket, &rules())
}

/// The table, as data.
fn rules() -> Table {
    let accept = |when: Vec<Condition>| Rule { when, then: Verdict::Accept };
    let dropped = |when: Vec<Condition>| Rule { when, then: Verdict::Drop };
    // before anything is accepted: an agent's network sees nothing of the box but that it is its router,
    // for which IPv6 asks with messages to the box itself, as IPv4 does below this filter (ARP)
    let mut input: Vec<Rule> = NEIGHBOURS
        .map(|kind| accept(vec![Condition::FromInterface(DIRECT), Condition::IcmpV6(kind)]))
        .into();
    input.push(dropped(vec![Condition::FromInterface(DIRECT)]));
    input.extend([
        accept(vec![Condition::FromLoopback]),
        accept(vec![Condition::Established]),
        accept(vec![Condition::IcmpV4(ECHO_V4)]),
        accept(vec![Condition::IcmpV6(ECHO_V6)]),
        accept(vec![Condition::IcmpV6(TOO_BIG)]),
    ]);
    input.extend(DOORS.map(|port| accept(vec![Condition::TcpPort(port)])));
    input.extend(NEIGHBOUR_DISCOVERY.map(|kind| accept(vec![Condition::IcmpV6(kind)])));
    let forward = vec![
        accept(vec![Condition::Established]),
        dropped(vec![Condition::FromInterface(DIRECT), Condition::ToInterface(DIRECT)]),
        accept(vec![Condition::FromInterface(DIRECT)]),
        dropped(Vec::new()),
    ];
    let mut output =
        vec![accept(vec![Condition::ToLoopback]), accept(vec![Condition::Established])];
    output.extend(
        [uids::NET, uids::EGRESS, uids::EXPORT].map(|uid| accept(vec![Condition::SocketUser(uid)])),
    );
    output.extend(NEIGHBOUR_DISCOVERY.map(|kind| accept(vec![Condition::IcmpV6(kind)])));
    input.push(dropped(Vec::new()));
    output.push(dropped(Vec::new()));
    let chain = |name, hook, rules| Chain { name, kind: ChainKind::Filter, hook, rules };
    Table {
        name: "box",
        sets: Vec::new(),
        chains: vec![
            chain("input", Hook::Input, input),
            chain("forward", Hook::Forward, forward),
            chain("output", Hook::Output, output),
            source_nat(),
        ],
    }
}

/// The network outside knows the box's addresses alone.
fn source_nat() -> Chain {
    let from_agents =
        Rule { when: vec![Condition::FromInterface(DIRECT)], then: Verdict::Masquerade };
    Chain {
        name: "postrouting",
        kind: ChainKind::SourceNat,
        hook: Hook::Postrouting,
        rules: vec![from_agents],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks;
    use linux::cable;
    use linux::cage::Namespace;
    use rustix::process::Uid;
    use std::io::ErrorKind;
    use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::time::Duration;

    const NO_ANSWER: Duration = Duration::from_millis(500);
    const ANSWER: Duration = Duration::from_secs(10);

    /// A network of one address behind an interface of the box's, with a listener in it.
    fn behind(home: &Namespace, name: &str, [near, far]: [&str; 2]) -> (Namespace, TcpListener) {
        let [near, far] = [near, far].map(|end| end.parse::<IpAddr>().unwrap());
        let bits = if near.is_ipv4() { 30 } else { 64 };
        let network = Namespace::new_network(home).unwrap();
        assert!(!network.is(home));
        cable::make(name, "box", network.as_fd()).unwrap();
        cable::up(name).unwrap();
        cable::address(name, near, bits).unwrap();
        let listener = networks::inside(home, &network, move || {
            cable::up("box").unwrap();
            cable::address("box", far, bits).unwrap();
            cable::default_route(near).unwrap();
            TcpListener::bind((far, 0)).unwrap()
        });
        (network, listener)
    }

    /// The box, agents' networks and the one outside, each by the two addresses of its cable: what passes
    /// without the rules, and with them.
    fn walk(forwarding: &str, [agent, other, later, outside]: [[&str; 2]; 4]) {
        let home = networks::enter_new();
        std::fs::write(forwarding, "1").unwrap();
        let (agent_network, _unused) = behind(&home, "direct7", agent);
        let (_other_network, other) = behind(&home, "direct8", other);
        let (outside_network, listener) = behind(&home, "outside", outside);
        let unspecified = if listener.local_addr().unwrap().is_ipv4() { "0.0.0.0" } else { "::" };
        let _door = TcpListener::bind((unspecified, DOORS[0])).unwrap();
        let door = |address: &str| SocketAddr::new(address.parse().unwrap(), DOORS[0]);
        let connect = |network: &Namespace, to: SocketAddr, patience| {
            networks::inside(&home, network, move || TcpStream::connect_timeout(&to, patience))
        };
        let other = other.local_addr().unwrap();
        let forbidden = [
            (&agent_network, other),
            (&agent_network, door(agent[0])),
            (&agent_network, door(outside[0])),
            (&outside_network, other),
        ];
        for (network, to) in forbidden {
            connect(network, to, ANSWER).unwrap();
        }
        install().unwrap();
        for (network, to) in forbidden {
            let error = connect(network, to, NO_ANSWER).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "to {to}: {error}");
        }
        connect(&outside_network, door(outside[0]), ANSWER).unwrap();
        // one that knows no neighbour from before
        let (later_network, _unused) = behind(&home, "direct9", later);
        connect(&later_network, listener.local_addr().unwrap(), ANSWER).unwrap();
        let (_, seen) = listener.accept().unwrap();
        assert_eq!(seen.ip(), outside[0].parse::<IpAddr>().unwrap(), "not the box's own address");
    }

    #[test]
    fn agents_reach_the_network_outside_as_the_box_and_neither_it_nor_each_other_over_ipv4() {
        let cables = [
            ["10.77.7.1", "10.77.7.2"],
            ["10.77.8.1", "10.77.8.2"],
            ["10.77.9.1", "10.77.9.2"],
            ["192.0.2.1", "192.0.2.2"],
        ];
        walk("/proc/sys/net/ipv4/ip_forward", cables);
    }

    #[test]
    fn agents_reach_the_network_outside_as_the_box_and_neither_it_nor_each_other_over_ipv6() {
        let cables = [
            ["fd77:7::1", "fd77:7::2"],
            ["fd77:8::1", "fd77:8::2"],
            ["fd77:9::1", "fd77:9::2"],
            ["2001:db8::1", "2001:db8::2"],
        ];
        walk("/proc/sys/net/ipv6/conf/all/forwarding", cables);
    }

    /// Has a user of the box ask the machine outside by UDP, and connect to it by TCP: whether an answer came.
    fn asks_and_connects(
        uid: u32,
        name_server: SocketAddr,
        listener: SocketAddr,
        patience: Duration,
    ) -> [bool; 2] {
        let work = move || {
            rustix::thread::set_thread_uid(Uid::from_raw(uid)).unwrap();
            let unspecified: IpAddr =
                if listener.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((unspecified, 0)).unwrap();
            socket.set_read_timeout(Some(patience)).unwrap();
            let mut answer = [0; 16];
            let asked = socket.send_to(b"who?", name_server);
            let answered = asked.and_then(|_sent| socket.recv_from(&mut answer));
            let connected = TcpStream::connect_timeout(&listener, patience);
            [matches!(answered, Ok((4, from)) if from == name_server), connected.is_ok()]
        };
        std::thread::spawn(work).join().unwrap()
    }

    /// The machine outside answers each question with itself.
    fn answers(socket: &UdpSocket) {
        let mut question = [0; 16];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            socket.send_to(&question[..length], from).unwrap();
        }
    }

    fn only_services_that_send_do(cable: [&str; 2]) {
        let home = networks::enter_new();
        let (network, listener) = behind(&home, "outside", cable);
        let far: IpAddr = cable[1].parse().unwrap();
        let (server, stranger) = networks::inside(&home, &network, move || {
            (UdpSocket::bind((far, 0)).unwrap(), UdpSocket::bind((far, 0)).unwrap())
        });
        let (listener_at, server_at) =
            (listener.local_addr().unwrap(), server.local_addr().unwrap());
        std::thread::spawn(move || answers(&server));
        let tries = |uid, patience| asks_and_connects(uid, server_at, listener_at, patience);
        assert_eq!(tries(uids::VAULT, ANSWER), [true; 2], "the control");
        install().unwrap();
        assert_eq!(tries(uids::EGRESS, ANSWER), [true; 2]);
        assert_eq!(tries(uids::VAULT, NO_ANSWER), [false; 2]);
        assert_eq!(tries(uids::AGENTS_DOOR, NO_ANSWER), [false; 2]);
        // an answer is one of whom was asked
        let near: IpAddr = cable[0].parse().unwrap();
        let socket = UdpSocket::bind((near, 0)).unwrap();
        socket.set_read_timeout(Some(NO_ANSWER)).unwrap();
        stranger.send_to(b"unasked", socket.local_addr().unwrap()).unwrap();
        let error = socket.recv_from(&mut [0; 16]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }

    #[test]
    fn egress_connects_and_is_answered_by_udp_where_other_services_are_not_over_ipv4() {
        only_services_that_send_do(["192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn egress_connects_and_is_answered_by_udp_where_other_services_are_not_over_ipv6() {
        only_services_that_send_do(["2001:db8::1", "2001:db8::2"]);
    }
}
