//! A policy decision point that was taken over: it stands in pdp's place, with pdp's user, confinement
//! and edges, beside the real audit, forker, vault and init. It says what pdp never says, says twice
//! what may be said once, and changes what was recorded. Each finding is a line on the console. What
//! ends its channel ends its run; init starts it again, and the ledger tells it how far it had come.
#![forbid(unsafe_code)]

mod verdict;

use capabilities as _;
use channel::{Channel, ChannelError, Service, sealed, wait};
use contract::cbor;
use contract::perform::{self, AgentPlace, CallId, Limits, Spec};
use ledger::writer::{Draft, Filter, FromWriter, MESSAGES_VERSION, Release, ToWriter};
use ledger::{Envelope, Kind, Record, frame};
use rustix as _;
use serde_json as _;
use sha2::{Digest, Sha256};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use verdict::verdict;

const PATIENCE_MS: u64 = 10_000;
/// Time in which a performer would act on what it must not.
const QUIET_MS: u64 = 2_000;
const LIMITS: Limits =
    Limits { memory_bytes: 64 << 20, tasks: 4, cpu_us: 100_000, wall_ms: 20_000 };

/// What ends the channel to audit.
type Spoiled = (&'static str, fn(&Forger) -> Result<(), ChannelError>);

/// Facts of a record.
type Facts<'a> = &'a [(&'a str, &'a str)];

/// A spec as it was sent, its digest, and the file that the answer would be in.
type Sent = ((u16, Spec), [u8; 32], OwnedFd);

const SPOILED: &[Spoiled] = &[
    ("no message at all", |forger| forger.audit.send(&"hello", &[])),
    ("how a call ended", |forger| forger.append(draft(Kind::Outcome, 1, &[("code", "ok")]), None)),
    ("who performs", |forger| {
        forger.append(draft(Kind::Decision, 2, &[("performer", "forker")]), None)
    }),
    ("a release of no call", |forger| {
        let mut nothing = draft(Kind::Decision, 3, &[]);
        nothing.call = None;
        forger.append(nothing, Some(release([0; 32], u64::MAX)))
    }),
    ("a release twice", |forger| {
        forger.append(draft(Kind::Decision, 4, &[]), Some(release([0; 32], u64::MAX)))?;
        forger.append(draft(Kind::Decision, 4, &[]), Some(release([0; 32], u64::MAX)))
    }),
];

struct Forger {
    service: Service,
    audit: Channel,
    forker: Channel,
    vault: Channel,
    init: Channel,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let edges = ["pdp-audit", "pdp-forker", "pdp-vault", "pdp-init"].map(|name| service.edge(name));
    let [Some(audit), Some(forker), Some(vault), Some(init)] = edges else {
        return ExitCode::from(3);
    };
    let forger = Forger { service, audit, forker, vault, init };
    match forger.act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            forger.service.log(&format!("forger: {error}")).ok();
            ExitCode::FAILURE
        }
    }
}

impl Forger {
    fn act(&self) -> Result<(), ChannelError> {
        self.service.ready()?;
        // audit records what it refused each second
        self.pause(QUIET_MS)?;
        let run = self.refused("pdp ")?;
        if let Some((name, spoil)) = usize::try_from(run).ok().and_then(|run| SPOILED.get(run)) {
            spoil(self)?;
            return self.say(
                &format!("record {name}"),
                self.is_closed(),
                &"the channel stays open",
            );
        }
        self.specs()?;
        self.acts()?;
        self.append(draft(Kind::Refused, 90, &[("reason", "the forger is done")]), None)?;
        self.service.log("forger: all tried")?;
        loop {
            self.pause(1_000)?;
        }
    }

    /// Specs that are not what was recorded, or were not recorded.
    fn specs(&self) -> Result<(), ChannelError> {
        let (good, spec, answer) = self.spec(&self.forker, 10, "system.time@1")?;
        self.release(10, spec, u64::MAX)?;
        let code = self.outcome(10)?;
        let done = code == "ok" && !read(&answer).is_empty();
        self.say("a recorded spec, control", done, &code)?;
        let again = sealed::empty()?;
        self.forker.send(&good, &[sealed::holding(b"{}")?.as_fd(), again.as_fd()])?;
        self.pause(QUIET_MS)?;
        let used = read(&again).is_empty() && self.refused("forker refused-used")? > 0;
        self.say("a spec that is sent again", used, &"performed, or not counted")?;
        let (_, mut spec, answer) = self.spec(&self.forker, 11, "system.info@1")?;
        if let Some(byte) = spec.first_mut() {
            *byte ^= 1;
        }
        self.release(11, spec, u64::MAX)?;
        let code = self.outcome(11)?;
        let refused = code == "refused-otherdigest" && read(&answer).is_empty();
        self.say("a spec that was changed after its record", refused, &code)?;
        let (_, spec, answer) = self.spec(&self.forker, 12, "system.time@1")?;
        self.release(12, spec, 1)?;
        let code = self.outcome(12)?;
        let refused = code == "refused-late" && read(&answer).is_empty();
        self.say("a spec after its time", refused, &code)?;
        for (number, to, capability) in [
            (13, &self.forker, "system.time@1"),
            (14, &self.vault, "vault.list"),
            (15, &self.init, "box.shutdown"),
        ] {
            let (_, _, answer) = self.spec(to, number, capability)?;
            self.pause(QUIET_MS)?;
            let nothing = read(&answer).is_empty();
            self.say(&format!("{capability} without a record"), nothing, &"performed")?;
        }
        Ok(())
    }

