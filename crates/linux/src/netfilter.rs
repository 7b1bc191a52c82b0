//! nf_tables rule sets as netlink batches: one table, base chains with a policy, plain rules. It
//! covers what the box and its cages need and nothing more; nft(8) and the kernel's
//! linux/netfilter/nf_tables.h name every number below.

use crate::KernelError;
use crate::netlink::{self, ACK, APPEND, Attributes, Batch, CREATE, DUMP, EXCLUSIVE};
use rustix::net::netlink::NETFILTER;
use std::os::fd::OwnedFd;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const FAMILY_INET: u8 = 1;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;

/// A table of the inet family, replaced as a whole.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, unique in the network namespace.
    pub name: &'static str,
    /// Its base chains.
    pub chains: Vec<Chain>,
}

/// A base chain of type `filter`, priority 0, whose policy is drop.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its name, unique in the table.
    pub name: &'static str,
    /// Where it sees packets.
    pub hook: Hook,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where a base chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Packets to this network namespace.
    Input,
    /// Packets through it.
    Forward,
    /// Packets from it.
    Output,
}

/// All conditions hold: count, then decide.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What must hold; an empty list always does.
    pub when: Vec<Condition>,
    /// What happens to the packet.
    pub then: Verdict,
}

/// One condition on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It arrived on the loopback interface.
    FromLoopback,
    /// It leaves by the loopback interface.
    ToLoopback,
    /// It belongs to a connection that was allowed, or is an error about one.
    Established,
    /// It was sent by a socket of this user.
    SocketUser(u32),
    /// It is TCP to this port.
    TcpPort(u16),
    /// It is `ICMPv6` of this type (RFC 4861 types are needed for any IPv6 at all).
    IcmpV6(u8),
    /// It is `ICMP` of this type.
    IcmpV4(u8),
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
}

/// Opens the socket that [`replace`], [`create`] and [`packets`] speak through, in the caller's namespace.
///
/// # Errors
/// The kernel's refusal.
pub fn open() -> Result<OwnedFd, KernelError> {
    netlink::open(Some(NETFILTER))
}

/// Puts `table` in place of whatever had its name, in one transaction.
///
/// The caller has asserted in which network namespace it stands: a default-drop table in the wrong
/// one cuts the machine off.
///
/// # Errors
/// The kernel's refusal; then nothing has changed.
pub fn replace(socket: &OwnedFd, table: &Table) -> Result<(), KernelError> {
    // created if absent, so that deleting it never fails, then created anew
    let (batch, wanted) =
        encode(table, &[(NEW_TABLE, CREATE), (DELETE_TABLE, 0), (NEW_TABLE, CREATE)]);
    netlink::transact(socket, &batch, wanted)
}

/// Makes `table` where there is none of its name. Closing the socket of a transaction that deletes
/// something waits for a grace period of RCU (Linux 6.12: `nft_rcv_nl_event`), 10 ms on an idle
/// machine; this deletes nothing.
///
/// # Errors
/// The kernel's refusal, `EEXIST` among them; then nothing has changed.
pub fn create(socket: &OwnedFd, table: &Table) -> Result<(), KernelError> {
    let (batch, wanted) = encode(table, &[(NEW_TABLE, CREATE | EXCLUSIVE)]);
    netlink::transact(socket, &batch, wanted)
}

/// Packets that the rules of one table saw, all of them together.
///
/// # Errors
/// The kernel's refusal.
pub fn packets(socket: &OwnedFd, table: &str) -> Result<u64, KernelError> {
    let mut batch = Batch::default();
    batch.message(GET_RULE, DUMP, &header(FAMILY_INET, 0), |a| {
        a.string(1, table);
    });
    let seen = |body: &Vec<u8>| {
        let attributes = body.get(4..).unwrap_or_default();
        packets_of(netlink::attribute(attributes, 4).unwrap_or_default())
    };
    Ok(netlink::dump(socket, &batch)?.iter().map(seen).sum())
}

/// The packets of a rule's counter, from its expressions.
fn packets_of(mut expressions: &[u8]) -> u64 {
    while let Some(element) = netlink::attribute(expressions, 1) {
        if netlink::attribute(element, 1) == Some(b"counter\0") {
            return number64(netlink::attribute(element, 2).unwrap_or_default(), 2);
        }
        let used = (element.len() + 4).next_multiple_of(4);
        expressions = expressions.get(used..).unwrap_or_default();
    }
    0
}

