//! nf_tables rule sets as netlink batches: one table, its sets, base chains with a policy, plain
//! rules. It covers what the box and its cages need and nothing more; nft(8) and the kernel's
//! linux/netfilter/nf_tables.h name every number below. [`Table`] is where to begin reading; what
//! changes in a set while its table stands is an [`Admission`].

mod admission;
mod encode;

pub use admission::{ADMITTED_V4, ADMITTED_V6, Admission, admit, admitted, withdraw};

use crate::KernelError;
use crate::netlink::{self, Batch, CREATE, DUMP, EXCLUSIVE};
use encode::{encode, header};
use rustix::net::netlink::NETFILTER;
use std::os::fd::OwnedFd;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const GET_RULE: u16 = SUBSYSTEM | 7;
const FAMILY_INET: u8 = 1;

/// A table of the inet family, replaced as a whole.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, unique in the network namespace.
    pub name: &'static str,
    /// Its sets, empty at first.
    pub sets: Vec<Set>,
    /// Its base chains.
    pub chains: Vec<Chain>,
}

/// A set of who may reach what: its key is a user, an address and a TCP port. It holds at most 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Its name, unique in the table.
    pub name: &'static str,
    /// Of which family its addresses are.
    pub family: Family,
}

/// A family of addresses; nf_tables calls it the protocol of a packet (linux/netfilter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A base chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its name, unique in the table.
    pub name: &'static str,
    /// What it is for.
    pub kind: ChainKind,
    /// Where it sees packets.
    pub hook: Hook,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What a base chain is for: its type, its priority, its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// To let packets pass: type `filter`, priority 0; what no rule accepts is dropped.
    Filter,
    /// To change from where connections seem to come: type `nat`, priority 100. It sees the first packet
    /// of a connection; what no rule matches passes unchanged. Its hook is [`Hook::Postrouting`].
    SourceNat,
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
    /// Packets from it and through it, once it is known by which interface they leave.
    Postrouting,
}

/// All conditions hold: decide. What is dropped is counted.
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
    /// It arrived on an interface whose name begins with this text, of 1 to 15 bytes.
    FromInterface(&'static str),
    /// It leaves by an interface whose name begins with this text, of 1 to 15 bytes.
    ToInterface(&'static str),
    /// It belongs to a connection that was allowed, or is an error about one.
    Established,
    /// It was sent by a socket of this user, as the owner of the network namespace numbers users.
    SocketUser(u32),
    /// It is TCP to this port.
    TcpPort(u16),
    /// It is `ICMPv6` of this type (RFC 4861 types are needed for any IPv6 at all).
    IcmpV6(u8),
    /// It is `ICMP` of this type.
    IcmpV4(u8),
    /// It is TCP of this family, and its socket's user, its destination and its port are in the set of
    /// this name.
    Admitted(&'static str, Family),
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is gone, and counted.
    Drop,
    /// Its connection gets the address of the interface by which it leaves; of [`ChainKind::SourceNat`].
    Masquerade,
}

/// Opens the socket that every function here speaks through, in the caller's network namespace.
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

/// Packets that the rules of one table dropped, all of them together. What fell to a chain's policy is
/// not among them: a chain that is to count ends with a rule that drops.
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
