//! From a description to a running process that holds what the description grants.

use super::description::{Connect, Description};
use crate::console;
use crate::error::{BootError, While};
use channel::Channel;
use contract::control::CONTROL_FD;
use contract::limits::CAGES_MEMORY_QUARTERS;
use linux::confine::{self, Domain, LandlockError, Reach, Rights};
use linux::seccomp::Filter;
use linux::{process, signal};
use rustix::net::SocketFlags;
use rustix::process::{Pid, Resource};
use rustix::thread::CapabilitySet;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

/// The cgroup under which every service has its own.
const CGROUPS: &str = "/sys/fs/cgroup/services";
/// Their share of the processors beside that of all cages, which is 100 (cgroup-v2.rst, cpu.weight).
const SERVICES_WEIGHT: &str = "1000";
/// Every controller of ring two.
const CONTROLLERS: &str = "+cpu +io +memory +pids";

/// Makes the cgroups that services and cages live in, with every controller of ring two.
pub(super) fn prepare_cgroups() -> Result<(), BootError> {
    controllers("/sys/fs/cgroup")?;
    std::fs::create_dir_all(CGROUPS).during("make cgroup", CGROUPS)?;
    // what every call needs goes before any one call
    bound(&format!("{CGROUPS}/cpu.weight"), SERVICES_WEIGHT)?;
    controllers(CGROUPS)
}

/// Hands every controller on to the cgroups below.
#[cfg(not(feature = "development"))]
fn controllers(cgroup: &str) -> Result<(), BootError> {
    let control = format!("{cgroup}/cgroup.subtree_control");
    std::fs::write(&control, CONTROLLERS).during("write", &control)
}

/// Hands those on that the host has; `dev_root` has named the others.
#[cfg(feature = "development")]
fn controllers(cgroup: &str) -> Result<(), BootError> {
    let control = format!("{cgroup}/cgroup.subtree_control");
    let there = std::fs::read_to_string(format!("{cgroup}/cgroup.controllers"));
    let there = there.during("read", cgroup)?;
    for name in there.split_whitespace().filter(|name| CONTROLLERS.contains(name)) {
        std::fs::write(&control, format!("+{name}")).during("write", &control)?;
    }
    Ok(())
}

/// Sets one bound of a cgroup.
fn bound(file: &str, value: &str) -> Result<(), BootError> {
    if cfg!(feature = "development") && !std::path::Path::new(file).exists() {
        return Ok(());
    }
    std::fs::write(file, value).during("limit", file)
}

/// Starts the service; returns its process and init's end of its control socket.
pub(super) fn start(service: &Description) -> Result<(Pid, Channel), BootError> {
    kill_all(service);
    let cgroup = make_cgroup(service)?;
    if let Some(name) = &service.delegated_cgroup {
        delegate_cgroup(name, service.uid)?;
    }
    service.owns.iter().try_for_each(|path| give(path, service.uid))?;
    for device in service.devices.iter().filter(|path| std::path::Path::new(path).exists()) {
        std::os::unix::fs::chown(device, Some(service.uid), Some(service.uid))
            .during("chown", device)?;
    }
    let (ours, theirs) =
        Channel::pair(SocketFlags::empty()).during("make control socket", &service.name)?;
    rustix::io::ioctl_fionbio(&ours, true).during("make control socket", &service.name)?;
    let (name, child_cgroup) = (service.name.clone(), cgroup);
    let become_service = move || become_service(service, &child_cgroup, theirs);
    let report = move |error: &BootError| console::note(&format!("start {name}: {error}"));
    let pid = process::spawn(become_service, report)?;
    Ok((pid, Channel::new(ours)))
}

/// Makes a directory that is the service's own, readable by nobody else.
fn give(path: &str, uid: u32) -> Result<(), BootError> {
    std::fs::create_dir_all(path).during("make directory", path)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(path, mode).during("chmod", path)?;
    std::os::unix::fs::chown(path, Some(uid), Some(uid)).during("chown", path)
}

/// Kills every process of the service, its own children included.
pub(super) fn kill_all(service: &Description) {
    drop(std::fs::write(format!("{CGROUPS}/{}/cgroup.kill", service.name), "1"));
}

