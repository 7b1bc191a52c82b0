//! The end of a boot: restart or power off, and the button that asks for it.

use rustix::system::{RebootCommand, reboot};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
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

/// The machine's power button, as an input device (linux/input.h).
#[derive(Debug)]
pub(crate) struct Button(File);

impl Button {
    /// Opens the power button; a machine may have none.
    pub(crate) fn find() -> Option<Self> {
        let devices = std::fs::read_dir("/sys/class/input").ok()?;
        let named = devices.flatten().find(|device| {
            let name = std::fs::read_to_string(device.path().join("device/name"));
            name.is_ok_and(|name| name.trim() == "Power Button")
        })?;
        let path = std::path::Path::new("/dev/input").join(named.file_name());
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        File::options().read(true).custom_flags(nonblocking).open(path).ok().map(Self)
    }

    /// Takes what the button reported; true when it was pressed.
    pub(crate) fn pressed(&self) -> bool {
        const EVENT_BYTES: usize = 24;
        const KEY: [u8; 2] = 1_u16.to_ne_bytes();
        const KEY_POWER: [u8; 2] = 116_u16.to_ne_bytes();
        let mut events = [0; EVENT_BYTES * 16];
        let Ok(length) = rustix::io::read(&self.0, &mut events) else { return false };
        events.get(..length).unwrap_or_default().chunks_exact(EVENT_BYTES).any(|event| {
            event.get(16..18) == Some(&KEY)
                && event.get(18..20) == Some(&KEY_POWER)
                && event.get(20..24) == Some(&1_i32.to_ne_bytes())
        })
    }
}

impl AsFd for Button {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
