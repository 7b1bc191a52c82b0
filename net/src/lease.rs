//! A DHCP lease on one link (RFC 2131): asked for, renewed at half its time, given up when the
//! server says so. Every answer is checked against what was asked; no answer waits for ever.

use crate::link::Link;
use contract::links::SERVERS_MAX;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use linux::packet;
use rtnetlink::packet_route::address::AddressScope;
use rtnetlink::{Handle, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout_at};

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;
/// Waits between tries, the last one for ever after (RFC 2131 section 4.1).
const RETRY_SECONDS: [u64; 5] = [1, 2, 4, 8, 16];
const LEASE_SECONDS_MIN: u32 = 60;
const LEASE_SECONDS_MAX: u32 = 7 * 86_400;
const PACKET_BYTES_MAX: usize = 1500;

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    address: Ipv4Addr,
    prefix: u8,
    router: Option<Ipv4Addr>,
    server: Ipv4Addr,
    /// Name servers, each once, at most [`SERVERS_MAX`].
    names: Vec<Ipv4Addr>,
    seconds: u32,
}

/// What a task that keeps a lease has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// A line for the machine's log.
    Line(String),
    /// The link of this index has a lease that names these servers, or none any more.
    Servers(u32, Vec<Ipv4Addr>),
}

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Kernel(#[from] linux::KernelError),
    #[error("event loop: {0}")]
    Loop(#[from] std::io::Error),
    #[error("rtnetlink: {0}")]
    Route(#[from] rtnetlink::Error),
    #[error("no answer")]
    Silence,
    #[error("message cannot be encoded")]
    Encode,
}

/// Keeps a lease on `link` until the task is aborted.
pub(crate) async fn keep(link: Link, route: Handle, report: Sender<Report>) {
    let mut tries = 0;
    let mut ends_at: Option<Instant> = None;
    loop {
        match once(&link, &route).await {
            Ok(lease) => {
                tries = 0;
                let lasts = Duration::from_secs(u64::from(lease.seconds));
                ends_at = Some(Instant::now() + lasts);
                let line = format!(
                    "{} has {}/{} from {} for {} s",
                    link.name, lease.address, lease.prefix, lease.server, lease.seconds
                );
                report.send(Report::Line(line)).await.ok();
                report.send(Report::Servers(link.index, lease.names)).await.ok();
                sleep(lasts / 2).await;
            }
            Err(error) => {
                if tries == 0 {
                    let line = format!("{}: no lease: {error}", link.name);
                    report.send(Report::Line(line)).await.ok();
                }
                if ends_at.take_if(|at| *at <= Instant::now()).is_some() {
                    report.send(Report::Servers(link.index, Vec::new())).await.ok();
                }
                let wait = RETRY_SECONDS.get(tries).or(RETRY_SECONDS.last()).copied();
                sleep(Duration::from_secs(wait.unwrap_or(16))).await;
                tries += 1;
            }
        }
    }
}

/// Asks for a lease and takes it.
async fn once(link: &Link, route: &Handle) -> Result<Lease, LeaseError> {
    let socket = crate::watched(packet::open(link.index)?, Interest::READABLE)?;
    let xid = transaction();
    send(&socket, link, &message(link, xid, MessageType::Discover, None))?;
    let offer = answer(&socket, link, xid, MessageType::Offer).await?;
    send(&socket, link, &message(link, xid, MessageType::Request, Some(&offer)))?;
    let lease = answer(&socket, link, xid, MessageType::Ack).await?;
    drop(socket);
    apply(link, route, &lease).await?;
    Ok(lease)
}

fn message(link: &Link, xid: u32, kind: MessageType, offer: Option<&Lease>) -> Message {
    let mut message = Message::default();
    message.set_xid(xid).set_flags(Flags::default().set_broadcast()).set_chaddr(&link.hardware);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::NtpServers,
    ]));
    if let Some(offer) = offer {
        options.insert(DhcpOption::RequestedIpAddress(offer.address));
        options.insert(DhcpOption::ServerIdentifier(offer.server));
    }
    message
}

fn send(socket: &AsyncFd<OwnedFd>, link: &Link, message: &Message) -> Result<(), LeaseError> {
    let mut body = Vec::new();
    message.encode(&mut Encoder::new(&mut body)).map_err(|_error| LeaseError::Encode)?;
    packet::broadcast(socket.get_ref(), link.index, &udp_broadcast(&body))?;
    Ok(())
}

