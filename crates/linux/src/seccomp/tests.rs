//! A filter admits what its list says, for every number there is: asked of our own machine, and of
//! seccompiler's program for the same list, which shares no code with ours.

use super::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

const KILL: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
const X86_64: u32 = 0xc000_003e;
const AARCH64: u32 = 0xc000_00b7;

/// Numbers that are asked: every one that a kernel of these architectures could have, those of the x32
/// interface, and the largest.
fn numbers() -> impl Iterator<Item = u32> {
    (0..2_048).chain(0x4000_0000..0x4000_0800).chain([u32::MAX - 1, u32::MAX])
}

const LOW: u64 = 0xffff_ffff;
const FAMILIES: Admits<'_> = Admits::When(&[&[is_family(1)], &[is_family(16)]]);
const BOTH: Admits<'_> = Admits::When(&[&[
    Argument { index: 1, mask: LOW << 32 | 6, value: 7 << 32 | 2 },
    Argument { index: 5, mask: u64::MAX, value: 3 },
]]);
const ELSE: Admits<'_> = Admits::WhenElse(&[&[is_family(1)], &[is_family(16)]], 25);

fn lists() -> Vec<BTreeMap<u32, Admits<'static>>> {
    let every_third = (0..400).filter(|n| n % 3 == 0).map(|n| (n, Admits::All)).collect();
    let long = (0..1_400).filter(|n| n % 2 == 0).map(|n| (n, Admits::All)).collect();
    vec![
        BTreeMap::new(),
        BTreeMap::from([(0, Admits::All)]),
        BTreeMap::from([(u32::MAX, Admits::All), (7, Admits::Fails(38))]),
        BTreeMap::from([
            (3, Admits::All),
            (4, Admits::All),
            (5, Admits::Fails(1)),
            (6, FAMILIES),
            (8, BOTH),
            (9, ELSE),
        ]),
        every_third,
        long,
    ]
}

fn wanted(list: &BTreeMap<u32, Admits<'_>>, number: u32, arguments: [u64; 6]) -> u32 {
    match list.get(&number) {
        None => KILL,
        Some(Admits::All) => ALLOW,
        Some(Admits::Fails(errno)) => 0x0005_0000 | u32::from(*errno),
        Some(Admits::When(alternatives) | Admits::WhenElse(alternatives, _)) => {
            let holds = |a: &Argument| arguments[usize::from(a.index)] & a.mask == a.value;
            let otherwise = match list.get(&number) {
                Some(Admits::WhenElse(_, errno)) => 0x0005_0000 | u32::from(*errno),
                _ => KILL,
            };
            if alternatives.iter().any(|all| all.iter().all(holds)) { ALLOW } else { otherwise }
        }
    }
}

#[test]
fn every_number_is_answered_as_the_list_says() {
    let some = [
        [0; 6],
        [1, 0, 0, 0, 0, 0],
        [16, 7 << 32 | 2, 0, 0, 0, 3],
        [1 << 32 | 16, 7 << 32 | 3, 0, 0, 0, 3],
        [2, 7 << 32 | 2, 0, 0, 0, 1 << 40 | 3],
        [u64::MAX; 6],
    ];
    for list in lists() {
        for architecture in [X86_64, AARCH64] {
            let program = tree::program(architecture, &list).unwrap();
            for number in numbers() {
                for arguments in some {
                    let seen = tree::run(&program, architecture, number, arguments);
                    assert_eq!(seen, wanted(&list, number, arguments), "{number} {arguments:?}");
                }
            }
            let other = if architecture == X86_64 { AARCH64 } else { X86_64 };
            assert_eq!(tree::run(&program, other, 0, [0; 6]), KILL, "another architecture");
        }
    }
}

/// The other compiler's program, as ours are written.
fn oracle(list: &BTreeMap<u32, Admits<'_>>) -> Vec<Instruction> {
    let condition = |a: &Argument| {
        let (length, equal) = (SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(a.mask));
        SeccompCondition::new(a.index, length, equal, a.value).unwrap()
    };
    let rules: BTreeMap<i64, Vec<SeccompRule>> = list
        .iter()
        .filter(|(_, admits)| !matches!(admits, Admits::Fails(_) | Admits::WhenElse(..)))
        .map(|(number, admits)| {
            let alternatives: &[&[Argument]] = match admits {
                Admits::When(alternatives) => alternatives,
                _ => &[],
            };
            let rules = alternatives.iter();
            let rules = rules.map(|all| SeccompRule::new(all.iter().map(condition).collect()));
            (i64::from(*number), rules.collect::<Result<_, _>>().unwrap())
        })
        .collect();
    let (kill, allow) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, kill, allow, TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let ours = |i: &seccompiler::sock_filter| Instruction {
        code: i.code,
        if_true: i.jt,
        if_false: i.jf,
        value: i.k,
    };
    program.iter().map(ours).collect()
}

#[test]
fn another_compiler_answers_the_same() {
    let all = Admits::All;
    let list = BTreeMap::from([(3, all), (4, all), (6, FAMILIES), (8, BOTH), (200, all)]);
    let (ours, theirs) = (tree::program(X86_64, &list).unwrap(), oracle(&list));
    for number in (0..500).chain([u32::MAX]) {
        for first in [0, 1, 2, 16, 1 << 32 | 16] {
            for second in [0, 7 << 32 | 2, 7 << 32 | 6] {
                let arguments = [first, second, 0, 0, 0, 3];
                let ours = tree::run(&ours, X86_64, number, arguments);
                assert_eq!(ours, tree::run(&theirs, X86_64, number, arguments), "{number}");
            }
        }
    }
}

#[test]
fn a_misspelt_entry_is_refused_and_so_is_one_twice() {
    let entries = ["read".to_owned(), "raed".to_owned()];
    assert!(matches!(Filter::allow(&entries), Err(FilterError::Unknown(e)) if e == "raed"));
    let twice = [("read", Admits::All), ("read", Admits::Fails(1))];
    assert!(matches!(Filter::compile(&twice), Err(FilterError::Twice(e)) if e == "read"));
    let both = ["socket".to_owned(), "socket:unix".to_owned()];
    assert!(matches!(Filter::allow(&both), Err(FilterError::Twice(e)) if e == "socket"));
}

#[test]
fn families_are_named() {
    assert!(Filter::allow(&["socket:unix".to_owned()]).is_ok());
    assert!(Filter::allow(&["socket:vsock".to_owned()]).is_err());
}

/// Our table of names against another's, for the architecture that this runs on.
#[test]
fn numbers_are_those_of_the_architecture() {
    use std::str::FromStr;
    for name in syscalls::names() {
        let theirs = |number: Option<i32>| number.map(i64::from);
        let known = if cfg!(target_arch = "x86_64") {
            theirs(::syscalls::x86_64::Sysno::from_str(name).ok().map(|s| s.id()))
        } else {
            theirs(::syscalls::aarch64::Sysno::from_str(name).ok().map(|s| s.id()))
        };
        let ours = match syscalls::number(name) {
            Lookup::Number(number) => Some(number),
            Lookup::Elsewhere | Lookup::Unknown => None,
        };
        assert_eq!(ours, known, "{name}");
    }
}
