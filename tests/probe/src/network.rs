//! Ring five: a packet in a cage's network namespace, whose loopback the probe brings up, and the same
//! packet in a namespace without the ring, which is the control. Nothing leaves a loopback interface.

use linux::KernelError;
use linux::cage::Namespace;
use linux::netlink;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::LinkNameSpaceType;
use std::net::UdpSocket;

/// Sends one datagram over the loopback of the cage of `pid`; true when the kernel let it go.
pub(crate) fn passes_in_cage(pid: &str) -> Result<bool, KernelError> {
    let kind = LinkNameSpaceType::Network;
    let pid = pid.parse().ok().and_then(Pid::from_raw);
    let (home, cage) = (Namespace::of(None, kind)?, Namespace::of(pid, kind)?);
    if pid.is_none() || cage.is(&home) {
        return Err(KernelError::new("setns", "the box's own network", Errno::INVAL));
    }
    cage.inside(&home, send)
}

/// The same in a fresh namespace, which is left again.
pub(crate) fn passes_without_the_ring() -> Result<bool, KernelError> {
    let kind = LinkNameSpaceType::Network;
    let home = Namespace::of(None, kind)?;
    Namespace::enter_new_network()?;
    let fresh = Namespace::of(None, kind)?;
    if fresh.is(&home) {
        return Err(KernelError::new("unshare", "still the box's own network", Errno::INVAL));
    }
    let passed = send();
    home.enter()?;
    passed
}

fn send() -> Result<bool, KernelError> {
    netlink::loopback_up()?;
    let failed = |_error| KernelError::new("bind", "loopback", Errno::IO);
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    Ok(socket.send_to(b"x", "127.0.0.1:9").is_ok())
}
