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
const ENTRIES_MAX: usize = 80;

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
        std::fs::write(format!("{WORKSPACE}/lines.txt"), "b 1\na 2\na 2\n").ok();
        let classes =
            [("pure", pure()), ("files", files()), ("program", programs()), ("network", network())];
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
        let bad = |end: &String| ends.iter().any(|word| end.starts_with(word));
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

    /// How a call ended: its code, and how its program did.
    fn signature(
        &mut self,
        agent: &str,
        capability: &str,
        input: &Json,
    ) -> Result<String, ChannelError> {
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
        ("filesystem.delete", json!({ "path": "filter-d" })),
    ]
}

fn programs() -> Vec<(&'static str, Json)> {
    let run = |command: Json| ("process.run", json!({ "command": command }));
    let much = "banana apple\n".repeat(50_000);
    vec![
        run(json!(["uniq", "lines.txt"])),
        run(json!(["diff", "lines.txt", "lines.txt"])),
        run(json!(["jq", "-n", "1"])),
        run(json!(["sort", "-o", "filter.txt", "lines.txt"])),
        run(json!(["tail", "-c", "2", "lines.txt"])),
        ("process.run", json!({ "command": ["sort", "-u"], "stdin": much })),
        run(json!(["tail", "-n", "1", "lines.txt"])),
    ]
}

/// Rings that hold; the filter itself is what the others show.
fn network() -> Vec<(&'static str, Json)> {
    let ring = |name: &str| ("cage.try", json!({ "ring": name }));
    vec![ring("nftables"), ring("landlock"), ring("namespaces")]
}
