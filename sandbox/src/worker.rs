//! The worker: one call, inside a cage, then gone. It starts already confined and waits, cold of any
//! agent; with the work comes what it keeps of its rights, and before it reads one byte of an agent's it
//! has given up everything else.
#![forbid(unsafe_code)]

mod perform;

use channel::{Channel, ChannelError};
use contract::perform::{Access, FromWorker, Grant, VERSION, Work};
use linux::confine::{Domain, LandlockError, Reach, Rights};
use rustix::fs::{AtFlags, CWD, FileType, statat};
use sha2 as _;
use std::fs::File;
use std::process::ExitCode;

/// The forker's socket.
const SOCKET: i32 = 3;

/// Why a worker ends without an answer.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Confine(#[from] LandlockError),
}

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_to_tell) => ExitCode::FAILURE,
    }
}

fn work() -> Result<(), WorkerError> {
    let socket = linux::process::inherited(SOCKET)
        .map_err(|error| ChannelError::Kernel { operation: "worker socket", errno: error.errno })?;
    let channel = Channel::new(socket);
    let domain = Domain::prepare()?;
    channel.send(&(VERSION, FromWorker::Parked), &[])?;
    let ((version, work), fds) = channel.receive()?.open(|_: &(u16, Work)| 2)?;
    let mut fds = fds.into_iter();
    let (Some(input), Some(answer), true) = (fds.next(), fds.next(), version == VERSION) else {
        return Err(ChannelError::Truncated.into());
    };
    domain.enter(&kept(&work.grants))?;
    let code = perform::perform(&work, File::from(input), File::from(answer));
    Ok(channel.send(&(VERSION, FromWorker::Done(code.to_owned())), &[])?)
}

/// Ring four: what the call was cut to, as far as it exists; a path that does not is not found by the
/// handler either, and one that leads through a link is refused by it.
fn kept(grants: &[Grant]) -> Reach {
    let rights = |access| match access {
        Access::Read => Rights::Read,
        Access::Write => Rights::Make,
        Access::Rename => Rights::Rename,
    };
    let is_there = |path: &str| {
        statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|status| !FileType::from_raw_mode(status.st_mode).is_symlink())
    };
    let files = grants.iter().filter(|grant| is_there(&grant.path));
    let files = files.map(|grant| (grant.path.clone(), rights(grant.access))).collect();
    Reach { files, ..Reach::default() }
}
