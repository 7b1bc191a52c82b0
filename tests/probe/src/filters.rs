//! Every entry of every filter is needed: without it, and with all others, one of these calls ends
//! otherwise than with it. The cages are made by the test's forker, which leaves out the entry whose
//! number the agent's name says.

use crate::cage::{Came, LIMITS, Stand, ended};
use channel::ChannelError;
use contract::perform::Refusal;
use serde_json::{Value as Json, json};

const WORKSPACE: &str = "/data/agents/alice/workspace";
const WORKER: &str = "/usr/bin/worker";
/// More numbers than any filter has entries.
const ENTRIES_MAX: usize = 128;

impl Stand<'_> {
    /// All classes.
    pub(crate) fn filters(&mut self) -> Result<(), ChannelError> {
        for number in 0..ENTRIES_MAX {
            let home = format!("/data/agents/without-call-{number}");
            std::os::unix::fs::symlink("/data/agents/alice", home).ok();
        }
        // the hostile worker has been in its place until now
        let back = rustix::mount::unmount(WORKER, rustix::mount::UnmountFlags::DETACH);
        self.say("the worker in its own place", back.is_ok(), &format!("{back:?}"))?;
        self.restart_forker()?;
        // from here on the probe has threads, and makes no process
        self.direct()?;
        std::fs::write(format!("{WORKSPACE}/lines.txt"), "b 1\na 2\na 2\n").ok();
        std::fs::write(format!("{WORKSPACE}/hello.py"), "print(1)\n").ok();
        std::fs::write(format!("{WORKSPACE}/all.py"), ALL).ok();
        std::fs::write(format!("{WORKSPACE}/most.py"), ALL.replace(USER, "")).ok();
        std::fs::write(format!("{WORKSPACE}/net.py"), NET).ok();
        let classes = [
            ("pure", pure()),
            ("files", files()),
            ("program", programs()),
            ("code", code()),
            ("direct", direct()),
            ("network", network()),
        ];
        for (class, calls) in classes {
            self.class(class, &calls)?;
        }
        Ok(())
    }

    fn class(&mut self, class: &str, calls: &[(&str, Json)]) -> Result<(), ChannelError> {
        let mut whole = Vec::new();
        for (capability, input) in calls {
            whole.push(self.signature("without-nothing", capability, input)?);
        }
        let names = calls.iter().map(|(capability, input)| format!("{capability} {input:.60}"));
        let ends = ["crashed", "forbidden_call", "late", "NoCage", "BadSpec", "ok null 31"];
        // what a program's calls ask for is asked for only where the program does all of its work
        let program = matches!(class, "program" | "code" | "direct");
        let bad = |end: &String| {
            ends.iter().any(|word| end.starts_with(word)) || program && !end.starts_with("ok 0 ")
        };
        let bad: Vec<(String, &String)> = names.zip(&whole).filter(|(_, end)| bad(end)).collect();
        self.say(&format!("filter {class} whole"), bad.is_empty(), &format!("{bad:?}"))?;
        // the first number that no entry has
        let beyond = format!("{:?}", Refusal::BadSpec);
        let mut unneeded = Vec::new();
        let mut entries = 0;
        while entries < ENTRIES_MAX {
            let agent = format!("without-call-{entries}");
            let mut differs = false;
            for ((capability, input), wanted) in calls.iter().zip(&whole) {
                let seen = self.signature(&agent, capability, input)?;
                if seen == beyond {
                    let name = format!("filter {class}: each of {entries} entries is needed");
                    return self.say(&name, unneeded.is_empty(), &format!("{unneeded:?}"));
                }
                if &seen != wanted {
                    differs = true;
                    break;
                }
            }
            if !differs {
                unneeded.push(entries);
            }
            entries += 1;
        }
        self.say(&format!("filter {class} ends"), false, &entries)
    }

    /// The input, with the digest of the workspace of now where it expects one.
    pub(crate) fn expecting(&mut self, input: &Json) -> Result<Json, ChannelError> {
        let mut input = input.clone();
        if let Some(expect) = input.get_mut("expect") {
            let whole = json!({ "path": "/workspace" });
            let effects = self.effects("filesystem.digest", &whole);
            let came =
                self.perform(("alice", 200_001), "filesystem.digest", &whole, effects, LIMITS)?;
            *expect = ended(&came).1.get("digest").cloned().unwrap_or_default();
        }
        Ok(input)
    }

    /// How a call ended: its code, and how its program did.
    fn signature(
        &mut self,
        agent: &str,
        capability: &str,
        input: &Json,
    ) -> Result<String, ChannelError> {
        // what a run left that was cut off would fail the next one, whatever that one lacks
        std::fs::remove_dir_all(format!("{WORKSPACE}/code")).ok();
        let input = &self.expecting(input)?;
        let effects = self.effects(capability, input);
        let came: Came = self.perform((agent, 200_001), capability, input, effects, LIMITS)?;
        if let Err(refusal) = &came {
            return Ok(format!("{refusal:?}"));
        }
        let (code, answer) = ended(&came);
        let of = |name: &str| answer.get(name).cloned().unwrap_or_default();
        Ok(format!("{code} {} {} {}", of("exit"), of("signal"), of("stderr_bytes")))
    }
}

