//! The box's own rules: nothing is forwarded, nothing enters but the doors' ports and answers,
//! nothing leaves but answers and what egress, export and this service send.

use contract::uids;
use linux::KernelError;
use linux::netfilter::{self, Chain, ChainKind, Condition, Hook, Rule, Table, Verdict};

/// Agents' and operators' ports.
const DOORS: [u16; 2] = [7700, 7800];
/// Router and neighbour discovery (RFC 4861), without which there is no IPv6.
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];
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
    let mut input = vec![
        accept(vec![Condition::FromLoopback]),
        accept(vec![Condition::Established]),
        accept(vec![Condition::IcmpV4(ECHO_V4)]),
        accept(vec![Condition::IcmpV6(ECHO_V6)]),
        accept(vec![Condition::IcmpV6(TOO_BIG)]),
    ];
    input.extend(DOORS.map(|port| accept(vec![Condition::TcpPort(port)])));
    input.extend(NEIGHBOUR_DISCOVERY.map(|kind| accept(vec![Condition::IcmpV6(kind)])));
    let mut output =
        vec![accept(vec![Condition::ToLoopback]), accept(vec![Condition::Established])];
    output.extend(
        [uids::NET, uids::EGRESS, uids::EXPORT].map(|uid| accept(vec![Condition::SocketUser(uid)])),
    );
    output.extend(NEIGHBOUR_DISCOVERY.map(|kind| accept(vec![Condition::IcmpV6(kind)])));
    let dropped = || Rule { when: Vec::new(), then: Verdict::Drop };
    input.push(dropped());
    output.push(dropped());
    let chain = |name, hook, rules| Chain { name, kind: ChainKind::Filter, hook, rules };
    Table {
        name: "box",
        sets: Vec::new(),
        chains: vec![
            chain("input", Hook::Input, input),
            chain("forward", Hook::Forward, vec![dropped()]),
            chain("output", Hook::Output, output),
        ],
    }
}
