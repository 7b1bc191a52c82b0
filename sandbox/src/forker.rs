//! The forker: takes specs from pdp and tickets from audit, hands each call that a ticket releases to a
//! cage of its own, and tells audit how it ended. One thread, one loop; it decides nothing.
#![forbid(unsafe_code)]

mod cage;
mod cages;
mod cgroup;
mod cut;
mod direct;
mod error;
mod filter;
mod home;
mod inside;
mod lease;
mod network;
mod origin;
mod pool;
mod reserve;
mod rings;
mod slot;
mod waiting;

use cages::{Cages, Said};
use channel::performer::{Heard, Performer};
use channel::tickets::Released;
use channel::{ChannelError, Service, Wish, wait};
use contract::perform::{Outcome, Refusal};
use linux::clock::boot_ms;
use serde_json as _;
use sha2 as _;
use std::os::fd::AsFd;
use std::process::ExitCode;

const FROM_PDP: &str = "pdp-forker";
const TO_AUDIT: &str = "audit-forker";
const ALIVE_MS: u64 = 1_000;

/// The forker's state: nothing of it outlives the process.
struct Forker {
    service: Service,
    performer: Performer,
    cages: Cages,
    alive_due_ms: u64,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let cages = match Cages::open() {
        Ok(cages) => cages,
        Err(error) => {
            service.log(&error.to_string()).ok();
            return ExitCode::FAILURE;
        }
    };
    let performer = Performer::new(service.edge(FROM_PDP), service.edge(TO_AUDIT));
    let mut forker = Forker { service, performer, cages, alive_due_ms: 0 };
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
            let (build, waited_for) = self.cages.wants(now);
            let ready = self.wait(now, build)?;
            let of = |index: usize| ready.get(index).copied().unwrap_or(false);
            if of(0) && self.hear_init()? {
                return Ok(());
            }
            // the cages first: what they free is what the next call gets
            self.cages.turn(ready.get(3..).unwrap_or_default(), boot_ms());
            self.tell()?;
            self.cages.reap();
            self.tell()?;
            if of(1) {
                self.hear_pdp();
            }
            if of(2) {
                self.hear_audit()?;
                self.tell()?;
            }
            // a cage is built while nobody speaks, or for somebody who waits for it
            if build && (waited_for || !of(1) && !of(2)) {
                self.cages.build(boot_ms());
                self.tell()?;
            }
        }
    }

    /// Waits for any peer, any cage, or the next deadline; not at all with something to build.
    fn wait(&self, now: u64, build: bool) -> Result<Vec<bool>, ChannelError> {
        let [pdp, audit] = self.performer.edges();
        let mut watched = vec![Some(self.service.as_fd()), pdp, audit];
        watched.extend(self.cages.files().into_iter().map(Some));
        let due = self.cages.due_ms(now).min(self.alive_due_ms);
        let soon = self.cages.ends_soon();
        if soon {
            rustix::thread::sched_yield();
        }
        wait(&watched, &[], if build || soon { 0 } else { due.saturating_sub(now) })
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

    /// A spec: its cage is prepared while its decision becomes durable.
    fn hear_pdp(&mut self) {
        let Some(waiting) = self.performer.hear_pdp().and_then(|c| self.performer.waiting(c))
        else {
            return;
        };
        let spec = &waiting.spec;
        if is_sound(spec) && spec.capability != home::CAPABILITY {
            self.cages.expect(spec);
        }
    }

    fn hear_audit(&mut self) -> Result<(), ChannelError> {
        match self.performer.hear_audit(boot_ms()) {
            Heard::Nothing => {}
            Heard::Perform(released) => {
                let call = released.call();
                if let Err(why) = self.perform(released) {
                    self.performer.refused(call, why);
                }
            }
            Heard::Epoch(epoch) => {
                self.cages.kill_calls();
                self.tell()?;
                self.performer.settled(epoch);
            }
        }
        Ok(())
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
        self.cages.take(spec, fds);
        Ok(())
    }

    /// Says what came of calls.
    fn tell(&mut self) -> Result<(), ChannelError> {
        for said in self.cages.said() {
            match said {
                Said::Started(call) => self.performer.started(call),
                Said::Refused(call, why) => self.performer.refused(call, why),
                Said::Ended(call, outcome) => self.performer.ended(call, outcome),
                Said::NoCage(why) => self.service.log(&format!("no cage: {why}"))?,
            }
        }
        Ok(())
    }
}

/// Whether a spec names a place that cannot lead anywhere else.
fn is_sound(spec: &contract::perform::Spec) -> bool {
    let name = &spec.agent.name;
    let plain = !name.is_empty()
        && name.len() <= contract::limits::AGENT_NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    plain && spec.agent.disk_uid >= contract::uids::AGENTS
}
