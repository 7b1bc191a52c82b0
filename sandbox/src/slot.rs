//! A slot: one cage, from its building to its end, used for one call at most. Each stage of its life
//! is a type, and each step consumes the stage before, so that nothing can be done twice or out of
//! order: [`Building`], [`Parked`], [`Prepared`], [`Bound`], [`Dying`].

use crate::cage::{Cage, Kind};
use crate::cut::{self, Cut, View, cut};
use crate::direct;
use crate::error::CageError;
use crate::inside;
use crate::lease::Claim;
use crate::network::Packets;
use crate::origin::{Equipment, Origin};
use crate::reserve::Share;
use crate::rings::Ring;
use capabilities::Class;
use contract::perform::{CallId, FromWorker, Go, Limits, Outcome, Spec, Used, VERSION, Work};
use contract::rings::{FORBIDDEN_CALL, OUT_OF_MEMORY};
use linux::KernelError;
use linux::cage;
use linux::clock::boot_us;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const AGENTS: &str = "/data/agents";
const TOOLBOX: &str = "/toolbox";
/// Longest that a cage may take to be there.
const BUILD_MS_MAX: u64 = 10_000;
/// From when on a call gives way to those that are newer.
const LONG_MS: u64 = 100;
/// Longest that a prepared cage waits for its call's ticket; the call itself may wait longer.
const PREPARED_MS_MAX: u64 = 1_000;

/// Its first process is making its root and giving up its rights.
#[derive(Debug)]
pub(crate) struct Building {
    cage: Cage,
    equipment: Equipment,
    pub(crate) deadline_ms: u64,
    begun_us: u64,
}

/// The worker is there, behind its rings, and waits; no agent is known to it.
#[derive(Debug)]
pub(crate) struct Parked {
    cage: Cage,
    equipment: Equipment,
    built_us: u64,
}

/// It has what one call is cut to, and does nothing of it: the call's ticket is not there.
#[derive(Debug)]
pub(crate) struct Prepared {
    cage: Cage,
    packets: Packets,
    /// What it was prepared for, and for nothing else.
    pub(crate) spec: Spec,
    limits: Limits,
    /// The code that it ends with where the ring that it tries holds.
    tries: Option<&'static str>,
    begun_ms: u64,
    built_us: u64,
}

/// At its one call.
#[derive(Debug)]
pub(crate) struct Bound {
    cage: Cage,
    packets: Packets,
    pub(crate) call: CallId,
    pub(crate) claim: Claim,
    pub(crate) share: Share,
    /// Its memory cap.
    memory_bytes: u64,
    /// The code that it ends with where the ring that it tries holds, and where its answer goes.
    tries: Option<(&'static str, File)>,
    /// The worker said that it tries it now.
    trying: Cell<bool>,
    /// Whether it gives way to every call that is new.
    gives_way: Cell<bool>,
    pub(crate) deadline_ms: u64,
    /// When its ticket was heard, in microseconds of boot time.
    begun_us: u64,
    built_us: u64,
}

/// Killed; its number is free once nothing is left of it.
#[derive(Debug)]
pub(crate) struct Dying {
    cage: Cage,
    reaped: bool,
    /// Of one that was at its call: it may still act until it is dead.
    claim: Option<Claim>,
}

/// A step that did not succeed: what is left, and why.
pub(crate) type Failed = Box<(Dying, CageError)>;

impl Building {
    /// A cage that was begun at `begun_us` of boot time.
    pub(crate) fn new((cage, equipment): (Cage, Equipment), begun_us: u64) -> Self {
        Self { cage, equipment, deadline_ms: begun_us / 1_000 + BUILD_MS_MAX, begun_us }
    }

    /// The file that becomes readable when the worker is there, or is not going to be.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// What it said: that the worker is there.
    pub(crate) fn parked(self) -> Result<Parked, Failed> {
        let Self { cage, equipment, begun_us, .. } = self;
        let built_us = boot_us().saturating_sub(begun_us);
        match cage.heard() {
            Ok(FromWorker::Parked) => Ok(Parked { cage, equipment, built_us }),
            Ok(_) => Err(failed(cage, CageError::Unexpected)),
            Err(error) => Err(failed(cage, error)),
        }
    }

    /// Gives it up: its time is over.
    pub(crate) fn too_slow(self) -> Failed {
        failed(self.cage, CageError::TooSlow(BUILD_MS_MAX))
    }
}

impl Parked {
    /// Whether it is for calls that touch files.
    pub(crate) fn has_files(&self) -> bool {
        self.cage.kind.class != Class::Pure
    }