fn number64(data: &[u8], kind: u16) -> u64 {
    netlink::attribute(data, kind)
        .and_then(<[u8]>::first_chunk::<8>)
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The whole transaction and the number of acknowledgements that it earns.
fn encode(table: &Table, first: &[(u16, u16)]) -> (Batch, usize) {
    let inet = header(FAMILY_INET, 0);
    let mut batch = Batch::default();
    let mut wanted = 0;
    batch.message(BATCH_BEGIN, 0, &header(0, 10), |_| {});
    for (kind, flags) in first.iter().copied() {
        batch.message(kind, flags | ACK, &inet, |a| {
            a.string(1, table.name);
        });
        wanted += 1;
    }
    for chain in &table.chains {
        batch.message(NEW_CHAIN, CREATE | ACK, &inet, |a| encode_chain(a, table.name, chain));
        wanted += 1;
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            batch.message(NEW_RULE, CREATE | APPEND | ACK, &inet, |a| {
                a.string(1, table.name).string(2, chain.name);
                a.nested(4, |list| encode_rule(list, rule));
            });
            wanted += 1;
        }
    }
    batch.message(BATCH_END, 0, &header(0, 10), |_| {});
    (batch, wanted)
}

fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn encode_chain(attributes: &mut Attributes, table: &str, chain: &Chain) {
    let hook = match chain.hook {
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
    };
    attributes
        .string(1, table)
        .string(3, chain.name)
        .nested(4, |h| {
            h.number(1, hook).number(2, 0);
        })
        .number(5, 0)
        .string(7, "filter");
}

fn encode_rule(list: &mut Attributes, rule: &Rule) {
    for condition in &rule.when {
        encode_condition(list, *condition);
    }
    expression(list, "counter", |_| {});
    expression(list, "immediate", |d| {
        let code = match rule.then {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
        };
        d.number(1, VERDICT_REGISTER).nested(2, |data| {
            data.nested(2, |verdict| {
                verdict.number(1, code);
            });
        });
    });
}

fn encode_condition(list: &mut Attributes, condition: Condition) {
    const INPUT_NAME: u32 = 6;
    const OUTPUT_NAME: u32 = 7;
    const SOCKET_USER: u32 = 10;
    let loopback = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    match condition {
        Condition::FromLoopback => meta_equals(list, INPUT_NAME, &loopback),
        Condition::ToLoopback => meta_equals(list, OUTPUT_NAME, &loopback),
        Condition::SocketUser(uid) => meta_equals(list, SOCKET_USER, &uid.to_ne_bytes()),
        Condition::Established => established_or_related(list),
        Condition::TcpPort(port) => transport(list, 6, 2, &port.to_be_bytes()),
        Condition::IcmpV6(kind) => transport(list, 58, 0, &[kind]),
        Condition::IcmpV4(kind) => transport(list, 1, 0, &[kind]),
    }
}

fn meta_equals(list: &mut Attributes, key: u32, value: &[u8]) {
    expression(list, "meta", |d| {
        d.number(2, key).number(1, REGISTER);
    });
    compare(list, 0, value);
}

/// The layer-4 protocol, then bytes of its header.
fn transport(list: &mut Attributes, protocol: u8, offset: u32, value: &[u8]) {
    const LAYER_4_PROTOCOL: u32 = 16;
    const TRANSPORT_HEADER: u32 = 2;
    meta_equals(list, LAYER_4_PROTOCOL, &[protocol]);
    let length = u32::try_from(value.len()).unwrap_or(0);
    expression(list, "payload", |d| {
        d.number(1, REGISTER).number(2, TRANSPORT_HEADER).number(3, offset).number(4, length);
    });
    compare(list, 0, value);
}

fn established_or_related(list: &mut Attributes) {
    const STATE: u32 = 0;
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    expression(list, "ct", |d| {
        d.number(2, STATE).number(1, REGISTER);
    });
    expression(list, "bitwise", |d| {
        d.number(1, REGISTER).number(2, REGISTER).number(3, 4);
        d.nested(4, |mask| {
            mask.bytes(1, &ESTABLISHED_OR_RELATED.to_ne_bytes());
        });
        d.nested(5, |xor| {
            xor.bytes(1, &[0; 4]);
        });
    });
    compare(list, 1, &[0; 4]);
}

/// Compares the register: operator 0 is equality, 1 its opposite.
fn compare(list: &mut Attributes, operator: u32, value: &[u8]) {
    expression(list, "cmp", |d| {
        d.number(1, REGISTER).number(2, operator).nested(3, |data| {
            data.bytes(1, value);
        });
    });
}

fn expression(list: &mut Attributes, name: &str, data: impl FnOnce(&mut Attributes)) {
    list.nested(1, |element| {
        element.string(1, name).nested(2, data);
    });
}
