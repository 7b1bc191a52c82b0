//! Windows of time at an operator's desk: replay from a record alone, what a moment gets, mistakes with their place,
//! differences.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod program;

use contract::effect::{Effect, Field, Form, Kind as EffectKind, Value};
use contract::path::CanonicalPath;
use ledger::writer::Draft;
use ledger::{Chain, Digest, Kind, frame};
use program::{directory, json as krux};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

const OFFICE: &str = include_str!("../../crates/hours/tests/office.yaml");
const RULE: &str = "read-in-office-hours";
/// Ten in the morning and eight in the evening of a Tuesday in Berlin.
const MORNING: &str = "2026-03-24T09:00:00Z";
const EVENING: &str = "2026-03-24T19:00:00Z";

/// A place for files, which is gone in the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        Self(directory(name))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let file = self.0.join(name);
        std::fs::write(&file, content).unwrap();
        file.display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A record of a read at a moment, as pdp makes it.
fn decision(chain: &mut Chain, at: &str, answer: &str, exhausted: Option<&str>) -> Vec<u8> {
    let facts =
        [("agent", "a"), ("capability", "filesystem.read@1"), ("answer", answer), ("rules", RULE)];
    let mut draft = Draft::new(Kind::Decision, &facts);
    draft.facts.extend(exhausted.map(|rules| ("exhausted".to_owned(), rules.to_owned())));
    draft.policy = Some(Digest::of(OFFICE.as_bytes()));
    let path = Value::Path(CanonicalPath::parse("/workspace/a").unwrap());
    draft.effects =
        vec![Effect::new(EffectKind::Read, Form::Exact, [(Field::Path, path)]).unwrap()];
    let wall_us = hours::moment(at).unwrap();
    let envelope = draft.into_envelope([1; 16], 0, wall_us, BTreeMap::new());
    let mut framed = Vec::new();
    frame::write(&mut framed, &[chain.append(envelope).unwrap().record().bytes()]);
    framed
}

#[test]
fn what_a_window_decided_is_replayed_from_the_record() {
    let files = Files::new("windows-replay");
    let (office, system) = (
        files.write("office.yaml", OFFICE),
        files.write("system.yaml", "limits: system\nversion: 1\nrules: []\n"),
    );
    let replay = |records: &[Vec<u8>], words: &[&str]| {
        let export = files.write("export", records.concat());
        let head = ["policy", "replay", &export, "--policy", &office, "--system", &system];
        let (code, said, errors) = krux(&[&head[..], words].concat());
        let number = |name: &str| said.get(name).and_then(Json::as_u64);
        (code, number("same"), number("differ"), format!("{said}{errors}"))
    };
    let closed = format!("box/{RULE}");
    let chain = &mut Chain::default();
    let good = [
        decision(chain, MORNING, "autonomous", None),
        decision(chain, EVENING, "blocked", Some(&closed)),
        // the clock was not believed: closed in the morning too
        decision(chain, MORNING, "blocked", Some(&closed)),
        // what this program knows of clocks does not count, only the record
        decision(chain, EVENING, "autonomous", None),
    ];
    let (code, same, differ, said) = replay(&good, &[]);
    assert_eq!((code, same, differ), (Some(0), Some(4), Some(0)), "{said}");
    let chain = &mut Chain::default();
    let lies = [
        decision(chain, EVENING, "autonomous", Some(&closed)),
        decision(chain, MORNING, "blocked", None),
    ];
    let (code, same, differ, said) = replay(&lies, &[]);
    assert_eq!((code, same, differ), (Some(1), Some(0), Some(2)), "{said}");
    // under another text its own windows are open or closed as they are at the moment of the record
    let late = files.write("late.yaml", OFFICE.replace("mon-fri 09:00-17:00", "18:00-22:00"));
    let (code, same, differ, said) = replay(&good[..2], &["--against", &late]);
    assert_eq!((code, same, differ), (Some(1), Some(0), Some(2)), "{said}");
    let (code, same, differ, said) = replay(&good[..2], &["--against", &office]);
    assert_eq!((code, same, differ), (Some(0), Some(2), Some(0)), "{said}");
}

