//! The probe in the place of pdp and audit: real specs and tickets to the real forker, and what came
//! of each, as a line on the console. What is meant to be refused has a twin that is meant to work.

use crate::facts::{at_work, facts, parked, status};
use crate::network;
use crate::verdict::verdict;
use capabilities::find;
use channel::{Channel, ChannelError, Service, wait};
use contract::cbor;
use contract::effect::Effect;
use contract::perform::{
    AgentPlace, CallId, FromAudit, Limits, Outcome, Refusal, Spec, Ticket, ToAudit, VERSION,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::chown;

const EPOCH: u64 = 41;
pub(crate) const ALICE: (&str, u32) = ("alice", 200_001);
pub(crate) const BOB: (&str, u32) = ("bob", 200_002);
pub(crate) const LIMITS: Limits =
    Limits { memory_bytes: 64 << 20, tasks: 4, cpu_us: 100_000, wall_ms: 20_000 };

/// Both sockets, and the number of the next call.
pub(crate) struct Stand<'a> {
    pub(crate) service: &'a mut Service,
    pdp: Channel,
    audit: Channel,
    next: u32,
}

/// A way to spoil a ticket.
type Change = fn(&mut Ticket);

/// What came of a call: how it ended and its answer, or why it was refused.
pub(crate) type Came = Result<(Outcome, Json), Refusal>;

impl<'a> Stand<'a> {
    /// Makes two agents' directories and takes the two edges.
    pub(crate) fn new(
        service: &'a mut Service,
        pdp: Channel,
        audit: Channel,
    ) -> Result<Self, ChannelError> {
        for (name, uid) in [ALICE, BOB] {
            let home = format!("/data/agents/{name}");
            for place in ["workspace", "trash"] {
                let place = format!("{home}/{place}");
                std::fs::create_dir_all(&place).ok();
                chown(&place, Some(uid), Some(uid)).ok();
            }
        }
        for missing in crate::rings::MISSING {
            let home = format!("/data/agents/without-{missing}");
            std::os::unix::fs::symlink("/data/agents/alice", home).ok();
        }
        std::os::unix::fs::symlink("/etc/passwd", "/data/agents/alice/workspace/link").ok();
        let stand = Self { service, pdp, audit, next: 0 };
        stand.begin()?;
        Ok(stand)
    }

    /// audit's first word to a forker.
    pub(crate) fn begin(&self) -> Result<(), ChannelError> {
        self.send(&FromAudit::Epoch(EPOCH))
    }

    /// Another forker, and its edges.
    pub(crate) fn meet(&mut self, pdp: Channel, audit: Channel) -> Result<(), ChannelError> {
        (self.pdp, self.audit) = (pdp, audit);
        self.begin()
    }

    /// Everything that is tried, in order.
    pub(crate) fn run(&mut self) -> Result<(), ChannelError> {
        self.parked()?;
        self.files()?;
        self.outside()?;
        self.landlock()?;
        self.repositories()?;
        self.regions()?;
        self.tickets()?;
        self.limits()?;
        self.inspect()?;
        self.admin()?;
        self.codes()?;
        self.hostile_worker()?;
        self.missing_rings()?;
        self.filters()?;
        self.escapes()
    }

    /// What a cage that waits costs, once the stock is there.
    fn parked(&self) -> Result<(), ChannelError> {
        const STOCK: usize = 12;
        for _ in 0..100 {
            if parked().0 < STOCK {
                self.pause(50)?;
            }
        }
        let (count, bytes) = parked();
        self.service.log(&format!("parked cages: {count}, the median {} KiB", bytes >> 10))?;
        self.say("a cage that waits takes at most 400 KiB", bytes <= 400 << 10, &bytes)
    }

    /// A word of audit.
    pub(crate) fn send(&self, word: &FromAudit) -> Result<(), ChannelError> {
        self.audit.send(&(VERSION, word), &[])
    }

