//! What egress is told, from a kernel's real links in networks that the test made.

use super::*;
use crate::lease::{self, Report};
use crate::link::Link;
use crate::networks;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use futures_util::StreamExt;
use linux::cable;
use linux::cage::Namespace;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{LinkUnspec, MulticastGroup};
use rustix::net::SocketFlags;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// When it is given up that something comes.
const PATIENCE: Duration = Duration::from_secs(20);
const NEAR: [u8; 4] = [192, 0, 2, 9];
const FAR: [u8; 4] = [192, 0, 2, 1];

fn edge() -> (Channel, Channel) {
    let (ours, theirs) = Channel::pair(SocketFlags::empty()).unwrap();
    (Channel::new(ours), Channel::new(theirs))
}

/// The next message at egress's end, if there is one.
fn heard(egress: &Channel) -> Option<Links> {
    let frame = egress.receive_now().ok()?;
    let ((version, links), _) = frame.open(|_: &(u16, Links)| 0).unwrap();
    assert_eq!(version, VERSION);
    Some(links)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_a_network<F: Future>(work: impl FnOnce(Namespace) -> F) {
    let home = networks::enter_new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work(home));
}

#[test]
fn every_address_and_each_change_of_one_reaches_egress() {
    in_a_network(|home| async move {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, route, mut changes) =
            rtnetlink::new_multicast_connection(&groups).unwrap();
        tokio::spawn(connection);
        route.link().set(LinkUnspec::new_with_index(1).up().build()).execute().await.unwrap();
        let (ours, egress) = edge();
        let mut told = Told::new(route, Some(ours));
        told.look().await.unwrap();
        let loopback = [address("127.0.0.1"), address("::1")];
        assert_eq!(heard(&egress).unwrap().addresses, loopback);
        // the change of before is over, and what is known is not said again
        while timeout(Duration::from_millis(200), changes.next()).await.is_ok() {}
        told.look().await.unwrap();
        assert_eq!(heard(&egress), None);

        let other = Namespace::new_network(&home).unwrap();
        cable::make("wire", "far", other.as_fd()).unwrap();
        for (own, prefix) in [("192.0.2.9", 24), ("2001:db8::9", 64)] {
            cable::address("wire", address(own), prefix).unwrap();
            timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
            told.look().await.unwrap();
            let links = heard(&egress).unwrap();
            assert!(links.addresses.contains(&address(own)), "{links:?}");
            assert!(loopback.iter().all(|own| links.addresses.contains(own)), "{links:?}");
        }
        cable::remove("wire").unwrap();
        timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
        told.look().await.unwrap();
        assert_eq!(heard(&egress).unwrap().addresses, loopback);
    });
}

#[test]
fn a_new_egress_is_told_everything_again_and_the_old_end_is_left() {
    in_a_network(|_home| async move {
        let (connection, route, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        route.link().set(LinkUnspec::new_with_index(1).up().build()).execute().await.unwrap();
        let mut told = Told::new(route, None);
        told.look().await.unwrap();
        told.leased(7, vec![FAR.into()]).await.unwrap();
        let (ours, first) = edge();
        told.replace(ours);
        let all = heard(&first).unwrap();
        assert_eq!(all.servers, [IpAddr::from(FAR)]);
        assert!(all.addresses.contains(&address("::1")), "{all:?}");
        drop(first);
        // what nobody takes is no error
        told.leased(8, vec![[198, 51, 100, 53].into()]).await.unwrap();
        let (ours, second) = edge();
        told.replace(ours);
        let again = heard(&second).unwrap();
        assert_eq!(again.addresses, all.addresses);
        assert_eq!(again.servers.len(), 2);
        // a lease that is over, and a link that is gone
        told.leased(8, Vec::new()).await.unwrap();
        assert_eq!(heard(&second).unwrap().servers, all.servers);
        told.forget_unless(|link| link != 7);
        told.look().await.unwrap();
        assert!(heard(&second).unwrap().servers.is_empty());
        assert_eq!(heard(&second), None);
    });
}

#[test]
fn an_egress_that_does_not_read_hears_the_last_in_the_end() {
    in_a_network(|_home| async move {
        let (connection, route, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let (ours, egress) = edge();
        let mut told = Told::new(route, Some(ours));
        let many = 5_000_u16;
        for number in 0..many {
            let [high, low] = number.to_be_bytes();
            told.leased(7, vec![[198, 51, high, low].into()]).await.unwrap();
        }
        let last: IpAddr = told.servers[&7][0].into();
        let (mut count, mut seen) = (0, None);
        loop {
            while let Some(links) = heard(&egress) {
                (count, seen) = (count + 1, Some(links));
            }
            told.tell();
            match heard(&egress) {
                Some(links) => (count, seen) = (count + 1, Some(links)),
                None => break,
            }
        }
        assert_eq!(seen.unwrap().servers, [last]);
        assert!(count < many, "the edge took everything: this shows nothing");
    });
}

#[test]
fn each_leases_first_server_comes_first_and_too_many_addresses_are_none() {
    let servers = |hosts: &[u8]| hosts.iter().map(|host| Ipv4Addr::new(192, 0, 2, *host)).collect();
    let known =
        BTreeMap::from([(2, servers(&[1, 2, 3, 4])), (3, servers(&[9, 1])), (5, servers(&[]))]);
    let of = |count: u16| (0..count).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])).collect();
    let most = u16::try_from(ADDRESSES_MAX).unwrap();
    let told = links(&known, &of(most));
    let expected: Vec<IpAddr> = [1, 9, 2, 3].map(|host| IpAddr::from([192, 0, 2, host])).into();
    assert_eq!(told.servers, expected);
    assert_eq!(told.addresses.len(), ADDRESSES_MAX);
    // as many as there can be fit a frame
    let (ours, theirs) = edge();
    ours.send(&(VERSION, &told), &[]).unwrap();
    assert_eq!(heard(&theirs), Some(told));
    assert!(links(&known, &of(most + 1)).addresses.is_empty());
}

