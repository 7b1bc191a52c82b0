//! Waiting for the first of several peers, never without a deadline.

use crate::{ChannelError, kernel};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::BorrowedFd;

/// Waits until one of `files` can be read or is closed, or one of `full` can be written, at most
/// `ms`; says of each of `files` whether it is. One that is not there never is.
///
/// # Errors
/// The kernel's; a signal ends the wait early and is no error.
pub fn wait(
    files: &[Option<BorrowedFd<'_>>],
    full: &[BorrowedFd<'_>],
    ms: u64,
) -> Result<Vec<bool>, ChannelError> {
    let timeout = Timespec {
        tv_sec: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ms % 1_000 * 1_000_000).unwrap_or(0),
    };
    let there = files.iter().flatten();
    let mut watched: Vec<PollFd<'_>> =
        there.map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect();
    watched.extend(full.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::OUT)));
    match poll(&mut watched, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(kernel("poll", errno)),
    }
    let mut ready = watched.iter().map(|file| !file.revents().is_empty());
    Ok(files.iter().map(|file| file.is_some() && ready.next().unwrap_or(false)).collect())
}
