//! The forker's cages: a stock of parked slots, the calls that wait for one, and what came of each.
//! A slot is prepared for a call while its decision is made durable, if one of its kind is parked;
//! where there is none the call waits for one that is built for it, the agent with the fewest calls
//! under way first.

use crate::cage::{Cage, Kind};
use crate::cgroup;
use crate::cut;
use crate::error::CageError;
use crate::filter::Filters;
use crate::lease::Claim;
use crate::origin::Origin;
use crate::pool::{Ending, Pool, Stages};
use crate::reserve::{Ceilings, Live, Share};
use crate::rings::Rings;
use crate::slot::{Bound, Building, Dying, Parked, Prepared};
use crate::waiting::Waiting;
use capabilities::Class;
use contract::perform::{CallId, Outcome, Refusal, Spec};
use linux::clock::boot_us;
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Most calls under way at once, with those for which a cage is prepared.
const CALLS_MAX: usize = 32;
/// Most cages at once, in whatever stage.
const SLOTS_MAX: u32 = 44;
/// Most cages that are built at the same time.
const BUILDING_MAX: usize = 4;
/// Parked slots that are kept for calls of each class.
const STOCK: [(Class, usize); 4] =
    [(Class::Pure, 2), (Class::Files, 8), (Class::Program, 2), (Class::Code, 1)];
/// Most calls that wait for a slot.
const WAITING_MAX: usize = 64;
/// Most slots that are prepared for calls without a ticket, and of one agent's.
const PREPARED_MAX: usize = 8;
const PREPARED_OF_AGENT_MAX: usize = 2;
/// How often a prepared worker asks for its ticket before it sleeps, where it is the only one: some
/// 300 us natively, the time of a flush.
const POLLS: u32 = 1_000;
/// How long the forker asks for the end of a call before it sleeps, where it is the only one.
const POLL_US: u64 = 300;
/// How long the stock is left alone after a cage could not be built.
const PAUSE_MS: u64 = 1_000;
/// How long a new call has the forker for itself: twice what short calls took lately, within these
/// bounds. Most end sooner, and building a cage takes as long.
const CALM_US: std::ops::Range<u64> = 3_000..50_000;
/// When to look again at a cage that is dead and not gone yet.
const GONE_MS: u64 = 5;
/// Agents whose id maps are made before they call again.
const AGENTS_MAX: usize = 8;

/// What the forker is to say.
#[derive(Debug)]
pub(crate) enum Said {
    Started(CallId),
    Refused(CallId, Refusal),
    Ended(CallId, Outcome),
    /// To the log: why there is no cage.
    NoCage(String),
}

/// The stages of a slot, as the pool has them.
struct Slots;

impl Stages for Slots {
    type Kind = Kind;
    type Building = Building;
    type Parked = Parked;
    type Prepared = Prepared;
    type Bound = Bound;
    type Dying = Dying;
}

/// All of it.
pub(crate) struct Cages {
    pool: Pool<Slots>,
    stock: Vec<(Kind, usize)>,
    waiting: VecDeque<Waiting>,
    filters: Filters,
    origin: Origin,
    disk: Option<String>,
    ceilings: Ceilings,
    /// Disk users of the agents that called last.
    agents: VecDeque<u32>,
    build_after_ms: u64,
    /// How long calls took lately, in microseconds; of each the most of [`CALM_US`].
    lately_us: u64,
    said: Vec<Said>,
}

impl Cages {
    /// No cage yet.
    pub(crate) fn open() -> Result<Self, CageError> {
        Ok(Self {
            pool: Pool::new(SLOTS_MAX, BUILDING_MAX),
            stock: STOCK
                .map(|(class, count)| {
                    (Kind { class, rings: Rings::ALL, admin: false, direct: None }, count)
                })
                .into(),
            waiting: VecDeque::new(),
            filters: Filters::compile()?,
            origin: Origin::open()?,
            disk: cgroup::data_disk()?,
            ceilings: Ceilings::of(linux::memory::machine_bytes().unwrap_or(0)),
            agents: VecDeque::new(),
            build_after_ms: 0,
            lately_us: 0,
            said: Vec::new(),
        })
    }