/// Memory of the service's own: anonymous pages, without the files that the kernel caches for it.
pub(super) fn memory_bytes(name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("{CGROUPS}/{name}/memory.stat")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("anon "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// A cgroup of the service's own, made anew for each start. An old one would do for the service, but
/// not for what it starts: once a cgroup was killed, Linux (6.12.14 and later, seen with 6.12.107 and
/// 6.18) kills each child that a process in it makes in another cgroup by CLONE_INTO_CGROUP, since it
/// compares how often the one and the other were killed.
fn make_cgroup(service: &Description) -> Result<String, BootError> {
    let path = format!("{CGROUPS}/{}", service.name);
    if std::path::Path::new(&path).exists() {
        remove_cgroup(std::path::Path::new(&path))?;
    }
    std::fs::create_dir_all(&path).during("make cgroup", &path)?;
    for (file, value) in
        [("memory.max", service.limits.memory_bytes_max), ("pids.max", service.limits.tasks_max)]
    {
        bound(&format!("{path}/{file}"), &value.to_string())?;
    }
    Ok(path)
}

/// Gives a service a cgroup of its own to make others in. What an earlier run left there is killed
/// first: nothing of it may act beside the new one.
fn delegate_cgroup(name: &str, uid: u32) -> Result<(), BootError> {
    let path = format!("/sys/fs/cgroup/{name}");
    std::fs::create_dir_all(&path).during("make cgroup", &path)?;
    std::fs::write(format!("{path}/cgroup.kill"), "1").during("empty cgroup", &path)?;
    for left in std::fs::read_dir(&path).during("list", &path)?.flatten() {
        if left.path().is_dir() {
            remove_cgroup(&left.path())?;
        }
    }
    controllers(&path)?;
    // its owner reserves for what it makes there; this holds whatever becomes of that
    let memory_bytes = linux::memory::machine_bytes().ok_or_else(|| {
        BootError::new("limit", &path, "the kernel does not say what memory it has")
    })?;
    let ceiling = memory_bytes / 4 * CAGES_MEMORY_QUARTERS;
    bound(&format!("{path}/memory.max"), &ceiling.to_string())?;
    for file in ["", "/cgroup.procs", "/cgroup.subtree_control"] {
        let file = format!("{path}{file}");
        std::os::unix::fs::chown(&file, Some(uid), Some(uid)).during("chown", &file)?;
    }
    Ok(())
}

/// Removes a killed cgroup; its last processes may take a moment to be gone.
fn remove_cgroup(path: &std::path::Path) -> Result<(), BootError> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if std::fs::remove_dir(path).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(BootError::new("remove cgroup", path.display(), "its processes do not end"))
}

/// In the child: gives everything up, step by step, and executes the program.
fn become_service(
    service: &Description,
    cgroup: &str,
    control: OwnedFd,
) -> Result<Infallible, BootError> {
    std::fs::write(format!("{cgroup}/cgroup.procs"), "0").during("enter", cgroup)?;
    rustix::process::setsid().during("setsid", "")?;
    signal::unblock_all()?;
    // the log's file first: with it open, no other descriptor can land on the numbers below
    let null = File::open("/dev/null").during("open", "/dev/null")?;
    let log = console::open_now("/dev/kmsg").during("open", "/dev/kmsg")?;
    let filter = Filter::allow(&service.syscalls).during("filter", &service.name)?;
    let kept = capabilities(service)?;
    let program = CString::new(service.program.as_str()).during("execute", &service.program)?;
    process::place(control, CONTROL_FD)?;
    process::place(log.try_clone().during("copy", "log")?.into(), 2)?;
    process::place(log.into(), 1)?;
    process::place(null.into(), 0)?;
    process::close_from(4)?;
    confine::limit(Resource::Nofile, service.limits.open_files_max)?;
    confine::limit(Resource::Core, 0)?;
    confine::no_new_privileges()?;
    if !service.files.mounts {
        enter_domain(service).during("confine", &service.name)?;
    }
    confine::become_user(service.uid, kept)?;
    if cfg!(feature = "development") {
        let signal = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(signal).during("prctl", "PDEATHSIG")?;
    }
    filter.install().during("confine", &service.name)?;
    Ok(process::execute(&program, std::slice::from_ref(&program))?)
}

fn capabilities(service: &Description) -> Result<CapabilitySet, BootError> {
    let mut kept = CapabilitySet::empty();
    for name in &service.capabilities {
        let one = confine::capability(name);
        kept |= one.ok_or_else(|| BootError::new("capability", name, "there is none like this"))?;
    }
    Ok(kept)
}

fn enter_domain(service: &Description) -> Result<(), LandlockError> {
    let domain = match service.tcp.connect {
        Connect::Word(_any) => Domain::prepare_connecting()?,
        Connect::Ports(_) => Domain::prepare()?,
    };
    domain.enter(&reach(service))
}

fn reach(service: &Description) -> Reach {
    let each = |paths: &[String], rights| -> Vec<(String, Rights)> {
        paths.iter().map(|path| (path.clone(), rights)).collect()
    };
    let mut files = each(std::slice::from_ref(&service.program), Rights::Execute);
    files.extend(each(&service.files.read, Rights::Read));
    files.extend(each(&service.files.write, Rights::Own));
    Reach {
        files,
        programs: Vec::new(),
        bind_tcp: service.tcp.bind.clone(),
        connect_tcp: match &service.tcp.connect {
            Connect::Word(_any) => Vec::new(),
            Connect::Ports(ports) => ports.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::description::{AnyPort, load};
    use linux::cage::Namespace;
    use rustix::thread::LinkNameSpaceType;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    /// The description of egress in this tree, of which a test may run no program and has no directory.
    fn egress(connect: Connect) -> Description {
        let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/../mkosi.extra/usr/lib/kruxos");
        let plan = load(&format!("{tree}/services"), &format!("{tree}/edges.toml")).unwrap();
        let mut egress = plan.services.into_iter().find(|one| one.name == "egress").unwrap();
        assert_eq!(egress.tcp.connect, Connect::Word(AnyPort::Any));
        egress.program = "/dev/null".to_owned();
        egress.files.write.clear();
        egress.tcp.connect = connect;
        egress
    }

    /// In a network of its own, behind the domain and the filter of the service: whether it connects, is
    /// answered by UDP, and binds a port.
    fn tries(service: Description) -> [Result<(), ErrorKind>; 3] {
        let work = move || {
            let host = Namespace::of(None, LinkNameSpaceType::Network).unwrap();
            Namespace::enter_new_network().unwrap();
            let home = Namespace::of(None, LinkNameSpaceType::Network).unwrap();
            assert!(!home.is(&host), "this is the machine's own network");
            linux::netlink::loopback_up().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let there = listener.local_addr().unwrap();
            let server = UdpSocket::bind("[::1]:0").unwrap();
            let asked = server.local_addr().unwrap();
            confine::no_new_privileges().unwrap();
            enter_domain(&service).unwrap();
            Filter::allow(&service.syscalls).unwrap().install().unwrap();
            let connected = TcpStream::connect_timeout(&there, Duration::from_secs(5)).map(drop);
            let answered = UdpSocket::bind("[::]:0").and_then(|socket| {
                socket.set_read_timeout(Some(Duration::from_secs(5)))?;
                socket.connect(asked)?;
                socket.send(b"who?")?;
                let mut question = [0; 8];
                let (length, from) = server.recv_from(&mut question)?;
                server.send_to(&question[..length], from)?;
                socket.recv(&mut question).map(drop)
            });
            let socket = rustix::net::socket(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::STREAM,
                None,
            );
            let bound = socket.and_then(|socket| {
                rustix::net::bind(
                    &socket,
                    &"127.0.0.1:7700".parse::<std::net::SocketAddr>().unwrap(),
                )
            });
            [connected, answered, bound.map_err(std::io::Error::from)]
                .map(|tried| tried.map_err(|e| e.kind()))
        };
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn egress_connects_to_any_port_and_asks_by_udp_and_binds_none() {
        let denied = Err(ErrorKind::PermissionDenied);
        assert_eq!(tries(egress(Connect::Word(AnyPort::Any))), [Ok(()), Ok(()), denied]);
        // the same with a list in which the port is not
        assert_eq!(tries(egress(Connect::Ports(vec![443]))), [denied, Ok(()), denied]);
    }
}
