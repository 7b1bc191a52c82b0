//! Predicates on one field of an effect. A predicate on a field that the effect lacks does not hold,
//! and neither does its `not`.

use crate::glob::Glob;
use contract::effect::{Type, Value};
use contract::path::CanonicalPath;
use std::net::IpAddr;

/// A predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// One of these patterns matches: text, a path or a ref.
    OneOf(Vec<Glob>),
    /// The host is one of these: exactly, or `*.` with one or more labels before the rest.
    Hosts(Vec<String>),
    /// The path is one of these or lies beneath it.
    Under(Vec<CanonicalPath>),
    /// The number lies in one of these closed intervals.
    Numbers(Vec<(u64, u64)>),
    /// The address lies in one of these networks.
    Networks(Vec<Network>),
    /// All hold.
    All(Vec<Self>),
    /// The predicate does not hold, of a value that is there.
    Not(Box<Self>),
}

/// An address and the length of its prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// A network of which it is known that bits beyond the prefix are zero.
    pub(crate) const fn of(address: IpAddr, bits: u8) -> Self {
        Self { address, bits }
    }

    /// Reads `192.0.2.0/24` or one address; bits beyond the prefix must be zero.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        let network = Self { address, bits };
        let clean = bits <= most && network.number(address)? & !network.mask() == 0;
        clean.then_some(network)
    }

    /// Whether an address lies in it; one of the other family never does.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let inside = self.number(address).zip(self.number(self.address));
        inside.is_some_and(|(a, b)| a & self.mask() == b & self.mask())
    }

    /// The address as a number left-aligned in 128 bits, if it is of this network's family.
    fn number(&self, address: IpAddr) -> Option<u128> {
        match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(address)) => Some(u128::from(u32::from(address)) << 96),
            (IpAddr::V6(_), IpAddr::V6(address)) => Some(u128::from(address)),
            _ => None,
        }
    }

    /// The address that it begins with.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The address behind its last one.
    pub(crate) fn behind(&self) -> Option<IpAddr> {
        let number = self.number(self.address)?;
        let behind = (number | !self.mask()).checked_add(1)?;
        match self.address {
            IpAddr::V4(_) => u32::try_from(behind >> 96).ok().map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(_) => Some(IpAddr::V6(behind.into())),
        }
    }

    /// Its bits, of an address as a number left-aligned in 128 bits.
    pub(crate) fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Test {
    /// Whether the predicate holds of a value that is there.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Not(test), value) => !test.holds(value),
            (Self::All(tests), value) => tests.iter().all(|test| test.holds(value)),
            (Self::OneOf(globs), Value::Text(text)) => globs.iter().any(|g| g.matches(text)),
            (Self::OneOf(globs), Value::Path(path)) => {
                globs.iter().any(|glob| glob.matches(path.as_str()))
            }
            (Self::Under(roots), Value::Path(path)) => roots.iter().any(|r| path.is_under(r)),
            (Self::Hosts(hosts), Value::Text(host)) => hosts.iter().any(|h| host_matches(h, host)),
            (Self::Numbers(ranges), Value::Number(number)) => {
                ranges.iter().any(|(low, high)| (low..=high).contains(&number))
            }
            (Self::Networks(networks), Value::Text(address)) => address
                .parse()
                .is_ok_and(|address| networks.iter().any(|network| network.contains(address))),
            _ => false,
        }
    }

    /// Whether the predicate can be written about fields of this type at all.
    pub(crate) fn suits(&self, ty: Type) -> bool {
        match self {
            Self::All(tests) => tests.iter().all(|test| test.suits(ty)),
            Self::Not(test) => test.suits(ty),
            Self::OneOf(_) => matches!(ty, Type::Path | Type::Text),
            Self::Hosts(_) => ty == Type::Host,
            Self::Under(_) => ty == Type::Path,
            Self::Numbers(_) => ty == Type::Number,
            Self::Networks(_) => ty == Type::Address,
        }
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => host
            .strip_suffix(rest)
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty()),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_host_is_one_or_more_leftmost_labels() {
        for (pattern, host, matches) in [
            ("a.example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*.example", "aexample", false),
        ] {
            assert_eq!(host_matches(pattern, host), matches, "{pattern} {host}");
        }
    }

    #[test]
    fn networks_keep_to_their_family_and_prefix() {
        let network = |text| Network::read(text).unwrap();
        assert!(network("192.0.2.0/24").contains("192.0.2.255".parse().unwrap()));
        assert!(!network("192.0.2.0/24").contains("192.0.3.0".parse().unwrap()));
        assert!(network("0.0.0.0/0").contains("203.0.113.9".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(network("::/0").contains("::1".parse().unwrap()));
        for bad in ["192.0.2.1/24", "192.0.2.0/33", "x", "192.0.2.0/", "::/129"] {
            assert_eq!(Network::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn not_complements_within_present_values() {
        let test = Test::Not(Box::new(Test::Numbers(vec![(1, 10)])));
        assert!(test.holds(&Value::Number(11)));
        assert!(!test.holds(&Value::Number(10)));
    }
}
