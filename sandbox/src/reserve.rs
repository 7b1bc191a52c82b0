//! Reservations of memory: what live cages may come to, for one agent and for all. A call is admitted while what it
//! reserves fits; until then it waits. Pure.
//!
//! A program is let have its cap, and so reserves it. A call on files is our own worker's and mostly takes a few
//! MiB, whatever its cap is for the longest answer: it reserves a quarter. And programs, which may go on for long,
//! leave room for calls on files, which mostly do not. What this leaves open init bounds: the cgroup of all cages has
//! the same ceiling, and the largest of them ends where it is reached.
//!
//! Of tasks and processor nothing is reserved: 32 calls of at most eight tasks fit any machine, and the
//! processor is shared by weight, since a reservation of it would leave it idle.

use contract::effect::{Effect, Kind};
use contract::limits::CAGES_MEMORY_QUARTERS;
use contract::perform::Limits;

/// Most calls of one agent under way at once.
pub(crate) const AGENT_CALLS_MAX: usize = 16;
/// Of its cap, what a call reserves that runs no program: one part of so many.
const FILES_PART: u64 = 4;
/// Calls on files for which programs leave room.
const FILES_CALLS: u64 = 2;

/// What a call reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) bytes: u64,
    /// Whether it runs a program.
    pub(crate) program: bool,
}

impl Share {
    /// That of a call with these effects and this cap.
    pub(crate) fn of(effects: &[Effect], memory_bytes: u64) -> Self {
        let program = effects.iter().any(|effect| matches!(effect.kind, Kind::Run | Kind::Code));
        let bytes = if program { memory_bytes } else { memory_bytes / FILES_PART };
        Self { bytes, program }
    }
}

/// A live cage: whose it is, and what it reserves.
pub(crate) type Live = (u32, Share);

/// The ceilings, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ceilings {
    of_box: u64,
    of_programs: u64,
    of_agent: u64,
}

impl Ceilings {
    /// Those of a machine with this much memory: an agent may have half of what all may, and at least
    /// one call of any kind fits.
    pub(crate) const fn of(memory_bytes: u64) -> Self {
        let most = Limits::MOST.memory_bytes;
        let of_box = at_least(memory_bytes / 4 * CAGES_MEMORY_QUARTERS, most);
        let room = most / FILES_PART * FILES_CALLS;
        let of_programs = at_least(of_box.saturating_sub(room), most);
        Self { of_box, of_programs, of_agent: at_least(of_box / 2, most) }
    }

    /// Whether a call of `agent` that reserves this fits beside the live ones.
    pub(crate) fn admit(&self, live: &[Live], agent: u32, share: Share) -> bool {
        let sum = |counts: &dyn Fn(&Live) -> bool| {
            let counted = live.iter().filter(|live| counts(live));
            counted.fold(share.bytes, |sum, (_, share)| sum.saturating_add(share.bytes))
        };
        let own = |live: &Live| live.0 == agent;
        live.iter().filter(|live| own(live)).count() < AGENT_CALLS_MAX
            && sum(&|_| true) <= self.of_box
            && sum(&own) <= self.of_agent
            && (!share.program || sum(&|(_, share)| share.program) <= self.of_programs)
    }
}

const fn at_least(bytes: u64, least: u64) -> u64 {
    if bytes > least { bytes } else { least }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const fn program(mib: u64) -> Share {
        Share { bytes: mib * MIB, program: true }
    }

    const fn files(mib: u64) -> Share {
        Share { bytes: mib * MIB, program: false }
    }

    #[test]
    fn what_is_reserved_is_admitted_while_it_fits() {
        let ceilings = Ceilings::of(1_024 * MIB);
        let (of_box, of_programs, of_agent) = (768 * MIB, 720 * MIB, 384 * MIB);
        assert_eq!(ceilings, Ceilings { of_box, of_programs, of_agent });
        assert!(ceilings.admit(&[], 1, program(96)));
        assert!(ceilings.admit(&[(1, program(288))], 1, program(96)));
        assert!(!ceilings.admit(&[(1, program(289))], 1, program(96)), "its own share");
        assert!(ceilings.admit(&[(1, files(384)), (2, program(288))], 3, program(96)));
        assert!(!ceilings.admit(&[(1, files(384)), (2, files(289))], 3, files(96)), "the box's");
        let many = vec![(1, files(0)); AGENT_CALLS_MAX];
        assert!(!ceilings.admit(&many, 1, files(0)) && ceilings.admit(&many, 2, files(0)));
        let all = Share { bytes: u64::MAX, program: false };
        assert!(!ceilings.admit(&[(1, all)], 2, files(1)), "no sum wraps");
    }

    #[test]
    fn programs_of_many_agents_leave_room_for_calls_on_files() {
        // what a machine of 512 MiB has
        let ceilings = Ceilings::of(460 * MIB);
        let three = [(1, program(96)), (2, program(96)), (3, program(96))];
        assert!(ceilings.admit(&three[..2], 3, program(96)));
        assert!(!ceilings.admit(&three, 4, program(96)));
        assert!(ceilings.admit(&three, 4, files(24)));
        let four = [&three[..], &[(4, files(24))]].concat();
        assert!(ceilings.admit(&four, 5, files(24)));
    }

    #[test]
    fn a_program_reserves_its_cap_and_a_call_on_files_a_part_of_it() {
        let of = |kind| Share::of(&[Effect { kind, ..observed() }], 96 * MIB);
        assert_eq!(of(Kind::Run), program(96));
        assert_eq!(of(Kind::Code), program(96));
        assert_eq!(of(Kind::Read), files(24));
    }

    fn observed() -> Effect {
        let subject = contract::effect::Value::Text("clock".to_owned());
        let fields = [(contract::effect::Field::Subject, subject)];
        Effect::new(Kind::Observe, contract::effect::Form::Exact, fields).unwrap()
    }

    #[test]
    fn on_the_smallest_machine_one_call_of_any_kind_fits() {
        for memory in [0, 64 * MIB, 128 * MIB] {
            assert!(Ceilings::of(memory).admit(&[], 1, program(96)));
        }
    }
}
