//! The worker: one call, inside a cage, then gone. It starts already confined and waits, cold of any
//! agent; with the work comes what it keeps of its rights, and before it reads one byte of an agent's, which
//! comes once the decision is durable, it has given up everything else.
#![forbid(unsafe_code)]

mod perform;

use channel::{Channel, ChannelError};
use contract::perform::{Access, FromWorker, Go, Grant, VERSION, Work};
use contract::rings;
use linux::confine::{Domain, LandlockError, Reach, Rights};
use rustix::fs::{AtFlags, CWD, FileType, statat};
use sha2 as _;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// The forker's socket.
const SOCKET: i32 = 3;
/// The program that this is, open because it was executed by its descriptor.
const ITSELF: i32 = 4;

/// What an answer is put together in, at first.
const ANSWER_BYTES: usize = 16 << 10;

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

/// Waits for a call, makes itself ready, waits for its ticket, performs it; the code that it ended with.
fn work(channel: &Channel) -> Result<&'static str, WorkerError> {
    let domain = Domain::prepare()?;
    channel.send(&(VERSION, FromWorker::Parked), &[])?;
    let mut bytes = ManuallyDrop::new(warm());
    let ((version, work), _) = channel.receive()?.open(|_: &(u16, Work)| 0)?;
    if version != VERSION {
        return Err(ChannelError::Truncated.into());
    }
    if !keeps_everything(&work.grants) {
        domain.enter(&kept(&work))?;
    }
    let [input, answer] = released(channel, &work)?;
    if work.capability == rings::CAPABILITY {
        // a call of it may not come back
        channel.send(&(VERSION, FromWorker::Trying), &[])?;
    }
    // the process ends with its call: closing a memory file and giving memory back only take their time
    let input = ManuallyDrop::new(File::from(input));
    Ok(perform::perform(&work, &input, File::from(answer), &mut bytes))
}

/// Memory of every size that a small call needs, used once and never given back, since asking the kernel
/// for it takes longer than such a call; and what an answer is put together in.
fn warm() -> Vec<u8> {
    let pieces: Vec<Vec<u8>> = (4..14).map(|power| vec![1; 1 << power]).collect();
    std::hint::black_box(pieces.leak());
    let mut answer = std::hint::black_box(vec![1; ANSWER_BYTES]);
    answer.clear();
    answer
}

/// Waits until the call may begin; its input, and where its answer goes.
fn released(channel: &Channel, work: &Work) -> Result<[OwnedFd; 2], ChannelError> {
    let polled = (0..work.polls).map(|_| {
        // whoever else wants the processor goes first: it may be who makes the decision durable
        rustix::thread::sched_yield();
        channel.receive_now()
    });
    let there = polled.into_iter().find(|frame| !matches!(frame, Err(ChannelError::WouldBlock)));
    let frame = there.unwrap_or_else(|| channel.receive())?;
    let ((version, go), fds) = frame.open(|_: &(u16, Go)| 2)?;
    match fds.try_into() {
        Ok(fds) if version == VERSION && go.call == work.call => Ok(fds),
        _ => Err(ChannelError::Truncated),
    }
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
fn kept(work: &Work) -> Reach {
    let rights = |access| match access {
        Access::Read => Rights::ReadThis,
        Access::Region => Rights::Read,
        Access::Write => Rights::Make,
        Access::Fill => Rights::Fill,
        Access::Rename => Rights::Rename,
        Access::Execute => Rights::Execute,
        Access::Own => Rights::Own,
    };
    let is_there = |path: &str| {
        statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|status| !FileType::from_raw_mode(status.st_mode).is_symlink())
    };
    let files = work.grants.iter().filter(|grant| is_there(&grant.path));
    let files = files.map(|grant| (grant.path.clone(), rights(grant.access))).collect();
    Reach { files, connect_tcp: work.ports.clone(), ..Reach::default() }
}