    /// Waits.
    pub(crate) fn pause(&self, ms: u64) -> Result<(), ChannelError> {
        wait(&[], &[], ms)?;
        self.service.alive()
    }

    /// The next that audit would hear.
    pub(crate) fn hear(&self) -> Result<ToAudit, ChannelError> {
        while wait(&[Some(self.audit.as_fd())], &[], 1_000)?.first() != Some(&true) {
            self.service.alive()?;
        }
        let ((_, message), _) = self.audit.receive()?.open(|_: &(u16, ToAudit)| 0)?;
        Ok(message)
    }

    pub(crate) fn say(
        &self,
        name: &str,
        holds: bool,
        seen: &dyn std::fmt::Display,
    ) -> Result<(), ChannelError> {
        self.service.log(&format!("cage {name}: {}", verdict(holds, seen)))?;
        self.service.alive()
    }

    /// A call of alice that ends with this code; its answer.
    pub(crate) fn expect(
        &mut self,
        name: &str,
        capability: &str,
        input: &Json,
        code: &str,
    ) -> Result<Json, ChannelError> {
        let came = self.call(ALICE, capability, input)?;
        let (seen, answer) = match came {
            Ok((outcome, answer)) => (outcome.code, answer),
            Err(refusal) => (format!("{refusal:?}"), Json::Null),
        };
        self.say(name, seen == code, &format!("{seen} {answer}"))?;
        Ok(answer)
    }

    /// Every file capability, through a life of a file.
    fn files(&mut self) -> Result<(), ChannelError> {
        self.expect("time", "system.time", &json!({}), "ok")?;
        self.expect("info", "system.info", &json!({}), "ok")?;
        self.expect(
            "write",
            "filesystem.write",
            &json!({"path": "a.txt", "content": "hello\n"}),
            "ok",
        )?;
        let read = self.expect("read", "filesystem.read", &json!({"path": "a.txt"}), "ok")?;
        self.say("read back", read.get("content") == Some(&json!("hello\n")), &read)?;
        self.expect(
            "append",
            "filesystem.append",
            &json!({"path": "a.txt", "content": "again\n"}),
            "ok",
        )?;
        let stat = self.expect("stat", "filesystem.stat", &json!({"path": "a.txt"}), "ok")?;
        self.say("stat size", stat.get("size") == Some(&json!(12)), &stat)?;
        self.expect("mkdir", "filesystem.mkdir", &json!({"path": "d"}), "ok")?;
        self.expect("copy", "filesystem.copy", &json!({"from": "a.txt", "to": "d/b.txt"}), "ok")?;
        self.expect("move", "filesystem.move", &json!({"from": "d/b.txt", "to": "c.txt"}), "ok")?;
        self.expect(
            "copy over",
            "filesystem.copy",
            &json!({"from": "a.txt", "to": "c.txt"}),
            "exists",
        )?;
        let list = self.expect("list", "filesystem.list", &json!({"path": "/workspace"}), "ok")?;
        let names: Vec<&Json> = list
            .get("entries")
            .and_then(Json::as_array)
            .map(|entries| entries.iter().filter_map(|entry| entry.get("name")).collect())
            .unwrap_or_default();
        let wanted = [json!("a.txt"), json!("c.txt"), json!("d"), json!("link")];
        self.say("list names", names == wanted.iter().collect::<Vec<_>>(), &list)?;
        let gone = self.expect("delete", "filesystem.delete", &json!({"path": "c.txt"}), "ok")?;
        self.expect("deleted", "filesystem.stat", &json!({"path": "c.txt"}), "not_found")?;
        let call = gone.get("call").cloned().unwrap_or_default();
        self.expect(
            "restore",
            "filesystem.restore",
            &json!({"path": "c.txt", "call": call}),
            "ok",
        )?;
        self.expect("restored", "filesystem.read", &json!({"path": "c.txt"}), "ok")?;
        self.expect(
            "delete full",
            "filesystem.delete",
            &json!({"path": "/workspace"}),
            "wrong_kind",
        )
        .map(drop)
    }

