//! Directories with all that is beneath them, in real cages: searched, packed, unpacked, moved. First the
//! declarations' own examples, then what reaches for another region than was decided.

use crate::cage::{ALICE, LIMITS, Stand, ended};
use capabilities::find;
use channel::ChannelError;
use serde_json::{Value as Json, json};

const CAPABILITIES: [&str; 4] =
    ["filesystem.archive", "filesystem.extract", "filesystem.move_directory", "filesystem.search"];

impl Stand<'_> {
    /// Every example, in this order, on the files that they speak of.
    pub(crate) fn regions(&mut self) -> Result<(), ChannelError> {
        for name in ["notes", "empty", "e1", "e2"] {
            let input = json!({ "path": name });
            self.expect("region place", "filesystem.mkdir", &input, "ok")?;
        }
        let file = json!({ "path": "notes/hello.txt", "content": "hello\n" });
        self.expect("region file", "filesystem.write", &file, "ok")?;
        for capability in CAPABILITIES {
            let examples = find(capability).map(|it| it.examples).unwrap_or_default();
            for example in examples {
                let input: Json = serde_json::from_str(example.input).unwrap_or_default();
                let name = format!("example of {capability}: {}", example.title);
                self.expect(&name, capability, &input, example.ends)?;
            }
        }
        let same = json!({ "path": "empty/hello.txt" });
        let read = self.expect("region unpacked", "filesystem.read", &same, "ok")?;
        self.say(
            "region unpacked as it was",
            read.get("content") == Some(&json!("hello\n")),
            &read,
        )?;
        let search = json!({ "path": "/workspace", "text": "hello", "name": "hello.txt" });
        let found = self.expect("region search", "filesystem.search", &search, "ok")?;
        let path = |at: &str| found.pointer(at).and_then(Json::as_str).unwrap_or_default();
        let paths = [path("/matches/0/path"), path("/matches/1/path")];
        let both = paths == ["/workspace/empty/hello.txt", "/workspace/old-notes/hello.txt"];
        self.say("region search finds both", both, &found)?;
        self.other_regions()
    }

    /// Another region than was decided, for each thing that is done to one.
    fn other_regions(&mut self) -> Result<(), ChannelError> {
        let pack = |from: &str, to: &str| json!({ "from": from, "to": to });
        for (capability, decided, asked) in [
            ("filesystem.search", json!({ "path": "d" }), json!({ "path": "old-notes" })),
            ("filesystem.archive", pack("d", "d.tar"), pack("old-notes", "d.tar")),
            ("filesystem.archive", pack("d", "d/d.tar"), pack("d", "d.tar")),
            ("filesystem.extract", pack("notes.tar.gz", "e1"), pack("notes.tar.gz", "e2")),
            ("filesystem.move_directory", pack("e1", "e3"), pack("old-notes", "e3")),
        ] {
            let effects = self.effects(capability, &decided);
            let came = self.perform(ALICE, capability, &asked, effects, LIMITS)?;
            let name = format!("undecided region of {capability}: {asked}");
            self.say(&name, ended(&came).0 == "denied", &format!("{came:?}"))?;
        }
        // where it may be listed, it may still not be written
        let (decided, asked) = (pack("notes.tar.gz", "e1"), pack("notes.tar.gz", "e2"));
        let mut effects = self.effects("filesystem.extract", &decided);
        effects.extend(self.effects("filesystem.stat", &json!({ "path": "e2" })));
        let came = self.perform(ALICE, "filesystem.extract", &asked, effects, LIMITS)?;
        self.say("undecided writes", ended(&came).0 == "denied", &format!("{came:?}"))?;
        self.expect("undecided region, control", "filesystem.extract", &decided, "ok").map(drop)
    }
}
