//! The system calls that a worker may make, each with who needs it. Everything else kills it.

use linux::seccomp::{Filter, FilterError};

/// What every worker needs: (system call, why).
const EVERY: &[(&str, &str)] = &[
    ("execveat", "becoming the worker, once; nothing else in a cage may be executed"),
    ("arch_prctl", "thread pointer at start"),
    ("set_tid_address", "thread id at start"),
    ("brk", "memory"),
    ("mmap", "memory"),
    ("munmap", "memory"),
    ("mremap", "memory"),
    ("mprotect", "relocations made read-only at start"),
    ("madvise", "memory given back"),
    ("rt_sigaction", "SIGPIPE ignored at start"),
    ("rt_sigprocmask", "abort"),
    ("rt_sigreturn", "return from a handler"),
    ("sigaltstack", "stack for overflow reports"),
    ("gettid", "abort"),
    ("getpid", "abort"),
    ("tkill", "abort"),
    ("poll", "descriptors 0 to 2 checked at start (x86_64)"),
    ("ppoll", "descriptors 0 to 2 checked at start (aarch64)"),
    ("fcntl", "descriptors checked and marked"),
    ("read", "the input"),
    ("write", "the answer"),
    ("writev", "the answer"),
    ("close", "descriptors"),
    (
        "landlock_create_ruleset",
        "the domain that a call's part is kept in, made before there is one",
    ),
    ("landlock_add_rule", "a call's part"),
    ("landlock_restrict_self", "giving up all but a call's part"),
    ("recvmsg", "the work, from the forker"),
    ("sendmsg", "the outcome, to the forker"),
    ("exit_group", "the end"),
    ("getrandom", "seeds of hash tables"),
    ("clock_gettime", "time, where the vdso has none"),
    ("uname", "system.info"),
    ("fstat", "length of the input"),
    ("statx", "length of the input"),
    ("lseek", "start of the input"),
];

/// What the files class needs besides.
const FILES: &[(&str, &str)] = &[
    ("openat2", "every path, beneath the workspace, without links"),
    ("openat", "the workspace itself"),
    ("open", "the workspace itself (musl on x86_64)"),
    ("newfstatat", "kinds and sizes"),
    ("getdents64", "filesystem.list"),
    ("pread64", "a part of a file"),
    ("copy_file_range", "filesystem.copy"),
    ("sendfile", "filesystem.copy"),
    ("fsync", "filesystem.write: whole before it is named"),
    ("mkdirat", "filesystem.mkdir"),
    ("renameat2", "filesystem.write, move, delete, restore"),
    ("unlinkat", "filesystem.write: what it could not finish"),
];

/// The filter of a class.
pub(crate) fn of_class(files: bool) -> Result<Filter, FilterError> {
    let more = if files { FILES } else { &[] };
    let names: Vec<String> = EVERY.iter().chain(more).map(|(name, _)| (*name).to_owned()).collect();
    Filter::allow(&names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn filters_compile_say_why_and_name_nothing_twice() {
        assert!(of_class(true).is_ok() && of_class(false).is_ok());
        let mut names = BTreeSet::new();
        for (name, why) in EVERY.iter().chain(FILES) {
            assert!(names.insert(name) && !why.is_empty(), "{name}");
        }
        let forker = include_str!("../../mkosi.extra/usr/lib/kruxos/services/forker.toml");
        for name in &names {
            assert!(
                forker.contains(&format!("\"{name}\"")),
                "{name}: the forker's filter stops it"
            );
        }
        for never in
            ["socket", "ptrace", "mount", "unshare", "clone", "fork", "symlinkat", "linkat"]
        {
            assert!(!names.contains(&never), "{never}");
        }
    }
}
