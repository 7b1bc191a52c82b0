//! A cable between two network namespaces: a pair of veth(4) interfaces, what one leaves the other
//! receives. With it what a namespace needs to use one: an address, a default route; rtnetlink(7) and the
//! kernel's linux/rtnetlink.h, linux/if_link.h and linux/veth.h name every number below.
//!
//! Each function is one request to the kernel, in the network namespace of the caller, who has asserted
//! which one that is. Nothing here waits or forwards: net.ipv4.ip_forward is somebody else's.

use crate::KernelError;
use crate::netlink::{self, ACK, Attributes, Batch, CREATE, EXCLUSIVE};
use rustix::net::netdevice::name_to_index;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// `struct ifinfomsg`: any family, an interface without number, no flags.
const ANY_LINK: [u8; 16] = [0; 16];
/// `IFLA_IFNAME`.
const NAME: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Makes a cable: one end is `name` in the caller's network namespace, the other `peer` in the one behind
/// `into`. Both are down. The cable goes with either end, so also with either namespace.
///
/// # Errors
/// The kernel's refusal: a name that is taken (`EEXIST`) or longer than 15 bytes.
pub fn make(name: &str, peer: &str, into: BorrowedFd<'_>) -> Result<(), KernelError> {
    const LINK_INFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    const INFO_DATA: u16 = 2;
    const VETH_PEER: u16 = 1;
    const NAMESPACE_FILE: u16 = 28;
    let namespace = into.as_raw_fd().cast_unsigned();
    request("RTM_NEWLINK", name, NEW_LINK, CREATE | EXCLUSIVE, &ANY_LINK, |link| {
        link.string(NAME, name).nested(LINK_INFO, |info| {
            info.string(INFO_KIND, "veth").nested(INFO_DATA, |data| {
                data.headed(VETH_PEER, &ANY_LINK, |other| {
                    other.string(NAME, peer).host_number(NAMESPACE_FILE, namespace);
                });
            });
        });
    })
}

/// Removes the cable whose end in the caller's network namespace is `name`; the other end goes with it.
///
/// # Errors
/// The kernel's refusal: no such interface (`ENODEV`).
pub fn remove(name: &str) -> Result<(), KernelError> {
    request("RTM_DELLINK", name, DELETE_LINK, 0, &ANY_LINK, |link| {
        link.string(NAME, name);
    })
}

/// Brings the interface `name` up; packets pass once both ends of a cable are.
///
/// # Errors
/// The kernel's refusal: no such interface (`ENODEV`).
pub fn up(name: &str) -> Result<(), KernelError> {
    // IFF_UP set, IFF_UP changed; any other flag stays as it is
    let up = 1_u32.to_ne_bytes();
    let header = [&[0; 8], up.as_slice(), up.as_slice()].concat();
    request("RTM_NEWLINK", name, NEW_LINK, 0, &header, |link| {
        link.string(NAME, name);
    })
}

/// Gives the interface `name` an address and a route to the network of its first `prefix` bits. It can
/// be used at once: who makes a cable knows both ends, so nobody asks whether somebody else has it.
///
/// # Errors
/// The kernel's refusal: no such interface (`ENODEV`), the address is there (`EEXIST`), a prefix that is
/// longer than an address (`EINVAL`).
pub fn address(name: &str, address: IpAddr, prefix: u8) -> Result<(), KernelError> {
    const NO_DUPLICATE_DETECTION: u8 = 2;
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let socket = netlink::open(None)?;
    let index = name_to_index(&socket, name)
        .map_err(|errno| KernelError::new("SIOCGIFINDEX", name, errno))?;
    let flags = if address.is_ipv6() { NO_DUPLICATE_DETECTION } else { 0 };
    // struct ifaddrmsg: family, prefix, flags, universal scope, the interface's number
    let mut header = vec![family(address), prefix, flags, 0];
    header.extend(index.to_ne_bytes());
    let bytes = octets(address);
    request("RTM_NEWADDR", name, NEW_ADDRESS, CREATE | EXCLUSIVE, &header, |a| {
        a.bytes(LOCAL, &bytes).bytes(ADDRESS, &bytes);
    })
}

/// Sends what no other route is for to `via`, a neighbour, in its family's main table.
///
/// # Errors
/// The kernel's refusal: there is a default route (`EEXIST`), `via` is no neighbour's address
/// (`ENETUNREACH`, `EHOSTUNREACH`); an address of the link alone is none, as it does not say the link.
pub fn default_route(via: IpAddr) -> Result<(), KernelError> {
    const GATEWAY: u16 = 5;
    const MAIN_TABLE: u8 = 254;
    const BY_ADMINISTRATOR: u8 = 4;
    const UNICAST: u8 = 1;
    // struct rtmsg: family, bits of destination and source, type of service, table, origin, universal
    // scope, type, four bytes of flags
    let header = [family(via), 0, 0, 0, MAIN_TABLE, BY_ADMINISTRATOR, 0, UNICAST, 0, 0, 0, 0];
    request("RTM_NEWROUTE", &via.to_string(), NEW_ROUTE, CREATE | EXCLUSIVE, &header, |route| {
        route.bytes(GATEWAY, &octets(via));
    })
}

const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Sends one message, named `operation` in linux/rtnetlink.h, and hears whether the kernel did it.
fn request(
    operation: &'static str,
    object: &str,
    kind: u16,
    flags: u16,
    header: &[u8],
    attributes: impl FnOnce(&mut Attributes),
) -> Result<(), KernelError> {
    let mut batch = Batch::default();
    batch.message(kind, flags | ACK, header, attributes);
    let socket = netlink::open(None)?;
    netlink::transact(&socket, &batch, 1)
        .map_err(|error| KernelError::new(operation, object, error.errno))
}
