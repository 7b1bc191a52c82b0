//! Signals as a file: sigprocmask(2) and signalfd(2).

use crate::{KernelError, last_errno};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// The signals that a supervisor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A child changed state (SIGCHLD).
    Child,
    /// Power off: SIGTERM and SIGPWR.
    PowerOff,
    /// Reboot: SIGINT, which the kernel sends to PID 1 for Ctrl-Alt-Delete.
    Reboot,
    /// Any other number.
    Other(u32),
}

/// Blocks `SIGCHLD`, `SIGTERM`, `SIGINT` and `SIGPWR` and returns the file that reports them.
///
/// # Errors
/// The kernel's refusal, which a normal process never sees.
pub fn supervisor_signals() -> Result<OwnedFd, KernelError> {
    let set = signal_set(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGPWR])?;
    // SAFETY: `set` is an initialised set; a null old set is allowed.
    let result =
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if result != 0 {
        return Err(KernelError::new("sigprocmask", "supervisor set", last_errno()));
    }
    // SAFETY: `set` is an initialised set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(KernelError::new("signalfd", "supervisor set", last_errno()));
    }
    // SAFETY: `fd` was just returned to us, is open, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Unblocks every signal; a child does this before it becomes another program.
///
/// # Errors
/// The kernel's refusal, which a normal process never sees.
pub fn unblock_all() -> Result<(), KernelError> {
    let set = signal_set(&[])?;
    // SAFETY: `set` is an initialised set; a null old set is allowed.
    let result =
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(KernelError::new("sigprocmask", "none", last_errno())) }
}

/// Reads the next signal of a file made by [`supervisor_signals`]; `None` when there is none yet.
///
/// # Errors
/// The kernel's refusal to read.
pub fn next(signals: &OwnedFd) -> Result<Option<Signal>, KernelError> {
    let mut record = [0_u8; 128];
    match rustix::io::read(signals, &mut record) {
        Ok(_) => {
            let [a, b, c, d, ..] = record;
            Ok(Some(decode(u32::from_ne_bytes([a, b, c, d]))))
        }
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(errno) => Err(KernelError::new("read", "signalfd", errno)),
    }
}

fn decode(number: u32) -> Signal {
    match i32::try_from(number).unwrap_or(0) {
        libc::SIGCHLD => Signal::Child,
        libc::SIGTERM | libc::SIGPWR => Signal::PowerOff,
        libc::SIGINT => Signal::Reboot,
        _ => Signal::Other(number),
    }
}

fn signal_set(signals: &[i32]) -> Result<libc::sigset_t, KernelError> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for writing one set, which the call initialises.
    let result = unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    if result != 0 {
        return Err(KernelError::new("sigemptyset", "", last_errno()));
    }
    for signal in signals {
        // SAFETY: the set was initialised by sigemptyset above; the number is a real signal's.
        let result = unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
        if result != 0 {
            return Err(KernelError::new("sigaddset", signal, last_errno()));
        }
    }
    // SAFETY: sigemptyset succeeded, so every byte of the set is initialised.
    Ok(unsafe { set.assume_init() })
}
