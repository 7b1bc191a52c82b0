//! Names: looked up at the name servers that the box's leases name, or that an operator named, by egress itself
//! (RFC 1035, over UDP with TCP behind it). Nothing is kept: what a call looks up is its own.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use rustix::rand::{GetRandomFlags, getrandom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

pub(crate) const PORT: u16 = 53;
/// How long one server is waited for, and how often all of them are asked.
const SERVER: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// Aliases after each other (RFC 1034, 3.6.2, sets no bound).
const ALIASES_MAX: usize = 8;
pub(crate) const ADDRESSES_MAX: usize = 32;
/// What fits one packet everywhere (RFC 9715).
const UDP_BYTES_MAX: u16 = 1_232;

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The name that the addresses stand at.
    pub(crate) name: String,
    /// IPv6 first, as the servers gave them.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Looks up the addresses of a name, of both families at once.
pub(crate) async fn look_up(servers: &[SocketAddr], host: &str) -> Result<Found, &'static str> {
    let name = Name::from_ascii(format!("{host}.")).map_err(|_no_name| "not_resolved")?;
    let (v6, v4) = tokio::join!(
        of_family(servers, name.clone(), RecordType::AAAA),
        of_family(servers, name, RecordType::A)
    );
    // one family is enough; why there is none at all, either may say
    let (mut addresses, mut at) = (Vec::new(), None);
    for (name, found) in [&v6, &v4].into_iter().flatten() {
        addresses.extend(found);
        at.get_or_insert_with(|| name.clone());
    }
    addresses.truncate(ADDRESSES_MAX);
    match (addresses.is_empty(), v4.and(v6)) {
        (false, _) => {
            let name = at.map(|name| name.to_lowercase().to_ascii()).unwrap_or_default();
            Ok(Found { name: name.trim_end_matches('.').to_owned(), addresses })
        }
        (true, Err(why)) => Err(why),
        (true, Ok(_)) => Err("not_resolved"),
    }
}

/// The addresses of one family, and the name at the end of its aliases.
async fn of_family(
    servers: &[SocketAddr],
    mut name: Name,
    kind: RecordType,
) -> Result<(Name, Vec<IpAddr>), &'static str> {
    for _ in 0..=ALIASES_MAX {
        let reply = ask_all(servers, &name, kind).await?;
        let (end, addresses) = follow(&reply, name.clone());
        if !addresses.is_empty() || end == name {
            return Ok((end, addresses));
        }
        name = end;
    }
    Err("not_resolved")
}

/// Follows the aliases that a reply holds, as far as they go, and takes what stands at their end.
fn follow(reply: &Message, mut name: Name) -> (Name, Vec<IpAddr>) {
    let records = || reply.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    for _ in 0..ALIASES_MAX {
        let alias = records().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == name => Some(target.0.clone()),
            _ => None,
        });
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    let addresses = records().filter(|record| record.name == name);
    let addresses = addresses.filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    let addresses = addresses.map(|address| address.to_canonical()).collect();
    (name, addresses)
}

async fn ask_all(
    servers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
) -> Result<Message, &'static str> {
    let mut why = "not_resolved";
    for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
        match timeout(SERVER, ask(*server, name, kind)).await {
            Ok(Some(reply)) => match reply.metadata.response_code {
                ResponseCode::NoError => return Ok(reply),
                ResponseCode::NXDomain => return Err("not_resolved"),
                // it cannot say: another one may
                _ => {}
            },
            Ok(None) => {}
            Err(_elapsed) => why = "timed_out",
        }
    }
    Err(why)
}

/// One question to one server: over UDP from a port of its own, and over TCP where the reply does not fit.
async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> Option<Message> {
    let mut id = [0; 2];
    getrandom(&mut id, GetRandomFlags::empty()).ok()?;
    let mut question = Message::new(u16::from_be_bytes(id), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX);
    question.set_edns(edns);
    let bytes = question.to_vec().ok()?;
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(&bytes).await.ok()?;
    let mut room = vec![0; usize::from(UDP_BYTES_MAX)];
    loop {
        let length = socket.recv(&mut room).await.ok()?;
        // what does not answer this question may be anybody's: the true one may still come
        match room.get(..length).and_then(|reply| answering(reply, &question)) {
            Some(reply) if reply.metadata.truncation => break,
            Some(reply) => return Some(reply),
            None => {}
        }
    }
    let mut stream = TcpStream::connect(server).await.ok()?;
    stream.write_u16(u16::try_from(bytes.len()).ok()?).await.ok()?;
    stream.write_all(&bytes).await.ok()?;
    let mut reply = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut reply).await.ok()?;
    answering(&reply, &question)
}

/// A reply, if it is the one to this question.
fn answering(bytes: &[u8], question: &Message) -> Option<Message> {
    let reply = Message::from_vec(bytes).ok()?;
    let answers = reply.metadata.id == question.metadata.id
        && reply.metadata.message_type == MessageType::Response
        && reply.queries == question.queries;
    answers.then_some(reply)
}
