//! The system calls that a cage may make, by class, each with what of it and who needs it. Everything
//! else kills it. The cage test takes each entry away and sees a call end by it, so that none is here
//! that nobody needs.

use crate::cage::Kind;
use capabilities::Class;
use linux::seccomp::{Argument, Filter, FilterError};
use std::borrow::Cow;
use std::collections::BTreeMap;

type Admits = linux::seccomp::Admits<'static>;

/// One system call: its name, what of it is admitted, why.
type Entry = (&'static str, Admits, &'static str);

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
/// The `CLONE_NEW…` of sched.h, of which a child that is made may have none.
const CLONE_NEW: u64 = 0x7e02_0080;
const ENOTTY: u16 = 25;

const fn is(index: u8, mask: u64, value: u64) -> Argument {
    Argument { index, mask, value }
}

/// Memory that nobody executes.
const DATA: Admits = Admits::When(&[&[is(2, PROT_EXEC, 0)]]);
/// Memory that is never both written and executed.
const WRITE_OR_EXECUTE: Admits = Admits::When(&[&[is(2, PROT_EXEC, 0)], &[is(2, PROT_WRITE, 0)]]);
/// A child in the namespaces of its parent.
const NO_NAMESPACE: Admits = Admits::When(&[&[is(0, CLONE_NEW, 0)]]);
/// A socket of IPv4 for datagrams, whatever its flags.
const INET_DATAGRAM: Admits = Admits::When(&[&[is(0, u64::MAX, 2), is(1, 0xf, 2)]]);
/// Asking for limits of one's own, not setting them.
const ASKING: Admits = Admits::When(&[&[is(0, u64::MAX, 0), is(2, u64::MAX, 0)]]);

/// What every worker needs.
const EVERY: &[Entry] = &[
    ("execveat", Admits::All, "becoming the worker, once; nothing else may be executed by it"),
    ("set_tid_address", Admits::All, "thread id at start"),
    ("brk", Admits::All, "memory"),
    ("munmap", Admits::All, "memory"),
    ("mprotect", DATA, "relocations made read-only at start"),
    ("rt_sigaction", Admits::All, "SIGPIPE ignored at start"),
    ("rt_sigprocmask", Admits::All, "handlers set at start"),
    ("sigaltstack", Admits::All, "stack for overflow reports"),
    ("fcntl", Admits::All, "descriptors checked and marked"),
    ("read", Admits::All, "the input"),
    ("write", Admits::All, "the answer"),
    ("close", Admits::All, "descriptors"),
    ("landlock_create_ruleset", Admits::All, "the domain of a call, made before there is one"),
    ("landlock_restrict_self", Admits::All, "giving up all but a call's part"),
    ("recvmsg", Admits::All, "the work, from the forker"),
    ("sendmsg", Admits::All, "the outcome, to the forker"),
    ("sched_yield", Admits::All, "asking for the ticket, after everybody else"),
];

/// What those need who run no program.
const NO_PROGRAM: &[Entry] = &[("mmap", DATA, "memory")];

/// What those need who report on the box.
const REPORT: &[Entry] = &[("uname", Admits::All, "system.info, cage.try of namespaces")];

/// What those need whose call has a part of the files: the files class and the program class.
const PART: &[Entry] = &[
    ("mremap", Admits::All, "inputs that grow in memory"),
    ("landlock_add_rule", Admits::All, "a call's part"),
    ("fstat", Admits::All, "what a path of a call's part is"),
    ("openat", Admits::All, "the workspace itself; a program's libraries and files"),
    ("newfstatat", Admits::All, "kinds and sizes"),
    ("pread64", Admits::All, "a part of a file; headers of libraries"),
];

/// What the files class needs besides.
const FILES: &[Entry] = &[
    ("openat2", Admits::All, "every path, beneath the workspace, without links"),
    ("getdents64", Admits::All, "filesystem.list"),
    ("fsync", Admits::All, "filesystem.write: whole before it is named"),
    ("mkdirat", Admits::All, "filesystem.mkdir"),
    ("renameat2", Admits::All, "filesystem.write, move, delete, restore"),
    ("unlinkat", Admits::All, "filesystem.write: what it could not finish"),
];

/// What the worker needs to run a closed program, and that program.
const PROGRAM: &[Entry] = &[
    ("mmap", WRITE_OR_EXECUTE, "memory; libraries are mapped to be executed"),
    ("pipe2", Admits::All, "what the program writes"),
    ("clone", NO_NAMESPACE, "the program's process"),
    ("execve", Admits::All, "the program; Landlock says which"),
    ("dup3", Admits::All, "the program's descriptors; uniq opens its input again"),
    ("chdir", Admits::All, "the program starts in the workspace"),
    ("wait4", Admits::All, "how the program ended"),
    ("exit_group", Admits::All, "the program's end"),
    ("lseek", Admits::All, "tail, and where a program leaves its input"),
    ("set_robust_list", Admits::All, "glibc's start"),
    ("rseq", Admits::All, "glibc's start"),
    ("getrandom", Admits::All, "glibc's memory"),
    ("prlimit64", ASKING, "glibc's start: how large the stack may be"),
    ("futex", Admits::All, "glibc's locks"),
    ("mincore", Admits::All, "grep and diff: where the stack ends, since there is no /proc"),
    ("ioctl", Admits::Fails(ENOTTY), "whether output is a terminal: it never is"),
    ("fadvise64", Admits::All, "coreutils say how they read"),
    ("sysinfo", Admits::All, "sort: how much memory there is"),
    ("sched_getaffinity", Admits::All, "sort: how many processors there are"),
    ("ftruncate", Admits::All, "sort: its output file"),
    ("getuid", Admits::All, "jq's start"),
    ("geteuid", Admits::All, "jq's start"),
    ("getgid", Admits::All, "jq's start"),
    ("getegid", Admits::All, "jq's start"),
    ("getcwd", Admits::All, "jq's start"),
];