    /// What lies outside, by every name that leads there.
    fn outside(&mut self) -> Result<(), ChannelError> {
        for (name, path) in [
            ("passwd", "/etc/passwd"),
            ("dots", "../etc/passwd"),
            ("init", "/usr/sbin/init"),
            ("proc", "/proc/self/status"),
        ] {
            self.expect(name, "filesystem.read", &json!({"path": path}), "not_found")?;
        }
        self.expect("symlink", "filesystem.read", &json!({"path": "link"}), "link")?;
        self.expect(
            "through symlink",
            "filesystem.write",
            &json!({"path": "link/x", "content": ""}),
            "link",
        )?;
        let came = self.call(BOB, "filesystem.list", &json!({"path": "/workspace"}))?;
        let empty = matches!(&came, Ok((_, answer)) if answer.get("entries") == Some(&json!([])));
        self.say("another agent's files", empty, &format!("{came:?}"))
    }

    /// A worker that reaches for another path than was decided: visible, and denied.
    fn landlock(&mut self) -> Result<(), ChannelError> {
        let decided = self.effects("filesystem.read", &json!({"path": "a.txt"}));
        let other = json!({"path": "c.txt"});
        let seen = self.perform(ALICE, "filesystem.read", &other, decided, LIMITS)?;
        let denied = matches!(&seen, Ok((outcome, _)) if outcome.code == "denied");
        self.say("undecided path", denied, &format!("{seen:?}"))?;
        let decided = self.effects("filesystem.read", &other);
        let seen = self.perform(ALICE, "filesystem.read", &other, decided, LIMITS)?;
        let allowed = matches!(&seen, Ok((outcome, _)) if outcome.code == "ok");
        self.say("undecided path, control", allowed, &format!("{seen:?}"))
    }

    /// Tickets that do not fit.
    fn tickets(&mut self) -> Result<(), ChannelError> {
        let tries: [(&str, Change, Refusal); 4] = [
            ("other digest", |t| t.spec = [7; 32], Refusal::OtherDigest),
            ("late", |t| t.deadline_ms = 1, Refusal::Late),
            ("other epoch", |t| t.epoch = EPOCH - 1, Refusal::OtherEpoch),
            ("no spec", |t| t.call = [0xee; 16], Refusal::NoSpec),
        ];
        for (name, change, wanted) in tries {
            let (mut ticket, _answer) =
                self.spec(ALICE, "system.time", &json!({}), Vec::new(), LIMITS)?;
            change(&mut ticket);
            self.send(&FromAudit::Ticket(ticket))?;
            let seen = self.outcome()?;
            self.say(
                &format!("ticket {name}"),
                seen.as_ref().err() == Some(&wanted),
                &format!("{seen:?}"),
            )?;
        }
        let (ticket, _answer) = self.spec(ALICE, "system.time", &json!({}), Vec::new(), LIMITS)?;
        self.send(&FromAudit::Ticket(ticket.clone()))?;
        let first = self.outcome()?;
        self.send(&FromAudit::Ticket(ticket))?;
        let second = self.outcome()?;
        let once = first.is_ok() && second.as_ref().err() == Some(&Refusal::Used);
        self.say("ticket used", once, &format!("{first:?} {second:?}"))
    }

    /// Caps that bite: memory, and time.
    fn limits(&mut self) -> Result<(), ChannelError> {
        let input = json!({"path": "big.txt", "content": "x".repeat(12 << 20)});
        let effects = self.effects("filesystem.write", &input);
        let small = Limits { memory_bytes: 4 << 20, ..LIMITS };
        let seen = self.perform(ALICE, "filesystem.write", &input, effects.clone(), small)?;
        let killed = matches!(&seen, Ok((outcome, _)) if outcome.code == "out_of_memory");
        self.say("memory", killed, &format!("{seen:?}"))?;
        let seen = self.perform(ALICE, "filesystem.write", &input, effects, LIMITS)?;
        let done = matches!(&seen, Ok((outcome, _)) if outcome.code == "ok");
        self.say("memory, control", done, &format!("{seen:?}"))
    }

