//! The forker: takes specs from pdp and tickets from audit, builds a cage for each call that a ticket
//! releases, and tells audit how it ended. One thread, one loop; it decides nothing.
#![forbid(unsafe_code)]

mod cage;
mod calls;
mod cut;
mod filter;

use cage::{Cage, Home};
use calls::{Calls, Waiting};
use capabilities as _;
use channel::{Channel, ChannelError, Service, Wish};
use contract::perform::{CallId, FromAudit, Outcome, Refusal, Spec, ToAudit, VERSION};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json as _;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::process::ExitCode;

const FROM_PDP: &str = "pdp-forker";
const TO_AUDIT: &str = "audit-forker";
/// Most cages at once, which is also the number of slots.
const CAGES_MAX: u32 = 32;
const ALIVE_MS: u64 = 1_000;

/// The forker's state: nothing of it outlives the process.
#[derive(Debug)]
struct Forker {
    service: Service,
    pdp: Option<Channel>,
    audit: Option<Channel>,
    calls: Calls,
    cages: Vec<Cage>,
    home: Home,
    alive_due_ms: u64,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let home = match Home::open() {
        Ok(home) => home,
        Err(error) => {
            service.log(&error.to_string()).ok();
            return ExitCode::FAILURE;
        }
    };
    let (pdp, audit) = (service.edge(FROM_PDP), service.edge(TO_AUDIT));
    let (calls, cages) = (Calls::default(), Vec::new());
    let mut forker = Forker { service, pdp, audit, calls, cages, home, alive_due_ms: 0 };
    match forker.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            forker.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

fn now_ms() -> u64 {
    linux::clock::boot_us() / 1_000
}

impl Forker {
    fn run(&mut self) -> Result<(), ChannelError> {
        self.service.ready()?;
        loop {
            let now = now_ms();
            if now >= self.alive_due_ms {
                self.service.alive()?;
                self.alive_due_ms = now + ALIVE_MS;
            }
            let heard = self.wait(now)?;
            if heard.init && self.hear_init()? {
                return Ok(());
            }
            if heard.pdp {
                self.hear_pdp();
            }
            if heard.audit {
                self.hear_audit();
            }
            self.collect();
        }
    }

    /// Waits for any peer, any cage, or the next deadline.
    fn wait(&self, now: u64) -> Result<Heard, ChannelError> {
        let mut watched = vec![PollFd::new(&self.service, PollFlags::IN)];
        let peers = [&self.pdp, &self.audit];
        for peer in peers.iter().filter_map(|peer| peer.as_ref()) {
            watched.push(PollFd::new(peer, PollFlags::IN));
        }
        for cage in &self.cages {
            watched.push(PollFd::from_borrowed_fd(cage.speaks(), PollFlags::IN));
        }
        let deadlines = self.cages.iter().map(|cage| cage.deadline_ms);
        let next = deadlines.chain([self.alive_due_ms]).min().unwrap_or(now);
        let left = next.saturating_sub(now);
        let timeout = Timespec {
            tv_sec: i64::try_from(left / 1_000).unwrap_or(1),
            tv_nsec: i64::try_from(left % 1_000 * 1_000_000).unwrap_or(0),
        };
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(ChannelError::Kernel { operation: "poll", errno }),
        }
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        let init = ready.next().unwrap_or(false);
        let mut of = |peer: &Option<Channel>| peer.is_some() && ready.next().unwrap_or(false);
        Ok(Heard { init, pdp: of(&self.pdp), audit: of(&self.audit) })
    }

    /// True when init wants this service to stop.
    fn hear_init(&mut self) -> Result<bool, ChannelError> {
        match self.service.wish()? {
            Wish::Stop => return Ok(true),
            Wish::NewEdge(name) if name == FROM_PDP => self.pdp = self.service.edge(FROM_PDP),
            Wish::NewEdge(name) if name == TO_AUDIT => {
                // a new audit asks anew; its first word is its epoch, which voids the old tickets
                self.audit = self.service.edge(TO_AUDIT);
            }
            Wish::NewEdge(_) => {}
        }
        Ok(false)
    }

    /// Takes one spec. A frame that is none ends the channel: such a peer is broken or hostile.
    fn hear_pdp(&mut self) {
        let Some(pdp) = &self.pdp else { return };
        let taken = pdp.receive().and_then(|frame| {
            let digest: [u8; 32] = Sha256::digest(frame.bytes()).into();
            let ((version, spec), fds) = frame.open(|_: &(u16, Spec)| 2)?;
            Ok((version, digest, spec, fds))
        });
        match taken {
            Ok((VERSION, digest, spec, fds)) => {
                let call = spec.call;
                let accepted = match <[_; 2]>::try_from(fds) {
                    Ok(fds) if is_sound(&spec, &fds[0]) => {
                        self.calls.expect(Waiting { spec, digest, fds })
                    }
                    _ => Err(Refusal::BadSpec),
                };
                if let Err(why) = accepted {
                    self.tell_audit(&ToAudit::Refused { call, why });
                }
            }
            Ok(_) | Err(_) => self.pdp = None,
        }
    }

