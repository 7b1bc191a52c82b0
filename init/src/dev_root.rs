//! A root of its own for development: the services see the paths that they see on a box, and of the
//! host nothing but the kernel's own file systems.

use crate::error::{BootError, While};
use crate::{Words, root_of};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Programs of the services, by their names in /usr/bin.
const PROGRAMS: [&str; 9] =
    ["audit", "console", "egress", "forker", "gateway", "net", "pdp", "vault", "worker"];
const POLICIES: [&str; 5] = ["invariants", "personal", "restricted", "system", "team"];
const CGROUPS: &str = "kruxos-dev";
/// Where services' lines come from: they write to what is the kernel's log on a box.
const LOG: &str = "/dev/kmsg";

/// Enters new namespaces and the new root; returns what of the rings this host does not have.
pub(crate) fn enter(words: &Words) -> Result<Vec<String>, BootError> {
    let Words { programs, tree, data, toolbox, .. } = words;
    let before = std::fs::read_link("/proc/self/ns/net").during("read", "/proc/self/ns/net")?;
    linux::cage::Namespace::enter_new_network()?;
    let after = std::fs::read_link("/proc/self/ns/net").during("read", "/proc/self/ns/net")?;
    if before == after {
        return Err(BootError::new("unshare", "the network", "it is still the host's"));
    }
    linux::cage::Namespace::enter_new_mounts()?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).during("mount", "/")?;
    let root = root_of(data);
    for folder in ["dev", "proc", "sys", "run", "data", "ledger", "state", "toolbox", "usr/bin"] {
        let path = root.join(folder);
        std::fs::create_dir_all(&path).during("make directory", path.display())?;
    }
    mount_bind(&root, &root).during("mount", root.display())?;
    let bind = |from: &Path, to: &Path| {
        if !to.exists() {
            File::create(to).during("make", to.display())?;
        }
        mount_bind(from, to).during("mount", to.display())
    };
    for program in PROGRAMS {
        bind(&programs.join(program), &root.join("usr/bin").join(program))?;
    }
    if toolbox.is_dir() {
        let place = root.join("toolbox");
        mount_bind(toolbox, &place).during("mount", toolbox.display())?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
        rustix::mount::mount_remount(&place, flags | MountFlags::NOEXEC, c"")
            .during("mount", toolbox.display())?;
    }
    copy_facts(tree, &root.join("usr/lib/kruxos"))?;
    for name in ["data", "ledger", "state"] {
        let kept = data.join(name);
        std::fs::create_dir_all(&kept).during("make directory", kept.display())?;
        mount_bind(&kept, root.join(name)).during("mount", name)?;
    }
    mount_bind_recursive("/proc", root.join("proc")).during("mount", "/proc")?;
    mount_bind_recursive("/sys", root.join("sys")).during("mount", "/sys")?;
    for device in ["null", "urandom"] {
        bind(&Path::new("/dev").join(device), &root.join("dev").join(device))?;
    }
    for device in ["tty1", "console"] {
        bind(Path::new("/dev/null"), &root.join("dev").join(device))?;
    }
    let log = root.join("dev/kmsg");
    std::fs::remove_file(&log).ok();
    let mode = rustix::fs::Mode::from_raw_mode(0o622);
    rustix::fs::mkfifoat(rustix::fs::CWD, &log, mode).during("make", log.display())?;
    // whoever a child has become may still say why it ends
    rustix::fs::chmod(&log, mode).during("chmod", log.display())?;
    let missing = cgroups(&root.join("sys/fs/cgroup"))?;
    rustix::process::chdir(&root).during("chdir", root.display())?;
    rustix::process::pivot_root(".", ".").during("pivot_root", root.display())?;
    unmount(".", UnmountFlags::DETACH).during("unmount", "the host's root")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", "/run", "tmpfs", flags, Some(c"mode=0755,size=16m")).during("mount", "/run")?;
    Ok(missing)
}

/// Descriptions, edges and policies, as the image holds them.
fn copy_facts(tree: &Path, to: &Path) -> Result<(), BootError> {
    let from = tree.join("mkosi.extra/usr/lib/kruxos");
    let copy =
        |from: &Path, to: &Path| std::fs::copy(from, to).map(drop).during("copy", from.display());
    for folder in ["services", "policies"] {
        let path = to.join(folder);
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).during("make directory", path.display())?;
    }
    copy(&from.join("edges.toml"), &to.join("edges.toml"))?;
    let services = from.join("services");
    for entry in std::fs::read_dir(&services).during("list", services.display())?.flatten() {
        copy(&entry.path(), &to.join("services").join(entry.file_name()))?;
    }
    // a host's own clock is believed, whatever was built when
    std::fs::write(to.join("built"), "0\n").during("write", to.join("built").display())?;
    for policy in POLICIES {
        let name = format!("{policy}.yaml");
        copy(&tree.join("policies").join(&name), &to.join("policies").join(&name))?;
    }
    Ok(())
}

/// A part of the host's version 2 hierarchy as the whole one; returns which controllers it lacks.
fn cgroups(at: &Path) -> Result<Vec<String>, BootError> {
    let host = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|path| Path::new(path).join("cgroup.controllers").exists());
    let host = host.ok_or_else(|| BootError::new("find", "cgroup v2", "the host has none"))?;
    let ours = Path::new(host).join(CGROUPS);
    std::fs::create_dir_all(&ours).during("make cgroup", ours.display())?;
    mount_bind(&ours, at).during("mount", at.display())?;
    let there = std::fs::read_to_string(ours.join("cgroup.controllers")).unwrap_or_default();
    let there: Vec<&str> = there.split_whitespace().collect();
    let wanted = ["cpu", "io", "memory", "pids"];
    let missing = wanted.iter().filter(|name| !there.contains(*name));
    let mut missing: Vec<String> =
        missing.map(|name| format!("the {name} cap of a cage and of a service")).collect();
    missing.push("project quotas of agents' files".to_owned());
    missing.push("the verified root".to_owned());
    Ok(missing)
}

/// A process that repeats what services say.
pub(crate) fn start_log() -> Result<(), BootError> {
    let repeat = || -> Result<std::convert::Infallible, BootError> {
        die_with_parent()?;
        // open for writing too: without a writer a pipe ends
        let log = File::options().read(true).write(true).open(LOG).during("open", LOG)?;
        for line in BufReader::new(log).lines() {
            crate::say(line.during("read", LOG)?.trim_start_matches("<6>kruxos: "));
        }
        Err(BootError::new("read", LOG, "it ended"))
    };
    linux::process::spawn(repeat, |_error| {})?;
    Ok(())
}

/// A helper process ends when the one that started it does.
pub(crate) fn die_with_parent() -> Result<(), BootError> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).during("prctl", "PR_SET_PDEATHSIG")
}