    /// Takes a spec that waits for its ticket: a parked slot is prepared for it, if there is one and no
    /// call that may begin waits for it.
    pub(crate) fn expect(&mut self, spec: &Spec) {
        let Some(kind) = Kind::of(spec) else { return };
        let prepared = || self.pool.prepared();
        let of_agent = prepared().filter(|(_, slot)| slot.spec.agent == spec.agent).count();
        let many = prepared().count() >= PREPARED_MAX || of_agent >= PREPARED_OF_AGENT_MAX;
        let agent = spec.agent.disk_uid;
        let fits = || self.ceilings.admit(&self.live(), agent, share_of(spec));
        // one that is to be alone may wait for long
        if !spec.alone && self.waiting.is_empty() && !many && !self.is_full() && fits() {
            // one that fails has the ticket's time to be built anew
            if let Some(Err(why)) = self.prepare(&kind, spec) {
                self.said.push(Said::NoCage(why.to_string()));
            }
        }
    }

    /// Prepares a parked slot of this kind; its number, or why it could not be.
    fn prepare(&mut self, kind: &Kind, spec: &Spec) -> Option<Result<u32, CageError>> {
        if kind.class != Class::Pure {
            self.note(spec.agent.disk_uid);
        }
        let alone = self.pool.prepared().next().is_none() && self.pool.bound().next().is_none();
        let polls = if alone { POLLS } else { 0 };
        let origin = &mut self.origin;
        self.pool.prepare(kind, |parked| parked.prepare(spec, polls, origin))
    }

    /// Takes a released call: it begins at once, or waits.
    pub(crate) fn take(&mut self, spec: Spec, fds: [OwnedFd; 2]) {
        let since_us = boot_us();
        // by all of it: another spec may have taken the place of one of the same number
        let prepared = self.pool.prepared().find(|(_, slot)| slot.spec == spec);
        if let Some(number) = prepared.map(|(number, _)| number)
            && self.may_begin(Claim::of(&spec), self.waiting.len())
            && self.bind(number, spec.call, &fds, since_us).is_ok()
        {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            return self.said.push(Said::Refused(spec.call, Refusal::Busy));
        }
        let Some(kind) = Kind::of(&spec) else {
            return self.said.push(Said::Refused(spec.call, Refusal::BadSpec));
        };
        let share = share_of(&spec);
        self.waiting.push_back(Waiting { spec, fds, kind, share, since_us });
        self.serve();
    }

    fn note(&mut self, agent: u32) {
        if self.agents.front() != Some(&agent) {
            self.agents.retain(|known| *known != agent);
            self.agents.push_front(agent);
            self.agents.truncate(AGENTS_MAX);
        }
    }

