//! What pdp and audit say to a performer, and it to them: a *spec* of a decided call, the *ticket*
//! that releases it, its *outcome*.

use crate::effect::{Effect, Field, Value};
use crate::found::Found;
use crate::path::CanonicalPath;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Version of the messages below; the first element of every frame.
pub const VERSION: u16 = 9;

/// Largest file that a call makes: what its effect says, and the limit of its cage (RLIMIT_FSIZE).
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Number of a call.
pub type CallId = [u8; 16];

/// From pdp to the forker, with two descriptors: the sealed input and the pipe for the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The call.
    pub call: CallId,
    /// `category.verb@version`.
    pub capability: String,
    /// Whose files.
    pub agent: AgentPlace,
    /// What was decided, to which the cage is cut.
    pub effects: Vec<Effect>,
    /// SHA-256 of the input, which travels as a sealed memfd.
    pub input: [u8; 32],
    /// What the call may use.
    pub limits: Limits,
    /// Whether no other call of its agent may run meanwhile: what a person said yes to finds the
    /// workspace as it was expected, and nobody changes it before the end.
    pub alone: bool,
    /// Whether [pieces](crate::piece) of what its program writes stand before the answer.
    pub streams: bool,
    /// Where the names that the call connects to may lead: what the policy leaves of all addresses.
    /// Nothing for a call that connects to no name.
    pub reach: Vec<AddressRange>,
}

/// Most ranges of one call.
pub const RANGES_MAX: usize = 512;

/// Addresses from one on to another, both included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRange {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl AddressRange {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address, self.last) {
            (IpAddr::V4(first), IpAddr::V4(it), IpAddr::V4(last)) => first <= it && it <= last,
            (IpAddr::V6(first), IpAddr::V6(it), IpAddr::V6(last)) => first <= it && it <= last,
            _ => false,
        }
    }
}

/// An agent's place on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentPlace {
    /// Name of its directory: lower-case letters, digits, `-`, at most 32 bytes.
    pub name: String,
    /// Owner of its files on the disk.
    pub disk_uid: u32,
}

/// Bounds of one cage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// memory.max of its cgroup.
    pub memory_bytes: u64,
    /// pids.max of its cgroup.
    pub tasks: u64,
    /// cpu.max of its cgroup: microseconds in each 100,000.
    pub cpu_us: u64,
    /// Time from its ticket to its end.
    pub wall_ms: u64,
}

impl Limits {
    /// The most that any call may use; of it a call gets what its effects are cut to.
    pub const MOST: Self =
        Self { memory_bytes: 96 << 20, tasks: 8, cpu_us: 100_000, wall_ms: 120_000 };

    /// What a cage is made for before it has a call.
    pub const STANDARD: Self =
        Self { memory_bytes: 96 << 20, tasks: 8, cpu_us: 100_000, wall_ms: 30_000 };
}

/// From audit to a performer, once the decision is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The call.
    pub call: CallId,
    /// Number of the record that holds the decision.
    pub sequence: u64,
    /// SHA-256 of the spec's frame.
    pub spec: [u8; 32],
    /// The last moment to begin, in milliseconds of boot time.
    pub deadline_ms: u64,
    /// Which start of audit sent it; another epoch voids it.
    pub epoch: u64,
}

/// From audit to a performer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromAudit {
    /// From now on tickets of this epoch count, and unused ones of any other are void.
    Epoch(u64),
    /// Perform this.
    Ticket(Ticket),
    /// The outcome of this call is durable; it need not be kept any more.
    Acknowledged(CallId),
}

/// From a performer to audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToAudit {
    /// The call began.
    Started {
        /// The call.
        call: CallId,
    },
    /// The call ended.
    Ended {
        /// The call.
        call: CallId,
        /// How.
        outcome: Outcome,
    },
    /// Everything of earlier epochs has ended and was said; what was not said is unknown.
    Settled {
        /// The epoch that began.
        epoch: u64,
    },
    /// A ticket or spec was not acted on.
    Refused {
        /// The call.
        call: CallId,
        /// Why.
        why: Refusal,
    },
}

/// Why a performer did not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No spec of this call is here.
    NoSpec,
    /// The ticket is for another spec.
    OtherDigest,
    /// The ticket was used.
    Used,
    /// Its deadline is over.
    Late,
    /// It is of another epoch of audit.
    OtherEpoch,
    /// The spec is not one that can be performed.
    BadSpec,
    /// The cage could not be built with all five rings.
    NoCage,
    /// Too many calls are under way.
    Busy,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// `ok`, a failure that the capability declares, or one of every call: `killed`,
    /// `out_of_memory`, `late`, `crashed`, `forbidden_call`.
    pub code: String,
    /// What it used.
    pub used: Used,
    /// Microseconds that its cage took to be built, before or after the ticket.
    pub built_us: u64,
}

