//! A process's seccomp(2) filter from a list of names: what is not on it kills the process.
//!
//! An entry is a system call's name, or `socket:FAMILY`, which admits socket(2) and socketpair(2)
//! for that address family alone.

use crate::syscalls::{self, Lookup};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Why a list of names is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The entry names no system call and no address family.
    #[error(
        "filter entry `{0}` is no system call and no `socket:FAMILY` with FAMILY one of unix, inet, inet6, netlink, packet"
    )]
    Unknown(String),
    /// The compiler refused; a list of valid names cannot cause it.
    #[error("the filter does not compile: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// The kernel refused the finished program.
    #[error("the kernel refused the filter: {0}")]
    Install(#[from] seccompiler::Error),
}

/// A compiled filter, for this architecture, not yet installed.
#[derive(Debug, Clone)]
pub struct Filter(BpfProgram);

impl Filter {
    /// Compiles an allowlist; anything else kills the whole process with SIGSYS.
    ///
    /// # Errors
    /// [`FilterError::Unknown`] for an entry that is not understood: nothing is skipped in silence.
    pub fn allow(entries: &[String]) -> Result<Self, FilterError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for entry in entries {
            if let Some(family) = entry.strip_prefix("socket:") {
                let number =
                    family_number(family).ok_or_else(|| FilterError::Unknown(entry.clone()))?;
                for call in ["socket", "socketpair"] {
                    if let Lookup::Number(call) = syscalls::number(call) {
                        rules.entry(call).or_default().push(family_rule(number)?);
                    }
                }
                continue;
            }
            match syscalls::number(entry) {
                Lookup::Number(number) => {
                    rules.insert(number, Vec::new());
                }
                Lookup::Elsewhere => {}
                Lookup::Unknown => return Err(FilterError::Unknown(entry.clone())),
            }
        }
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::KillProcess,
            SeccompAction::Allow,
            architecture(),
        )?;
        Ok(Self(filter.try_into()?))
    }

    /// Installs the filter on the calling thread, for ever; sets `no_new_privs` first.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn install(&self) -> Result<(), FilterError> {
        Ok(seccompiler::apply_filter(&self.0)?)
    }

    /// Number of BPF instructions (the kernel takes 4,096).
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.0.len()
    }
}

fn family_number(name: &str) -> Option<i32> {
    match name {
        "unix" => Some(libc::AF_UNIX),
        "inet" => Some(libc::AF_INET),
        "inet6" => Some(libc::AF_INET6),
        "netlink" => Some(libc::AF_NETLINK),
        "packet" => Some(libc::AF_PACKET),
        _ => None,
    }
}

fn family_rule(number: i32) -> Result<SeccompRule, FilterError> {
    let condition = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(number.unsigned_abs()),
    )?;
    Ok(SeccompRule::new(vec![condition])?)
}

const fn architecture() -> TargetArch {
    if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_entry_is_refused() {
        let entries = ["read".to_owned(), "raed".to_owned()];
        assert!(matches!(Filter::allow(&entries), Err(FilterError::Unknown(e)) if e == "raed"));
    }

    #[test]
    fn families_are_named() {
        assert!(Filter::allow(&["socket:unix".to_owned()]).is_ok());
        assert!(Filter::allow(&["socket:vsock".to_owned()]).is_err());
    }
}
