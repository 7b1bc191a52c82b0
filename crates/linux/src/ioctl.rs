//! The single door to ioctl(2) for requests that take a pointer.

use crate::{KernelError, last_errno};
use std::os::fd::{AsFd, AsRawFd};

/// A structure that an ioctl reads or fills.
///
/// # Safety
/// The type is `repr(C)`, valid for every bit pattern, and exactly as large as the kernel's
/// structure for each request that it is passed with.
pub(crate) unsafe trait Argument {}

// SAFETY: plain integers are valid for every bit pattern, and the requests that are passed with
// them (BLKGETSIZE64, EXT4_IOC_RESIZE_FS: u64; WDIOC_*: int) read or write exactly that much.
unsafe impl Argument for u64 {}
// SAFETY: as above.
unsafe impl Argument for i32 {}

/// Runs `request` on `fd` with a pointer to `argument`; returns the call's non-negative result.
pub(crate) fn call<A: Argument>(
    fd: impl AsFd,
    name: &'static str,
    request: u32,
    argument: &mut A,
) -> Result<i32, KernelError> {
    let raw = fd.as_fd().as_raw_fd();
    let pointer: *mut A = argument;
    // The parameter's type is `c_ulong` under glibc and `c_int` under musl; the kernel reads 32 bits.
    #[cfg(target_env = "musl")]
    let request = request.cast_signed();
    #[cfg(not(target_env = "musl"))]
    let request = libc::c_ulong::from(request);
    // SAFETY: 1. `raw` is open for as long as the borrowed `fd` lives. 2. `pointer` is derived from
    // an exclusive reference, so it is aligned, non-null and unaliased for the call. 3. `Argument`
    // promises that the kernel's structure for this request is no larger than `A` and that any
    // bytes that it writes leave a valid `A`.
    let result = unsafe { libc::ioctl(raw, request, pointer) };
    if result < 0 { Err(KernelError::new(name, raw, last_errno())) } else { Ok(result) }
}
