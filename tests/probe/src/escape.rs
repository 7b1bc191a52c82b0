//! The escape suite: a toolbox whose `wc` is malicious, run as any program is, in whole cages and in such
//! that lack the rings which are said to stop it. What came of each is a line on the console; the test
//! on the host judges it.

use crate::cage::{ALICE, Came, Stand};
use crate::direct::PLACES;
use capabilities::find;
use channel::ChannelError;
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use contract::perform::{Limits, Outcome};
use serde_json::{Value as Json, json};
use std::os::unix::fs::{chown, symlink};

const ATTACKS: &str = "/usr/lib/kruxos-test/attacks";
/// The worker that can leave out a ring, where it lies and where it belongs.
const WORKER: [&str; 2] = ["/usr/lib/kruxos-test/worker", "/usr/bin/worker"];
/// Whose places it takes: a closed program's, and an open one's.
const VICTIMS: [&str; 2] = ["/toolbox/wc", "/toolbox/python3"];
const WORKSPACE: &str = "/data/agents/alice/workspace";
const LIMITS: Limits =
    Limits { memory_bytes: 64 << 20, tasks: 16, cpu_us: 100_000, wall_ms: 20_000 };

impl Stand<'_> {
    /// Every attack of the list, in every cage that the list names for it.
    pub(crate) fn escapes(&mut self) -> Result<(), ChannelError> {
        let bound =
            VICTIMS.iter().try_for_each(|victim| rustix::mount::mount_bind(ATTACKS, *victim));
        self.say("a malicious toolbox", bound.is_ok(), &format!("{bound:?}"))?;
        let bound = rustix::mount::mount_bind(WORKER[0], WORKER[1]);
        self.say("a worker that can leave out a ring", bound.is_ok(), &format!("{bound:?}"))?;
        self.restart_forker()?;
        let list = std::fs::read_to_string(format!("{ATTACKS}/list")).unwrap_or_default();
        self.say("a list of attacks", !list.is_empty(), &list.len())?;
        for line in list.lines() {
            let mut words = line.split_whitespace();
            let connected = words.next() == Some("connected");
            let name = words.next().unwrap_or_default();
            let mut ends = Vec::new();
            for missing in words {
                plant();
                let agent = format!("off-{missing}");
                symlink("/data/agents/alice", format!("/data/agents/{agent}")).ok();
                let end = if connected {
                    self.escape_connected(&agent, name)?
                } else {
                    self.escape(&agent, name, missing.split('-').any(|ring| ring == "root"))?
                };
                ends.push(format!("{missing}={end}"));
            }
            self.service.log(&format!("escape {name}: {}", ends.join(" ")))?;
            self.service.alive()?;
        }
        Ok(())
    }

    /// One attack in one cage; how it ended, in a word.
    fn escape(&mut self, agent: &str, attack: &str, root: bool) -> Result<String, ChannelError> {
        let input = json!({ "command": ["wc", format!("/workspace/{attack}")] });
        // without a root of its own a cage has the box's, in which there is no workspace
        let effects = if root { run(&input) } else { [run(&input), decided()].concat() };
        Ok(said(&self.perform((agent, ALICE.1), "process.run", &input, effects, LIMITS)?))
    }

    /// The same of code that was decided to connect to one place.
    fn escape_connected(&mut self, agent: &str, attack: &str) -> Result<String, ChannelError> {
        let [decided, ..] = PLACES;
        let command = ["python3".to_owned(), format!("/workspace/{attack}")];
        let input = json!({ "command": command, "expect": "", "connect": [decided] });
        let input = self.expecting(&input)?;
        let effects = self.effects("process.run_code", &input);
        Ok(said(&self.perform((agent, ALICE.1), "process.run_code", &input, effects, LIMITS)?))
    }
}

/// How an attack's call ended, in a word.
fn said(came: &Came) -> String {
    match came {
        Ok((Outcome { code, .. }, answer)) if code == "ok" => ended(answer),
        Ok((Outcome { code, .. }, _)) => code.clone(),
        Err(refusal) => format!("refused:{refusal:?}"),
    }
}

fn ended(answer: &Json) -> String {
    let of = |name: &str| answer.get(name).and_then(Json::as_i64);
    match (of("exit"), of("signal")) {
        (Some(0), _) => "succeeded".to_owned(),
        (Some(1), _) => "stopped".to_owned(),
        (Some(2), _) => "absent".to_owned(),
        (Some(code), _) => format!("exit:{code}"),
        (None, Some(31)) => "killed".to_owned(),
        (None, signal) => format!("signal:{}", signal.unwrap_or(-1)),
    }
}

/// That the program runs.
fn run(input: &Json) -> Vec<Effect> {
    let accepted = find("process.run").and_then(|run| Some((run, run.accept(input).ok()?)));
    let effects = accepted.and_then(|(run, accepted)| run.lower(&accepted)).unwrap_or_default();
    effects.into_iter().filter(|effect| effect.kind == Kind::Run).collect()
}

/// What an attack was allowed: to read and write in one directory.
fn decided() -> Vec<Effect> {
    let path = |path: &str| CanonicalPath::parse(path).ok().map(Value::Path);
    let effect = |kind, form, at: &str| {
        let path = path(at).map(|path| (Field::Path, path));
        Effect::new(kind, form, path).ok()
    };
    let read = effect(Kind::Read, Form::Region, "mine");
    let write = effect(Kind::Write, Form::Exact, "mine/out.txt");
    read.into_iter().chain(write).collect()
}

/// What attacks reach for, as it was before the last one.
fn plant() {
    for folder in ["mine", "other-dir", "empty-dir"] {
        std::fs::create_dir_all(format!("{WORKSPACE}/{folder}")).ok();
        chown(format!("{WORKSPACE}/{folder}"), Some(ALICE.1), Some(ALICE.1)).ok();
    }
    for file in ["mine/in.txt", "other.txt", "other-dir/inner.txt", "removable.txt"] {
        let file = format!("{WORKSPACE}/{file}");
        std::fs::write(&file, "one\ntwo\n").ok();
        chown(&file, Some(ALICE.1), Some(ALICE.1)).ok();
    }
}
