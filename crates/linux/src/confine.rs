//! What a process gives up before it becomes a service: rights, files, limits. Each step is one
//! function, and a step that does not hold is an error, never a lesser step.

use crate::{KernelError, last_errno};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::os::fd::OwnedFd;

/// The Landlock interface that a KruxOS kernel offers: version 6 (Linux 6.12), with scopes.
const LANDLOCK_ABI: ABI = ABI::V6;

/// A capability by its name in capabilities(7), without the `CAP_`, in lower case.
#[must_use]
pub fn capability(name: &str) -> Option<CapabilitySet> {
    Some(match name {
        "chown" => CapabilitySet::CHOWN,
        "dac_override" => CapabilitySet::DAC_OVERRIDE,
        "fowner" => CapabilitySet::FOWNER,
        "kill" => CapabilitySet::KILL,
        "setgid" => CapabilitySet::SETGID,
        "setuid" => CapabilitySet::SETUID,
        "net_admin" => CapabilitySet::NET_ADMIN,
        "net_bind_service" => CapabilitySet::NET_BIND_SERVICE,
        "net_raw" => CapabilitySet::NET_RAW,
        "ipc_lock" => CapabilitySet::IPC_LOCK,
        "sys_admin" => CapabilitySet::SYS_ADMIN,
        "sys_chroot" => CapabilitySet::SYS_CHROOT,
        "sys_ptrace" => CapabilitySet::SYS_PTRACE,
        "sys_time" => CapabilitySet::SYS_TIME,
        _ => return None,
    })
}

/// Becomes `uid`:`uid` with no supplementary groups and exactly `kept` as permitted, effective,
/// inheritable, ambient and bounding capabilities; they survive the next execve(2).
///
/// # Errors
/// The step that the kernel refused.
pub fn become_user(uid: u32, kept: CapabilitySet) -> Result<(), KernelError> {
    let failed = |step: &'static str| move |errno| KernelError::new(step, uid, errno);
    drop_from_bounding_set(kept)?;
    rustix::thread::set_keep_capabilities(true).map_err(failed("PR_SET_KEEPCAPS"))?;
    set_groups(uid)?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::set_capabilities(None, sets).map_err(failed("capset"))?;
    rustix::thread::clear_ambient_capability_set().map_err(failed("PR_CAP_AMBIENT"))?;
    for one in kept.iter() {
        rustix::thread::configure_capability_in_ambient_set(one, true)
            .map_err(failed("PR_CAP_AMBIENT_RAISE"))?;
    }
    Ok(())
}

fn set_groups(uid: u32) -> Result<(), KernelError> {
    // SAFETY: a count of zero makes the kernel ignore the pointer.
    if unsafe { libc::setgroups(0, std::ptr::null()) } != 0 {
        return Err(KernelError::new("setgroups", uid, last_errno()));
    }
    set_ids(uid)
}

fn set_ids(uid: u32) -> Result<(), KernelError> {
    // SAFETY: three integers.
    if unsafe { libc::setresgid(uid, uid, uid) } != 0 {
        return Err(KernelError::new("setresgid", uid, last_errno()));
    }
    // SAFETY: three integers.
    if unsafe { libc::setresuid(uid, uid, uid) } != 0 {
        return Err(KernelError::new("setresuid", uid, last_errno()));
    }
    Ok(())
}

/// What may be done beneath one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Read files and list directories.
    Read,
    /// Read this file; of a directory, list it and those beneath it, and read none of their files.
    ReadThis,
    /// Everything but executing.
    Own,
    /// Everything.
    All,
    /// Execute, and read what is executed.
    Execute,
    /// Make, write and replace files and directories; link and rename into it.
    Make,
    /// The same, and remove directories.
    Fill,
    /// Everything that a worker may ever be granted: any of the others but executing.
    Files,
    /// The same and executing.
    Programs,
    /// Make and remove names, and rename between places that have this. Landlock lets nothing move
    /// to where more could be done with it, so both places must have the same, and none may write.
    Rename,
}

