//! The policy decision point. It alone knows credentials and policy; it decides each call, records it
//! with audit, and sends performers their specs. It opens no file of an agent and no connection; what
//! it knows it learns from the ledger. One thread, one loop.
#![forbid(unsafe_code)]

mod act;
mod answers;
mod approval;
mod asking;
mod asks;
mod boot;
mod call;
mod grant;
mod grants;
mod invariants;
mod ledger_view;
mod lend;
mod limits;
mod list;
mod moment;
mod network;
mod operators;
mod pairing;
mod peers;
mod proposals;
mod reach;
mod refusal;
mod set;
mod shadow;
#[cfg(test)]
mod signed;
mod state;
mod telling;
mod webhooks;

use call::CallFrame;
use channel::{ChannelError, Service, Wish, wait};
use contract::door::{self, FromDoor, Status, ToDoor};
use contract::perform::{CallId, Used};
use ledger::writer::{Filter, FromWriter, MESSAGES_VERSION, NotAppended, ToWriter};
use ledger::{Kind, Record};
use linux::clock::boot_ms;
use pairing::Pairing;
use peers::{AGENTS, AUDIT, CERTIFIER, CONSOLE, OPERATORS, Peers};
use refusal::{Refusal, say};
use set::{Applied, Shipped};
use state::State;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

const ALIVE_MS: u64 = 1_000;
/// Most messages of one peer in one turn.
const TURN_MAX: usize = 64;

/// Who waits for a call's record or end.
#[derive(Debug)]
struct Waiting {
    door: &'static str,
    number: u64,
    agent: String,
    then: Then,
}

/// What they are told.
#[derive(Debug)]
enum Then {
    /// This, once the record is durable.
    Say(Status, String),
    /// That the performer ended; of a call that streams also that it may begin.
    End { streams: bool },
    /// The principal `boot` waits, which is init.
    Booted,
    /// That what a person is to be asked about was looked at.
    Look(Box<asking::Look>),
}

/// What an answer of audit belongs to.
#[derive(Debug)]
enum Question {
    /// A door that gets the file.
    File { door: &'static str, number: u64, media_type: &'static str },
    /// A part of the ledger's history.
    History,
    /// The text of the policy in force.
    Policy,
    /// The text of the candidate in shadow.
    Candidate,
    /// The input of a call that a person let through.
    Input(CallId, approval::Yes),
}

