//! An agent's place on DATA: two directories of its own user, under a project of the same number, so
//! that the file system counts what it uses and stops it at its quota.

use contract::perform::AgentPlace;
use linux::KernelError;
use linux::ext4;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

/// The spec that asks for it; no agent can call this.
pub(crate) const CAPABILITY: &str = "agent.make@1";
const AGENTS: &str = "/data/agents";
/// All agents together have this much of DATA, in percent; one has at most half of that.
const SHARE_PERCENT: u64 = 70;

/// Makes what is not there yet.
pub(crate) fn make(agent: &AgentPlace) -> Result<&'static str, KernelError> {
    directory(AGENTS, 0o755)?;
    let home = format!("{AGENTS}/{}", agent.name);
    let opened = directory(&home, 0o755)?;
    set_project(&opened, agent.disk_uid)?;
    for name in ["workspace", "trash"] {
        let path = format!("{home}/{name}");
        let opened = directory(&path, 0o700)?;
        set_project(&opened, agent.disk_uid)?;
        rustix::fs::fchown(
            &opened,
            Some(rustix::fs::Uid::from_raw(agent.disk_uid)),
            Some(rustix::fs::Gid::from_raw(agent.disk_uid)),
        )
        .map_err(|errno| KernelError::new("fchown", &path, errno))?;
    }
    let status = rustix::fs::statvfs("/data")
        .map_err(|errno| KernelError::new("statvfs", "/data", errno))?;
    let bytes = status.f_blocks.saturating_mul(status.f_frsize) / 100 * SHARE_PERCENT / 2;
    if !cfg!(feature = "development") {
        ext4::set_project_quota(&opened, agent.disk_uid, bytes)?;
    }
    rustix::fs::fsync(&opened).map_err(|errno| KernelError::new("fsync", &home, errno))?;
    Ok("ok")
}

fn set_project(directory: &OwnedFd, project: u32) -> Result<(), KernelError> {
    if cfg!(feature = "development") {
        return Ok(()); // a host's file system need not have projects
    }
    ext4::set_project(directory, project)
}

/// Tells the door how it went.
pub(crate) fn answer(fds: [OwnedFd; 2], code: &str) {
    let [_, pipe] = fds;
    File::from(pipe).write_all(format!("{{\"code\":\"{code}\"}}").as_bytes()).ok();
}

fn directory(path: &str, mode: u32) -> Result<OwnedFd, KernelError> {
    match mkdirat(CWD, path, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(KernelError::new("mkdir", path, errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|errno| KernelError::new("open", path, errno))
}
