//! The hardware watchdog: started early, kept alive only by the supervisor's loop.

use crate::console;
use crate::error::BootError;
use std::fs::File;

const DEVICE: &str = "/dev/watchdog";
const TIMEOUT_SECONDS: i32 = 60;
/// How often the supervisor keeps it alive.
pub(crate) const KEEP_ALIVE_MS: u64 = 10_000;

/// A running watchdog, or the knowledge that the machine has none.
#[derive(Debug)]
pub(crate) struct Watchdog(pub(crate) Option<File>);

/// Starts the watchdog of the machine, if it has one.
pub(crate) fn open() -> Result<Watchdog, BootError> {
    let Ok(device) = File::options().write(true).open(DEVICE) else {
        console::note("this machine has no hardware watchdog");
        return Ok(Watchdog(None));
    };
    let seconds = linux::watchdog::set_timeout(&device, TIMEOUT_SECONDS)?;
    console::note(&format!("hardware watchdog: {seconds} s"));
    Ok(Watchdog(Some(device)))
}

impl Watchdog {
    /// Puts the reset off once more.
    pub(crate) fn keep_alive(&self) {
        if let Some(device) = &self.0
            && let Err(error) = linux::watchdog::keep_alive(device)
        {
            console::note(&error.to_string());
        }
    }
}
