//! The kernel, as safe functions named after its manual pages.
//!
//! Everything that needs `unsafe` in KruxOS lives in this crate: system calls and ioctls that
//! rustix does not offer, `fork`, and the two message encoders for netlink. It knows nothing of
//! KruxOS: no policy, no logging, no retries. Start with [`process`] (fork, exec, reap),
//! [`confine`] (what a process gives up before it serves) and [`device_mapper`] (verity).
#![expect(unsafe_code, reason = "the one room for it; every block argues its case")]

pub mod block;
pub mod cable;
pub mod cage;
pub mod clock;
pub mod confine;
pub mod device_mapper;
pub mod ext4;
pub mod file;
pub mod memory;
pub mod netfilter;
pub mod netlink;
pub mod packet;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod syscalls;
pub mod watchdog;

mod ioctl;

/// A system call that failed: what was tried, on what, and the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {errno}")]
pub struct KernelError {
    /// The system call or ioctl, as its manual page names it.
    pub operation: &'static str,
    /// The file, interface or number that it was tried on.
    pub object: String,
    /// The error number.
    pub errno: rustix::io::Errno,
}

impl KernelError {
    /// Records that `operation` on `object` was answered with `errno`.
    pub fn new(
        operation: &'static str,
        object: impl std::fmt::Display,
        errno: rustix::io::Errno,
    ) -> Self {
        Self { operation, object: object.to_string(), errno }
    }
}

/// The last error of a libc call, as an [`rustix::io::Errno`].
fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error())
        .unwrap_or(rustix::io::Errno::IO)
}