    /// A worker that waits for its reader, looked at from outside; then its time is over.
    fn inspect(&mut self) -> Result<(), ChannelError> {
        let input = json!({"path": "big.txt", "length": 1 << 20});
        let effects = self.effects("filesystem.read", &input);
        // long enough to be found where the kernel reads every clock, and every cage before it is gone
        let limits = Limits { wall_ms: 15_000, ..LIMITS };
        let (ticket, answer) = self.spec(ALICE, "filesystem.read", &input, effects, limits)?;
        self.send(&FromAudit::Ticket(ticket))?;
        let started = self.hear()?;
        self.say("started", matches!(started, ToAudit::Started { .. }), &format!("{started:?}"))?;
        let cage = at_work();
        for (name, holds, seen) in facts(&cage, 1100) {
            self.say(&name, holds, &seen)?;
        }
        let sent = network::passes_in_cage(&cage.pid);
        self.say("a packet", matches!(sent, Ok(false)), &format!("{sent:?}"))?;
        let control = network::passes_without_the_ring();
        self.say("a packet, control", matches!(control, Ok(true)), &format!("{control:?}"))?;
        let seen = self.outcome()?;
        let late = matches!(&seen, Ok((outcome, _)) if outcome.code == "late");
        self.say("time", late, &format!("{seen:?}"))?;
        let counted = matches!(&seen, Ok((outcome, _)) if outcome.used.dropped_packets > 0);
        self.say("the packet is counted", counted, &format!("{seen:?}"))?;
        drop(answer);
        // the outcome is told first
        let left = || {
            // the number may have a new cage by now: what is left would be of the old one's process
            !status(&cage.pid).is_empty()
                || std::fs::read_to_string(format!("{}/cgroup.procs", cage.cgroup))
                    .is_ok_and(|list| list.lines().any(|pid| pid == cage.pid))
        };
        for _ in 0..1_000 {
            if left() {
                self.pause(5)?;
            }
        }
        self.say("nothing is left of it", !left(), &cage.pid)
    }

    /// An admin's worker: user 0 inside, and not one right more.
    fn admin(&mut self) -> Result<(), ChannelError> {
        std::os::unix::fs::symlink("/data/agents/alice", "/data/agents/admin").ok();
        let admin = ("admin", ALICE.1);
        let input = json!({"path": "big.txt", "length": 1 << 20});
        let effects = self.effects("filesystem.read", &input);
        let (ticket, answer) = self.spec(admin, "filesystem.read", &input, effects, LIMITS)?;
        self.send(&FromAudit::Ticket(ticket))?;
        let started = self.hear()?;
        let begun = matches!(started, ToAudit::Started { .. });
        self.say("an admin's call", begun, &format!("{started:?}"))?;
        for (name, holds, seen) in facts(&at_work(), 0) {
            self.say(&format!("an admin's {name}"), holds, &seen)?;
        }
        drop(answer);
        let seen = self.outcome()?;
        let unread = matches!(&seen, Ok((outcome, _)) if outcome.code == "unread");
        self.say("an admin reads files like any agent", unread, &format!("{seen:?}"))
    }

    pub(crate) fn effects(&self, capability: &str, input: &Json) -> Vec<Effect> {
        let lowered = find(capability).and_then(|declaration| {
            declaration.accept(input).ok().and_then(|accepted| declaration.lower(&accepted))
        });
        lowered.unwrap_or_default()
    }

    fn call(
        &mut self,
        agent: (&str, u32),
        capability: &str,
        input: &Json,
    ) -> Result<Came, ChannelError> {
        let effects = self.effects(capability, input);
        self.perform(agent, capability, input, effects, LIMITS)
    }