/// What a process may do with files and with TCP ports; everything else is denied.
#[derive(Debug, Default)]
pub struct Reach {
    /// Paths and what may be done beneath them.
    pub files: Vec<(String, Rights)>,
    /// Open files that may be executed, for a program that no path leads to.
    pub programs: Vec<OwnedFd>,
    /// TCP ports that may be bound.
    pub bind_tcp: Vec<u16>,
    /// TCP ports that may be connected to; none for a [`Domain::prepare_connecting`], which allows all.
    pub connect_tcp: Vec<u16>,
}

/// Why a Landlock domain could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// A rule or the domain itself was refused.
    #[error("landlock: {0}")]
    Refused(#[from] landlock::RulesetError),
    /// A path of a rule cannot be opened.
    #[error("landlock: `{path}`: {source}")]
    Path {
        /// The path as the rule gives it.
        path: String,
        /// What the kernel said.
        source: landlock::PathFdError,
    },
    /// What a path is cannot be told.
    #[error("landlock: `{path}`: {errno}")]
    Status {
        /// The path as the rule gives it.
        path: String,
        /// What the kernel said.
        errno: rustix::io::Errno,
    },
    /// The kernel enforced less than was asked.
    #[error("landlock: the kernel enforces this domain only in part")]
    Partial,
}

/// Enters a Landlock domain that allows `reach` and nothing else: landlock(7).
///
/// # Errors
/// [`LandlockError`]; the process is then to end, since it may be half confined.
pub fn landlock(reach: &Reach) -> Result<(), LandlockError> {
    Domain::prepare()?.enter(reach)
}

/// A Landlock domain that allows nothing and is not entered yet.
#[derive(Debug)]
pub struct Domain(RulesetCreated);

impl Domain {
    /// Makes it: the slow half, for a process that will be told later what it keeps.
    ///
    /// # Errors
    /// [`LandlockError`]: the kernel knows less than is asked.
    pub fn prepare() -> Result<Self, LandlockError> {
        Self::handling(AccessNet::from_all(LANDLOCK_ABI))
    }

    /// The same, but it leaves TCP connections alone: Landlock has no rule that means every port. It still
    /// allows no port to be bound.
    ///
    /// # Errors
    /// As [`Domain::prepare`].
    pub fn prepare_connecting() -> Result<Self, LandlockError> {
        Self::handling(AccessNet::from_all(LANDLOCK_ABI) & !AccessNet::ConnectTcp)
    }

    fn handling(net: BitFlags<AccessNet>) -> Result<Self, LandlockError> {
        let created = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
            .handle_access(net)?
            .scope(Scope::from_all(LANDLOCK_ABI))?
            .create()?
            .set_compatibility(CompatLevel::HardRequirement)
            // every caller has set it: restrict_self(2) refuses where it is not
            .no_new_privs(false);
        Ok(Self(created))
    }

    /// Enters it, keeping `reach`.
    ///
    /// # Errors
    /// [`LandlockError`]; the process is then to end. A port to connect to in a domain that leaves
    /// connections alone is one.
    pub fn enter(self, reach: &Reach) -> Result<(), LandlockError> {
        add_rules(self.0, reach)
    }
}

