//! Names: what a name server says is followed as far as it is an answer, and leads where the call may go or nowhere.

use super::*;
use crate::names::{Found, look_up};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::UdpSocket;

/// What is known of names: the name asked for, the answer's owner, and what stands there.
type Zone = Vec<(&'static str, &'static str)>;

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

/// The reply to a question; a name of the zone leads to an address or to another name.
fn reply(question: &Message, zone: &Zone) -> Message {
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    let asked = question.queries[0].clone();
    reply.add_query(asked.clone());
    let mut at = asked.name().to_ascii().trim_end_matches('.').to_owned();
    let mut known = false;
    // a server says at most three steps at once
    for _ in 0..3 {
        let stands: Vec<&str> =
            zone.iter().filter(|(owner, _)| *owner == at).map(|(_, to)| *to).collect();
        known |= !stands.is_empty();
        let mut next = None;
        for to in stands {
            let data = match to.parse::<IpAddr>() {
                Ok(IpAddr::V4(v4)) if asked.query_type() == RecordType::A => RData::A(A(v4)),
                Ok(IpAddr::V6(v6)) if asked.query_type() == RecordType::AAAA => {
                    RData::AAAA(AAAA(v6))
                }
                Ok(_) => continue,
                Err(_) => {
                    next = Some(to.to_owned());
                    RData::CNAME(CNAME(name(to)))
                }
            };
            reply.add_answer(Record::from_rdata(name(&at), 60, data));
        }
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    if !known {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    reply
}

impl World {
    /// A name server of this zone. `spoil` may send something before the reply over UDP, and change that.
    pub(super) fn names(
        &self,
        zone: &[(&'static str, &'static str)],
        spoil: impl Fn(&mut Message) -> Vec<Vec<u8>> + Send + 'static,
    ) {
        let zone: Zone = zone.to_vec();
        let at = SocketAddr::new(RESOLVER.parse().unwrap(), 53);
        let (socket, listener) =
            self.outside(move || (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap()));
        let tcp = zone.clone();
        std::thread::spawn(move || {
            let mut room = [0; 2_048];
            while let Ok((count, from)) = socket.recv_from(&mut room) {
                let question = Message::from_vec(&room[..count]).unwrap();
                let mut reply = reply(&question, &zone);
                for before in spoil(&mut reply) {
                    socket.send_to(&before, from).unwrap();
                }
                socket.send_to(&reply.to_vec().unwrap(), from).unwrap();
            }
        });
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                let reply = reply(&Message::from_vec(&question).unwrap(), &tcp).to_vec().unwrap();
                let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &reply].concat()).unwrap();
            }
        });
    }
}

fn found(name: &str, addresses: &[&str]) -> Result<Found, &'static str> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Ok(Found { name: name.to_owned(), addresses })
}

#[test]
fn a_name_leads_to_what_stands_at_the_end_of_its_aliases_and_a_forged_reply_to_nothing() {
    let world = World::new();
    let zone = [
        ("web.example", WEB),
        ("web.example", WEB6),
        ("six.example", WEB6),
        ("short.example", "web.example"),
        ("a.example", "b.example"),
        ("b.example", "c.example"),
        ("c.example", "d.example"),
        ("d.example", "e.example"),
        ("e.example", WEB),
        ("round.example", "about.example"),
        ("about.example", "round.example"),
        ("clothed.example", "::ffff:198.51.100.80"),
    ];
    // before each reply somebody sends one with another number, one to another question, and no message
    world.names(&zone, |reply| {
        let mut other = Message::response(reply.metadata.id.wrapping_add(1), OpCode::Query);
        let asked = reply.queries[0].clone();
        let lie =
            || Record::from_rdata(asked.name().clone(), 60, RData::A(A([10, 9, 9, 80].into())));
        other.add_query(asked.clone());
        other.add_answer(lie());
        let mut another = Message::response(reply.metadata.id, OpCode::Query);
        another.add_query(hickory_proto::op::Query::query(name("x.example"), RecordType::A));
        another.add_answer(lie());
        vec![other.to_vec().unwrap(), another.to_vec().unwrap(), b"none".to_vec()]
    });
    let the_box = Box::new(&world, &["web.example"]);
    let look =
        |host: &'static str| the_box.run(async |shared| look_up(&shared.servers(), host).await);
    assert_eq!(look("web.example"), found("web.example", &[WEB6, WEB]));
    assert_eq!(look("six.example"), found("six.example", &[WEB6]));
    assert_eq!(look("short.example"), found("web.example", &[WEB6, WEB]));
    assert_eq!(look("a.example"), found("e.example", &[WEB]));
    assert_eq!(look("clothed.example"), found("clothed.example", &[WEB]));
    assert_eq!(look("round.example"), Err("not_resolved"));
    assert_eq!(look("none.example"), Err("not_resolved"));
}