    /// What it was built for.
    pub(crate) const fn kind(&self) -> &Kind {
        &self.cage.kind
    }

    /// The user that its files belong to, seen from outside.
    pub(crate) const fn uid(&self) -> u32 {
        self.cage.uid()
    }

    /// The file that becomes readable when the worker is gone.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// Makes it ready for a call: the agent's files at their place, then what the worker keeps. The
    /// input is not there: who takes a worker over by it would act before the decision is durable.
    /// `polls`: see [`Work::polls`].
    pub(crate) fn prepare(
        self,
        spec: &Spec,
        polls: u32,
        origin: &mut Origin,
    ) -> Result<Prepared, Failed> {
        let cut = cut(&spec.capability, &spec.effects, &spec.limits);
        let (tries, limits) = (cut.tries, cut.limits);
        match self.hand(spec, cut, polls, origin) {
            Ok(()) => Ok(Prepared {
                limits,
                cage: self.cage,
                packets: self.equipment.packets,
                spec: spec.clone(),
                tries,
                begun_ms: boot_us() / 1_000,
                built_us: self.built_us,
            }),
            Err(error) => Err(failed(self.cage, error)),
        }
    }

    fn hand(
        &self,
        spec: &Spec,
        cut: Cut,
        polls: u32,
        origin: &mut Origin,
    ) -> Result<(), CageError> {
        self.cage.cgroup.set(&cut.limits)?;
        let files = format!("{AGENTS}/{}", spec.agent.name);
        let place = match cut.view {
            View::Nothing => None,
            View::Workspace => Some((format!("{files}/workspace"), inside::WORKSPACE)),
            View::WithTrash => Some((files, inside::WITH_TRASH)),
        };
        let rings = &self.cage.kind.rings;
        let equipment = &self.equipment;
        if let Some((files, at)) = place {
            let users = origin.map(spec.agent.disk_uid, self.uid())?;
            let tree =
                cage::idmapped(&files, users.as_fd(), cut.writable, !rings.have(Ring::NoExec))?;
            equipment.among_mounts(origin, || attach(tree.as_fd(), at))?;
        }
        if let Some(program) = cut.program {
            // where the toolbox lacks it there is nothing to execute, which the worker says
            if let Some(tree) = cage::programs(&format!("{TOOLBOX}/{program}"))? {
                equipment.among_mounts(origin, || attach(tree.as_fd(), cut::PROGRAM))?;
            }
        }
        for place in &cut.places {
            direct::admit(equipment.packets.socket(), self.uid(), *place)?;
        }
        let ports = cut.places.iter().map(|place| place.port()).collect();
        let grants = rings.keep(cut.grants);
        let work = Work {
            call: spec.call,
            capability: spec.capability.clone(),
            grants,
            ports,
            answer_bytes_max: cut.answer_bytes_max,
            streams: spec.streams,
            polls,
        };
        Ok(self.cage.socket.send(&(VERSION, work), &[])?)
    }

    /// Gives it up unused.
    pub(crate) fn abandon(self) -> Dying {
        kill(self.cage)
    }
}

impl Prepared {
    /// The file that becomes readable when the worker is gone.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// What its call reserves.
    pub(crate) fn share(&self) -> Share {
        Share::of(&self.spec.effects, self.limits.memory_bytes)
    }

    /// When it was made ready, in milliseconds of boot time.
    pub(crate) const fn begun_ms(&self) -> u64 {
        self.begun_ms
    }

    /// When it is given up though no ticket came.
    pub(crate) const fn deadline_ms(&self) -> u64 {
        self.begun_ms + PREPARED_MS_MAX
    }

    /// Lets it begin: its ticket was heard at `begun_us` of boot time.
    pub(crate) fn bind(self, fds: &[OwnedFd; 2], begun_us: u64) -> Result<Bound, Failed> {
        let [input, answer] = fds;
        let Self { cage, packets, spec, limits, tries, built_us, .. } = self;
        let call = spec.call;
        let copy = || answer.try_clone().ok().map(File::from);
        let tries = tries.and_then(|ends| Some((ends, copy()?)));
        match cage.socket.send(&(VERSION, Go { call }), &[input.as_fd(), answer.as_fd()]) {
            Ok(()) => Ok(Bound {
                tries,
                trying: Cell::new(false),
                gives_way: Cell::new(false),
                cage,
                packets,
                call,
                claim: Claim::of(&spec),
                share: Share::of(&spec.effects, limits.memory_bytes),
                memory_bytes: limits.memory_bytes,
                deadline_ms: begun_us / 1_000 + limits.wall_ms,
                begun_us,
                built_us,
            }),
            Err(error) => Err(failed(cage, error.into())),
        }
    }

