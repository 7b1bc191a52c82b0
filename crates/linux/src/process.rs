//! Making, becoming and reaping processes: fork(2), execve(2), waitpid(2).

use crate::{KernelError, last_errno};
use rustix::process::{Pid, WaitOptions};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It returned this exit code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Forks; the child runs `become_other`, which only ever returns to report why it failed.
///
/// The caller must have one thread: another one's locks would stay taken in the child for ever. A
/// second thread is refused as `EINVAL`.
///
/// # Errors
/// The kernel's refusal to fork, or `EINVAL` with a second thread.
pub fn spawn<E: std::fmt::Display>(
    become_other: impl FnOnce() -> Result<Infallible, E>,
    report: impl FnOnce(&E),
) -> Result<Pid, KernelError> {
    require_one_thread()?;
    // SAFETY: the process has exactly one thread (checked above), so the child's copy of the
    // address space holds no lock that another thread owns and may run any code.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(KernelError::new("fork", "", last_errno()));
    }
    if let Some(child) = Pid::from_raw(pid) {
        return Ok(child);
    }
    match become_other() {
        Ok(never) => match never {},
        Err(error) => {
            report(&error);
            leave(127)
        }
    }
}

/// Refuses to go on with a second thread, whose locks would stay taken in a child for ever. The kernel is
/// asked, by what unshare(2) says of CLONE_THREAD: no effect with one thread, `EINVAL` with more.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn require_one_thread() -> Result<(), KernelError> {
    // SAFETY: one integer, and a flag that changes nothing of the process.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        Ok(())
    } else {
        Err(KernelError::new("fork", "more than one thread", last_errno()))
    }
}

/// Ends the calling process at once, without destructors: what a failed child does.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit takes any integer and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Becomes `program` with `arguments` (the first of which is its name) and an empty environment.
///
/// # Errors
/// Returns only when the kernel refused.
pub fn execute(program: &CStr, arguments: &[CString]) -> Result<Infallible, KernelError> {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: 1. `program` and every argument are NUL-terminated and outlive the call. 2. Both
    // arrays end with a null pointer.
    unsafe { libc::execve(program.as_ptr(), pointers.as_ptr(), environment.as_ptr()) };
    Err(KernelError::new("execve", program.to_string_lossy(), last_errno()))
}

/// Becomes the program that is open at descriptor `number`, with one argument and no environment
/// (execveat(2)); no path is looked up.
///
/// # Errors
/// Returns only when the kernel refused.
pub fn execute_open(number: RawFd, name: &CStr) -> Result<Infallible, KernelError> {
    let arguments: [*const libc::c_char; 2] = [name.as_ptr(), std::ptr::null()];
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: 1. The path is an empty C string, used with AT_EMPTY_PATH. 2. `name` is NUL-terminated
    // and outlives the call. 3. Both arrays end with a null pointer.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            number,
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(KernelError::new("execveat", number, last_errno()))
}

/// Takes over an inherited descriptor by its number, once, at the start of a program.
///
/// # Errors
/// `EBADF` when nothing is open there.
pub fn inherited(number: RawFd) -> Result<OwnedFd, KernelError> {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(KernelError::new("fcntl", number, last_errno()));
    }
    // SAFETY: the descriptor is open (checked above); the caller is the program's start, before any
    // other owner of the number can exist, which the name of this function states.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)
        .map_err(|errno| KernelError::new("fcntl", number, errno))?;
    Ok(owned)
}

/// Puts `fd` at descriptor `number`, open across execve(2), and forgets who owned it.
///
/// For a forked child only, between [`spawn`] and [`execute`].
///
/// # Errors
/// The kernel's refusal to copy the descriptor.
pub fn place(fd: OwnedFd, number: RawFd) -> Result<(), KernelError> {
    if fd.as_raw_fd() == number {
        let raw = fd.into_raw_fd();
        // SAFETY: `raw` is open, since it was owned until the line above; no pointer is passed.
        let result = unsafe { libc::fcntl(raw, libc::F_SETFD, 0) };
        return if result < 0 {
            Err(KernelError::new("fcntl", number, last_errno()))
        } else {
            Ok(())
        };
    }
    // SAFETY: dup2 takes two numbers; whatever was open at `number` in this child is replaced.
    let result = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    if result < 0 { Err(KernelError::new("dup2", number, last_errno())) } else { Ok(()) }
}

/// Closes every descriptor from `first` on (close_range(2)).
///
/// # Errors
/// The kernel's refusal.
pub fn close_from(first: u32) -> Result<(), KernelError> {
    // SAFETY: close_range takes three integers. For a forked child only: owners of these numbers
    // elsewhere in the program never run again, since execve or _exit follows.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0_u32) };
    if result < 0 { Err(KernelError::new("close_range", first, last_errno())) } else { Ok(()) }
}

/// How a child ends within so many milliseconds, without reaping it; `None` if it does not.
///
/// # Errors
/// The kernel's refusal: no child.
pub fn ends_within(pidfd: &OwnedFd, ms: u64) -> Result<Option<Ended>, KernelError> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let failed = |errno| KernelError::new("waitid", "", errno);
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let limit = Timespec { tv_sec: ms / 1_000, tv_nsec: ms % 1_000 * 1_000_000 };
    if poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)).map_err(failed)? == 0 {
        return Ok(None);
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), options).map_err(failed)?;
    Ok(status.and_then(|status| {
        let code = status.exit_status().map(Ended::Code);
        code.or_else(|| status.terminating_signal().map(Ended::Signal))
    }))
}

/// Reaps one ended child, if there is one.
#[must_use]
pub fn reap() -> Option<(Pid, Ended)> {
    let (pid, status) = rustix::process::wait(WaitOptions::NOHANG).ok().flatten()?;
    let ended = status
        .exit_status()
        .map(Ended::Code)
        .or_else(|| status.terminating_signal().map(Ended::Signal))?;
    Some((pid, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_second_thread_does_not_fork() {
        let (stay, stays) = std::sync::mpsc::channel::<()>();
        let second = std::thread::spawn(move || stays.recv());
        let never = || -> Result<Infallible, String> { Err("a child of two threads".to_owned()) };
        let refused = spawn(never, |_error| {}).map(|_pid| ());
        assert_eq!(refused.map_err(|error| error.errno), Err(rustix::io::Errno::INVAL));
        drop(stay);
        second.join().ok();
    }
}
