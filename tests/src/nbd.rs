//! A disk that forgets: an NBD server over a raw image, whose unflushed writes a cut of power loses.
//!
//! Begin reading at [`Server`]. A write that was answered lies in memory (`disk`) until a FLUSH
//! writes it to the image, or goes there at once when it carries FUA. Reads see it. A cut drops
//! what lies in memory, or keeps such parts of it as a real disk may ([`Survival`]).
//!
//! Names in quotes are headings of the NBD project's `doc/proto.md`. Absent: TLS, structured
//! replies, extended headers, metadata contexts, a second export, and `fsync` of the image: it is
//! the test's power that is cut, never the host's.
//!
//! A test cuts first and kills QEMU with SIGKILL after: QEMU flushes when it stops or leaves in any
//! other way. Until QEMU is gone no server may own the same path, for QEMU connects again by
//! itself. QEMU's `nvme` device drops FUA, on which ext4's journal relies: not on that bus.

mod disk;
mod wire;

use disk::{Disk, Pending};
pub use disk::{Kind, Mark, Outcome, Record, Side, Survival, Trigger};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use wire::{Reply, Request};

const CONNECTIONS_MAX: usize = 16;

/// Whether anybody can still reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    /// Cut; connections and socket are being closed.
    Falling,
    Off,
}

struct State {
    disk: Disk,
    power: Power,
    connections: BTreeMap<u64, UnixStream>,
    connections_ever: u64,
    fault: Option<String>,
}

struct Shared {
    socket: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

/// A disk behind a Unix socket. Dropped, its power is cut.
pub struct Server {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let socket = &self.shared.socket;
        formatter.debug_struct("Server").field("socket", socket).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves `image` on `socket`, which must not exist; with a thread for each connection.
    ///
    /// # Errors
    /// When the image cannot be opened, is served already, or is not a whole number of sectors;
    /// when the socket cannot be bound (its path is longer than 107 bytes, or exists).
    pub fn start(image: &Path, socket: &Path) -> io::Result<Self> {
        let image = File::options().read(true).write(true).open(image)?;
        image.try_lock()?;
        let disk = Disk::new(image)?;
        let listener = UnixListener::bind(socket)?;
        let state = State {
            disk,
            power: Power::On,
            connections: BTreeMap::new(),
            connections_ever: 0,
            fault: None,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { socket: socket.to_owned(), state, changed });
        let serving = Arc::clone(&shared);
        thread::spawn(move || listen(&listener, &serving));
        Ok(Self { shared })
    }

    /// Cuts the power: each request happened before it or never will, unflushed writes are gone,
    /// connections and socket are closed when this returns. A second cut tells of the first.
    /// To the client it is a hard disconnect, "Terminating the transmission phase".
    ///
    /// # Errors
    /// When a thread of the server panicked.
    pub fn cut(&self) -> io::Result<Outcome> {
        self.cut_leaving(Survival::Nothing)
    }

    /// The same, where something of the unflushed writes is left.
    ///
    /// # Errors
    /// When what is left cannot be written to the image.
    pub fn cut_leaving(&self, survival: Survival) -> io::Result<Outcome> {
        let outcome = self.shared.lock()?.disk.cut(survival);
        self.shared.hang_up()?;
        outcome
    }

    /// Lets a request cut the power, from now on; takes the place of an earlier trigger.
    ///
    /// # Errors
    /// When a thread of the server panicked.
    pub fn cut_at(&self, trigger: Trigger) -> io::Result<()> {
        self.shared.lock()?.disk.trigger = Some(trigger);
        Ok(())
    }

    /// This moment.
    ///
    /// # Errors
    /// When a thread of the server panicked.
    pub fn mark(&self) -> io::Result<Mark> {
        self.shared.lock()?.disk.mark()
    }

    /// What happened since `mark`; reads are not recorded.
    ///
    /// # Errors
    /// When the log, which is bounded, no longer reaches back to it.
    pub fn since(&self, mark: Mark) -> io::Result<Vec<Record>> {
        Ok(self.shared.lock()?.disk.since(mark)?.copied().collect())
    }

    /// Waits until `count` records of `kind` follow `mark`.
    ///
    /// # Errors
    /// `TimedOut` after `limit`.
    pub fn wait_for(
        &self,
        mark: Mark,
        kind: Kind,
        count: usize,
        limit: Duration,
    ) -> io::Result<()> {
        self.shared.wait(limit, |state| {
            let seen = state.disk.since(mark)?.filter(|record| record.kind == kind).count();
            Ok((seen >= count).then_some(()))
        })
    }

    /// Waits for the cut that [`Server::cut_at`] set, and until all is closed.
    ///
    /// # Errors
    /// `TimedOut` after `limit`.
    pub fn wait_cut(&self, limit: Duration) -> io::Result<Outcome> {
        self.shared
            .wait(limit, |state| Ok(state.disk.outcome().filter(|_| state.power == Power::Off)))
    }