/// The part of it that asks for a socket of another family, which code without a network is refused and
/// code with one dies of.
const USER: &str = "try: pwd.getpwuid(1100)\nexcept KeyError: pass\n";

/// What open programs do with a socket.
const NET: &str = r#"
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
one.settimeout(10); one.connect(("203.0.113.2", 2007)); one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
one.getsockname(); one.getpeername(); one.sendall(b"x"); one.recv(1); one.shutdown(socket.SHUT_WR); one.close()
print("done")
"#;

/// What open programs do, by the module that asks the kernel for it.
const ALL: &str = r#"
import os, pwd, select, _thread, time, resource
os.chdir("/workspace"); os.getcwd(); os.listdir("."); os.sysconf("SC_PHYS_PAGES"); os.sched_getaffinity(0)
os.getpid(); os.getppid(); os.getuid(); os.geteuid(); os.getgid(); os.getegid(); os.umask(0o022)
resource.getrusage(resource.RUSAGE_SELF)
try: pwd.getpwuid(1100)
except KeyError: pass
try: os.listxattr("hello.py")
except OSError: pass
try: select.epoll()
except OSError: pass
try: os.posix_spawn("/nothing", ["nothing"], {})
except OSError: pass
os.mkdir("code"); file = os.open("code/a", os.O_RDWR | os.O_CREAT)
os.pwrite(file, b"content", 0); os.fsync(file); os.fdatasync(file); os.ftruncate(file, 4); os.truncate("code/a", 3)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED); os.fchmod(file, 0o600); os.chmod("code/a", 0o644)
os.utime("code/a", (1, 1)); os.lseek(file, 0, os.SEEK_SET)
copy = os.open("code/b", os.O_WRONLY | os.O_CREAT); os.sendfile(copy, file, 0, 3)
os.close(os.dup(copy)); os.dup2(copy, 20, inheritable=False); os.dup2(copy, 21); os.closerange(20, 22)
os.rename("code/b", "code/c"); os.unlink("code/c")
above = os.open("code", os.O_RDONLY); os.unlink("a", dir_fd=above); os.rmdir("code")
much = bytearray()
for _ in range(64): much.extend(b"x" * 65536)
done = _thread.allocate_lock(); done.acquire(); _thread.start_new_thread(done.release, ()); done.acquire()
time.sleep(0.01); _thread.get_native_id()
child = os.fork()
if child == 0: os._exit(0)
os.waitpid(child, 0); print(os.isatty(1))
"#;

fn pure() -> Vec<(&'static str, Json)> {
    vec![("system.info", json!({})), ("system.time", json!({}))]
}

/// Calls that end the same however often they are made: every capability, with little and with much.
fn files() -> Vec<(&'static str, Json)> {
    let much = "0123456789abcdef".repeat(50_000);
    vec![
        ("filesystem.write", json!({ "path": "filter.txt", "content": much })),
        ("filesystem.write", json!({ "path": "d", "content": "a directory is there" })),
        ("filesystem.list", json!({ "path": "/workspace" })),
        ("filesystem.read", json!({ "path": "filter.txt", "offset": 1, "length": 7 })),
        ("filesystem.append", json!({ "path": "filter.txt", "content": "x" })),
        ("filesystem.stat", json!({ "path": "filter.txt" })),
        ("filesystem.copy", json!({ "from": "filter.txt", "to": "filter-2.txt" })),
        ("filesystem.move", json!({ "from": "filter-2.txt", "to": "filter-3.txt" })),
        ("filesystem.delete", json!({ "path": "filter-3.txt" })),
        ("filesystem.mkdir", json!({ "path": "filter-d" })),
        // the time of a commit is read before it is seen that there is nothing to commit
        ("git.commit", json!({ "path": "one", "message": "again" })),
        ("filesystem.delete", json!({ "path": "filter-d" })),
    ]
}

fn programs() -> Vec<(&'static str, Json)> {
    let run = |command: Json| ("process.run", json!({ "command": command }));
    let much = "banana apple\n".repeat(50_000);
    vec![
        run(json!(["uniq", "lines.txt"])),
        run(json!(["diff", "lines.txt", "lines.txt"])),
        run(json!(["jq", "-n", "now"])),
        run(json!(["sort", "-o", "filter.txt", "lines.txt"])),
        run(json!(["tail", "-c", "2", "lines.txt"])),
        ("process.run", json!({ "command": ["sort", "-u"], "stdin": much })),
        run(json!(["tail", "-n", "1", "lines.txt"])),
    ]
}

/// A start that does nothing, and much.
fn code() -> Vec<(&'static str, Json)> {
    let run = |script: &str| {
        ("process.run_code", json!({ "command": ["python3", script], "expect": "", "stdin": "x" }))
    };
    vec![run("hello.py"), run("all.py")]
}

/// The same with a network, and what uses it.
fn direct() -> Vec<(&'static str, Json)> {
    let run = |script: &str| {
        let input = json!({ "command": ["python3", script], "expect": "", "stdin": "x",
            "connect": crate::direct::PLACES });
        ("process.run_code", input)
    };
    vec![run("net.py"), run("most.py")]
}

/// Rings that hold; the filter itself is what the others show.
fn network() -> Vec<(&'static str, Json)> {
    let ring = |name: &str| ("cage.try", json!({ "ring": name }));
    vec![ring("nftables"), ring("landlock"), ring("namespaces")]
}
