//! Frames between services: one deterministic CBOR item and a few descriptors per SOCK_SEQPACKET
//! packet (unix(7)). A frame that is too long, torn, or brings descriptors that its message does
//! not speak of is an error, after which the caller closes the channel: such a peer is broken or
//! hostile. [`Service`] is the service's side of the control socket that init gave it.
#![forbid(unsafe_code)]

mod mailbox;
pub mod performer;
pub mod recent;
pub mod sealed;
mod service;
pub mod tickets;
mod wait;

pub use mailbox::Mailbox;
pub use service::{Service, Wish};
pub use wait::wait;

use contract::cbor::{self, CborError};
use contract::limits::{FRAME_BYTES_MAX, FRAME_FDS_MAX};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Serialize, de::DeserializeOwned};
use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Why a frame could not be sent or taken.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer is gone.
    #[error("the peer closed the channel")]
    Closed,
    /// Nothing to read, or no room to write, on a channel that does not wait.
    #[error("the channel would block")]
    WouldBlock,
    /// The frame is longer than a frame may be.
    #[error("a frame holds at most {FRAME_BYTES_MAX} bytes")]
    TooLong,
    /// The frame or its descriptors were cut off by the kernel.
    #[error("the frame arrived truncated")]
    Truncated,
    /// The frame brought another number of descriptors than its message has.
    #[error("the frame brought {found} descriptors, its message has {expected}")]
    Descriptors {
        /// How many there were.
        found: usize,
        /// How many the message speaks of.
        expected: usize,
    },
    /// A body that its sender could still change.
    #[error("a body that is not sealed")]
    NotSealed,
    /// The bytes are not the message that was expected.
    #[error("frame: {0}")]
    Content(#[from] CborError),
    /// The kernel refused.
    #[error("{operation}: {errno}")]
    Kernel {
        /// The system call.
        operation: &'static str,
        /// What it answered.
        errno: Errno,
    },
}

thread_local! {
    /// Where every frame of a thread is received: 64 KiB anew for each cost more than the frame.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; FRAME_BYTES_MAX]);
}

/// One end of a pair; both ends are alike.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// A received frame: its message's bytes, checked for length, and its descriptors.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Channel {
    /// Takes one end of a SOCK_SEQPACKET pair.
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Gives the socket back.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.0
    }

    /// Makes a new pair; `nonblocking` ends answer [`ChannelError::WouldBlock`] and never wait.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn pair(flags: SocketFlags) -> Result<(OwnedFd, OwnedFd), ChannelError> {
        rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags | SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| ChannelError::Kernel { operation: "socketpair", errno })
    }

    /// Sends `message` and lends `fds` to the peer.
    ///
    /// # Errors
    /// [`ChannelError`]; a frame is sent whole or not at all.
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        self.send_bytes(&cbor::encode(message)?, fds, SendFlags::NOSIGNAL)
    }

    fn send_bytes(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), ChannelError> {
        if bytes.len() > FRAME_BYTES_MAX || fds.len() > FRAME_FDS_MAX {
            return Err(ChannelError::TooLong);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(ChannelError::TooLong);
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags)
            .map(drop)
            .map_err(|errno| kernel("sendmsg", errno))
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`ChannelError`]; anything but `WouldBlock` means that the channel is of no more use.
    pub fn receive(&self) -> Result<Frame, ChannelError> {
        self.take(RecvFlags::CMSG_CLOEXEC)
    }

    /// Receives one frame if one is there.
    ///
    /// # Errors
    /// As [`Channel::receive`], and [`ChannelError::WouldBlock`] where that would wait.
    pub fn receive_now(&self) -> Result<Frame, ChannelError> {
        self.take(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn take(&self, flags: RecvFlags) -> Result<Frame, ChannelError> {
        BUFFER.with_borrow_mut(|buffer| self.take_into(buffer, flags))
    }

    fn take_into(&self, buffer: &mut [u8], flags: RecvFlags) -> Result<Frame, ChannelError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let answer =
            rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags)
                .map_err(|errno| kernel("recvmsg", errno))?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if answer.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::Truncated);
        }
        if answer.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        let bytes = buffer.get(..answer.bytes).unwrap_or_default().to_vec();
        Ok(Frame { bytes, fds })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Frame {
    /// The message as it was sent: what a digest of it is taken over.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the message; `expected` says how many descriptors it speaks of.
    ///
    /// # Errors
    /// [`ChannelError::Content`], [`ChannelError::Descriptors`].
    pub fn open<T: DeserializeOwned>(
        self,
        expected: impl FnOnce(&T) -> usize,
    ) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let message = cbor::decode(&self.bytes)?;
        let expected = expected(&message);
        if self.fds.len() != expected {
            return Err(ChannelError::Descriptors { found: self.fds.len(), expected });
        }
        Ok((message, self.fds))
    }
}

fn kernel(operation: &'static str, errno: Errno) -> ChannelError {
    match errno {
        Errno::AGAIN => ChannelError::WouldBlock,
        Errno::PIPE | Errno::CONNRESET => ChannelError::Closed,
        _ => ChannelError::Kernel { operation, errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = Channel::pair(SocketFlags::NONBLOCK).unwrap();
        (Channel::new(a), Channel::new(b))
    }

    #[test]
    fn a_message_and_its_descriptor_arrive() {
        let (a, b) = pair();
        a.send(&"edge", &[a.as_fd()]).unwrap();
        let (message, fds) = b.receive().unwrap().open(|_: &String| 1).unwrap();
        assert_eq!((message.as_str(), fds.len()), ("edge", 1));
    }

    #[test]
    fn a_surprise_descriptor_is_refused() {
        let (a, b) = pair();
        a.send(&"edge", &[a.as_fd()]).unwrap();
        let error = b.receive().unwrap().open(|_: &String| 0).unwrap_err();
        assert!(matches!(error, ChannelError::Descriptors { found: 1, expected: 0 }));
    }

    #[test]
    fn more_descriptors_than_there_is_room_for_are_truncated() {
        let (a, b) = pair();
        let many = vec![a.as_fd(); FRAME_FDS_MAX * 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        let flags = SendFlags::empty();
        rustix::net::sendmsg(&a.0, &[IoSlice::new(b"\x01")], &mut control, flags).unwrap();
        assert!(matches!(b.receive(), Err(ChannelError::Truncated)));
    }

    #[test]
    fn a_frame_longer_than_the_bound_is_truncated_and_a_gone_peer_is_said() {
        let (a, b) = pair();
        let long = vec![0; FRAME_BYTES_MAX + 1];
        rustix::net::send(&a.0, &long, SendFlags::empty()).unwrap();
        assert!(matches!(b.receive(), Err(ChannelError::Truncated)));
        assert!(matches!(b.receive(), Err(ChannelError::WouldBlock)));
        drop(a);
        assert!(matches!(b.receive(), Err(ChannelError::Closed)));
    }
}