#[test]
fn a_moment_says_which_windows_are_open() {
    let files = Files::new("windows-moment");
    let office = files.write("office.yaml", OFFICE);
    let explain = |words: &[&str]| {
        let call =
            ["--agent", "a", "--capability", "filesystem.read", "--input", "{\"path\":\"a\"}"];
        let (code, said, errors) =
            krux(&[&["policy", "explain", &office], &call[..], words].concat());
        let answer = said.get("answer").and_then(Json::as_str).unwrap_or_default().to_owned();
        (code, answer, errors)
    };
    for (at, answer) in [
        (&[][..], "autonomous"),
        (&["--at", MORNING], "autonomous"),
        (&["--at", EVENING], "blocked"),
        (&["--at", "2026-03-24T20:00:00+11:00"], "autonomous"),
    ] {
        assert_eq!(explain(at).1, answer, "{at:?}");
    }
    let (code, _, errors) = explain(&["--at", "yesterday"]);
    assert!(code != Some(0) && errors.contains("expected a moment such as"), "{errors}");
    // a table may say when
    let words = ["policy", "test", &office, "--cases", "crates/hours/tests/office.cases.yaml"];
    let (code, said, errors) = krux(&words);
    assert_eq!((code, said.get("passed")), (Some(0), Some(&Json::from(54))), "{said}{errors}");
    let bad = include_str!("../../crates/hours/tests/office.cases.yaml");
    let bad = files.write("cases.yaml", bad.replacen("2026-03-27T07:59:59.999999Z", "noon", 1));
    let (code, said, _) = krux(&["policy", "test", &office, "--cases", &bad]);
    assert!(code == Some(1) && said.to_string().contains("`noon`"), "{said}");
}

#[test]
fn a_mistake_in_a_window_has_its_place_and_a_suggestion() {
    let files = Files::new("windows-mistakes");
    let check = |from: &str, to: &str| {
        let file = files.write("wrong.yaml", OFFICE.replacen(from, to, 1));
        let (code, said, errors) = krux(&["policy", "check", &file]);
        let mistake = said.pointer("/mistakes/0").unwrap_or(&Json::Null);
        assert_eq!(code, Some(1), "{said}{errors}");
        let line = mistake.get("line").and_then(Json::as_u64).unwrap();
        let column = mistake.get("column").and_then(Json::as_u64).unwrap();
        let text = |name: &str| mistake.get(name).and_then(Json::as_str).unwrap_or_default();
        (line, column, text("message").to_owned(), text("suggestion").to_owned())
    };
    let (line, column, message, suggestion) = check("Europe/Berlin", "Europe/Berln");
    assert_eq!((line, column, suggestion.as_str()), (10, 21, "Europe/Berlin"), "{message}");
    assert_eq!(check("Europe/Berlin", "Berlin").3, "Europe/Berlin");
    assert_eq!(check("mon-fri", "mon-fry").3, "fri");
    let (line, _, message, _) = check("sun 01:30-02:30 America", "sun 01:30-25:30 America");
    assert!(line == 23 && message.contains("`25:30` is no time of the day"), "{line} {message}");
    assert!(check("09:00-17:00", "09:00-09:00").2.contains("has no length"));
    assert!(check("over: blocked", "ovr: blocked").3 == "over");
}

#[test]
fn a_wider_window_is_no_tightening() {
    let files = Files::new("windows-diff");
    let office = files.write("office.yaml", OFFICE);
    let wide = files.write("wide.yaml", OFFICE.replace("mon-fri 09:00", "mon-fri 08:00"));
    let diff = |old: &str, new: &str| krux(&["policy", "diff", old, new, "--only-tightens"]);
    let (code, said, _) = diff(&office, &wide);
    let change = said.pointer("/changed/0/changes/0").and_then(Json::as_str).unwrap_or_default();
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        change,
        format!("blocked -> autonomous once the limit is used up of box/{RULE} as it was")
    );
    assert_eq!(diff(&wide, &office).0, Some(0), "the way back");
    assert_eq!(diff(&office, &office).0, Some(0));
}
