//! A channel whose sender never waits: what the peer does not take at once is queued. Two services
//! that both wait for each other to read would wait for ever.

use crate::{Channel, ChannelError, Frame};
use contract::cbor;
use rustix::net::SendFlags;
use serde::Serialize;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most frames that wait for one peer; a peer so far behind is broken.
const QUEUED_MAX: usize = 4_096;

/// A channel with a queue before it.
#[derive(Debug)]
pub struct Mailbox {
    channel: Channel,
    queue: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

impl Mailbox {
    /// A mailbox for this channel.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel, queue: VecDeque::new() }
    }

    /// Sends a message, now or when the peer has room; its descriptors are handed over.
    ///
    /// # Errors
    /// As [`Channel::send`]; [`ChannelError::Closed`] also when too much waits already.
    pub fn post<T: Serialize>(
        &mut self,
        message: &T,
        fds: Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        if self.queue.len() >= QUEUED_MAX {
            return Err(ChannelError::Closed);
        }
        self.queue.push_back((cbor::encode(message)?, fds));
        self.push()
    }

    /// Sends what waits, as far as the peer has room.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn push(&mut self) -> Result<(), ChannelError> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while let Some((bytes, fds)) = self.queue.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match self.channel.send_bytes(bytes, &borrowed, flags) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Receives one frame if one is there.
    ///
    /// # Errors
    /// As [`Channel::receive_now`].
    pub fn take(&self) -> Result<Frame, ChannelError> {
        self.channel.receive_now()
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::SocketFlags;

    #[test]
    fn what_has_no_room_waits_and_arrives_in_order() {
        let (ours, theirs) = Channel::pair(SocketFlags::empty()).unwrap();
        let (mut ours, theirs) = (Mailbox::new(Channel::new(ours)), Channel::new(theirs));
        for number in 0..600_u32 {
            ours.post(&(number, "x".repeat(4_000)), Vec::new()).unwrap();
        }
        assert!(ours.is_full());
        for number in 0..600_u32 {
            let (message, _) = theirs.receive().unwrap().open(|_: &(u32, String)| 0).unwrap();
            assert_eq!(message.0, number);
            ours.push().unwrap();
        }
        assert!(!ours.is_full());
    }
}