    /// Gives it up unused.
    pub(crate) fn abandon(self) -> Dying {
        kill(self.cage)
    }
}

impl Bound {
    /// The file that becomes readable when the worker speaks or ends.
    pub(crate) fn speaks(&self) -> BorrowedFd<'_> {
        self.cage.socket.as_fd()
    }

    /// When its ticket was heard, in microseconds of boot time.
    pub(crate) const fn begun_us(&self) -> u64 {
        self.begun_us
    }

    /// When it has run for so long that it gives way to new calls; nothing once it does.
    pub(crate) fn long_ms(&self) -> Option<u64> {
        (!self.gives_way.get()).then_some(self.begun_us / 1_000 + LONG_MS)
    }

    /// Has it give way to new calls, which mostly take a moment.
    pub(crate) fn give_way(&self) -> Result<(), CageError> {
        self.gives_way.set(true);
        self.cage.cgroup.yield_processor()
    }

    /// The code that the worker ended with, `crashed` if it said none; nothing while it goes on.
    pub(crate) fn said(&self) -> Option<String> {
        Some(match self.cage.heard() {
            Ok(FromWorker::Done(code)) => code,
            Ok(FromWorker::Trying) => {
                self.trying.set(true);
                return None;
            }
            Ok(FromWorker::Parked) | Err(_) if self.cage.was_forbidden() => {
                FORBIDDEN_CALL.to_owned()
            }
            Ok(FromWorker::Parked) | Err(_) => "crashed".to_owned(),
        })
    }

    /// Gives it up without a word.
    pub(crate) fn abandon(self) -> Dying {
        Dying { claim: Some(self.claim), ..kill(self.cage) }
    }

    /// Ends what runs in it; the call's outcome, with what was used.
    pub(crate) fn end(self, code: &str) -> (Outcome, Dying) {
        let built_us = self.built_us;
        let wall_us = boot_us().saturating_sub(self.begun_us);
        let dropped_packets = self.packets.dropped();
        if self.cage.kind.direct.is_some() {
            // what stays, of one that could not be withdrawn, the next cage of this user withdraws
            direct::withdraw_all(self.packets.socket(), self.cage.uid()).ok();
        }
        let dying = Dying { claim: Some(self.claim), ..kill(self.cage) };
        let used = dying.cage.cgroup.usage();
        let code = if used.ran_out_of_memory { OUT_OF_MEMORY } else { code };
        let tries = self.tries.as_ref().filter(|_| self.trying.get());
        let code = tries.map_or(code, |(held, answer)| came_of(held, code, answer));
        let code = code.to_owned();
        let used = Used {
            memory_peak_bytes: used.memory_peak_bytes,
            memory_max_bytes: self.memory_bytes,
            cpu_us: used.cpu_us,
            throttled_us: used.throttled_us,
            memory_stall_us: used.memory_stall_us,
            dropped_packets,
            wall_us,
        };
        let outcome = Outcome { code, used, built_us };
        (outcome, dying)
    }
}

impl Dying {
    /// The file that becomes readable when its first process is dead; none once that is known.
    pub(crate) fn dies(&self) -> Option<BorrowedFd<'_>> {
        (!self.reaped).then(|| self.cage.dies())
    }

    /// What it may still act on.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.claim.filter(|_| !self.reaped)
    }

    /// Whether nothing is left of it: asks, and takes away what can be.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.reaped = self.reaped || self.cage.is_reaped();
        self.reaped && self.cage.cgroup.remove()
    }
}

fn kill(cage: Cage) -> Dying {
    cage.cgroup.kill();
    Dying { cage, reaped: false, claim: None }
}

fn failed(cage: Cage, why: CageError) -> Failed {
    Box::new((kill(cage), why))
}

/// How a call that tried a ring ends: one that did not come back, as it should, has written no answer.
fn came_of<'a>(held: &str, code: &'a str, mut answer: &File) -> &'a str {
    match code {
        "ok" if held != "ok" => "not_stopped",
        code if code == held => {
            if code != "ok" {
                answer.write_all(b"{}").ok();
            }
            "ok"
        }
        code => code,
    }
}

fn attach(tree: BorrowedFd<'_>, at: &str) -> Result<(), KernelError> {
    use rustix::mount::{MoveMountFlags, move_mount};
    move_mount(tree, "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| KernelError::new("move_mount", at, errno))
}
