//! Netlink messages: a header, a family's own header, attributes; netlink(7).

use crate::KernelError;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};
use std::os::fd::OwnedFd;

/// `NLM_F_REQUEST`: every message to the kernel carries it.
pub const REQUEST: u16 = 1;
/// `NLM_F_ACK`: the kernel answers with an error number, 0 for success.
pub const ACK: u16 = 4;
/// `NLM_F_CREATE`: makes what is not there.
pub const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`: refuses what is there.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_APPEND`: adds at the end of a list.
pub const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`: asks for all objects.
pub const DUMP: u16 = 0x300;

/// `NLA_F_NESTED`: the attribute holds attributes.
const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const ANSWER_BYTES_MAX: usize = 16_384;

/// One or more messages under construction.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    /// Appends a message: its type, flags, the family's fixed header, and its attributes.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        attributes: impl FnOnce(&mut Attributes),
    ) {
        let mut body = Attributes::default();
        attributes(&mut body);
        let length = 16 + header.len() + body.0.len();
        self.sequence += 1;
        self.bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(header);
        self.bytes.extend(body.0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The finished bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Attributes of a message, in order.
#[derive(Debug, Default, Clone)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Appends raw bytes under `kind`.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a NUL-terminated string.
    pub fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Appends a 32-bit number in network order, as nf_tables wants it.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a 32-bit number in this machine's order, as rtnetlink wants it.
    pub fn host_number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends a fixed header and attributes after it, under one `kind`.
    pub fn headed(&mut self, kind: u16, header: &[u8], inner: impl FnOnce(&mut Self)) -> &mut Self {
        let mut value = Self(header.to_vec());
        inner(&mut value);
        self.bytes(kind, &value.0)
    }

    /// Appends nested attributes.
    pub fn nested(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let mut nested = Self::default();
        inner(&mut nested);
        self.bytes(kind | NESTED, &nested.0)
    }
}

/// Opens a netlink socket of `protocol` (none is NETLINK_ROUTE) in the network namespace of the caller.
///
/// # Errors
/// The kernel's refusal.
pub fn open(protocol: Option<Protocol>) -> Result<OwnedFd, KernelError> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        .map_err(|errno| KernelError::new("socket", "netlink", errno))
}

/// Sends a batch and reads answers until `wanted` messages with [`ACK`] were acknowledged.
///
/// # Errors
/// The first refusal, with the sequence number of the refused message as its object.
pub fn transact(socket: &OwnedFd, batch: &Batch, wanted: usize) -> Result<(), KernelError> {
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(socket, batch.bytes(), SendFlags::empty(), &kernel)
        .map_err(|errno| KernelError::new("sendto", "netlink", errno))?;
    let mut seen = 0;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    while seen < wanted {
        for (kind, sequence, body) in receive(socket, &mut buffer)? {
            if kind == ERROR {
                match error_number(&body) {
                    0 => seen += 1,
                    code => {
                        let errno = Errno::from_raw_os_error(code);
                        return Err(KernelError::new("netlink message", sequence, errno));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Brings the loopback interface of the caller's network up.
///
/// # Errors
/// The kernel's refusal.
pub fn loopback_up() -> Result<(), KernelError> {
    const SET_LINK: u16 = 16; // RTM_NEWLINK
    let socket = open(None)?;
    let mut batch = Batch::default();
    // struct ifinfomsg: any family, loopback is number 1, IFF_UP set, IFF_UP changed
    let header = [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
    batch.message(SET_LINK, ACK, &header, |_| {});
    transact(&socket, &batch, 1)
}

/// Sends one dump request and collects the bodies of all answers.
///
/// # Errors
/// The kernel's refusal.
pub fn dump(socket: &OwnedFd, batch: &Batch) -> Result<Vec<Vec<u8>>, KernelError> {
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(socket, batch.bytes(), SendFlags::empty(), &kernel)
        .map_err(|errno| KernelError::new("sendto", "netlink", errno))?;
    let mut bodies = Vec::new();
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    loop {
        for (kind, sequence, body) in receive(socket, &mut buffer)? {
            match kind {
                DONE => return Ok(bodies),
                ERROR => {
                    let errno = Errno::from_raw_os_error(error_number(&body));
                    return Err(KernelError::new("netlink dump", sequence, errno));
                }
                _ => bodies.push(body),
            }
        }
    }
}

type Answer = (u16, u32, Vec<u8>);

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<Vec<Answer>, KernelError> {
    let (length, _) = recv(socket, &mut *buffer, RecvFlags::empty())
        .map_err(|errno| KernelError::new("recv", "netlink", errno))?;
    Ok(split(buffer.get(..length).unwrap_or_default()))
}

/// Cuts received bytes into messages; a torn one ends the list.
#[must_use]
pub fn split(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<16>() {
        let [a, b, c, d, e, f, _, _, s, t, u, v, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(16..length) else { break };
        let kind = u16::from_ne_bytes([e, f]);
        answers.push((kind, u32::from_ne_bytes([s, t, u, v]), body.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

/// The first attribute of `kind` in a list of attributes.
#[must_use]
pub fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some((header, _)) = bytes.split_first_chunk::<4>() {
        let [a, b, c, d] = *header;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & !NESTED == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

fn error_number(body: &[u8]) -> i32 {
    body.first_chunk::<4>().map_or(libc::EIO, |code| i32::from_ne_bytes(*code).saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_messages_end_the_list() {
        let mut batch = Batch::default();
        batch.message(16, ACK, &[1, 2, 3, 4], |a| {
            a.string(1, "box").nested(2, |n| {
                n.number(1, 7);
            });
        });
        let bytes = batch.bytes();
        let answers = split(bytes);
        assert_eq!(answers.len(), 1);
        let body = answers[0].2.get(4..).unwrap();
        assert_eq!(attribute(body, 1), Some(&b"box\0"[..]));
        assert_eq!(attribute(attribute(body, 2).unwrap(), 1), Some(&7_u32.to_be_bytes()[..]));
        for cut in 0..bytes.len() {
            assert!(split(&bytes[..cut]).is_empty());
        }
    }
}