    /// Acts that no operator signed. They are recorded, since audit does not judge acts; the host looks
    /// whether they move anything and whether they are found.
    fn acts(&self) -> Result<(), ChannelError> {
        let key = "5".repeat(64);
        let eve = [("name", "eve"), ("operator_key", &key), ("recipient", "age1eve")];
        let token = "6".repeat(64);
        let ghost = [("name", "ghost"), ("token", &token), ("uid", "200099")];
        let statement = [("statement", "{}"), ("signature", "00")];
        let acts: [(u8, &str, Facts<'_>); 4] = [
            (20, "operator-add", &eve),
            (21, "pair", &eve),
            (22, "agent-add", &ghost),
            (23, "stop", &statement),
        ];
        for (number, act, facts) in acts {
            let mut draft = draft(Kind::Act, number, facts);
            draft.facts.insert("act".to_owned(), act.to_owned());
            self.append(draft, None)?;
        }
        Ok(())
    }

    fn append(&self, draft: Draft, release: Option<Release>) -> Result<(), ChannelError> {
        let message = ToWriter::Append { draft, bodies: Vec::new(), release, reserve: false };
        self.audit.send(&(MESSAGES_VERSION, message), &[])
    }

    fn release(&self, number: u8, spec: [u8; 32], deadline_ms: u64) -> Result<(), ChannelError> {
        self.append(draft(Kind::Decision, number, &[]), Some(release(spec, deadline_ms)))
    }

    fn spec(&self, to: &Channel, number: u8, capability: &str) -> Result<Sent, ChannelError> {
        let spec = Spec {
            call: id(number),
            capability: capability.to_owned(),
            agent: AgentPlace { name: "victim".to_owned(), disk_uid: 200_001 },
            effects: Vec::new(),
            input: Sha256::digest(b"{}").into(),
            limits: LIMITS,
            alone: false,
            streams: false,
            reach: Vec::new(),
        };
        let message = (perform::VERSION, spec);
        let answer = sealed::empty()?;
        to.send(&message, &[sealed::holding(b"{}")?.as_fd(), answer.as_fd()])?;
        let digest = Sha256::digest(cbor::encode(&message)?).into();
        Ok((message, digest, answer))
    }

    /// How audit says that a call ended.
    fn outcome(&self, number: u8) -> Result<String, ChannelError> {
        loop {
            let (FromWriter::Appended(bytes), _) = self.hear()? else { continue };
            let Ok(record) = Record::read(&bytes.0) else { continue };
            let envelope = record.envelope();
            if envelope.call == Some(id(number)) && envelope.kind == Kind::Outcome {
                return Ok(envelope.facts.get("code").cloned().unwrap_or_default());
            }
        }
    }

    /// How many frames were refused for a reason that begins so.
    fn refused(&self, reason: &str) -> Result<u64, ChannelError> {
        let filter = Filter { kind: Some(Kind::Refused), ..Filter::all() };
        let mut from = 0;
        let mut sum = 0;
        loop {
            let message = ToWriter::Page { number: 1, from, filter: filter.clone() };
            self.audit.send(&(MESSAGES_VERSION, message), &[])?;
            let (next, last, file) = loop {
                if let (FromWriter::Page { next, last, .. }, fds) = self.hear()? {
                    break (next, last, fds);
                }
            };
            let file = file.first().ok_or(ChannelError::Truncated)?;
            let content = sealed::read(file, 128 << 20)?;
            let records = frame::read_all(&content).0;
            let records = records.iter().filter_map(|bytes| Record::read(bytes).ok());
            sum += records.map(|record| count(record.envelope(), reason)).sum::<u64>();
            if last {
                return Ok(sum);
            }
            from = next;
        }
    }

    fn hear(&self) -> Result<(FromWriter, Vec<OwnedFd>), ChannelError> {
        self.service.alive()?;
        if wait(&[Some(self.audit.as_fd())], &[], PATIENCE_MS)?.first() != Some(&true) {
            return Err(ChannelError::WouldBlock);
        }
        let count = |(_, message): &(u16, FromWriter)| match message {
            FromWriter::Page { .. } | FromWriter::Fetched { found: true, .. } => 1,
            _ => 0,
        };
        let ((_, message), fds) = self.audit.receive()?.open(count)?;
        Ok((message, fds))
    }

    /// Whether audit ended the channel, whatever it said before.
    fn is_closed(&self) -> bool {
        loop {
            match self.hear() {
                Ok(_) => {}
                Err(error) => return matches!(error, ChannelError::Closed),
            }
        }
    }

    fn pause(&self, ms: u64) -> Result<(), ChannelError> {
        self.service.alive()?;
        wait(&[], &[], ms).map(drop)
    }

    fn say(
        &self,
        name: &str,
        holds: bool,
        seen: &dyn std::fmt::Display,
    ) -> Result<(), ChannelError> {
        self.service.log(&format!("forger {name}: {}", verdict(holds, seen)))
    }
}

const fn id(number: u8) -> CallId {
    [number; 16]
}

fn draft(kind: Kind, number: u8, facts: Facts<'_>) -> Draft {
    let mut draft = Draft::new(kind, facts);
    draft.call = Some(id(number));
    draft
}

fn release(spec: [u8; 32], deadline_ms: u64) -> Release {
    let performer = "forker".to_owned();
    Release { performer, spec, deadline_ms, changes: true, deferred: false, lends: None }
}

fn count(envelope: &Envelope, reason: &str) -> u64 {
    let fact = |name: &str| envelope.facts.get(name).map(String::as_str).unwrap_or_default();
    if fact("reason").starts_with(reason) { fact("count").parse().unwrap_or(0) } else { 0 }
}

/// What a performer wrote, so far.
fn read(answer: &OwnedFd) -> Vec<u8> {
    sealed::seal(answer).ok();
    sealed::read(answer, 1 << 20).unwrap_or_default()
}
