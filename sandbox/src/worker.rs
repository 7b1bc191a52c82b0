//! The worker: one call, inside a cage, then gone. It starts already confined and waits, cold of any
//! agent; with the work comes what it keeps of its rights, and before it reads one byte of an agent's it
//! has given up everything else.
#![forbid(unsafe_code)]

mod perform;

use channel::{Channel, ChannelError};
use contract::perform::{Access, FromWorker, Grant, VERSION, Work};
use contract::rings;
use linux::confine::{Domain, LandlockError, Reach, Rights};
use rustix::fs::{AtFlags, CWD, FileType, statat};
use sha2 as _;
use std::fs::File;
use std::process::ExitCode;

/// The forker's socket.
const SOCKET: i32 = 3;
/// The program that this is, open because it was executed by its descriptor.
const ITSELF: i32 = 4;

/// Why a worker ends without an answer.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Confine(#[from] LandlockError),
}

fn main() -> ExitCode {
    let Ok(socket) = linux::process::inherited(SOCKET) else { return ExitCode::FAILURE };
    // nothing that a program of a call could inherit
    drop(linux::process::inherited(ITSELF));
    let channel = Channel::new(socket);
    let code = work(&channel).unwrap_or("crashed");
    channel.send(&(VERSION, FromWorker::Done(code.to_owned())), &[]).ok();
    // the forker ends the cage, and this process with it: no filter admits that it ends by itself
    drop(channel.receive());
    ExitCode::SUCCESS
}

/// Waits for a call and performs it; the code that it ended with.
fn work(channel: &Channel) -> Result<&'static str, WorkerError> {
    let domain = Domain::prepare()?;
    channel.send(&(VERSION, FromWorker::Parked), &[])?;
    let ((version, work), fds) = channel.receive()?.open(|_: &(u16, Work)| 2)?;
    let mut fds = fds.into_iter();
    let (Some(input), Some(answer), true) = (fds.next(), fds.next(), version == VERSION) else {
        return Err(ChannelError::Truncated.into());
    };
    if !keeps_everything(&work.grants) {
        domain.enter(&kept(&work.grants))?;
    }
    if work.capability == rings::CAPABILITY {
        // a call of it may not come back
        channel.send(&(VERSION, FromWorker::Trying), &[])?;
    }
    Ok(perform::perform(&work, File::from(input), File::from(answer)))
}

/// Whether the cage has no ring four: never.
#[cfg(not(feature = "missing-rings"))]
const fn keeps_everything(_grants: &[Grant]) -> bool {
    false
}

/// Whether the cage has no ring four: the mark that the test's forker sends.
#[cfg(feature = "missing-rings")]
fn keeps_everything(grants: &[Grant]) -> bool {
    matches!(grants, [Grant { path, access: Access::Execute }] if path == "/")
}

/// Ring four: what the call was cut to, as far as it exists; a path that does not is not found by the
/// handler either, and one that leads through a link is refused by it.
fn kept(grants: &[Grant]) -> Reach {
    let rights = |access| match access {
        Access::Read => Rights::ReadThis,
        Access::Region => Rights::Read,
        Access::Write => Rights::Make,
        Access::Rename => Rights::Rename,
        Access::Execute => Rights::Execute,
    };
    let is_there = |path: &str| {
        statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|status| !FileType::from_raw_mode(status.st_mode).is_symlink())
    };
    let files = grants.iter().filter(|grant| is_there(&grant.path));
    let files = files.map(|grant| (grant.path.clone(), rights(grant.access))).collect();
    Reach { files, ..Reach::default() }
}
