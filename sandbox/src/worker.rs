//! The worker: one call, inside a cage, then gone. It starts already confined; it takes the work from
//! its only socket, performs it, says how it ended.
#![forbid(unsafe_code)]

mod perform;

use channel::{Channel, ChannelError};
use contract::perform::{Done, VERSION, Work};
use sha2 as _;
use std::fs::File;
use std::process::ExitCode;
use thiserror as _;

/// The forker's socket.
const SOCKET: i32 = 3;

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_channel) => ExitCode::FAILURE,
    }
}

fn work() -> Result<(), ChannelError> {
    let socket = linux::process::inherited(SOCKET)
        .map_err(|error| ChannelError::Kernel { operation: "worker socket", errno: error.errno })?;
    let channel = Channel::new(socket);
    let ((version, work), fds) = channel.receive()?.open(|_: &(u16, Work)| 2)?;
    let mut fds = fds.into_iter();
    let (Some(input), Some(answer), true) = (fds.next(), fds.next(), version == VERSION) else {
        return Err(ChannelError::Truncated);
    };
    let code = perform::perform(&work, File::from(input), File::from(answer));
    channel.send(&(VERSION, Done { code: code.to_owned() }), &[])
}
