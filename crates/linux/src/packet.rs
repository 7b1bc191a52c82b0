//! IPv4 packets on one link before it has an address: packet(7) with cooked headers.

use crate::{KernelError, last_errno};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const ETHERNET_IPV4: u16 = 0x0800;

/// Opens a socket that receives and sends IPv4 packets on the link with this `index`, and on no
/// other; it does not wait.
///
/// # Errors
/// The kernel's refusal: no `CAP_NET_RAW`, no such link.
pub fn open(index: u32) -> Result<OwnedFd, KernelError> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: three integers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(ETHERNET_IPV4.to_be())) };
    if fd < 0 {
        return Err(KernelError::new("socket", "AF_PACKET", last_errno()));
    }
    // SAFETY: `fd` was just returned to us, is open, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = address(index);
    // SAFETY: the pointer and the length describe one initialised sockaddr_ll that outlives the call.
    let bound =
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) };
    if bound == 0 { Ok(socket) } else { Err(KernelError::new("bind", index, last_errno())) }
}

/// Sends one IPv4 packet to every station of the link.
///
/// # Errors
/// The kernel's refusal: the link is down, or its queue is full.
pub fn broadcast(socket: &OwnedFd, index: u32, packet: &[u8]) -> Result<(), KernelError> {
    let address = address(index);
    // SAFETY: the packet's pointer and length come from one slice, the address' from one
    // initialised sockaddr_ll; both outlive the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_NOSIGNAL,
            (&raw const address).cast(),
            ADDRESS_BYTES,
        )
    };
    if sent < 0 { Err(KernelError::new("sendto", index, last_errno())) } else { Ok(()) }
}

#[expect(clippy::as_conversions, reason = "a constant size of 20 bytes, computed by the compiler")]
const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn address(index: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(0),
        sll_protocol: ETHERNET_IPV4.to_be(),
        sll_ifindex: i32::try_from(index).unwrap_or(0),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    }
}