/// Waits for an answer of `kind` to our transaction; what is not for us is passed over.
async fn answer(
    socket: &AsyncFd<OwnedFd>,
    link: &Link,
    xid: u32,
    kind: MessageType,
) -> Result<Lease, LeaseError> {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let readable = timeout_at(deadline, socket.readable()).await;
        let mut guard = readable.map_err(|_late| LeaseError::Silence)??;
        let mut packet = [0; PACKET_BYTES_MAX];
        match rustix::io::read(socket.get_ref(), &mut packet) {
            Ok(length) => {
                let packet = packet.get(..length).unwrap_or_default();
                if let Some(lease) = granted(packet, link, xid, kind) {
                    return Ok(lease);
                }
            }
            Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
            Err(errno) => return Err(LeaseError::Loop(errno.into())),
        }
    }
}

/// The lease in an IPv4 packet, if it is an answer of `kind` to us that makes sense.
fn granted(packet: &[u8], link: &Link, xid: u32, kind: MessageType) -> Option<Lease> {
    let body = udp_body(packet)?;
    let message = Message::decode(&mut Decoder::new(body)).ok()?;
    if message.xid() != xid || message.chaddr() != link.hardware {
        return None;
    }
    let options = message.opts();
    let found = |code| options.get(code);
    if !matches!(found(OptionCode::MessageType), Some(DhcpOption::MessageType(k)) if *k == kind) {
        return None;
    }
    let Some(DhcpOption::ServerIdentifier(server)) = found(OptionCode::ServerIdentifier) else {
        return None;
    };
    let Some(DhcpOption::SubnetMask(mask)) = found(OptionCode::SubnetMask) else { return None };
    let Some(DhcpOption::AddressLeaseTime(seconds)) = found(OptionCode::AddressLeaseTime) else {
        return None;
    };
    let router = match found(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers.first().copied(),
        _ => None,
    };
    let named: &[Ipv4Addr] = match found(OptionCode::DomainNameServer) {
        Some(DhcpOption::DomainNameServer(named)) => named,
        _ => &[],
    };
    let address = message.yiaddr();
    let prefix = u32::from(*mask).leading_ones();
    let good = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    let whole = u32::from(*mask).count_ones() == prefix && prefix > 0;
    (good && whole).then(|| Lease {
        address,
        prefix: u8::try_from(prefix).unwrap_or(32),
        router,
        server: *server,
        names: servers(named, address, *mask),
        seconds: (*seconds).clamp(LEASE_SECONDS_MIN, LEASE_SECONDS_MAX),
    })
}

/// Of the name servers of an answer those that can be asked: unicast addresses, none of them the one that
/// is granted, each once, the first [`SERVERS_MAX`].
fn servers(named: &[Ipv4Addr], granted: Ipv4Addr, mask: Ipv4Addr) -> Vec<Ipv4Addr> {
    let everybody = granted | !mask;
    let mut taken = Vec::new();
    for server in named {
        let [class, ..] = server.octets();
        // 0 is this network, from 224 on multicast and what is reserved (RFC 6890)
        let unicast = (1..224).contains(&class) && !server.is_loopback() && *server != everybody;
        if unicast && *server != granted && !taken.contains(server) && taken.len() < SERVERS_MAX {
            taken.push(*server);
        }
    }
    taken
}

/// Gives the link its address and the box its route.
async fn apply(link: &Link, route: &Handle, lease: &Lease) -> Result<(), LeaseError> {
    let mut address =
        route.address().add(link.index, IpAddr::V4(lease.address), lease.prefix).replace();
    address.message_mut().header.scope = AddressScope::Universe;
    address.execute().await?;
    if let Some(router) = lease.router {
        let default =
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(router).output_interface(link.index);
        route.route().add(default.build()).replace().execute().await?;
    }
    Ok(())
}