    pub(crate) fn perform(
        &mut self,
        agent: (&str, u32),
        capability: &str,
        input: &Json,
        effects: Vec<Effect>,
        limits: Limits,
    ) -> Result<Came, ChannelError> {
        self.service.alive()?;
        let (ticket, mut answer) = self.spec(agent, capability, input, effects, limits)?;
        let call = ticket.call;
        self.send(&FromAudit::Ticket(ticket))?;
        let mut body = Vec::new();
        let came = self.outcome_of(call)?;
        answer.read_to_end(&mut body).ok();
        Ok(came.map(|outcome| (outcome.0, serde_json::from_slice(&body).unwrap_or(Json::Null))))
    }

    /// Sends a spec; returns the ticket that fits it and the end of the answer's pipe.
    pub(crate) fn spec(
        &mut self,
        agent: (&str, u32),
        capability: &str,
        input: &Json,
        effects: Vec<Effect>,
        limits: Limits,
    ) -> Result<(Ticket, File), ChannelError> {
        let kernel = |operation| move |errno| ChannelError::Kernel { operation, errno };
        self.next += 1;
        let mut call: CallId = [0xca; 16];
        for (place, byte) in call.iter_mut().zip(self.next.to_le_bytes()) {
            *place = byte;
        }
        let (input, digest) = sealed(input.to_string().as_bytes())?;
        let spec = Spec {
            call,
            capability: format!("{capability}@1"),
            agent: AgentPlace { name: agent.0.to_owned(), disk_uid: agent.1 },
            effects,
            input: digest,
            limits,
            alone: false,
            streams: false,
            reach: Vec::new(),
        };
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) = rustix::pipe::pipe_with(flags).map_err(kernel("pipe2"))?;
        let message = (VERSION, &spec);
        self.pdp.send(&message, &[input.as_fd(), writer.as_fd()])?;
        let spec: [u8; 32] = Sha256::digest(cbor::encode(&message)?).into();
        let deadline_ms = linux::clock::boot_ms() + 10_000;
        Ok((Ticket { call, sequence: 1, spec, deadline_ms, epoch: EPOCH }, File::from(reader)))
    }

    /// How this call ended or why it was refused; whatever else audit would hear meanwhile is passed over.
    fn outcome_of(&self, wanted: CallId) -> Result<Result<(Outcome, ()), Refusal>, ChannelError> {
        loop {
            match self.hear()? {
                ToAudit::Ended { call, outcome } if call == wanted => return Ok(Ok((outcome, ()))),
                ToAudit::Refused { call, why } if call == wanted => return Ok(Err(why)),
                _ => {}
            }
        }
    }

    /// The next end or refusal that audit would hear of.
    pub(crate) fn outcome(&self) -> Result<Result<(Outcome, ()), Refusal>, ChannelError> {
        loop {
            match self.hear()? {
                ToAudit::Started { .. } | ToAudit::Settled { .. } => {}
                ToAudit::Ended { outcome, .. } => return Ok(Ok((outcome, ()))),
                ToAudit::Refused { why, .. } => return Ok(Err(why)),
            }
        }
    }
}

/// How a call ended, and its answer.
pub(crate) fn ended(came: &Came) -> (&str, &Json) {
    const NOTHING: &Json = &Json::Null;
    came.as_ref().map_or(("refused", NOTHING), |(outcome, answer)| (outcome.code.as_str(), answer))
}

/// A memfd that holds `bytes` for ever, and their digest.
fn sealed(bytes: &[u8]) -> Result<(OwnedFd, [u8; 32]), ChannelError> {
    let kernel = |operation| move |errno| ChannelError::Kernel { operation, errno };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
    let fd = memfd_create("input", flags).map_err(kernel("memfd_create"))?;
    let mut file = File::from(fd);
    file.write_all(bytes).ok();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(kernel("lseek"))?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(kernel("fcntl"))?;
    Ok((file.into(), Sha256::digest(bytes).into()))
}