fn add_rules(mut created: RulesetCreated, reach: &Reach) -> Result<(), LandlockError> {
    for (path, rights) in &reach.files {
        let fd = PathFd::new(path)
            .map_err(|source| LandlockError::Path { path: path.clone(), source })?;
        // of the open file: the path may be another by now, and a worker's filter knows no stat(2)
        let status = rustix::fs::fstat(&fd)
            .map_err(|errno| LandlockError::Status { path: path.clone(), errno })?;
        let directory = rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir();
        let access = match (directory, rights) {
            (true, Rights::ReadThis) => AccessFs::ReadDir.into(),
            (true, rights) => access(*rights),
            (false, rights) => access(*rights) & AccessFs::from_file(LANDLOCK_ABI),
        };
        created = created.add_rule(PathBeneath::new(fd, access))?;
    }
    for program in &reach.programs {
        created = created.add_rule(PathBeneath::new(program, access(Rights::Execute)))?;
    }
    for port in &reach.bind_tcp {
        created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    for port in &reach.connect_tcp {
        created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let status = created.restrict_self()?;
    if status.ruleset == RulesetStatus::FullyEnforced {
        Ok(())
    } else {
        Err(LandlockError::Partial)
    }
}

fn access(rights: Rights) -> BitFlags<AccessFs> {
    match rights {
        Rights::Read | Rights::ReadThis => AccessFs::ReadFile | AccessFs::ReadDir,
        Rights::All => AccessFs::from_all(LANDLOCK_ABI),
        Rights::Own => AccessFs::from_all(LANDLOCK_ABI) & !AccessFs::Execute,
        Rights::Execute => AccessFs::Execute | AccessFs::ReadFile,
        Rights::Make => {
            AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::RemoveFile
                | AccessFs::Refer
        }
        Rights::Fill => access(Rights::Make) | AccessFs::RemoveDir,
        Rights::Files => access(Rights::Read) | access(Rights::Make) | access(Rights::Rename),
        Rights::Programs => access(Rights::Files) | AccessFs::Execute,
        Rights::Rename => {
            AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::MakeSym
                | AccessFs::RemoveFile
                | AccessFs::RemoveDir
                | AccessFs::Refer
        }
    }
}

/// Becomes `uid`:`uid` of the caller's own user namespace, in which nothing else is mapped; the
/// capabilities that it has there stay until [`drop_capabilities`].
///
/// # Errors
/// The kernel's refusal.
pub fn enter_user(uid: u32) -> Result<(), KernelError> {
    set_ids(uid)
}

/// Gives up every capability in every set, for ever.
///
/// # Errors
/// The step that the kernel refused.
pub fn drop_capabilities() -> Result<(), KernelError> {
    drop_from_bounding_set(CapabilitySet::empty())?;
    clear_capabilities()
}

/// Gives up every capability that it has, but not what an execve(2) could give.
///
/// # Errors
/// The step that the kernel refused.
pub fn clear_capabilities() -> Result<(), KernelError> {
    let failed =
        |step: &'static str| move |errno| KernelError::new(step, "every capability", errno);
    rustix::thread::clear_ambient_capability_set().map_err(failed("PR_CAP_AMBIENT"))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(failed("capset"))
}

fn drop_from_bounding_set(kept: CapabilitySet) -> Result<(), KernelError> {
    for number in 0..64_u64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if CapabilitySet::all().contains(one) && !kept.contains(one) {
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // beyond the kernel's last capability there is none
                Err(rustix::io::Errno::INVAL) => break,
                Err(errno) => return Err(KernelError::new("PR_CAPBSET_DROP", number, errno)),
            }
        }
    }
    Ok(())
}

/// Sets a resource limit, soft and hard alike (setrlimit(2)).
///
/// # Errors
/// The kernel's refusal.
pub fn limit(resource: Resource, value: u64) -> Result<(), KernelError> {
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    rustix::process::setrlimit(resource, limit)
        .map_err(|errno| KernelError::new("setrlimit", value, errno))
}

/// Forbids gaining rights by execve(2), for this process and all that come from it.
///
/// # Errors
/// The kernel's refusal.
pub fn no_new_privileges() -> Result<(), KernelError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| KernelError::new("PR_SET_NO_NEW_PRIVS", "", errno))
}

/// The version of Landlock that the running kernel offers; 0 when it offers none.
#[must_use]
pub fn landlock_version() -> i32 {
    const VERSION_FLAG: u32 = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the kernel wants a null attribute of size 0 and only returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION_FLAG) };
    i32::try_from(version).unwrap_or(0).max(0)
}