#[derive(Debug)]
struct Pdp {
    service: Service,
    peers: Peers,
    state: State,
    applied: Applied,
    /// What decides beside it.
    candidate: Option<Applied>,
    /// A candidate whose record is on its way.
    checked: Option<Applied>,
    shipped: Shipped,
    /// When the image was made.
    built: moment::Built,
    waiting: BTreeMap<CallId, Waiting>,
    /// Inputs of calls that wait for a person.
    held: BTreeMap<CallId, OwnedFd>,
    /// Where calls that stream and that nobody waits for write.
    streams: BTreeMap<CallId, OwnedFd>,
    /// Questions to persons whose end is being recorded.
    closing: BTreeSet<CallId>,
    questions: BTreeMap<u64, Question>,
    /// Changes of who is an operator whose records are on their way.
    moving: BTreeSet<CallId>,
    nonces: VecDeque<([u8; 16], u64)>,
    pairing: Option<Pairing>,
    boot: boot::Boot,
    /// The change of the policy or of its invariants that is being recorded.
    changing: Option<CallId>,
    first_operator: Option<([u8; 32], [u8; 32])>,
    /// SHA-256 of the authority's key.
    authority: Option<[u8; 32]>,
    /// The whole history is folded.
    folded: bool,
    /// Requests refused before they were calls, by source and reason, since the last record of them.
    refused: BTreeMap<(String, String), u64>,
    next_number: u64,
    /// How large the ledger's partition is, once audit has said it.
    ledger_bytes: Option<u64>,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let peers = Peers::open(&mut service);
    let shipped = Shipped::read().and_then(|shipped| Ok((shipped.first()?, shipped)));
    let boot = linux::clock::boot_id().map_err(|error| format!("boot id: {error}"));
    let started = boot.and_then(|boot| {
        Ok((boot, moment::Built::read()?, shipped.map_err(|error| error.to_string())?))
    });
    let (boot, built, (applied, shipped)) = match started {
        Ok(started) => started,
        Err(error) => {
            service.log(&error).ok();
            return ExitCode::FAILURE;
        }
    };
    let mut pdp = Pdp {
        service,
        peers,
        state: State::new(boot),
        applied,
        candidate: None,
        checked: None,
        shipped,
        built,
        waiting: BTreeMap::new(),
        held: BTreeMap::new(),
        streams: BTreeMap::new(),
        closing: BTreeSet::new(),
        questions: BTreeMap::new(),
        moving: BTreeSet::new(),
        nonces: VecDeque::new(),
        pairing: None,
        boot: boot::Boot::default(),
        changing: None,
        first_operator: None,
        authority: None,
        folded: false,
        refused: BTreeMap::new(),
        next_number: 0,
        ledger_bytes: None,
    };
    match pdp.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pdp.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

/// What a recorded outcome says of what was used.
fn used(outcome: &ledger::Envelope) -> Used {
    Used::of_facts(|name| outcome.facts.get(name)?.parse().ok())
}

impl Pdp {
    fn run(&mut self) -> Result<(), ChannelError> {
        let (mut due_ms, mut ready) = (0, false);
        self.ask_history();
        loop {
            let now = boot_ms();
            if now >= due_ms {
                if ready {
                    self.service.alive()?;
                }
                self.expire(now);
                if self.folded {
                    self.tell_webhooks();
                }
                self.record_refused();
                due_ms = now + ALIVE_MS;
            }
            if !ready && self.folded && self.authority.is_some() {
                self.service.ready()?;
                ready = true;
            }
            let files = {
                let mut files = vec![Some(self.service.as_fd())];
                files.extend(self.peers.files(self.folded));
                wait(&files, &self.peers.full(), due_ms.saturating_sub(now))?
            };
            if files.first() == Some(&true) && self.hear_init()? {
                return Ok(());
            }
            self.peers.push();
            // audit first: what it says is what everything else is judged by
            self.hear_audit();
            self.hear_certifier();
            if self.peers.was_cut_off(AUDIT) {
                // no new edge comes to a pdp that goes on: init starts another one
                return Err(ChannelError::Closed);
            }
            if self.folded {
                self.hear_door(AGENTS);
                self.hear_door(OPERATORS);
                self.hear_boot();
                self.hear_console();
            }
        }
    }

    /// True when init wants this service to stop.
    fn hear_init(&mut self) -> Result<bool, ChannelError> {
        match self.service.wish()? {
            Wish::Stop => return Ok(true),
            Wish::NewEdge(name) => {
                if let Some(edge) = self.service.edge(&name)
                    && let Some(name) = self.peers.replace(&name, edge)
                {
                    self.changed(name);
                }
            }
        }
        Ok(false)
    }

    /// A peer is new: what the old one was to do or to hear is void.
    fn changed(&mut self, name: &'static str) {
        match name {
            AUDIT => {
                // what it was told and did not record is void
                for (_, Waiting { door, number, .. }) in std::mem::take(&mut self.waiting) {
                    self.tell_unavailable(door, number);
                }
                for (_, question) in std::mem::take(&mut self.questions) {
                    if let Question::File { door, number, .. } = question {
                        self.tell_unavailable(door, number);
                    } else if let Question::Input(_, yes) = question {
                        self.tell_unavailable(yes.door, yes.number);
                    }
                }
                self.closing.clear();
                self.moving.clear();
                self.changing = None;
                self.state.counters.forget_unrecorded();
                self.state.grants.forget_unrecorded();
                self.state.webhooks.forget_unrecorded(None, linux::clock::boot_us());
                // another audit has every call of before ended
                self.streams.clear();
                // what it knows of the ledger holds still, and `fold` sees that this is the same one
                self.folded = false;
                self.ask_history();
            }
            AGENTS | OPERATORS => self.waiting.retain(|_, waiting| waiting.door != name),
            _ => {}
        }
    }

