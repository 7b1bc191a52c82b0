//! Descriptors in the event loop.

use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Lets the event loop watch a descriptor for something to read.
pub(crate) fn watch(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    watch_for(fd, Interest::READABLE)
}

/// Lets the event loop watch a descriptor.
#[expect(
    deprecated,
    reason = "its replacement is unsafe; the hole is for types whose raw descriptor may change or \
              close while watched, which an OwnedFd's cannot"
)]
pub(crate) fn watch_for(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
