//! The forker: takes specs from pdp and tickets from audit, builds a cage for each call that a ticket
//! releases, and tells audit how it ended. One thread, one loop; it decides nothing.
#![forbid(unsafe_code)]

mod cage;
mod cut;
mod filter;
mod home;
mod rings;

use cage::{Cage, Home};
use capabilities as _;
use channel::performer::{Heard, Performer};
use channel::tickets::Released;
use channel::{ChannelError, Service, Wish, wait};
use contract::perform::{Outcome, Refusal};
use linux::clock::boot_ms;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json as _;
use sha2 as _;
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
    performer: Performer,
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
    let performer = Performer::new(service.edge(FROM_PDP), service.edge(TO_AUDIT));
    let mut forker = Forker { service, performer, cages: Vec::new(), home, alive_due_ms: 0 };
    match forker.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            forker.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

impl Forker {
    fn run(&mut self) -> Result<(), ChannelError> {
        self.service.ready()?;
        loop {
            let now = boot_ms();
            if now >= self.alive_due_ms {
                self.service.alive()?;
                self.alive_due_ms = now + ALIVE_MS;
            }
            let [init, pdp, audit] = self.wait(now)?;
            if init && self.hear_init()? {
                return Ok(());
            }
            if pdp {
                self.performer.hear_pdp();
            }
            if audit {
                self.hear_audit();
            }
            self.collect();
        }
    }

    /// Waits for any peer, any cage, or the next deadline.
    fn wait(&self, now: u64) -> Result<[bool; 3], ChannelError> {
        let [pdp, audit] = self.performer.edges();
        let mut watched = vec![Some(self.service.as_fd()), pdp, audit];
        watched.extend(self.cages.iter().map(|cage| Some(cage.speaks())));
        let deadlines = self.cages.iter().map(|cage| cage.deadline_ms);
        let next = deadlines.chain([self.alive_due_ms]).min().unwrap_or(now);
        let ready = wait(&watched, &[], next.saturating_sub(now))?;
        let of = |index: usize| ready.get(index).copied().unwrap_or(false);
        Ok([of(0), of(1), of(2)])
    }

    /// True when init wants this service to stop.
    fn hear_init(&mut self) -> Result<bool, ChannelError> {
        match self.service.wish()? {
            Wish::Stop => return Ok(true),
            Wish::NewEdge(name) if name == FROM_PDP => {
                self.performer.replace_pdp(self.service.edge(FROM_PDP));
            }
            Wish::NewEdge(name) if name == TO_AUDIT => {
                self.performer.replace_audit(self.service.edge(TO_AUDIT));
            }
            Wish::NewEdge(_) => {}
        }
        Ok(false)
    }

    fn hear_audit(&mut self) {
        match self.performer.hear_audit(boot_ms()) {
            Heard::Nothing => {}
            Heard::Perform(released) => {
                let call = released.call();
                if let Err(why) = self.perform(released) {
                    self.performer.refused(call, why);
                }
            }
            Heard::Epoch(epoch) => {
                // nobody may hear of these any more: they end here
                for cage in std::mem::take(&mut self.cages) {
                    self.performer.ended(cage.call, cage.end("killed", &self.home));
                    cage.destroy();
                }
                self.performer.settled(epoch);
            }
        }
    }

    fn perform(&mut self, released: Released) -> Result<(), Refusal> {
        let (spec, fds) = released.into_parts();
        if !is_sound(&spec) {
            return Err(Refusal::BadSpec);
        }
        if spec.capability == home::CAPABILITY {
            self.performer.started(spec.call);
            let code = home::make(&spec.agent).unwrap_or_else(|error| {
                self.service.log(&format!("no home for {}: {error}", spec.agent.name)).ok();
                "failed"
            });
            home::answer(fds, code);
            self.performer.ended(spec.call, Outcome::of(code));
            return Ok(());
        }
        let taken: BTreeSet<u32> = self.cages.iter().map(|cage| cage.slot).collect();
        let free = |slot: &u32| !taken.contains(slot) && cage::is_gone(*slot);
        let slot = (0..CAGES_MAX).find(free).ok_or(Refusal::Busy)?;
        let cage = Cage::build(&spec, &fds, slot, boot_ms(), &mut self.home).map_err(|error| {
            self.service.log(&format!("no cage: {error}")).ok();
            Refusal::NoCage
        })?;
        self.performer.started(spec.call);
        self.cages.push(cage);
        Ok(())
    }

    /// Ends every cage that spoke, died, or is over its time.
    fn collect(&mut self) {
        let now = boot_ms();
        let cages = std::mem::take(&mut self.cages);
        for cage in cages {
            let code = match speaks_now(&cage) {
                Some(code) => code,
                None if now >= cage.deadline_ms => "late".to_owned(),
                None => {
                    self.cages.push(cage);
                    continue;
                }
            };
            self.performer.ended(cage.call, cage.end(&code, &self.home));
            cage.destroy();
        }
    }
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

/// Whether a spec names a place that cannot lead anywhere else.
fn is_sound(spec: &contract::perform::Spec) -> bool {
    let name = &spec.agent.name;
    let plain = !name.is_empty()
        && name.len() <= contract::limits::AGENT_NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    plain && spec.agent.disk_uid >= contract::uids::AGENTS
}