    fn tell_unavailable(&mut self, door: &str, number: u64) {
        let refusal = Refusal::Unavailable;
        say(&mut self.peers, door, number, refusal.status(), &refusal.json());
    }

    fn hear_audit(&mut self) {
        let count = |message: &FromWriter| match message {
            FromWriter::Page { .. } => 1,
            FromWriter::Fetched { found, .. } => usize::from(*found),
            FromWriter::Appended(_) | FromWriter::NotAppended { .. } => 0,
        };
        for _ in 0..TURN_MAX {
            let Some((message, fds)) = self.peers.take(AUDIT, MESSAGES_VERSION, count) else {
                return;
            };
            let file = fds.into_iter().next();
            match message {
                FromWriter::Appended(bytes) => self.appended(&bytes.0),
                FromWriter::NotAppended { call, why } => self.not_appended(call, why),
                FromWriter::Page { number, next, last, capacity_bytes } => {
                    self.ledger_bytes = Some(capacity_bytes);
                    self.answered(number, file, Some((next, last)));
                }
                FromWriter::Fetched { number, .. } => self.answered(number, file, None),
            }
        }
    }

    /// Asks for the ledger's history, from where it is folded so far.
    fn ask_history(&mut self) {
        let (number, from, filter) = (self.number(), self.state.length, Filter::all());
        self.questions.insert(number, Question::History);
        let message = ToWriter::Page { number, from, filter };
        self.peers.post(AUDIT, &(MESSAGES_VERSION, message), Vec::new());
    }

    /// Takes a part of the ledger's history.
    fn fold(&mut self, file: Option<OwnedFd>, last: bool) {
        const PART_BYTES_MAX: u64 = 128 << 20;
        let content = file.and_then(|file| channel::sealed::read(&file, PART_BYTES_MAX).ok());
        let content = content.unwrap_or_default();
        for bytes in ledger::frame::read_all(&content).0 {
            match Record::read(bytes) {
                Ok(record) if self.state.is_next(record.envelope()) => self.take(&record),
                // a history that is not one: nothing can be decided from it, nor from what was known
                Ok(_) | Err(_) => return self.peers.cut_off(AUDIT),
            }
        }
        if last {
            self.folded = true;
            self.load_policy();
            self.load_candidate();
            self.end_earlier_questions();
        } else {
            self.ask_history();
        }
    }

    /// Takes a record, and says which one does not count.
    fn take(&mut self, record: &Record) {
        if let Err(error) = self.state.apply(record) {
            let number = record.envelope().sequence;
            let line = format!("record {number} does not count: {error}; see `krux audit verify`");
            self.service.log(&line).ok();
        }
    }

    /// A record is durable: it counts, and who waited for it is told.
    fn appended(&mut self, bytes: &[u8]) {
        let Ok(record) = Record::read(bytes) else { return self.peers.cut_off(AUDIT) };
        match record.envelope().sequence.cmp(&self.state.length) {
            Ordering::Equal if self.state.is_next(record.envelope()) => {}
            Ordering::Equal => return self.peers.cut_off(AUDIT),
            // it is in the history already, or will be in the next part of it
            Ordering::Less => return,
            Ordering::Greater if !self.folded => return,
            Ordering::Greater => return self.peers.cut_off(AUDIT),
        }
        self.take(&record);
        let envelope = record.envelope();
        if envelope.kind == Kind::Policy {
            self.load_policy();
        }
        if matches!(envelope.kind, Kind::Policy | Kind::Act) {
            self.load_candidate();
        }
        let Some(call) = envelope.call else { return };
        self.moving.remove(&call);
        self.changing = self.changing.filter(|changing| *changing != call);
        let ended = matches!(envelope.kind, Kind::Outcome | Kind::Recovery);
        if ended {
            self.streams.remove(&call);
        }
        let Some(waiting) = self.waiting.remove(&call) else { return };
        let code = || envelope.facts.get("code").cloned().unwrap_or_default();
        match &waiting.then {
            Then::Say(status, json) => {
                say(&mut self.peers, waiting.door, waiting.number, *status, json);
            }
            Then::End { .. } | Then::Booted | Then::Look(_) if !ended => {
                if let Then::End { streams: true } = waiting.then {
                    let message = ToDoor::Begun { number: waiting.number, call };
                    self.peers.post(waiting.door, &(door::VERSION, message), Vec::new());
                }
                self.waiting.insert(call, waiting);
            }
            Then::End { .. } => {
                let (code, used) = (code(), used(envelope));
                let message = ToDoor::Ended { number: waiting.number, call, code, used };
                self.peers.post(waiting.door, &(door::VERSION, message), Vec::new());
            }
            Then::Booted => self.boot_call_ended(call, &code()),
            Then::Look(_) => {
                if let Then::Look(look) = waiting.then {
                    self.looked(*look, &code());
                }
            }
        }
    }