#[test]
fn a_reply_that_does_not_fit_comes_by_tcp_and_a_silent_server_is_not_waited_for_long() {
    let world = World::new();
    world.names(&[("web.example", WEB)], |reply| {
        reply.answers.clear();
        reply.metadata.truncation = true;
        Vec::new()
    });
    let the_box = Box::new(&world, &["web.example"]);
    let look = || the_box.run(async |shared| look_up(&shared.servers(), "web.example").await);
    assert_eq!(look(), found("web.example", &[WEB]));
    // nobody is there, and then nobody is known
    the_box.shared.links.borrow_mut().servers = vec![METADATA.parse().unwrap()];
    assert!(matches!(look(), Err("timed_out" | "not_resolved")));
    the_box.shared.links.borrow_mut().servers.clear();
    assert_eq!(look(), Err("not_resolved"));
}

#[test]
fn a_name_leads_nowhere_that_was_not_decided() {
    let world = World::new();
    world.names(
        &[
            ("good.example", WEB),
            ("private.example", PRIVATE),
            ("metadata.example", METADATA),
            ("self.example", BOX),
            ("loop.example", "127.0.0.1"),
            ("loop6.example", "::1"),
            ("any.example", "0.0.0.0"),
            ("clothed.example", "::ffff:10.9.9.80"),
            ("nat64.example", "64:ff9b::a09:950"),
            ("sixtofour.example", "2002:a09:950::1"),
            ("alias.example", "private.example"),
            ("both.example", PRIVATE),
            ("both.example", WEB),
        ],
        |_| Vec::new(),
    );
    let hosts = [
        "good.example",
        "private.example",
        "metadata.example",
        "self.example",
        "loop.example",
        "loop6.example",
        "any.example",
        "clothed.example",
        "nat64.example",
        "sixtofour.example",
        "alias.example",
        "both.example",
    ];
    let seen = world.plain(WEB, &hosts, "public");
    let inside = [PRIVATE, METADATA].map(|at| world.plain(at, &hosts, "inside"));
    let the_box = Box::new(&world, &hosts);
    let ask = |host: &str| the_box.request(&json!({ "url": format!("https://{host}/") }));
    for host in ["good.example", "both.example"] {
        let reply = ask(host).unwrap();
        assert_eq!(reply["body"], "public", "{reply}");
        assert_eq!(reply["address"], WEB);
    }
    assert_eq!(seen.connections(), 2);
    for host in &hosts[1..11] {
        assert_eq!(ask(host), Err("address_refused"), "{host}");
    }
    // a lease makes the server's address the box's own
    the_box.shared.links.borrow_mut().addresses.push(WEB.parse().unwrap());
    assert_eq!(ask("good.example"), Err("address_refused"));
    // and what is not known is refused
    the_box.shared.links.borrow_mut().addresses.clear();
    assert_eq!(ask("good.example"), Err("address_refused"));
    assert_eq!(inside.map(|seen| seen.connections()), [0, 0]);
}
