//! Addresses to which a name leads only if the box's own policy names them, or never: those that are no
//! machine of the open network, or that are another address in disguise. The rule
//! `metadata-and-private-addresses` of policies/system.yaml and the invariant `neighbourhood-asks` hold the
//! same list, which a test sees to.

use crate::test::Network;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What of these a name may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// What a rule of the granting layer names, and does not block.
    Named,
    /// Nothing: it stands for another address, which no rule was asked about.
    Never,
}

const fn v4(a: u8, b: u8, bits: u8) -> Network {
    Network::of(std::net::IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), bits)
}

const fn v6(segments: [u16; 6], bits: u8) -> Network {
    let [a, b, c, d, e, f] = segments;
    Network::of(std::net::IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, 0, 0)), bits)
}

/// Each network, and where it is said what it is. Addresses of documentation are not among them: nothing is there.
pub(crate) const SPECIAL: [(Network, Special); 20] = [
    (v4(0, 0, 8), Special::Named), // this network, unspecified: RFC 1122, 3.2.1.3
    (v4(10, 0, 8), Special::Named), // private: RFC 1918
    (v4(100, 64, 10), Special::Named), // shared by customers of a carrier (CGNAT): RFC 6598
    (v4(127, 0, 8), Special::Named), // loopback: RFC 1122, 3.2.1.3
    (v4(169, 254, 16), Special::Named), // link-local, and clouds' metadata: RFC 3927
    (v4(172, 16, 12), Special::Named), // private: RFC 1918
    (v4(192, 0, 24), Special::Named), // protocols' own: RFC 6890
    (v4(192, 168, 16), Special::Named), // private: RFC 1918
    (v4(198, 18, 15), Special::Named), // measurements between networks: RFC 2544
    (v4(224, 0, 4), Special::Named), // multicast: RFC 5771
    (v4(240, 0, 4), Special::Named), // reserved, and limited broadcast: RFC 1112, RFC 919
    (v6([0; 6], 96), Special::Named), // unspecified, loopback, v4-compatible: RFC 4291, 2.5
    (v6([0, 0, 0, 0, 0, 0xffff], 96), Special::Never), // v4-mapped: RFC 4291, 2.5.5.2
    (v6([0x64, 0xff9b, 0, 0, 0, 0], 96), Special::Never), // NAT64: RFC 6052
    (v6([0x64, 0xff9b, 1, 0, 0, 0], 48), Special::Never), // NAT64 of a network's own: RFC 8215
    (v6([0x2001, 0, 0, 0, 0, 0], 32), Special::Never), // Teredo: RFC 4380
    (v6([0x2002, 0, 0, 0, 0, 0], 16), Special::Never), // 6to4: RFC 3056
    (v6([0xfc00, 0, 0, 0, 0, 0], 7), Special::Named), // unique local: RFC 4193
    (v6([0xfe80, 0, 0, 0, 0, 0], 9), Special::Named), // link-local, site-local: RFC 4291, RFC 3879
    (v6([0xff00, 0, 0, 0, 0, 0], 8), Special::Named), // multicast: RFC 4291, 2.7
];