    fn hear_audit(&mut self) {
        let Some(audit) = &self.audit else { return };
        let taken = audit.receive().and_then(|frame| frame.open(|_: &(u16, FromAudit)| 0));
        match taken {
            Ok(((VERSION, FromAudit::Epoch(epoch)), _)) => self.calls.begin_epoch(epoch),
            Ok(((VERSION, FromAudit::Ticket(ticket)), _)) => {
                // the spec was sent before audit could know of the call, so it is here or never
                let call = ticket.call;
                if let Err(why) = self.perform(&ticket) {
                    self.tell_audit(&ToAudit::Refused { call, why });
                }
            }
            Ok(_) | Err(_) => self.audit = None,
        }
    }

    fn perform(&mut self, ticket: &contract::perform::Ticket) -> Result<(), Refusal> {
        while self.pdp_has_more() {
            self.hear_pdp();
        }
        let taken: BTreeSet<u32> = self.cages.iter().map(|cage| cage.slot).collect();
        let slot = (0..CAGES_MAX).find(|slot| !taken.contains(slot)).ok_or(Refusal::Busy)?;
        let now = now_ms();
        let (spec, fds) = self.calls.release(ticket, now)?.into_parts();
        let cage = Cage::build(&spec, &fds, slot, now, &self.home).map_err(|error| {
            self.service.log(&format!("no cage: {error}")).ok();
            Refusal::NoCage
        })?;
        self.tell_audit(&ToAudit::Started { call: spec.call });
        self.cages.push(cage);
        Ok(())
    }

    fn pdp_has_more(&self) -> bool {
        let Some(pdp) = &self.pdp else { return false };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut watched = [PollFd::new(pdp, PollFlags::IN)];
        poll(&mut watched, Some(&now)) == Ok(1)
    }

    /// Ends every cage that spoke, died, or is over its time.
    fn collect(&mut self) {
        let now = now_ms();
        let cages = std::mem::take(&mut self.cages);
        for cage in cages {
            let done = speaks_now(&cage);
            let code = match done {
                Some(code) => code,
                None if now >= cage.deadline_ms => "late".to_owned(),
                None => {
                    self.cages.push(cage);
                    continue;
                }
            };
            let (call, _, outcome): (CallId, u32, Outcome) = cage.end(&code, &self.home);
            self.tell_audit(&ToAudit::Ended { call, outcome });
        }
    }

    fn tell_audit(&mut self, message: &ToAudit) {
        if let Some(audit) = &self.audit
            && audit.send(&(VERSION, message), &[]).is_err()
        {
            self.audit = None;
        }
    }
}

struct Heard {
    init: bool,
    pdp: bool,
    audit: bool,
}

/// The code that the worker ended with, `crashed` when it ended without one; `None` while it works.
fn speaks_now(cage: &Cage) -> Option<String> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut watched = [PollFd::from_borrowed_fd(cage.speaks(), PollFlags::IN)];
    if poll(&mut watched, Some(&now)) != Ok(1) {
        return None;
    }
    Some(cage.take_done().map_or_else(|| "crashed".to_owned(), |done| done.code))
}

/// Whether a spec names a place that cannot lead anywhere else, and its input is what it says: sealed,
/// so that it cannot change any more, and of the right digest.
fn is_sound(spec: &Spec, input: &std::os::fd::OwnedFd) -> bool {
    use rustix::fs::{SealFlags, fcntl_get_seals};
    const INPUT_BYTES_MAX: u64 = 100 << 20;
    let name = &spec.agent.name;
    let plain = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let wanted = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let sealed = fcntl_get_seals(input.as_fd()).is_ok_and(|seals| seals.contains(wanted));
    plain
        && sealed
        && spec.agent.disk_uid >= 200_000
        && digest_of(input, INPUT_BYTES_MAX) == Some(spec.input)
}

fn digest_of(file: &std::os::fd::OwnedFd, bytes_max: u64) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut at = 0;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = rustix::io::pread(file, &mut chunk, at).ok()?;
        if count == 0 {
            return Some(hash.finalize().into());
        }
        hash.update(chunk.get(..count)?);
        at += u64::try_from(count).ok()?;
        if at > bytes_max {
            return None;
        }
    }
}
