//! The child's side of a cage that is being built: every right given up, then the worker. It runs as a
//! copy of the forker until execve(2), and is cold of any agent throughout. And the root that it is born
//! under, which is made before it.

use crate::cage::Kind;
use crate::cut::PROGRAM;
use crate::error::CageError;
use crate::rings::Ring;
use capabilities::Class;
use channel::Channel;
use contract::perform::FILE_BYTES_MAX;
use linux::confine::{self, Reach, Rights};
use linux::seccomp::Filter;
use linux::{KernelError, process};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Resource;
use std::convert::Infallible;
use std::os::fd::OwnedFd;

/// The user inside a cage, but for an admin's.
pub(crate) const UID: u32 = 1100;
/// Where the forker attaches an agent's files, by what a call sees of them.
pub(crate) const WORKSPACE: &str = "/workspace";
pub(crate) const WITH_TRASH: &str = "/agent";
/// Most files that a worker has open.
const OPEN_FILES_MAX: u64 = 32;

/// Becomes the worker; returns only to say why not.
pub(crate) fn become_worker(
    socket: OwnedFd,
    worker: OwnedFd,
    kind: &Kind,
    filter: &Filter,
    user: u32,
) -> Result<Infallible, CageError> {
    let channel = Channel::new(socket);
    channel.receive()?.open(|_: &u8| 0)?; // maps are there
    confine::enter_user(user)?;
    if kind.rings.have(Ring::Namespace("uts")) {
        let failed = |errno| KernelError::new("sethostname", "cage", errno);
        rustix::system::sethostname(b"cage").map_err(failed)?;
    }
    rustix::process::setsid().map_err(|errno| KernelError::new("setsid", "", errno))?;
    linux::signal::unblock_all()?;
    confine::limit(Resource::Core, 0)?;
    confine::limit(Resource::Fsize, FILE_BYTES_MAX)?;
    confine::no_new_privileges()?;
    let wanted = |error: confine::LandlockError| CageError::Confine(error.to_string());
    if kind.rings.have(Ring::Landlock) {
        let copy = worker.try_clone();
        let copy = copy.map_err(|e| CageError::File("copy", "worker".to_owned(), e))?;
        confine::landlock(&base(copy, kind)).map_err(wanted)?;
    }
    // the bounding set is a user namespace's own to drop from
    if kind.rings.have(Ring::Namespace("user")) {
        confine::drop_capabilities()?;
    } else {
        confine::clear_capabilities()?;
    }
    // 0 is /dev/null; 1 and 2 must not stay the box's log
    let null = || rustix::io::dup(rustix::stdio::stdin());
    for number in [1, 2] {
        let null = null().map_err(|errno| KernelError::new("dup", "/dev/null", errno))?;
        process::place(null, number)?;
    }
    process::place(channel.into_socket(), 3)?;
    process::place(worker, 4)?;
    process::close_from(5)?;
    // only now: those of the cages beside this one counted as long as they were open here
    confine::limit(Resource::Nofile, OPEN_FILES_MAX)?;
    if kind.rings.have(Ring::Seccomp) {
        filter.install()?;
    }
    Ok(process::execute_open(4, c"worker")?)
}

/// Ring four before there is a call: what any call may be granted, of which the worker keeps that
/// call's part. The rule is on the root, since a walk up from a file passes over the directory on
/// which its file system is mounted.
fn base(worker: OwnedFd, kind: &Kind) -> Reach {
    let rights = match kind.class {
        Class::Code | Class::Direct => Rights::All,
        Class::Program => Rights::Programs,
        Class::Pure | Class::Files | Class::Network => Rights::Files,
    };
    let files = vec![("/".to_owned(), rights)];
    let connect_tcp = kind.direct.as_ref().map_or(Vec::new(), |direct| direct.ports.clone());
    Reach { files, programs: vec![worker], connect_tcp, ..Reach::default() }
}

/// Ring one's files: an empty, read-only tmpfs as root, with mount points, the links by which a program
/// finds its libraries once it is mounted, and nothing else. For a mount namespace that is new.
pub(crate) fn make_root() -> Result<(), KernelError> {
    use rustix::mount::{mount, mount_remount, unmount};
    let failed = |what: &'static str| move |errno| KernelError::new(what, "cage root", errno);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", "/run", "tmpfs", flags, Some(c"size=64k,nr_inodes=16,mode=0755"))
        .map_err(failed("mount"))?;
    for place in [WORKSPACE, WITH_TRASH, PROGRAM] {
        rustix::fs::mkdir(format!("/run{place}"), rustix::fs::Mode::from_raw_mode(0o755))
            .map_err(failed("mkdir"))?;
    }
    for link in ["lib", "lib64"] {
        rustix::fs::symlink(format!("usr/{link}"), format!("/run/{link}"))
            .map_err(failed("symlink"))?;
    }
    let fixed = flags | MountFlags::BIND | MountFlags::RDONLY;
    mount_remount("/run", fixed, c"").map_err(failed("remount"))?;
    rustix::process::chdir("/run").map_err(failed("chdir"))?;
    rustix::process::pivot_root(".", ".").map_err(failed("pivot_root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(failed("umount2"))?;
    rustix::process::chdir("/").map_err(failed("chdir"))
}