    fn not_appended(&mut self, call: Option<CallId>, why: NotAppended) {
        let refusal = match why {
            NotAppended::Full => Refusal::Full,
            NotAppended::TooLong => {
                Refusal::Bad { message: "the call has more effects than a record holds".to_owned() }
            }
        };
        self.changing = self.changing.filter(|changing| Some(*changing) != call);
        if let Some(call) = call {
            self.moving.remove(&call);
            self.state.counters.forget(&call);
            self.state.grants.settle(call, None);
            self.state.webhooks.forget_unrecorded(Some(call), linux::clock::boot_us());
        }
        call.and_then(|call| self.streams.remove(&call));
        if let Some(waiting) = call.and_then(|call| self.waiting.remove(&call)) {
            say(&mut self.peers, waiting.door, waiting.number, refusal.status(), &refusal.json());
        }
    }

    fn hear_door(&mut self, from: &'static str) {
        for _ in 0..TURN_MAX {
            let count = |message: &FromDoor| match message {
                FromDoor::Call { .. } => 2,
                FromDoor::Act { body, .. } => 1 + usize::from(*body),
                _ => 0,
            };
            let Some((message, fds)) = self.peers.take(from, door::VERSION, count) else { return };
            let mut fds = fds.into_iter();
            match (from, message) {
                (AGENTS, FromDoor::Call { number, token, source, capability, streams }) => {
                    if let (Some(input), Some(answer)) = (fds.next(), fds.next()) {
                        let frame = CallFrame { token, source, capability, streams, input, answer };
                        self.call((from, number), frame);
                    }
                }
                (AGENTS, FromDoor::Tools { number, token, source }) => {
                    self.tools(from, number, (&token, &source));
                }
                (AGENTS, FromDoor::Poll { number, token, source, call, from: byte }) => {
                    self.poll((from, number), (&token, &source), call, byte);
                }
                (OPERATORS, FromDoor::Challenge { number }) => self.challenge(from, number),
                (OPERATORS, FromDoor::Pair { number, request }) => {
                    self.pair(from, number, &request);
                }
                (OPERATORS, FromDoor::Prove { number }) => self.prove(from, number),
                (OPERATORS, FromDoor::Act { number, source, statement, signature, body: _ }) => {
                    if let Some(answer) = fds.next() {
                        let signed = act::Signed { statement, signature: signature.0, source };
                        self.act((from, number), &signed, answer, fds.next());
                    }
                }
                (_, FromDoor::Refused { source, reason, count }) => {
                    self.count_refusal(&source, &reason, count);
                }
                // a message that is not this door's: it is taken over or broken
                _ => return self.peers.cut_off(from),
            }
        }
    }

    fn hear_certifier(&mut self) {
        use contract::issue::{FromCertifier, VERSION};
        if let Some((FromCertifier::Authority { key_digest, .. }, _)) =
            self.peers.take(CERTIFIER, VERSION, |_: &FromCertifier| 0)
        {
            self.authority = key_digest.0.try_into().ok();
        }
    }

    fn hear_console(&mut self) {
        use contract::console::{FromConsole, ToConsole, VERSION};
        while let Some((asked, _)) = self.peers.take(CONSOLE, VERSION, |_: &FromConsole| 0) {
            let lines = match asked {
                FromConsole::State => self.state_lines(),
                FromConsole::Code => self.new_code(),
            };
            self.peers.post(CONSOLE, &(VERSION, ToConsole { lines }), Vec::new());
        }
    }

    /// Number of the next question to audit.
    const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
