//! The hardware watchdog: Documentation/watchdog/watchdog-api.rst of the kernel.

use crate::{KernelError, ioctl};
use std::os::fd::AsFd;

const WDIOC_SETTIMEOUT: u32 = 0xc004_5706;
const WDIOC_KEEPALIVE: u32 = 0x8004_5705;

/// Sets the time after which the machine resets, in seconds; returns what the hardware took.
///
/// # Errors
/// The driver's refusal, when it cannot change its timeout.
pub fn set_timeout(device: impl AsFd, seconds: i32) -> Result<i32, KernelError> {
    let mut value = seconds;
    ioctl::call(device, "WDIOC_SETTIMEOUT", WDIOC_SETTIMEOUT, &mut value)?;
    Ok(value)
}

/// Puts the reset off by one more timeout.
///
/// # Errors
/// The driver's refusal.
pub fn keep_alive(device: impl AsFd) -> Result<(), KernelError> {
    let mut ignored = 0_i32;
    ioctl::call(device, "WDIOC_KEEPALIVE", WDIOC_KEEPALIVE, &mut ignored).map(drop)
}