impl Outcome {
    /// An outcome of a performer that has no cage.
    #[must_use]
    pub fn of(code: &str) -> Self {
        Self { code: code.to_owned(), used: Used::default(), built_us: 0 }
    }
}

/// What a call used; 0 throughout for one that had no cage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// Highest memory use of the cage, in bytes.
    pub memory_peak_bytes: u64,
    /// What it might have used: memory.max of the cage.
    pub memory_max_bytes: u64,
    /// Processor time of the cage in microseconds.
    pub cpu_us: u64,
    /// Time that the cage was held back by its processor cap (cpu.stat, `throttled_usec`).
    pub throttled_us: u64,
    /// Time in which something in the cage waited for memory (memory.pressure, `some`, `total`).
    pub memory_stall_us: u64,
    /// Packets that the cage tried to send or receive and that were dropped.
    pub dropped_packets: u64,
    /// Microseconds from its ticket to the worker's word.
    pub wall_us: u64,
}

impl Used {
    /// Each number by the name of the fact that it is in the ledger.
    #[must_use]
    pub const fn facts(&self) -> [(&'static str, u64); 7] {
        [
            ("memory_peak_bytes", self.memory_peak_bytes),
            ("memory_max_bytes", self.memory_max_bytes),
            ("cpu_us", self.cpu_us),
            ("throttled_us", self.throttled_us),
            ("memory_stall_us", self.memory_stall_us),
            ("dropped_packets", self.dropped_packets),
            ("wall_us", self.wall_us),
        ]
    }

    /// What the facts of a recorded outcome say; 0 where there is none.
    pub fn of_facts(fact: impl Fn(&str) -> Option<u64>) -> Self {
        let of = |name| fact(name).unwrap_or(0);
        Self {
            memory_peak_bytes: of("memory_peak_bytes"),
            memory_max_bytes: of("memory_max_bytes"),
            cpu_us: of("cpu_us"),
            throttled_us: of("throttled_us"),
            memory_stall_us: of("memory_stall_us"),
            dropped_packets: of("dropped_packets"),
            wall_us: of("wall_us"),
        }
    }
}

/// From the forker to a worker in its cage: a call to make itself ready for. Nothing comes with it that
/// an agent wrote but paths: the decision is not durable yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The call.
    pub call: CallId,
    /// `category.verb@version`.
    pub capability: String,
    /// What the worker keeps; it gives up everything else.
    pub grants: Vec<Grant>,
    /// What must be there before anything is done.
    pub expects: Vec<Expected>,
    /// TCP ports that it may connect to; which machines is its network's to say.
    pub ports: Vec<u16>,
    /// Longest answer, in bytes.
    pub answer_bytes_max: u64,
    /// See [`Spec::streams`].
    pub streams: bool,
    /// How often it asks for the [`Go`] before it sleeps: being woken takes longer than the call.
    pub polls: u32,
}

/// What a person was shown at a path, and said yes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The path, as it was decided.
    pub path: CanonicalPath,
    /// What must be there.
    pub found: Found,
}

impl Expected {
    /// The preconditions of these effects.
    #[must_use]
    pub fn of(effects: &[Effect]) -> Vec<Self> {
        let of = |effect: &Effect| match (effect.get(Field::Path), &effect.expects) {
            (Some(Value::Path(path)), Some(found)) => {
                Some(Self { path: path.clone(), found: found.clone() })
            }
            _ => None,
        };
        effects.iter().filter_map(of).collect()
    }
}

/// From the forker to that worker once the call's ticket is there, with the sealed input and the
/// answer's pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {
    /// The call.
    pub call: CallId,
}

/// What a call may do beneath one path of its cage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The path, in the cage.
    pub path: String,
    /// What is allowed there.
    pub access: Access,
}

/// Sets of Landlock rights that effects turn into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read one file, or names in a directory and beneath it.
    Read,
    /// Read one file, or names and files beneath a directory.
    Region,
    /// Make, write and replace files in a directory: rights on names belong to the directory.
    Write,
    /// Make, write, replace and remove files and directories in a directory: a region that is written.
    Fill,
    /// Make and remove names in a directory, without writing what they name.
    Rename,
    /// Execute what is beneath a directory, and read it.
    Execute,
    /// Everything beneath a directory but executing.
    Own,
}

/// From a worker to the forker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromWorker {
    /// It stands in its cage and waits for a call.
    Parked,
    /// It tries a ring next: how the cage ends from here on is how that went.
    Trying,
    /// The call ended with this code: `ok` or a failure that the capability declares.
    Done(String),
}
