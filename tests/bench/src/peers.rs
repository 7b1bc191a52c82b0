//! What others take to start one program that ends at once, each in its strongest plain form: the same
//! static program for all, run between the rounds of what it is compared with.

use crate::{Places, quantile, time};
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Runs of each peer in a round: the slowest takes 50 ms.
const RUNS: usize = 20;
/// crun wants a pure cgroup2 and says so on a host that has both: it gets one in a mount namespace of its
/// own, in which a shell starts it each time that a line is written.
const CRUN: &str = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup || exit 1
while read -r _; do crun --cgroup-manager=disabled run kruxos-bench >/dev/null 2>&1; echo $?; done";

/// What is started.
enum Start {
    /// A command of its own.
    Command(Vec<String>),
    /// A shell that starts it for each line.
    Shell(Child, ChildStdin, BufReader<ChildStdout>),
}

/// One peer, and how long its runs took.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    start: Start,
    took: Vec<f64>,
}

/// All of them that this host can run; why not, of the others, on standard error.
pub(crate) struct Peers(Vec<Peer>);

impl Peers {
    /// bubblewrap alone.
    pub(crate) fn bubblewrap(places: &Places) -> Self {
        Self(vec![bubblewrap(&places.nothing)])
    }

    /// bubblewrap, crun, runc and firejail; the first is always there.
    pub(crate) fn all(places: &Places) -> Result<Self> {
        let bundle = bundle(places)?;
        let nothing = places.nothing.display().to_string();
        let runc = ["runc", "run", "--bundle", &bundle.display().to_string(), "kruxos-bench"]
            .map(str::to_owned)
            .to_vec();
        let firejail = ["firejail", "--quiet", "--noprofile", "--net=none", "--private", &nothing]
            .map(str::to_owned)
            .to_vec();
        let mut peers = vec![bubblewrap(&places.nothing)];
        let others = [
            ("crun run, without its cgroup", shell(CRUN, &bundle)),
            ("runc run", Ok(Start::Command(runc))),
            ("firejail --net=none --private", Ok(Start::Command(firejail))),
        ];
        for (name, start) in others {
            let mut peer = Peer::new(name, start?);
            match peer.run() {
                Ok(()) => peers.push(peer),
                Err(error) => eprintln!("{name}: cannot be run here: {error:#}"),
            }
        }
        Ok(Self(peers))
    }

    /// A round of each.
    pub(crate) fn round(&mut self) -> Result<()> {
        for peer in &mut self.0 {
            let mut took = time(RUNS, || peer.run())?;
            peer.took.append(&mut took);
        }
        Ok(())
    }

    /// Each with its median.
    pub(crate) fn medians(&mut self) -> Vec<(&'static str, f64)> {
        self.0.iter_mut().map(|peer| (peer.name, quantile(&mut peer.took, 500))).collect()
    }
}

impl Peer {
    const fn new(name: &'static str, start: Start) -> Self {
        Self { name, start, took: Vec::new() }
    }

    fn run(&mut self) -> Result<()> {
        match &mut self.start {
            Start::Command(words) => {
                let (program, words) = words.split_first().context("no program")?;
                let (input, output) = (Stdio::null(), Stdio::null());
                let mut command = Command::new(program);
                let command = command.args(words).stdin(input).stdout(output);
                let status = command.stderr(Stdio::null()).status().context(self.name)?;
                ensure!(status.success(), "{status}");
            }
            Start::Shell(_, input, output) => {
                input.write_all(b"\n")?;
                let mut line = String::new();
                output.read_line(&mut line)?;
                ensure!(line.trim() == "0", "it ended with {:?}", line.trim());
            }
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Start::Shell(child, ..) = &mut self.start {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn bubblewrap(nothing: &Path) -> Peer {
    let words = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--"].map(str::to_owned);
    let words = words.into_iter().chain([nothing.display().to_string()]).collect();
    Peer::new("bubblewrap --unshare-all", Start::Command(words))
}

fn shell(script: &str, directory: &Path) -> Result<Start> {
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("unshare")?;
    let input = child.stdin.take().context("pipe")?;
    let output = BufReader::new(child.stdout.take().context("pipe")?);
    Ok(Start::Shell(child, input, output))
}

/// An OCI bundle (the runtime specification's config.json) around the program that does nothing, in
/// every namespace that both runtimes know, with their own defaults for what is mounted.
fn bundle(places: &Places) -> Result<PathBuf> {
    let bundle = places.data.join("bundle");
    // crun makes no directory that it mounts on
    for directory in ["bin", "dev", "proc"] {
        std::fs::create_dir_all(bundle.join("rootfs").join(directory))?;
    }
    std::fs::copy(&places.nothing, bundle.join("rootfs/bin/nothing"))?;
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let namespaces: Vec<Json> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    let config = json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/nothing"],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "cage",
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": namespaces },
    });
    std::fs::write(bundle.join("config.json"), config.to_string())?;
    Ok(bundle)
}
