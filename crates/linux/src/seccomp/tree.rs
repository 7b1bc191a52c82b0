//! The program of a filter: a balanced tree over the numbers of system calls, in classic BPF
//! (seccomp(2), the kernel's networking/filter.rst). A call's way through it is as long as the
//! logarithm of the list, and so is what the kernel does per number when it installs the filter.

use super::{Admits, Argument, FilterError};
use std::collections::BTreeMap;

/// Most instructions of a program (BPF_MAXINSNS).
const INSTRUCTIONS_MAX: usize = 4_096;
/// Where `struct seccomp_data` has the number, the architecture, and the arguments.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
/// Classic BPF's codes: load a word of the data, and it, jump always or by a comparison, return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// What a filter answers: SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW.
const KILL: u32 = 0x8000_0000;
const FAIL: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;

/// One instruction (`struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) value: u32,
}

const fn plain(code: u16, value: u32) -> Instruction {
    branch(code, 0, 0, value)
}

/// A comparison, and how many instructions it skips where it holds and where it does not.
const fn branch(code: u16, if_true: u8, if_false: u8, value: u32) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

/// From a number on, this is done with a call.
struct Interval<'a> {
    from: u32,
    admits: Option<&'a Admits<'a>>,
}

/// The program for calls of `architecture` (an `AUDIT_ARCH_` of linux/audit.h) that admits `entries`,
/// each with its number, and kills the process at any other.
pub(super) fn program(
    architecture: u32,
    entries: &BTreeMap<u32, Admits<'_>>,
) -> Result<Vec<Instruction>, FilterError> {
    let mut intervals: Vec<Interval<'_>> = vec![Interval { from: 0, admits: None }];
    for (number, admits) in entries {
        // the gap before it may be empty
        intervals.pop_if(|last| last.from == *number);
        if intervals.last().and_then(|last| last.admits) != Some(admits) {
            intervals.push(Interval { from: *number, admits: Some(admits) });
        }
        let after = number.checked_add(1).map(|from| Interval { from, admits: None });
        intervals.extend(after);
    }
    let mut program = vec![
        plain(LOAD, ARCHITECTURE),
        branch(JUMP_IF_EQUAL, 1, 0, architecture),
        plain(RETURN, KILL),
        plain(LOAD, NUMBER),
    ];
    program.extend(subtree(&intervals));
    if program.len() > INSTRUCTIONS_MAX {
        return Err(FilterError::TooLong(program.len()));
    }
    Ok(program)
}

fn subtree(intervals: &[Interval<'_>]) -> Vec<Instruction> {
    let (below, above) = intervals.split_at(intervals.len() / 2);
    let (false, Some(first)) = (below.is_empty(), above.first()) else {
        return answer(intervals.first().and_then(|only| only.admits));
    };
    let (below, above) = (subtree(below), subtree(above));
    // a comparison jumps 255 instructions at most; an unconditional jump as far as there are any
    let far = u32::try_from(below.len()).unwrap_or(u32::MAX);
    let mut code = match u8::try_from(below.len()) {
        Ok(near) => vec![branch(JUMP_IF_AT_LEAST, near, 0, first.from)],
        Err(_) => vec![branch(JUMP_IF_AT_LEAST, 0, 1, first.from), plain(JUMP, far)],
    };
    code.extend(below);
    code.extend(above);
    code
}

fn answer(admits: Option<&Admits<'_>>) -> Vec<Instruction> {
    match admits {
        None => vec![plain(RETURN, KILL)],
        Some(Admits::All) => vec![plain(RETURN, ALLOW)],
        Some(Admits::Fails(errno)) => vec![plain(RETURN, FAIL | u32::from(*errno))],
        Some(Admits::When(alternatives)) => one_of(alternatives, KILL),
        Some(Admits::WhenElse(alternatives, errno)) => {
            one_of(alternatives, FAIL | u32::from(*errno))
        }
    }
}

/// Allows if one of the alternatives holds; answers otherwise if none does.
fn one_of(alternatives: &[&[Argument]], otherwise: u32) -> Vec<Instruction> {
    let mut code: Vec<Instruction> =
        alternatives.iter().flat_map(|alternative| conjunction(alternative)).collect();
    code.push(plain(RETURN, otherwise));
    code
}

/// Allows if every condition holds; else goes on behind itself.
fn conjunction(conditions: &[Argument]) -> Vec<Instruction> {
    let mut checks = Vec::new();
    for Argument { index, mask, value } in conditions {
        for half in [0, 1] {
            let word =
                |number: u64| u32::try_from(number >> (32 * half) & 0xffff_ffff).unwrap_or(0);
            if word(*mask) != 0 {
                // both architectures are little-endian: the low half comes first
                let at = ARGUMENTS + 8 * u32::from(*index) + 4 * half;
                checks.push((at, word(*mask), word(*value)));
            }
        }
    }
    let mut code = Vec::new();
    for (at, (place, mask, value)) in checks.iter().enumerate() {
        // behind this check: those after it, three instructions each, and the return
        let behind = u8::try_from((checks.len() - at - 1) * 3 + 1).unwrap_or(u8::MAX);
        code.push(plain(LOAD, *place));
        code.push(plain(AND, *mask));
        code.push(branch(JUMP_IF_EQUAL, 0, behind, *value));
    }
    code.push(plain(RETURN, ALLOW));
    code
}

/// What a program answers to one call: the machine of the kernel, as far as programs of ours use it.
#[cfg(test)]
pub(super) fn run(
    program: &[Instruction],
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
) -> u32 {
    let word = |at: u32| match at {
        NUMBER => number,
        ARCHITECTURE => architecture,
        at => {
            let (index, high) = ((at - ARGUMENTS) / 8, (at - ARGUMENTS) % 8 / 4);
            u32::try_from(arguments[usize::try_from(index).unwrap()] >> (32 * high) & 0xffff_ffff)
                .unwrap()
        }
    };
    let (mut at, mut held) = (0_usize, 0_u32);
    loop {
        let Instruction { code, if_true, if_false, value } = program[at];
        let jump = match code {
            LOAD => {
                held = word(value);
                0
            }
            AND => {
                held &= value;
                0
            }
            JUMP => value,
            JUMP_IF_EQUAL => u32::from(if held == value { if_true } else { if_false }),
            JUMP_IF_AT_LEAST => u32::from(if held >= value { if_true } else { if_false }),
            RETURN => return value,
            other => panic!("no such instruction: {other:#x}"),
        };
        at += 1 + usize::try_from(jump).unwrap();
    }
}