    /// The last breach of the protocol, or failure of the image, if there was one.
    ///
    /// # Errors
    /// When a thread of the server panicked.
    pub fn fault(&self) -> io::Result<Option<String>> {
        Ok(self.shared.lock()?.fault.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut().ok();
    }
}

impl Shared {
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        self.state.lock().map_err(poisoned)
    }

    /// Closes what a cut leaves open, once: by then a next server may own the socket's path.
    fn hang_up(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        if state.power != Power::On {
            let falling = |state: &mut State| state.power == Power::Falling;
            drop(self.changed.wait_while(state, falling).map_err(poisoned)?);
            return Ok(());
        }
        state.power = Power::Falling;
        for stream in std::mem::take(&mut state.connections).into_values() {
            stream.shutdown(Shutdown::Both).ok();
        }
        drop(state);
        // wakes the listener, which sees the cut and leaves
        UnixStream::connect(&self.socket).ok();
        std::fs::remove_file(&self.socket).ok();
        self.lock()?.power = Power::Off;
        self.changed.notify_all();
        Ok(())
    }

    /// Takes a connection in; `None` once the power is cut.
    fn admit(&self, stream: &UnixStream) -> io::Result<Option<u64>> {
        let mut state = self.lock()?;
        if state.disk.outcome().is_some() {
            return Ok(None);
        }
        if state.connections.len() >= CONNECTIONS_MAX {
            return Err(broken("too many connections"));
        }
        state.connections_ever += 1;
        let number = state.connections_ever;
        state.connections.insert(number, stream.try_clone()?);
        Ok(Some(number))
    }

    /// Shuts a connection down: dropping one copy of it would leave it open.
    fn dismiss(&self, number: u64, result: io::Result<()>) -> io::Result<()> {
        let mut state = self.lock()?;
        if let Some(stream) = state.connections.remove(&number) {
            stream.shutdown(Shutdown::Both).ok();
        }
        if let Err(error) = result
            && error.kind() == ErrorKind::InvalidData
        {
            state.fault = Some(error.to_string());
        }
        Ok(())
    }

    /// Does a request; `None` when the power is cut, and nothing is answered.
    fn perform(&self, request: &Request, data: Vec<u8>) -> io::Result<Option<Reply>> {
        let mut state = self.lock()?;
        if state.disk.outcome().is_some() {
            return Ok(None);
        }
        let kind = match request.check(state.disk.size()) {
            Ok(Some(kind)) => kind,
            Ok(None) => {
                let data = state.disk.read(request.offset, request.length);
                return Ok(Some(state.reply(data)));
            }
            Err(error) => return Ok(Some(Reply::refusal(error))),
        };
        let length = u64::from(request.length);
        let due = state.disk.due(kind, request.offset, length, request.fua());
        let done = match due {
            Some(Trigger { side: Side::Before, .. }) => Ok(()),
            _ => apply(&mut state.disk, request, kind, data),
        };
        let reply = state.reply(done.map(|()| Vec::new()));
        if let Some(trigger) = due {
            let cut = state.disk.cut(trigger.survival);
            state.reply(cut.map(|_| Vec::new()));
            drop(state);
            self.hang_up()?;
            return Ok(None);
        }
        self.changed.notify_all();
        Ok(Some(reply))
    }

    fn wait<T>(
        &self,
        limit: Duration,
        mut ready: impl FnMut(&State) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock()?;
        loop {
            if let Some(found) = ready(&state)? {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, "the disk did not see it in time"));
            }
            state = self.changed.wait_timeout(state, left).map_err(poisoned)?.0;
        }
    }
}

impl State {
    /// The answer to a request; a failure of the image is kept for the test too.
    fn reply(&mut self, result: io::Result<Vec<u8>>) -> Reply {
        if let Err(error) = &result {
            self.fault = Some(format!("image: {error}"));
        }
        Reply::of(result)
    }
}

fn apply(disk: &mut Disk, request: &Request, kind: Kind, data: Vec<u8>) -> io::Result<()> {
    let (start, length) = (request.offset, u64::from(request.length));
    if kind == Kind::Flush {
        disk.flush()?;
    } else if length > 0 {
        let data = (kind == Kind::Write).then_some(data);
        disk.write(Pending { start, end: start + length, data }, request.fua())?;
    }
    disk.record(kind, start, length, request.fua());
    Ok(())
}

fn listen(listener: &UnixListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        match shared.admit(&stream) {
            Ok(Some(number)) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || {
                    let result = converse(&shared, stream);
                    shared.dismiss(number, result).ok();
                });
            }
            Ok(None) => break,
            // too many: the client sees its connection closed
            Err(_) => {}
        }
    }
}

fn converse(shared: &Shared, stream: UnixStream) -> io::Result<()> {
    let size = shared.lock()?.disk.size();
    wire::converse(stream, size, |request, data| shared.perform(request, data))
}

fn poisoned<T>(error: PoisonError<T>) -> io::Error {
    drop(error.into_inner());
    io::Error::other("a thread of the disk panicked")
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// A distance on the disk as one in memory.
fn index(distance: u64) -> Option<usize> {
    usize::try_from(distance).ok()
}

#[cfg(test)]
mod tests;