/// A DHCP server that grants [`NEAR`] for an hour, names servers, and is gone.
fn serve(names: Vec<Ipv4Addr>) {
    cable::up("far").unwrap();
    cable::address("far", FAR.into(), 24).unwrap();
    // a broadcast to everybody needs a way to go
    cable::default_route(NEAR.into()).unwrap();
    let socket = UdpSocket::bind(("0.0.0.0", 67)).unwrap();
    socket.set_broadcast(true).unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, _)) = socket.recv_from(&mut packet) {
            let asked = Message::decode(&mut Decoder::new(&packet[..length])).unwrap();
            let Some(DhcpOption::MessageType(kind)) = asked.opts().get(OptionCode::MessageType)
            else {
                panic!("no kind: {asked:?}")
            };
            let Some(DhcpOption::ParameterRequestList(wanted)) =
                asked.opts().get(OptionCode::ParameterRequestList)
            else {
                panic!("nothing is wanted: {asked:?}")
            };
            let mut answer = Message::default();
            answer.set_opcode(Opcode::BootReply).set_xid(asked.xid()).set_chaddr(asked.chaddr());
            answer.set_yiaddr(NEAR);
            let options = answer.opts_mut();
            let kind =
                if *kind == MessageType::Discover { MessageType::Offer } else { MessageType::Ack };
            options.insert(DhcpOption::MessageType(kind));
            options.insert(DhcpOption::ServerIdentifier(FAR.into()));
            options.insert(DhcpOption::SubnetMask([255, 255, 255, 0].into()));
            options.insert(DhcpOption::AddressLeaseTime(3_600));
            if wanted.contains(&OptionCode::DomainNameServer) {
                options.insert(DhcpOption::DomainNameServer(names.clone()));
            }
            let mut body = Vec::new();
            answer.encode(&mut Encoder::new(&mut body)).unwrap();
            socket.send_to(&body, ("255.255.255.255", 68)).unwrap();
            if kind == MessageType::Ack {
                return;
            }
        }
    });
}

/// The cable's end as the link that it is not taken for elsewhere, since it is a virtual one.
async fn link(route: &Handle, wanted: &str) -> Link {
    let messages: Vec<LinkMessage> = route.link().get().execute().try_collect().await.unwrap();
    let of = |message: &LinkMessage| {
        let named = |attribute: &LinkAttribute| *attribute == LinkAttribute::IfName(wanted.into());
        message.attributes.iter().any(named)
    };
    let message = messages.iter().find(|message| of(message)).unwrap();
    let hardware = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    });
    Link { index: message.header.index, name: wanted.to_owned(), hardware: hardware.unwrap() }
}

/// The keeper of a lease on a cable to a DHCP server that names `named`; the number of the cable's link.
async fn keeper(
    home: &Namespace,
    route: &Handle,
    named: [Ipv4Addr; 2],
) -> (u32, JoinHandle<()>, Receiver<Report>) {
    let other = Namespace::new_network(home).unwrap();
    cable::make("wire", "far", other.as_fd()).unwrap();
    cable::up("wire").unwrap();
    networks::inside(home, &other, move || serve(named.to_vec()));
    let (report, reports) = tokio::sync::mpsc::channel(16);
    let wire = link(route, "wire").await;
    (wire.index, tokio::spawn(lease::keep(wire, route.clone(), report)), reports)
}

#[test]
fn a_lease_that_is_over_names_no_servers_any_more() {
    in_a_network(|home| async move {
        let (connection, route, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let named = [FAR, [198, 51, 100, 53]].map(Ipv4Addr::from);
        let (index, keeper, mut reports) = keeper(&home, &route, named).await;
        let mut servers = async || {
            loop {
                // of a clock that stands still but where everybody waits
                let report = timeout(Duration::from_secs(7_200), reports.recv()).await;
                if let Report::Servers(link, servers) = report.unwrap().unwrap() {
                    assert_eq!(link, index);
                    return servers;
                }
            }
        };
        assert_eq!(servers().await, named);
        tokio::time::pause();
        let granted = tokio::time::Instant::now();
        assert_eq!(servers().await, [Ipv4Addr::UNSPECIFIED; 0]);
        let after_s = granted.elapsed().as_secs();
        assert!((3_590..3_660).contains(&after_s), "given up after {after_s} s of 3600");
        keeper.abort();
    });
}

#[test]
fn the_name_servers_of_a_lease_and_its_address_reach_egress() {
    in_a_network(|home| async move {
        let named = [[198, 51, 100, 53], FAR].map(Ipv4Addr::from);
        let (connection, route, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let (ours, egress) = edge();
        let mut told = Told::new(route.clone(), Some(ours));
        let (index, keeper, mut reports) = keeper(&home, &route, named).await;
        let line = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
        assert!(
            matches!(&line, Report::Line(line) if line.contains("has 192.0.2.9/24")),
            "{line:?}"
        );
        let report = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
        let Report::Servers(link, servers) = report else { panic!("{report:?}") };
        assert_eq!((link, servers.as_slice()), (index, named.as_slice()));
        told.leased(link, servers).await.unwrap();
        let links = heard(&egress).unwrap();
        assert_eq!(links.servers, named.map(IpAddr::V4));
        assert!(links.addresses.contains(&IpAddr::from(NEAR)), "{links:?}");
        keeper.abort();
    });
}
