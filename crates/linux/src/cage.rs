//! What a cage is made with: a child in namespaces of its own, born inside its cgroup (clone3(2)),
//! its id maps (user_namespaces(7)), its idmapped view of a directory (mount_setattr(2)), and
//! stepping into namespaces and back (setns(2)).

use crate::{KernelError, last_errno};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Every namespace of a cage: its name in `/proc/PID/ns`, its flag of clone3(2).
pub const NAMESPACES: [(&str, u64); 8] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("mnt", 0x0002_0000),
    ("net", 0x4000_0000),
    ("pid", 0x2000_0000),
    ("time", 0x80),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
];
const INTO_CGROUP: u64 = 0x2_0000_0000;
const PIDFD: u64 = 0x1000;

/// `struct clone_args` of linux/sched.h, version 2 (88 bytes).
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A child in a cage's namespaces.
#[derive(Debug)]
pub struct Child {
    /// Its process id, seen from outside.
    pub pid: Pid,
    /// A file that becomes readable when it ends, and names it for ever.
    pub pidfd: OwnedFd,
}

/// Forks a child into new namespaces, a sum of flags of [`NAMESPACES`], and into the cgroup behind
/// `cgroup`, or that of its parent; the child runs `inside`, which only ever returns to report why it
/// failed.
///
/// # Errors
/// The kernel's refusal, or `EINVAL` with a second thread, whose locks the child would inherit.
pub fn spawn_in_namespaces<E: std::fmt::Display>(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    inside: impl FnOnce() -> Result<Infallible, E>,
    report: impl FnOnce(&E),
) -> Result<Child, KernelError> {
    let mut pidfd: i32 = -1;
    let mut arguments = CloneArguments {
        flags: namespaces | PIDFD | cgroup.map_or(0, |_| INTO_CGROUP),
        pidfd: u64::try_from((&raw mut pidfd).addr()).unwrap_or(0),
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        cgroup: cgroup.map_or(0, |file| u64::from(file.as_raw_fd().cast_unsigned())),
        ..CloneArguments::default()
    };
    let pid = clone3(&mut arguments)?;
    let Some(pid) = pid else {
        match inside() {
            Ok(never) => match never {},
            Err(error) => {
                report(&error);
                crate::process::leave(127)
            }
        }
    };
    // SAFETY: the kernel stored a new descriptor, which nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Forks as `arguments` say; `None` in the child.
fn clone3(arguments: &mut CloneArguments) -> Result<Option<Pid>, KernelError> {
    crate::process::require_one_thread()?;
    let size = size_of::<CloneArguments>();
    // SAFETY: 1. `arguments` is the kernel's structure, initialised, and outlives the call. 2. The one
    // pointer in it, if any, is to the caller's `pidfd`, which outlives the call. 3. Without CLONE_VM
    // and with stack 0 the child continues on a copy of this stack, like fork; the process has one
    // thread (checked above), so the copy holds no foreign lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(arguments), size) };
    if pid < 0 {
        return Err(KernelError::new("clone3", "", last_errno()));
    }
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// Writes the id maps of a child's user namespace: `inside` there is `outside` here, one id each.
///
/// # Errors
/// The kernel's refusal; maps are written once in a namespace's life.
pub fn map_ids(pid: Pid, inside: u32, outside: u32) -> Result<(), KernelError> {
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let map = format!("{inside} {outside} 1\n");
    for (file, content) in [("setgroups", "deny"), ("gid_map", &map), ("uid_map", &map)] {
        std::fs::write(format!("{folder}/{file}"), content).map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            KernelError::new(
                "write",
                format!("{file} `{}`", content.trim()),
                errno.unwrap_or(rustix::io::Errno::IO),
            )
        })?;
    }
    Ok(())
}

