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
const EACCES: u16 = 13;
const ENOTTY: u16 = 25;
const ENOSYS: u16 = 38;
const ENOTSUP: u16 = 95;

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
/// A socket of TCP over IPv4 or IPv6, whatever its flags; by its number too, since other protocols have
/// streams and Landlock knows none of them.
const INET_STREAM: Admits = Admits::When(&[
    &[is(0, u64::MAX, 2), is(1, 0xf, 1), is(2, u64::MAX, 0)],
    &[is(0, u64::MAX, 2), is(1, 0xf, 1), is(2, u64::MAX, 6)],
    &[is(0, u64::MAX, 10), is(1, 0xf, 1), is(2, u64::MAX, 0)],
    &[is(0, u64::MAX, 10), is(1, 0xf, 1), is(2, u64::MAX, 6)],
]);
/// Whether a descriptor waits (FIONBIO), and nothing else that ioctl(2) does.
const NON_BLOCKING: Admits = Admits::WhenElse(&[&[is(1, 0xffff_ffff, 0x5421)]], ENOTTY);
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

/// What those need who read a clock, where the vdso cannot.
const CLOCK: &[Entry] = &[("clock_gettime", Admits::All, "system.time; git.commit; Python's time")];

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

/// What the worker needs to run a program, and that program.
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

/// What those need whose descriptors are files and pipes.
const NO_SOCKET: &[Entry] =
    &[("ioctl", Admits::Fails(ENOTTY), "whether output is a terminal: it never is")];

/// What a closed program needs besides.
const CLOSED: &[Entry] = &[
    ("mincore", Admits::All, "grep and diff: where the stack ends, since there is no /proc"),
    ("gettimeofday", Admits::All, "jq's now, where the vdso cannot read the clock"),
];

/// What code needs besides a program: Python with files, threads and children.
const CODE: &[Entry] = &[
    ("getdents64", Admits::All, "os.listdir; the digest of the workspace"),
    ("fsync", Admits::All, "os.fsync"),
    ("fdatasync", Admits::All, "sqlite3"),
    ("pwrite64", Admits::All, "sqlite3"),
    ("truncate", Admits::All, "os.truncate"),
    ("sendfile", Admits::All, "shutil.copy"),
    ("utimensat", Admits::All, "shutil.copystat"),
    ("listxattr", Admits::Fails(ENOTSUP), "shutil.copystat: there are none"),
    ("fchmod", Admits::All, "os.fchmod"),
    ("umask", Admits::All, "os.umask"),
    ("unlinkat", Admits::All, "shutil.rmtree"),
    ("close_range", Admits::All, "subprocess"),
    ("waitid", Admits::All, "subprocess: a program that cannot be started"),
    ("epoll_create1", Admits::Fails(ENOSYS), "selectors looks for it, and uses poll"),
    ("clone3", Admits::Fails(ENOSYS), "threads; glibc uses clone then, whose flags can be seen"),
    ("exit", Admits::All, "the end of a thread"),
    ("madvise", Admits::All, "the stack of a thread that ended"),
    ("gettid", Admits::All, "threading"),
    ("getpid", Admits::All, "os.getpid"),
    ("getppid", Admits::All, "os.getppid"),
    ("getrusage", Admits::All, "resource"),
    ("clock_nanosleep", Admits::All, "time.sleep"),
];

/// What code needs that connects to nothing.
const NO_NETWORK: &[Entry] =
    &[("socket", Admits::Fails(EACCES), "pwd.getpwuid: glibc asks for nscd; socket.socket fails")];

/// What code needs besides that was decided to connect.
const DIRECT: &[Entry] = &[
    ("ioctl", NON_BLOCKING, "socket.settimeout; whether output is a terminal: it never is"),
    ("socket", INET_STREAM, "socket.socket"),
    (
        "connect",
        Admits::All,
        "socket.connect; Landlock says to which ports, nftables to which machines",
    ),
    ("sendto", Admits::All, "socket.send"),
    ("recvfrom", Admits::All, "socket.recv"),
    ("shutdown", Admits::All, "socket.shutdown"),
    ("getsockopt", Admits::All, "socket.connect with a timeout: how it went"),
    ("setsockopt", Admits::All, "http.client: TCP_NODELAY"),
    ("getsockname", Admits::All, "socket.getsockname; ssl"),
    ("getpeername", Admits::All, "socket.getpeername; ssl"),
];

/// What a cage of which one ring is tried needs besides.
const NETWORK: &[Entry] = &[
    ("socket", INET_DATAGRAM, "cage.try of nftables"),
    ("sendto", Admits::All, "cage.try of nftables"),
    ("openat", Admits::All, "cage.try of landlock"),
    ("statx", Admits::All, "cage.try of namespaces"),
];

/// What an older interface of the architecture is used for: by every worker, by the files class and the
/// two of programs, by those two, and by code alone.
#[cfg(target_arch = "x86_64")]
const OLDER: [&[Entry]; 4] = [
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
    &[
        ("readlink", Admits::All, "where Python looks for its library"),
        ("unlink", Admits::All, "os.remove"),
        ("rename", Admits::All, "os.rename"),
        ("mkdir", Admits::All, "os.mkdir"),
        ("rmdir", Admits::All, "os.rmdir"),
        ("chmod", Admits::All, "os.chmod"),
    ],
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [&[Entry]; 4] = [
    &[("ppoll", Admits::All, "descriptors 0 to 2 checked at start; pipes of a program")],
    &[],
    &[("faccessat", Admits::All, "ld.so looks for a list of libraries")],
    &[
        ("readlinkat", Admits::All, "where Python looks for its library"),
        ("fchmodat", Admits::All, "os.chmod"),
        ("mkdirat", Admits::All, "os.mkdir"),
        ("renameat", Admits::All, "os.rename"),
    ],
];

/// The entries of a class.
pub(crate) fn entries(class: Class) -> impl Iterator<Item = &'static Entry> {
    let [every, files, program, code] = OLDER;
    let more = match class {
        Class::Pure => vec![every, NO_PROGRAM, REPORT, CLOCK],
        Class::Files => vec![every, NO_PROGRAM, PART, FILES, CLOCK, files],
        Class::Program => vec![every, PART, PROGRAM, NO_SOCKET, CLOSED, files, program],
        Class::Code => {
            vec![every, PART, PROGRAM, NO_SOCKET, CODE, NO_NETWORK, CLOCK, files, program, code]
        }
        Class::Direct => vec![every, PART, PROGRAM, CODE, DIRECT, CLOCK, files, program, code],
        Class::Network => vec![every, NO_PROGRAM, REPORT, NETWORK],
    };
    EVERY.iter().chain(more.into_iter().flatten())
}

const CLASSES: [Class; 6] =
    [Class::Pure, Class::Files, Class::Program, Class::Code, Class::Direct, Class::Network];

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
            let made = |(name, admits, _): &Entry| {
                *name == "socket" && !matches!(admits, Admits::Fails(_))
            };
            let sockets = matches!(class, Class::Network | Class::Direct);
            assert_eq!(entries(class).any(made), sockets, "{class:?}");
            for never in ["ptrace", "mount", "unshare", "symlinkat", "linkat", "kill"] {
                assert!(!names.contains(&never), "{never}");
            }
            let programs = matches!(class, Class::Program | Class::Code | Class::Direct);
            assert_eq!(names.contains(&"clone"), programs, "{class:?}");
        }
    }
}