/// An IPv4 broadcast from nobody to everybody with one UDP datagram (RFC 791, RFC 768).
fn udp_broadcast(body: &[u8]) -> Vec<u8> {
    let datagram = u16::try_from(8 + body.len()).unwrap_or(u16::MAX);
    let total = datagram.saturating_add(20);
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(Ipv4Addr::UNSPECIFIED.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let checksum = checksum(&packet);
    packet.splice(10..12, checksum.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(datagram.to_be_bytes());
    packet.extend([0, 0]); // no checksum, which UDP over IPv4 allows
    packet.extend(body);
    packet
}

fn checksum(header: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in header.chunks_exact(2) {
        if let [high, low] = pair {
            sum += u32::from(u16::from_be_bytes([*high, *low]));
        }
    }
    while let Some(carry) = Some(sum >> 16).filter(|carry| *carry > 0) {
        sum = (sum & 0xffff) + carry;
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The body of a UDP datagram from the server's port to the client's; nothing for any other packet.
fn udp_body(packet: &[u8]) -> Option<&[u8]> {
    let first = packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || packet.get(9) != Some(&17) {
        return None;
    }
    let (udp, body) = packet.get(header..)?.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, _, _] = *udp;
    if [a, b] != SERVER_PORT.to_be_bytes() || [c, d] != CLIENT_PORT.to_be_bytes() {
        return None;
    }
    body.get(..usize::from(u16::from_be_bytes([e, f])).checked_sub(8)?)
}

/// A transaction number that an off-link attacker cannot guess.
fn transaction() -> u32 {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok();
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link { index: 2, name: "eth0".to_owned(), hardware: [2, 0, 0, 0, 0, 1] }
    }

    fn ack(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut reply = message(&link(), 7, MessageType::Ack, None);
        reply.set_yiaddr(Ipv4Addr::new(192, 0, 2, 9));
        let options = reply.opts_mut();
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![Ipv4Addr::new(192, 0, 2, 1)]));
        options.insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(192, 0, 2, 1)));
        options.insert(DhcpOption::AddressLeaseTime(1));
        change(&mut reply);
        let mut body = Vec::new();
        reply.encode(&mut Encoder::new(&mut body)).unwrap();
        let mut packet = udp_broadcast(&body);
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet
    }

    #[test]
    fn a_good_answer_is_a_lease_with_a_bounded_time() {
        let lease = granted(&ack(|_| {}), &link(), 7, MessageType::Ack).unwrap();
        assert_eq!((lease.prefix, lease.seconds), (24, LEASE_SECONDS_MIN));
    }

    #[test]
    fn name_servers_of_an_answer_are_unicast_each_once_and_at_most_four() {
        let named = |servers: &[[u8; 4]]| {
            let servers: Vec<Ipv4Addr> =
                servers.iter().map(|bytes| Ipv4Addr::from(*bytes)).collect();
            let packet = ack(|m| {
                m.opts_mut().insert(DhcpOption::DomainNameServer(servers));
            });
            let lease = granted(&packet, &link(), 7, MessageType::Ack).unwrap();
            lease.names.iter().map(Ipv4Addr::octets).collect::<Vec<_>>()
        };
        let (near, far) = ([192, 0, 2, 53], [198, 51, 100, 53]);
        assert_eq!(named(&[near, far, near]), [near, far]);
        for wrong in [
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [127, 0, 0, 1],
            [224, 0, 0, 251],
            [240, 0, 0, 1],
            [255, 255, 255, 255],
            // what is granted, and everybody in its network
            [192, 0, 2, 9],
            [192, 0, 2, 255],
        ] {
            assert_eq!(named(&[wrong, near]), [near], "{wrong:?}");
        }
        let many: Vec<[u8; 4]> = (1..9).map(|n| [198, 51, 100, n]).collect();
        assert_eq!(named(&many), many[..SERVERS_MAX]);
        let none = granted(&ack(|_| {}), &link(), 7, MessageType::Ack).unwrap();
        assert!(none.names.is_empty());
    }

    #[test]
    fn answers_to_others_and_nonsense_are_passed_over() {
        let check = |change: fn(&mut Message)| granted(&ack(change), &link(), 7, MessageType::Ack);
        assert!(
            check(|m| {
                m.set_xid(8);
            })
            .is_none()
        );
        assert!(
            check(|m| {
                m.set_chaddr(&[2, 0, 0, 0, 0, 2]);
            })
            .is_none()
        );
        assert!(
            check(|m| {
                m.set_yiaddr(Ipv4Addr::UNSPECIFIED);
            })
            .is_none()
        );
        assert!(
            check(|m| {
                m.opts_mut().insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 0, 255, 0)));
            })
            .is_none()
        );
        let whole = ack(|_| {});
        for cut in 0..whole.len() {
            granted(&whole[..cut], &link(), 7, MessageType::Ack);
        }
    }
}