/// A detached copy of the mount at `directory` in which owner `from` on the disk is `to`, and which
/// allows neither set-user-id programs nor devices, nor executing anything unless `executable`, nor
/// writing unless `writable`.
///
/// `users` is a user namespace whose map is `from to 1` (made by [`id_map_namespace`]).
///
/// # Errors
/// The kernel's refusal: a file system that knows no idmapped mounts.
pub fn idmapped(
    directory: &str,
    users: BorrowedFd<'_>,
    writable: bool,
    executable: bool,
) -> Result<OwnedFd, KernelError> {
    let failed = |errno| KernelError::new("open_tree", directory, errno);
    let tree = clone_of(directory).map_err(failed)?;
    let read_only = if writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    let no_programs = libc::MOUNT_ATTR_NOEXEC;
    let (set, cleared) = if executable { (0, no_programs) } else { (no_programs, 0) };
    let set = set | read_only | SAFE | libc::MOUNT_ATTR_IDMAP;
    set_attributes(tree.as_fd(), set, cleared, users.as_raw_fd(), directory)?;
    Ok(tree)
}

/// A detached, read-only copy of the mount at `directory` from which programs can be executed, with
/// neither set-user-id nor devices nor links; `None` where there is no such directory.
///
/// # Errors
/// The kernel's refusal.
pub fn programs(directory: &str) -> Result<Option<OwnedFd>, KernelError> {
    let tree = match clone_of(directory) {
        Ok(tree) => tree,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(KernelError::new("open_tree", directory, errno)),
    };
    let set = SAFE | libc::MOUNT_ATTR_RDONLY;
    set_attributes(tree.as_fd(), set, libc::MOUNT_ATTR_NOEXEC, 0, directory)?;
    Ok(Some(tree))
}

/// What no mount in a cage allows.
const SAFE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSYMFOLLOW;

fn clone_of(directory: &str) -> rustix::io::Result<OwnedFd> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(rustix::fs::CWD, directory, flags)
}

fn set_attributes(
    tree: BorrowedFd<'_>,
    attr_set: u64,
    attr_clr: u64,
    users: std::os::fd::RawFd,
    directory: &str,
) -> Result<(), KernelError> {
    let userns_fd = u64::from(users.cast_unsigned());
    let mut attributes = libc::mount_attr { attr_set, attr_clr, propagation: 0, userns_fd };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: 1. `tree` is open, and so is `users` where an id map is set. 2. The path is an empty C
    // string, used with AT_EMPTY_PATH. 3. `attributes` is the kernel's structure of `size` bytes and
    // outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw mut attributes,
            size,
        )
    };
    if result < 0 {
        Err(KernelError::new("mount_setattr", directory, last_errno()))
    } else {
        Ok(())
    }
}

/// A user namespace that maps `inside` to `outside` and nothing else, held by its file alone.
///
/// # Errors
/// The kernel's refusal.
pub fn id_map_namespace(inside: u32, outside: u32) -> Result<OwnedFd, KernelError> {
    let user = NAMESPACES.iter().filter(|(name, _)| *name == "user").map(|(_, flag)| flag).sum();
    // the child is only there so that its namespace can be opened; it waits to be killed
    let wait = || -> Result<Infallible, Infallible> {
        loop {
            std::thread::park();
        }
    };
    let pid = spawn_in_namespaces(user, None, wait, |_never| {})?.pid;
    let mapped = map_ids(pid, inside, outside);
    let namespace = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
    let file = File::open(&namespace);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).ok();
    mapped?;
    file.map(OwnedFd::from)
        .map_err(|_gone| KernelError::new("open", namespace, rustix::io::Errno::NOENT))
}

/// A namespace, held open by its file: it can be entered after its processes are gone.
#[derive(Debug)]
pub struct Namespace {
    file: OwnedFd,
    kind: LinkNameSpaceType,
}