    /// What there is to say since the last time.
    pub(crate) fn said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// The files to wait for; any of them asks for [`Cages::turn`].
    pub(crate) fn files(&self) -> Vec<BorrowedFd<'_>> {
        let building = self.pool.building().map(|(_, slot)| slot.speaks());
        let parked = self.pool.parked().map(|(_, slot)| slot.speaks());
        let prepared = self.pool.prepared().map(|(_, slot)| slot.speaks());
        let bound = self.pool.bound().map(|(_, slot)| slot.speaks());
        let dying = self.pool.dying().filter_map(Dying::dies);
        building.chain(parked).chain(prepared).chain(bound).chain(dying).collect()
    }

    /// When [`Cages::turn`] is due though no file is ready.
    pub(crate) fn due_ms(&self, now_ms: u64) -> u64 {
        let building = self.pool.building().map(|(_, slot)| slot.deadline_ms);
        let prepared = self.pool.prepared().map(|(_, slot)| slot.deadline_ms());
        let bound = self.pool.bound().map(|(_, slot)| slot.deadline_ms);
        let long = self.pool.bound().filter_map(|(_, slot)| slot.long_ms());
        let waiting = self.waiting.iter().map(Waiting::until_ms);
        let dying = self.pool.dying().filter(|slot| slot.dies().is_none());
        let dying = dying.map(|_| now_ms + GONE_MS);
        let calm = Some(self.calm_from_ms()).filter(|calm| *calm > now_ms);
        building
            .chain(prepared)
            .chain(bound)
            .chain(long)
            .chain(waiting)
            .chain(dying)
            .chain(calm)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Takes every step that can be taken now; `ready` says of each of [`Cages::files`] whether it is.
    pub(crate) fn turn(&mut self, ready: &[bool], now_ms: u64) {
        let mut ready = ready.iter().copied().chain(std::iter::repeat(false));
        let mut of = |numbers: Vec<(u32, u64)>| -> Vec<(u32, bool, bool)> {
            let step = |(number, deadline): (u32, u64)| {
                (number, ready.next().unwrap_or(false), now_ms >= deadline)
            };
            numbers.into_iter().map(step).collect()
        };
        let building = of(self.pool.building().map(|(n, slot)| (n, slot.deadline_ms)).collect());
        let parked = of(self.pool.parked().map(|(n, _)| (n, u64::MAX)).collect());
        let prepared = of(self.pool.prepared().map(|(n, slot)| (n, slot.deadline_ms())).collect());
        let bound = of(self.pool.bound().map(|(n, slot)| (n, slot.deadline_ms)).collect());
        for (number, speaks, late) in bound {
            let bound = self.pool.bound().find(|(of, _)| *of == number);
            let said = bound.filter(|_| speaks).and_then(|(_, bound)| bound.said());
            if let Some(code) = said.or_else(|| late.then(|| "late".to_owned())) {
                self.end(number, &code);
            }
        }
        for (number, ..) in parked.into_iter().filter(|(_, speaks, _)| *speaks) {
            // a parked worker has nothing to say: it is gone or broken, and the next may be as well
            self.pool.end(number, abandon);
            self.said.push(Said::NoCage("a parked worker ended before it had a call".to_owned()));
            self.build_after_ms = now_ms + PAUSE_MS;
        }
        for (number, ..) in prepared.into_iter().filter(|(_, speaks, late)| *speaks || *late) {
            // its call gets another one, if a ticket comes
            self.pool.end(number, abandon);
        }
        for (number, speaks, late) in building {
            if speaks || late {
                self.park(number, speaks, now_ms);
            }
        }
        self.give_way(now_ms);
        self.serve();
        self.abandon_unwanted();
        let over = |call: &Waiting| now_ms >= call.until_ms();
        let given_up = self.waiting.iter().filter(|call| over(call)).map(|call| call.spec.call);
        self.said.extend(given_up.map(|call| Said::Refused(call, Refusal::Busy)));
        self.waiting.retain(|call| !over(call));
    }

    /// Gives up what was built for a call that waits no more, and is in no stock.
    fn abandon_unwanted(&mut self) {
        let wanted = |kind: &Kind| {
            let stock = self.stock.iter().any(|(of, _)| of == kind);
            stock || self.waiting.iter().any(|call| call.kind == *kind)
        };
        let unwanted = self.pool.parked().filter(|(_, slot)| !wanted(slot.kind()));
        for number in unwanted.map(|(number, _)| number).collect::<Vec<u32>>() {
            self.pool.end(number, abandon);
        }
    }

    /// Has calls that take long give way to new ones.
    fn give_way(&mut self, now_ms: u64) {
        for (_, bound) in self.pool.bound() {
            if bound.long_ms().is_some_and(|long_ms| now_ms >= long_ms)
                && let Err(error) = bound.give_way()
            {
                self.said.push(Said::NoCage(error.to_string()));
            }
        }
    }

    /// Takes away what is left of cages that ended: after it was said how, since it takes its time.
    pub(crate) fn reap(&mut self) {
        self.pool.reap(Dying::is_gone);
        // a workspace is free only now
        self.serve();
    }

    fn park(&mut self, number: u32, speaks: bool, now_ms: u64) {
        let failed = self.pool.park(number, |building| {
            if speaks { building.parked() } else { Err(building.too_slow()) }
        });
        if let Some((kind, why)) = failed {
            self.not_built(&kind, &why, now_ms);
        }
    }

    /// A cage of this kind could not be built: whoever waits for one is refused, and where nobody
    /// does the stock has time.
    fn not_built(&mut self, kind: &Kind, why: &CageError, now_ms: u64) {
        self.said.push(Said::NoCage(why.to_string()));
        self.build_after_ms = now_ms + PAUSE_MS;
        if let Some(index) = self.waiting.iter().position(|call| call.kind == *kind)
            && let Some(call) = self.waiting.remove(index)
        {
            self.said.push(Said::Refused(call.spec.call, Refusal::NoCage));
        }
    }

    fn end(&mut self, number: u32, code: &str) {
        let (said, lately_us) = (&mut self.said, &mut self.lately_us);
        self.pool.end(number, |ending| match ending {
            Ending::Bound(bound) => {
                let call = bound.call;
                let (outcome, dying) = bound.end(code);
                *lately_us = (*lately_us * 7 + outcome.used.wall_us.min(CALM_US.end)) / 8;
                said.push(Said::Ended(call, outcome));
                dying
            }
            unused => abandon(unused),
        });
    }

    /// Lets a prepared slot begin; why it could not.
    fn bind(
        &mut self,
        number: u32,
        call: CallId,
        fds: &[OwnedFd; 2],
        since_us: u64,
    ) -> Result<(), CageError> {
        let begun = self.pool.bind(number, |prepared| prepared.bind(fds, since_us));
        begun.unwrap_or(Err(CageError::Unexpected))?;
        self.said.push(Said::Started(call));
        Ok(())
    }

    /// Gives waiting calls to parked slots.
    fn serve(&mut self) {
        while let Some(index) = self.next_call() {
            let Some(call) = self.waiting.remove(index) else { return };
            let Some(prepared) = self.prepare(&call.kind, &call.spec) else {
                return self.waiting.push_front(call);
            };
            let id = call.spec.call;
            let bind = |number| self.bind(number, id, &call.fds, call.since_us);
            if let Err(why) = prepared.and_then(bind) {
                self.said.push(Said::NoCage(why.to_string()));
                self.said.push(Said::Refused(id, Refusal::NoCage));
            }
        }
    }

    fn is_full(&self) -> bool {
        self.pool.bound().count() + self.pool.prepared().count() >= CALLS_MAX
    }

    /// What is reserved: by calls that have begun, and by those that a cage is prepared for.
    fn live(&self) -> Vec<Live> {
        let bound = self.pool.bound().map(|(_, slot)| (slot.claim.agent, slot.share));
        let prepared = self.pool.prepared();
        let prepared = prepared.map(|(_, slot)| (slot.spec.agent.disk_uid, slot.share()));
        bound.chain(prepared).collect()
    }

    /// Whether the workspace is free for a call before which `before` others wait.
    fn may_begin(&self, claim: Claim, before: usize) -> bool {
        let live = self.pool.bound().map(|(_, slot)| slot.claim);
        let live = live.chain(self.pool.dying().filter_map(Dying::claim));
        claim.is_admitted(live, self.waiting.iter().take(before).map(Waiting::claim))
    }

    /// Of the calls for which a slot is parked, whose memory fits and whose workspace is free, the first
    /// of the agent with the fewest under way.
    fn next_call(&self) -> Option<usize> {
        let under_way =
            |agent: u32| self.pool.bound().filter(|(_, bound)| bound.claim.agent == agent).count();
        if self.waiting.is_empty() || self.is_full() {
            return None;
        }
        let live = self.live();
        let fits =
            |call: &Waiting| self.ceilings.admit(&live, call.spec.agent.disk_uid, call.share);
        let calls = self.waiting.iter().enumerate();
        let calls = calls.filter(|(at, call)| {
            self.pool.has_parked(&call.kind) && fits(call) && self.may_begin(call.claim(), *at)
        });
        let first = calls.min_by_key(|(at, call)| (under_way(call.spec.agent.disk_uid), *at));
        first.map(|(index, _)| index)
    }

    /// Whether [`Cages::build`] has something to do, and whether a call waits for it.
    pub(crate) fn wants(&self, now_ms: u64) -> (bool, bool) {
        let calm = now_ms >= self.build_after_ms.max(self.calm_from_ms());
        let wanted = self.next_to_build(now_ms).is_some() || calm && self.lacks_ahead();
        (wanted, !self.waiting.is_empty())
    }

    /// Whether a place or an id map is missing that is made ahead. Not while a cage is on its way: its
    /// word would be heard only afterwards.
    fn lacks_ahead(&self) -> bool {
        let building = self.pool.building().next().is_some();
        !building && (self.next_map().is_some() || self.origin.lacks_place())
    }

    /// When no call is new any more.
    fn calm_from_ms(&self) -> u64 {
        let prepared = self.pool.prepared().map(|(_, slot)| slot.begun_ms());
        let begun = prepared.chain(self.pool.bound().map(|(_, slot)| slot.begun_us() / 1_000));
        let calm_us = (2 * self.lately_us).clamp(CALM_US.start, CALM_US.end);
        begun.max().map_or(0, |begun| begun + calm_us / 1_000)
    }

    /// Whether a call is likely to end sooner than the forker would be woken.
    pub(crate) fn ends_soon(&self) -> bool {
        let mut bound = self.pool.bound();
        let (first, second) = (bound.next(), bound.next());
        let new = |(_, slot): (u32, &Bound)| boot_us() < slot.begun_us() + POLL_US;
        second.is_none() && first.is_some_and(new)
    }

    fn next_to_build(&self, now_ms: u64) -> Option<(u32, Kind)> {
        let waiting: Vec<Kind> = self.waiting.iter().map(|call| call.kind.clone()).collect();
        let calm = now_ms >= self.build_after_ms.max(self.calm_from_ms());
        let stock: &[(Kind, usize)] = if calm { &self.stock } else { &[] };
        self.pool.next(&waiting, stock, cgroup::is_free)
    }

    /// An agent that called lately, and a parked slot that could be its next.
    fn next_map(&self) -> Option<(u32, u32)> {
        let slots = self.pool.parked().filter(|(_, slot)| slot.has_files()).map(|(_, s)| s.uid());
        let slots: Vec<u32> = slots.collect();
        let pairs = self.agents.iter().flat_map(|agent| slots.iter().map(|slot| (*agent, *slot)));
        let mut pairs = pairs.filter(|(agent, slot)| !self.origin.has_map(*agent, *slot));
        pairs.next()
    }

    /// Begins the next cage, or makes an id map that will be needed: one thing at a time, since calls
    /// wait meanwhile.
    pub(crate) fn build(&mut self, now_ms: u64) {
        if let Some((number, kind)) = self.next_to_build(now_ms) {
            let (disk, begun_us) = (self.disk.as_deref(), boot_us());
            match Cage::begin(number, &kind, disk, &self.filters, &mut self.origin) {
                Ok(begun) => self.pool.begun(number, kind, Building::new(begun, begun_us)),
                Err(error) => self.not_built(&kind, &error, now_ms),
            }
        } else if !self.lacks_ahead() {
            // what a cage on its way is built for comes first
        } else if let Some((agent, slot)) = self.next_map() {
            // one that cannot be made now is made, or refused, with the call
            if self.origin.map(agent, slot).is_err() {
                self.agents.clear();
            }
        } else if self.origin.lacks_place()
            && let Err(error) = self.origin.make_place()
        {
            self.said.push(Said::NoCage(error.to_string()));
            self.build_after_ms = now_ms + PAUSE_MS;
        }
    }

    /// Another audit: nobody may hear of earlier calls any more. Those under way are killed; those
    /// that wait were never begun.
    pub(crate) fn kill_calls(&mut self) {
        let under_way: Vec<u32> = self.pool.bound().map(|(number, _)| number).collect();
        let prepared: Vec<u32> = self.pool.prepared().map(|(number, _)| number).collect();
        for number in under_way.into_iter().chain(prepared) {
            self.end(number, "killed");
        }
        for call in std::mem::take(&mut self.waiting) {
            self.said.push(Said::Refused(call.spec.call, Refusal::OtherEpoch));
        }
    }
}

/// What a call reserves.
fn share_of(spec: &Spec) -> Share {
    let (limits, _) = cut::limits(&spec.effects, &spec.limits);
    Share::of(&spec.effects, limits.memory_bytes)
}

fn abandon(ending: Ending<Slots>) -> Dying {
    match ending {
        Ending::Parked(slot) => slot.abandon(),
        Ending::Prepared(slot) => slot.abandon(),
        Ending::Bound(slot) => slot.abandon(),
    }
}
