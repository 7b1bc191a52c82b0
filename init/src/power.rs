//! The end of a boot: restart or power off.

use rustix::system::{RebootCommand, reboot};
use std::process::ExitCode;

/// How the machine is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Off.
    PowerOff,
    /// Through the firmware and up again.
    Restart,
}

/// Writes out what is cached and ends the machine.
pub(crate) fn end(how: End) -> ExitCode {
    rustix::fs::sync();
    let command = match how {
        End::PowerOff => RebootCommand::PowerOff,
        End::Restart => RebootCommand::Restart,
    };
    reboot(command).ok();
    // Only PID 1's exit is left; the kernel then panics, and restarts after its own deadline.
    ExitCode::FAILURE
}

/// Restarts the machine.
pub(crate) fn restart() -> ExitCode {
    end(End::Restart)
}