/// What a cage with sockets needs besides.
const NETWORK: &[Entry] = &[
    ("socket", INET_DATAGRAM, "cage.try of nftables"),
    ("sendto", Admits::All, "cage.try of nftables"),
    ("openat", Admits::All, "cage.try of landlock"),
    ("statx", Admits::All, "cage.try of namespaces"),
];

/// What an older interface of the architecture is used for: by every worker, by the files class and the
/// program class, and by the latter alone.
#[cfg(target_arch = "x86_64")]
const OLDER: [&[Entry]; 3] = [
    &[
        ("arch_prctl", Admits::All, "thread pointer at start"),
        ("poll", Admits::All, "descriptors 0 to 2 checked at start"),
    ],
    &[("open", Admits::All, "a path of a call's part")],
    &[
        ("ppoll", Admits::All, "pipes of a program"),
        ("dup2", Admits::All, "the program's descriptors"),
        ("access", Admits::All, "ld.so looks for a list of libraries"),
    ],
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [&[Entry]; 3] = [
    &[
        ("ppoll", Admits::All, "descriptors 0 to 2 checked at start; pipes of a program"),
        ("clock_gettime", Admits::All, "system.time, where the vdso is not used"),
    ],
    &[],
    &[("faccessat", Admits::All, "ld.so looks for a list of libraries")],
];

/// The entries of a class.
pub(crate) fn entries(class: Class) -> impl Iterator<Item = &'static Entry> {
    let [every, files, program] = OLDER;
    let more: [&[Entry]; 5] = match class {
        Class::Pure => [every, NO_PROGRAM, REPORT, &[], &[]],
        Class::Files => [every, NO_PROGRAM, PART, FILES, files],
        Class::Program => [every, PART, PROGRAM, files, program],
        Class::Network => [every, NO_PROGRAM, REPORT, NETWORK, &[]],
    };
    EVERY.iter().chain(more.into_iter().flatten())
}

const CLASSES: [Class; 4] = [Class::Pure, Class::Files, Class::Program, Class::Network];

/// The filters of all classes, compiled once: a cage's child installs one and compiles none.
#[derive(Debug)]
pub(crate) struct Filters(BTreeMap<Class, Filter>);

impl Filters {
    /// Compiles them.
    pub(crate) fn compile() -> Result<Self, FilterError> {
        let compiled = CLASSES.map(|class| Ok((class, of_class(class, None)?)));
        Ok(Self(compiled.into_iter().collect::<Result<_, FilterError>>()?))
    }

    /// That of a kind of cage; compiled for it where it lacks an entry.
    pub(crate) fn of(&self, kind: &Kind) -> Result<Cow<'_, Filter>, FilterError> {
        let lacking = kind.rings.lacking();
        match self.0.get(&kind.class).filter(|_| lacking.is_none()) {
            Some(compiled) => Ok(Cow::Borrowed(compiled)),
            None => of_class(kind.class, lacking).map(Cow::Owned),
        }
    }
}

/// The filter of a class, without the entry of the number `lacking`: the cage test's.
fn of_class(class: Class, lacking: Option<usize>) -> Result<Filter, FilterError> {
    let all = entries(class).enumerate();
    let kept = all.filter(|(number, _)| Some(*number) != lacking);
    let list: Vec<(&str, Admits)> = kept.map(|(_, (name, admits, _))| (*name, *admits)).collect();
    Filter::compile(&list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn filters_compile_say_why_and_name_nothing_twice() {
        let forker = include_str!("../../mkosi.extra/usr/lib/kruxos/services/forker.toml");
        for class in CLASSES {
            assert!(of_class(class, None).is_ok());
            let mut names = BTreeSet::new();
            for (name, _, why) in entries(class) {
                assert!(names.insert(name) && !why.is_empty(), "{name}");
                let entry = if *name == "socket" { "socket:inet" } else { name };
                let admitted = forker.contains(&format!("\"{entry}\""));
                assert!(admitted, "{name}: the forker's filter stops it");
            }
            assert_eq!(names.contains(&"socket"), class == Class::Network, "{class:?}");
            for never in ["ptrace", "mount", "unshare", "symlinkat", "linkat", "kill"] {
                assert!(!names.contains(&never), "{never}");
            }
            assert_eq!(names.contains(&"clone"), class == Class::Program, "{class:?}");
        }
    }
}
