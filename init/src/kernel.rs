//! The kernel that runs must be the kernel that was built for this image, with every ring.

use crate::error::{BootError, While};
use sha2::{Digest, Sha256};

/// SHA-256 of /proc/config.gz of the kernel that this root was built for, in hexadecimal.
const EXPECTED: &str = "/usr/lib/kruxos/kernel-config.sha256";

/// What a hardened kernel is told at start, besides its configuration: sysctl(8) names with `/`.
const SYSCTLS: &[(&str, &str)] = &[
    ("fs/protected_fifos", "2"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_regular", "2"),
    ("fs/protected_symlinks", "1"),
    ("fs/suid_dumpable", "0"),
    ("kernel/ctrl-alt-del", "0"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/randomize_va_space", "2"),
    ("kernel/yama/ptrace_scope", "3"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/all/rp_filter", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1"),
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/all/accept_source_route", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("vm/mmap_min_addr", "65536"),
];

/// The same, for what one architecture's kernel has and another's was built without.
const SYSCTLS_WHERE_PRESENT: &[(&str, &str)] = &[("kernel/perf_event_paranoid", "3")];

/// The namespaces of ring one.
const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
/// The controllers of ring two.
const CONTROLLERS: &[&str] = &["cpu", "io", "memory", "pids"];
/// Landlock of Linux 6.12: files, TCP ports, scopes.
const LANDLOCK_VERSION_MIN: i32 = 6;

/// Refuses a kernel of another configuration, and a root that could be written.
pub(crate) fn check() -> Result<(), BootError> {
    let expected = std::fs::read_to_string(EXPECTED).during("read", EXPECTED)?;
    let running = std::fs::read("/proc/config.gz").during("read", "/proc/config.gz")?;
    let running = contract::digits::hex(&Sha256::digest(&running));
    if running != expected.trim() {
        let cause = format!("it has configuration {running}, this image needs {}", expected.trim());
        return Err(BootError::new("check", "the kernel", cause));
    }
    let root = rustix::fs::statvfs("/").during("statvfs", "/")?;
    if !root.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(BootError::new("check", "the root", "it is mounted writable"));
    }
    let lockdown = read("/sys/kernel/security/lockdown")?;
    if !lockdown.contains("[confidentiality]") {
        return Err(BootError::new("check", "lockdown", format!("it is {}", lockdown.trim())));
    }
    rings()
}

/// Every ring that the cage needs must be there before anything is started.
fn rings() -> Result<(), BootError> {
    let missing = |ring, what: &str| Err(BootError::new("ring", ring, format!("no {what}")));
    for name in NAMESPACES {
        if !std::path::Path::new("/proc/self/ns").join(name).exists() {
            return missing("namespaces", name);
        }
    }
    let controllers = read("/sys/fs/cgroup/cgroup.controllers")?;
    for name in CONTROLLERS {
        if !controllers.split_ascii_whitespace().any(|found| found == *name) {
            return missing("cgroup", name);
        }
    }
    if !read("/proc/sys/kernel/seccomp/actions_avail")?.contains("kill_process") {
        return missing("seccomp", "kill_process");
    }
    if linux::confine::landlock_version() < LANDLOCK_VERSION_MIN {
        return missing("landlock", "version 6");
    }
    linux::netfilter::open().map(drop).during("ring", "nftables")
}

/// Sets every hardening value, or ends the boot.
pub(crate) fn harden() -> Result<(), BootError> {
    for (name, value) in SYSCTLS {
        std::fs::write(format!("/proc/sys/{name}"), value).during("sysctl", name)?;
    }
    for (name, value) in SYSCTLS_WHERE_PRESENT {
        let path = format!("/proc/sys/{name}");
        if std::path::Path::new(&path).exists() {
            std::fs::write(path, value).during("sysctl", name)?;
        }
    }
    Ok(())
}

fn read(path: &'static str) -> Result<String, BootError> {
    std::fs::read_to_string(path).during("read", path)
}
