//! The kernel's clocks through libc, whose vdso a system-call filter does not see; rustix finds the
//! vdso by prctl(2), which a worker's filter does not admit.

/// Microseconds since boot, time asleep included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn boot_us() -> u64 {
    microseconds(libc::CLOCK_BOOTTIME)
}

/// Milliseconds since boot, time asleep included.
#[must_use]
pub fn boot_ms() -> u64 {
    boot_us() / 1_000
}

/// The number that the kernel gave this boot (random(4)).
///
/// # Errors
/// When the file cannot be read, or holds another thing.
pub fn boot_id() -> std::io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let number = u128::from_str_radix(&text.trim().replace('-', ""), 16);
    Ok(number.map_err(std::io::Error::other)?.to_be_bytes())
}

/// Microseconds since 1970 (`CLOCK_REALTIME`).
#[must_use]
pub fn wall_us() -> u64 {
    microseconds(libc::CLOCK_REALTIME)
}

fn microseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to one timespec, which the call fills; a failure leaves it zero.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}
