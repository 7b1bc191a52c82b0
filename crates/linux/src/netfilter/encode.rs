//! A table as the messages of one transaction: sets before the rules that look into them, chains before
//! their rules, each rule as a list of expressions. Nothing here speaks to the kernel.

use super::{
    Chain, ChainKind, Condition, FAMILY_INET, Family, Hook, Rule, SUBSYSTEM, Set, Table, Verdict,
};
use crate::netlink::{ACK, APPEND, Attributes, Batch, CREATE};

/// Of whom the messages between the begin and the end of a batch are.
const SUBSYSTEM_NUMBER: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
/// How many elements a set holds at most.
const SET_MAX: u32 = 1024;
/// `NFT_REG_1`, of 16 bytes.
const REGISTER: u32 = 1;
/// `NFT_REG32_00`, the first of 16 registers of 4 bytes; it is where [`REGISTER`] begins.
const FIRST_WORD: u32 = 8;
const VERDICT_REGISTER: u32 = 0;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const SOCKET_USER: u32 = 10;
const LAYER_4_PROTOCOL: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const TCP: u8 = 6;

/// The whole transaction and the number of acknowledgements that it earns.
pub(super) fn encode(table: &Table, first: &[(u16, u16)]) -> (Batch, usize) {
    let inet = header(FAMILY_INET, 0);
    let mut batch = Batch::default();
    let mut wanted = 0;
    batch.message(BATCH_BEGIN, 0, &header(0, SUBSYSTEM_NUMBER), |_| {});
    for (kind, flags) in first.iter().copied() {
        batch.message(kind, flags | ACK, &inet, |a| {
            a.string(1, table.name);
        });
        wanted += 1;
    }
    for (set, number) in table.sets.iter().zip(1..) {
        batch.message(NEW_SET, CREATE | ACK, &inet, |a| encode_set(a, table.name, *set, number));
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
    batch.message(BATCH_END, 0, &header(0, SUBSYSTEM_NUMBER), |_| {});
    (batch, wanted)
}

/// `struct nfgenmsg` of linux/netfilter/nfnetlink.h.
pub(super) fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// One message as a transaction of its own, which earns one acknowledgement.
pub(super) fn alone(kind: u16, flags: u16, attributes: impl FnOnce(&mut Attributes)) -> Batch {
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, 0, &header(0, SUBSYSTEM_NUMBER), |_| {});
    batch.message(kind, flags | ACK, &header(FAMILY_INET, 0), attributes);
    batch.message(BATCH_END, 0, &header(0, SUBSYSTEM_NUMBER), |_| {});
    batch
}

/// `number` tells the sets of one transaction apart; rules name theirs.
fn encode_set(attributes: &mut Attributes, table: &str, set: Set, number: u32) {
    // what nft(8) calls the parts of the key, 6 bits each: uid, ipv4_addr or ipv6_addr, inet_service.
    // The kernel keeps it for whoever lists the set
    let (address, bytes) = match set.family {
        Family::V4 => (7, 12),
        Family::V6 => (8, 24),
    };
    let kind = (24 << 12) | (address << 6) | 13;
    attributes
        .string(1, table)
        .string(2, set.name)
        .number(4, kind)
        .number(5, bytes)
        .number(10, number)
        .nested(9, |description| {
            description.number(1, SET_MAX);
        });
}

fn encode_chain(attributes: &mut Attributes, table: &str, chain: &Chain) {
    let hook = match chain.hook {
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    };
    let (kind, priority, policy) = match chain.kind {
        ChainKind::Filter => ("filter", 0, NF_DROP),
        ChainKind::SourceNat => ("nat", 100, NF_ACCEPT),
    };
    attributes
        .string(1, table)
        .string(3, chain.name)
        .nested(4, |h| {
            h.number(1, hook).number(2, priority);
        })
        .number(5, policy)
        .string(7, kind);
}

fn encode_rule(list: &mut Attributes, rule: &Rule) {
    for condition in &rule.when {
        encode_condition(list, *condition);
    }
    match rule.then {
        Verdict::Accept => decide(list, NF_ACCEPT),
        Verdict::Drop => {
            expression(list, "counter", |_| {});
            decide(list, NF_DROP);
        }
        // decides by itself
        Verdict::Masquerade => expression(list, "masq", |_| {}),
    }
}

fn decide(list: &mut Attributes, code: u32) {
    expression(list, "immediate", |d| {
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
    let loopback = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    match condition {
        Condition::FromLoopback => meta_equals(list, INPUT_NAME, &loopback),
        Condition::ToLoopback => meta_equals(list, OUTPUT_NAME, &loopback),
        // without the zero that ends a name: what begins with it
        Condition::FromInterface(name) => meta_equals(list, INPUT_NAME, name.as_bytes()),
        Condition::ToInterface(name) => meta_equals(list, OUTPUT_NAME, name.as_bytes()),
        Condition::SocketUser(uid) => meta_equals(list, SOCKET_USER, &uid.to_ne_bytes()),
        Condition::Established => established_or_related(list),
        Condition::TcpPort(port) => transport(list, TCP, 2, &port.to_be_bytes()),
        Condition::IcmpV6(kind) => transport(list, 58, 0, &[kind]),
        Condition::IcmpV4(kind) => transport(list, 1, 0, &[kind]),
        Condition::Admitted(set, family) => admitted(list, set, family),
    }
}

/// Who sends where, one part after the other from [`FIRST_WORD`] on, is in the set.
fn admitted(list: &mut Attributes, set: &str, family: Family) {
    const PROTOCOL_FAMILY: u32 = 15;
    // where a header has the destination, and how many bytes of it
    let (number, offset, bytes) = match family {
        Family::V4 => (2, 16, 4),
        Family::V6 => (10, 24, 16),
    };
    meta_equals(list, PROTOCOL_FAMILY, &[number]);
    meta_equals(list, LAYER_4_PROTOCOL, &[TCP]);
    meta(list, SOCKET_USER, FIRST_WORD);
    payload(list, NETWORK_HEADER, offset, bytes, FIRST_WORD + 1);
    // two bytes; the kernel fills the register's rest with zeros
    payload(list, TRANSPORT_HEADER, 2, 2, FIRST_WORD + 1 + bytes / 4);
    expression(list, "lookup", |d| {
        d.string(1, set).number(2, FIRST_WORD);
    });
}

fn meta(list: &mut Attributes, key: u32, register: u32) {
    expression(list, "meta", |d| {
        d.number(2, key).number(1, register);
    });
}

fn meta_equals(list: &mut Attributes, key: u32, value: &[u8]) {
    meta(list, key, REGISTER);
    compare(list, 0, value);
}

/// Loads bytes of a header into a register.
fn payload(list: &mut Attributes, base: u32, offset: u32, bytes: u32, register: u32) {
    expression(list, "payload", |d| {
        d.number(1, register).number(2, base).number(3, offset).number(4, bytes);
    });
}

/// The layer-4 protocol, then bytes of its header.
fn transport(list: &mut Attributes, protocol: u8, offset: u32, value: &[u8]) {
    meta_equals(list, LAYER_4_PROTOCOL, &[protocol]);
    let length = u32::try_from(value.len()).unwrap_or(0);
    payload(list, TRANSPORT_HEADER, offset, length, REGISTER);
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
