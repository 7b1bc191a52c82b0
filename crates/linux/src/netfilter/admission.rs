//! Who may reach what, while a table stands: elements of its two sets of admissions, put in, taken out and
//! listed. A lookup sees an element or does not; there is no moment at which the rules are not in force.

use super::encode::{alone, header};
use super::{FAMILY_INET, Family, SUBSYSTEM};
use crate::KernelError;
use crate::netlink::{self, Attributes, Batch, CREATE, DUMP};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const GET_ELEMENT: u16 = SUBSYSTEM | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

/// The set of a table that holds admissions to IPv4 addresses.
pub const ADMITTED_V4: &str = "admitted4";
/// The set of a table that holds admissions to IPv6 addresses.
pub const ADMITTED_V6: &str = "admitted6";

/// One user may open TCP connections to one port of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Whose sockets, as the owner of the network namespace numbers users.
    pub user: u32,
    /// To where; an IPv4 address within IPv6 (`::ffff:a.b.c.d`) is that IPv4 address, which is what is sent.
    pub address: IpAddr,
    /// To which port.
    pub port: u16,
}

/// Admits, in a table that has the sets [`ADMITTED_V4`] and [`ADMITTED_V6`]; what is admitted already
/// stays so, once.
///
/// # Errors
/// The kernel's refusal: no such table or set (`ENOENT`), or a set that is full (`ENFILE`).
pub fn admit(socket: &OwnedFd, table: &str, admission: &Admission) -> Result<(), KernelError> {
    change(socket, NEW_ELEMENT, CREATE, table, admission)
}

/// Takes an admission back: it opens no connection any more. A connection that is open stays so where a
/// rule accepts what is established.
///
/// Who goes on keeps `socket` open: closing it after a transaction that deletes waits for a grace period
/// of RCU, as at [`super::create`].
///
/// # Errors
/// The kernel's refusal: there is no such admission (`ENOENT`).
pub fn withdraw(socket: &OwnedFd, table: &str, admission: &Admission) -> Result<(), KernelError> {
    change(socket, DELETE_ELEMENT, 0, table, admission)
}

/// All that is admitted, of both families, in no order.
///
/// # Errors
/// The kernel's refusal, or `EBADMSG` for an element that is no admission.
pub fn admitted(socket: &OwnedFd, table: &str) -> Result<Vec<Admission>, KernelError> {
    let mut all = Vec::new();
    for family in [Family::V4, Family::V6] {
        let set = set_of(family);
        let mut batch = Batch::default();
        batch.message(GET_ELEMENT, DUMP, &header(FAMILY_INET, 0), |a| {
            a.string(1, table).string(2, set);
        });
        for body in netlink::dump(socket, &batch)? {
            let attributes = body.get(4..).unwrap_or_default();
            let elements = netlink::attribute(attributes, 3).unwrap_or_default();
            let read = read_all(elements, family);
            let bad = || KernelError::new("NFT_MSG_GETSETELEM", set, rustix::io::Errno::BADMSG);
            all.extend(read.ok_or_else(bad)?);
        }
    }
    Ok(all)
}

fn change(
    socket: &OwnedFd,
    kind: u16,
    flags: u16,
    table: &str,
    admission: &Admission,
) -> Result<(), KernelError> {
    let (family, key) = key_of(admission);
    let batch = alone(kind, flags, |a| encode_element(a, table, set_of(family), &key));
    netlink::transact(socket, &batch, 1)
}

fn encode_element(attributes: &mut Attributes, table: &str, set: &str, key: &[u8]) {
    attributes.string(1, table).string(2, set).nested(3, |list| {
        list.nested(1, |element| {
            element.nested(1, |data| {
                data.bytes(1, key);
            });
        });
    });
}

const fn set_of(family: Family) -> &'static str {
    match family {
        Family::V4 => ADMITTED_V4,
        Family::V6 => ADMITTED_V6,
    }
}

/// The key as the rule's registers hold it: the user as this machine writes numbers, the rest as packets
/// have it, each part filled up to 4 bytes.
fn key_of(admission: &Admission) -> (Family, Vec<u8>) {
    let mut key = admission.user.to_ne_bytes().to_vec();
    let family = match admission.address.to_canonical() {
        IpAddr::V4(address) => {
            key.extend(address.octets());
            Family::V4
        }
        IpAddr::V6(address) => {
            key.extend(address.octets());
            Family::V6
        }
    };
    key.extend(admission.port.to_be_bytes());
    key.extend([0; 2]);
    (family, key)
}

/// What [`key_of`] made.
fn read(key: &[u8], family: Family) -> Option<Admission> {
    let (user, rest) = key.split_first_chunk::<4>()?;
    let (address, rest) = match family {
        Family::V4 => {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*octets), rest)
        }
        Family::V6 => {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*octets), rest)
        }
    };
    let [high, low, 0, 0] = *rest else { return None };
    let port = u16::from_be_bytes([high, low]);
    Some(Admission { user: u32::from_ne_bytes(*user), address, port })
}

/// Every element of a list of them, or nothing where one cannot be read.
fn read_all(mut elements: &[u8], family: Family) -> Option<Vec<Admission>> {
    let mut all = Vec::new();
    while let Some(element) = netlink::attribute(elements, 1) {
        let key = netlink::attribute(netlink::attribute(element, 1)?, 1)?;
        all.push(read(key, family)?);
        let used = (element.len() + 4).next_multiple_of(4);
        elements = elements.get(used..).unwrap_or_default();
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(address: &str) -> Admission {
        Admission { user: 1001, address: address.parse().unwrap(), port: 443 }
    }

    #[test]
    fn a_key_is_three_parts_of_whole_words() {
        let (family, key) = key_of(&admission("10.1.2.3"));
        let mut wanted = 1001_u32.to_ne_bytes().to_vec();
        wanted.extend([10, 1, 2, 3, 1, 187, 0, 0]);
        assert_eq!((family, &key), (Family::V4, &wanted));
        assert_eq!(key_of(&admission("::ffff:10.1.2.3")), (Family::V4, wanted));
        let (family, key) = key_of(&admission("fd00::1"));
        assert_eq!((family, key.len()), (Family::V6, 24));
    }

    #[test]
    fn elements_are_read_back_and_a_torn_one_is_refused() {
        for address in ["10.1.2.3", "fd00::1"] {
            let (family, key) = key_of(&admission(address));
            assert_eq!(read(&key, family), Some(admission(address)));
            for cut in 0..key.len() {
                assert_eq!(read(key.get(..cut).unwrap(), family), None);
            }
            let mut list = Attributes::default();
            encode_element(&mut list, "direct", set_of(family), &key);
            let mut batch = Batch::default();
            batch.message(NEW_ELEMENT, 0, &[], |a| {
                *a = list;
            });
            let (_, _, body) = netlink::split(batch.bytes()).remove(0);
            let elements = netlink::attribute(&body, 3).unwrap().repeat(2);
            assert_eq!(read_all(&elements, family), Some(vec![admission(address); 2]));
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            assert_eq!(read_all(&elements, other), None);
        }
    }
}