/// unshare(2) of namespaces that take nothing from open files, memory or signals of the process.
fn unshare(flag: libc::c_int, what: &str) -> Result<(), KernelError> {
    // SAFETY: one integer, and only CLONE_NEWNET and CLONE_NEWNS are passed: neither unshares the
    // table of open files, which is what makes unshare(2) a danger to other code.
    if unsafe { libc::unshare(flag) } == 0 {
        Ok(())
    } else {
        Err(KernelError::new("unshare", what, last_errno()))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Namespace {
    /// Opens a namespace of the process `pid`, or of the caller.
    ///
    /// # Errors
    /// The kernel's refusal, or a process that is gone.
    pub fn of(pid: Option<Pid>, kind: LinkNameSpaceType) -> Result<Self, KernelError> {
        let process = pid.map_or("thread-self".to_owned(), |p| p.as_raw_nonzero().to_string());
        let name = if kind == LinkNameSpaceType::Mount { "mnt" } else { "net" };
        let path = format!("/proc/{process}/ns/{name}");
        match File::open(&path) {
            Ok(file) => Ok(Self { file: file.into(), kind }),
            Err(error) => {
                let errno = rustix::io::Errno::from_io_error(&error);
                Err(KernelError::new("open", path, errno.unwrap_or(rustix::io::Errno::IO)))
            }
        }
    }

    /// Whether both files name one namespace.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let number =
            |namespace: &Self| rustix::fs::fstat(&namespace.file).map(|s| (s.st_dev, s.st_ino));
        match (number(self), number(other)) {
            (Ok(one), Ok(two)) => one == two,
            // what cannot be told apart is taken for the same, which every caller refuses
            _ => true,
        }
    }

    /// Makes a new network namespace and goes into it for good.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn enter_new_network() -> Result<(), KernelError> {
        unshare(libc::CLONE_NEWNET, "network")
    }

    /// Makes a new network namespace with nobody in it, which lasts while its file is open; the caller
    /// stays in `home`, its own. When coming back fails the process ends at once.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn new_network(home: &Self) -> Result<Self, KernelError> {
        unshare(libc::CLONE_NEWNET, "network")?;
        home.left_for(|| Self::of(None, LinkNameSpaceType::Network))
    }

    /// Makes a new mount namespace with nobody in it, a private copy of the caller's mounts of which
    /// `make` makes what they are to be; it lasts while its file is open. The caller stays in `home`, its
    /// own. When coming back fails the process ends at once.
    ///
    /// # Errors
    /// The kernel's refusal, or what `make` returned.
    pub fn new_mounts(
        home: &Self,
        make: impl FnOnce() -> Result<(), KernelError>,
    ) -> Result<Self, KernelError> {
        use rustix::mount::{MountPropagationFlags, mount_change};
        unshare(libc::CLONE_NEWNS, "mounts")?;
        home.left_for(|| {
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).map_err(|errno| KernelError::new("mount", "/", errno))?;
            // while /proc is there
            let made = Self::of(None, LinkNameSpaceType::Mount)?;
            make()?;
            Ok(made)
        })
    }

    /// Runs `work` in a namespace that was entered, then comes back to this one, the caller's own.
    fn left_for<T>(&self, work: impl FnOnce() -> T) -> T {
        let outcome = work();
        if self.enter().is_err() {
            crate::process::leave(70);
        }
        outcome
    }

    /// Moves this process into a mount namespace of its own.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn enter_new_mounts() -> Result<(), KernelError> {
        unshare(libc::CLONE_NEWNS, "mounts")
    }

    /// Goes into this namespace for good.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn enter(&self) -> Result<(), KernelError> {
        move_into_link_name_space(self.file.as_fd(), Some(self.kind))
            .map_err(|errno| KernelError::new("setns", "for good", errno))
    }

    /// Runs `work` inside this namespace, then comes back to `home`, the caller's own of this kind.
    /// When coming back fails the process ends at once: it must not go on in a cage.
    ///
    /// # Errors
    /// The kernel's refusal to enter, or what `work` returned.
    pub fn inside<T, E: From<KernelError>>(
        &self,
        home: &Self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        move_into_link_name_space(self.file.as_fd(), Some(self.kind))
            .map_err(|errno| KernelError::new("setns", "into the cage", errno))?;
        home.left_for(work)
    }
}
