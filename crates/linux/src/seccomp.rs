//! seccomp allowlists by name: seccomp(2).
//!
//! An entry is a system call's name, with what of it is admitted. A service's description writes
//! entries as text: a name alone, or `socket:FAMILY`, which admits socket(2) and socketpair(2) for
//! that address family alone.

mod tree;

use crate::syscalls::{self, Lookup};
use crate::{KernelError, last_errno};
use std::collections::BTreeMap;
use tree::Instruction;

/// Why a list of names is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The entry names no system call and no address family.
    #[error(
        "filter entry `{0}` is no system call and no `socket:FAMILY` with FAMILY one of unix, inet, inet6, netlink, packet"
    )]
    Unknown(String),
    /// The entry is there twice, and differs.
    #[error("filter entry `{0}` is there twice")]
    Twice(String),
    /// More instructions than the kernel takes.
    #[error("the filter takes {0} instructions; the kernel takes 4096")]
    TooLong(usize),
    /// The kernel refused the finished program.
    #[error("the kernel refused the filter: {0}")]
    Install(#[from] KernelError),
}

/// What of a system call a filter admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits<'a> {
    /// Every call of it.
    All,
    /// None: it fails with this errno, and its caller goes on.
    Fails(u16),
    /// One in which all arguments of one of these alternatives are as they say.
    When(&'a [&'a [Argument]]),
    /// The same, and any other fails with this errno.
    WhenElse(&'a [&'a [Argument]], u16),
}

/// An argument whose bits under the mask have this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Which, from 0 to 5.
    pub index: u8,
    /// The bits that count.
    pub mask: u64,
    /// What they are.
    pub value: u64,
}

/// A compiled filter, for this architecture, not yet installed.
#[derive(Debug, Clone)]
pub struct Filter(Vec<Instruction>);

/// `AUDIT_ARCH_` of linux/audit.h.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };

impl Filter {
    /// Compiles an allowlist of texts; anything else kills the whole process with SIGSYS.
    ///
    /// # Errors
    /// [`FilterError::Unknown`] for an entry that is not understood: nothing is skipped in silence.
    pub fn allow(entries: &[String]) -> Result<Self, FilterError> {
        let mut all: Vec<(&str, Admits<'_>)> = Vec::new();
        let mut families: Vec<&'static [Argument]> = Vec::new();
        for entry in entries {
            match entry.strip_prefix("socket:") {
                Some(name) => {
                    let family = family(name);
                    families.push(family.ok_or_else(|| FilterError::Unknown(entry.clone()))?);
                }
                None => all.push((entry, Admits::All)),
            }
        }
        if !families.is_empty() {
            let admits = Admits::When(&families);
            all.extend([("socket", admits), ("socketpair", admits)]);
        }
        Self::compile(&all)
    }

    /// Compiles a list of names, each with what is admitted; anything else kills the whole process.
    ///
    /// # Errors
    /// [`FilterError`]: a name that no system call has, or that is there twice.
    pub fn compile(entries: &[(&str, Admits<'_>)]) -> Result<Self, FilterError> {
        Ok(Self(tree::program(ARCHITECTURE, &number(entries)?)?))
    }

    /// Installs the filter on the calling thread, for ever; `no_new_privs` must be set.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn install(&self) -> Result<(), FilterError> {
        let length =
            u16::try_from(self.0.len()).map_err(|_long| FilterError::TooLong(self.0.len()))?;
        let program = libc::sock_fprog {
            len: length,
            // the kernel reads it only
            filter: self.0.as_ptr().cast::<libc::sock_filter>().cast_mut(),
        };
        // SAFETY: 1. `program` and the instructions that it points to, whose layout is that of
        // `struct sock_filter`, outlive the call. 2. The kernel checks the program and copies it.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
        };
        if result < 0 { Err(KernelError::new("seccomp", "", last_errno()).into()) } else { Ok(()) }
    }

    /// Number of BPF instructions (the kernel takes 4,096).
    #[must_use]
    pub const fn instructions(&self) -> usize {
        self.0.len()
    }
}

/// Numbers for names; a call that only another architecture has is left out.
fn number<'a>(entries: &[(&str, Admits<'a>)]) -> Result<BTreeMap<u32, Admits<'a>>, FilterError> {
    let mut numbered = BTreeMap::new();
    for (name, admits) in entries {
        match syscalls::number(name) {
            Lookup::Number(number) => {
                let number = u32::try_from(number);
                let number =
                    number.map_err(|_negative| FilterError::Unknown((*name).to_owned()))?;
                if numbered.insert(number, *admits).is_some_and(|other| other != *admits) {
                    return Err(FilterError::Twice((*name).to_owned()));
                }
            }
            Lookup::Elsewhere => {}
            Lookup::Unknown => return Err(FilterError::Unknown((*name).to_owned())),
        }
    }
    Ok(numbered)
}

/// That the first argument is an address family.
const fn is_family(value: u64) -> Argument {
    Argument { index: 0, mask: 0xffff_ffff, value }
}

fn family(name: &str) -> Option<&'static [Argument]> {
    const UNIX: &[Argument] = &[is_family(1)];
    const INET: &[Argument] = &[is_family(2)];
    const INET6: &[Argument] = &[is_family(10)];
    const NETLINK: &[Argument] = &[is_family(16)];
    const PACKET: &[Argument] = &[is_family(17)];
    match name {
        "unix" => Some(UNIX),
        "inet" => Some(INET),
        "inet6" => Some(INET6),
        "netlink" => Some(NETLINK),
        "packet" => Some(PACKET),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
