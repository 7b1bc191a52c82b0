//! Descriptors in the event loop.

use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Lets the event loop watch a descriptor for something to read.
#[expect(
    deprecated,
    reason = "its replacement is unsafe; the hole is for types whose raw descriptor may change or \
              close while watched, which an OwnedFd's cannot"
)]
pub(crate) fn watch(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
