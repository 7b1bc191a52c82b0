//! `filesystem.search`: names and texts beneath a directory. What a bound keeps it from looking at is
//! said, and the answer to the same question about the same files is the same.

use super::filesystem::{flag, number, place, text};
use super::folder::{Folder, shown};
use super::pattern::{Pattern, Text};
use super::tree::{Beyond, Next, Visitor, walk};
use super::{Answer, Performed};
use capabilities::filesystem::regions::{MATCHES_DEFAULT, MATCHES_MAX};
use capabilities::{Accepted, Argument};
use contract::path::CanonicalPath;
use rustix::fs::{FileType, Stat};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

const NAMES_MAX: usize = 50_000;
/// Longest file in which a text is searched for, and how long all of them are together.
const FILE_BYTES_MAX: usize = 16 << 20;
const BYTES_MAX: u64 = 64 << 20;
/// How much of a line is shown, and how much of that is before the match.
const LINE_BYTES_MAX: usize = 400;
const BEFORE_BYTES: usize = 100;

/// What is looked for.
struct Question {
    name: Option<Pattern>,
    text: Option<Text>,
    limit: u64,
}

/// A search under way.
struct Search<'a> {
    top: &'a Folder,
    question: Question,
    /// What the directory is called, with a slash.
    prefix: String,
    matches: Vec<Json>,
    /// How many matches there are: a line is one, or a name without lines.
    count: u64,
    visited: u64,
    bytes: u64,
    missed: BTreeSet<&'static str>,
}

pub(super) fn search(input: &Accepted) -> Performed {
    let ignore_case = flag(input, "ignore_case");
    let given = |name: &str| text(input, name).ok();
    let question = Question {
        name: given("name").map(|text| Pattern::read(text, ignore_case)).transpose()?,
        text: given("text").map(|text| Text::new(text, ignore_case)).transpose()?,
        limit: number(input, "limit").unwrap_or(MATCHES_DEFAULT).min(MATCHES_MAX),
    };
    let Some(Argument::Path(path)) = input.get("path") else { return Err("bad_input") };
    let (above, name) = place(input, "path")?.into_parts();
    let top = Folder::new(above).folder(name.as_bytes())?.ok_or("not_found")?;
    search_in(&top, path, question)
}

fn search_in(top: &Folder, path: &CanonicalPath, question: Question) -> Performed {
    let prefix = format!("{}/", path.as_str().trim_end_matches('/'));
    let mut search = Search {
        top,
        question,
        prefix,
        matches: Vec::new(),
        count: 0,
        visited: 0,
        bytes: 0,
        missed: BTreeSet::new(),
    };
    walk(top, NAMES_MAX, &mut search)?;
    Ok(json!({
        "matches": search.matches, "visited": search.visited,
        "complete": search.missed.is_empty(), "missed": search.missed,
    }))
}

impl Visitor for Search<'_> {
    fn found(&mut self, path: &[u8], status: &Stat) -> Answer<Next> {
        self.visited += 1;
        if self.question.name.as_ref().is_some_and(|name| !name.matches(path)) {
            return Ok(Next::On);
        }
        let kind = FileType::from_raw_mode(status.st_mode);
        if self.question.text.is_none() {
            return Ok(self.keep(path, status, json!({})));
        }
        if kind != FileType::RegularFile {
            return Ok(Next::On);
        }
        let length = u64::try_from(status.st_size).unwrap_or(u64::MAX);
        if usize::try_from(length).map_or(true, |length| length > FILE_BYTES_MAX) {
            self.missed.insert("large");
            return Ok(Next::On);
        }
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > BYTES_MAX {
            self.missed.insert("bytes");
            return Ok(Next::Stop);
        }
        match self.top.read(path, FILE_BYTES_MAX) {
            Ok(Some(content)) => Ok(self.content(path, status, &content)),
            // it was removed meanwhile, or became something else
            Ok(None) | Err("wrong_kind" | "link") => Ok(Next::On),
            Err("too_large") => {
                self.missed.insert("large");
                Ok(Next::On)
            }
            Err("denied") => self.beyond(Beyond::Unreadable).map(|()| Next::On),
            Err(code) => Err(code),
        }
    }

    fn beyond(&mut self, what: Beyond) -> Answer<()> {
        self.missed.insert(match what {
            Beyond::Names => "names",
            Beyond::Levels => "levels",
            Beyond::Unreadable => "unreadable",
        });
        Ok(())
    }
}

impl Search<'_> {
    /// Whether there is room for one match more.
    fn has_room(&mut self) -> bool {
        let room = self.count < self.question.limit;
        if !room {
            self.missed.insert("matches");
        }
        self.count += u64::from(room);
        room
    }

    /// A match without lines.
    fn keep(&mut self, path: &[u8], status: &Stat, more: Json) -> Next {
        if !self.has_room() {
            return Next::Stop;
        }
        self.matches.push(self.described(path, status, more));
        Next::On
    }

    fn described(&self, path: &[u8], status: &Stat, more: Json) -> Json {
        let kind = super::filesystem::kind(FileType::from_raw_mode(status.st_mode));
        let path = format!("{}{}", self.prefix, shown(path));
        let mut one = json!({ "path": path, "kind": kind, "size": status.st_size });
        if let (Some(one), Json::Object(more)) = (one.as_object_mut(), more) {
            one.extend(more);
        }
        one
    }

    /// What of a file is a match.
    fn content(&mut self, path: &[u8], status: &Stat, content: &[u8]) -> Next {
        let Some(wanted) = &self.question.text else { return Next::On };
        if wanted.find(content).is_none() {
            return Next::On;
        }
        let is_text = !content.contains(&0);
        let Some(content) = std::str::from_utf8(content).ok().filter(|_| is_text) else {
            return self.keep(path, status, json!({ "binary": true }));
        };
        let mut lines = Vec::new();
        let mut next = Next::On;
        for (at, line) in content.split('\n').enumerate() {
            let Some(begin) = self.question.text.as_ref().and_then(|it| it.find(line.as_bytes()))
            else {
                continue;
            };
            if !self.has_room() {
                next = Next::Stop;
                break;
            }
            let (text, cut) = excerpt(line, begin);
            lines.push(json!({ "line": at + 1, "text": text, "cut": cut }));
        }
        if !lines.is_empty() {
            self.matches.push(self.described(path, status, json!({ "lines": lines })));
        }
        next
    }
}

/// A line as it is shown, around the place where a match begins; whether that is not all of it.
fn excerpt(line: &str, begin: usize) -> (&str, bool) {
    if line.len() <= LINE_BYTES_MAX {
        return (line, false);
    }
    let first = begin.saturating_sub(BEFORE_BYTES).min(line.len() - LINE_BYTES_MAX);
    let first = line.floor_char_boundary(first);
    let last = line.floor_char_boundary((first + LINE_BYTES_MAX).min(line.len()));
    (line.get(first..last).unwrap_or_default(), true)
}

#[cfg(test)]
mod tests {
    use super::super::folder::tests::Place;
    use super::*;

    fn ask(place: &Place, name: Option<&str>, text: Option<&str>, limit: u64) -> Json {
        let question = Question {
            name: name.map(|name| Pattern::read(name, false).unwrap()),
            text: text.map(|text| Text::new(text, false).unwrap()),
            limit,
        };
        search_in(&place.folder(), &CanonicalPath::parse("d").unwrap(), question).unwrap()
    }

    fn paths(answer: &Json) -> Vec<&str> {
        let matches = answer["matches"].as_array().unwrap();
        matches.iter().map(|one| one["path"].as_str().unwrap()).collect()
    }

    #[test]
    fn names_and_texts_are_found_in_order_and_links_are_not_followed() {
        let place = Place::new();
        place.write("b/x.txt", "one\ntwo hello\nhello again\n");
        place.write("a.txt", "nothing\n");
        place.write("b.txt", b"\0\xffhello");
        place.write("b/deep/y.rs", "hello");
        std::fs::write(place.outside("secret.txt"), "hello").unwrap();
        place.link("../secret.txt", "link.txt");
        place.link("..", "up");
        let all = ask(&place, None, None, 100);
        assert_eq!(
            paths(&all),
            [
                "/workspace/d/a.txt",
                "/workspace/d/b",
                "/workspace/d/b/deep",
                "/workspace/d/b/deep/y.rs",
                "/workspace/d/b/x.txt",
                "/workspace/d/b.txt",
                "/workspace/d/link.txt",
                "/workspace/d/up",
            ]
        );
        assert_eq!((&all["complete"], &all["missed"]), (&json!(true), &json!([])));
        assert_eq!(all["matches"][6]["kind"], "link");
        let named = ask(&place, Some("*.txt"), None, 100);
        assert_eq!(paths(&named).len(), 4);
        let held = ask(&place, None, Some("hello"), 100);
        let wanted = ["/workspace/d/b/deep/y.rs", "/workspace/d/b/x.txt", "/workspace/d/b.txt"];
        assert_eq!(paths(&held), wanted);
        let lines = json!([
            {"line": 2, "text": "two hello", "cut": false},
            {"line": 3, "text": "hello again", "cut": false},
        ]);
        assert_eq!(held["matches"][1]["lines"], lines);
        assert_eq!(held["matches"][2]["binary"], true);
        let both = ask(&place, Some("*.rs"), Some("hello"), 100);
        assert_eq!(paths(&both), ["/workspace/d/b/deep/y.rs"]);
    }

    #[test]
    fn a_search_that_ends_at_a_bound_says_so() {
        let place = Place::new();
        place.write("a", "x\nx\nx\n");
        place.write("b", "x\n");
        let cut = ask(&place, None, Some("x"), 2);
        assert_eq!((&cut["complete"], &cut["missed"]), (&json!(false), &json!(["matches"])));
        assert_eq!(paths(&cut), ["/workspace/d/a"]);
        let exact = ask(&place, None, Some("x"), 4);
        assert_eq!((&exact["complete"], paths(&exact).len()), (&json!(true), 2));
        let large = std::fs::File::create(place.top().join("c")).unwrap();
        large.set_len(1 + u64::try_from(FILE_BYTES_MAX).unwrap()).unwrap();
        assert_eq!(ask(&place, None, Some("x"), 9)["missed"], json!(["large"]));
        large.set_len(u64::try_from(FILE_BYTES_MAX).unwrap()).unwrap();
        for name in ["d", "e", "f", "g"] {
            let file = std::fs::File::create(place.top().join(name)).unwrap();
            file.set_len(u64::try_from(FILE_BYTES_MAX).unwrap()).unwrap();
        }
        let much = ask(&place, None, Some("x"), 9);
        assert_eq!((&much["missed"], &much["visited"]), (&json!(["bytes"]), &json!(6)));
        let deep = (0..70).map(|_| "d").collect::<Vec<_>>().join("/");
        std::fs::create_dir_all(place.top().join("deep").join(deep)).unwrap();
        let levels = ask(&place, Some("d"), None, 900);
        assert_eq!(levels["missed"], json!(["levels"]));
    }

    #[test]
    fn a_directory_of_more_names_than_are_looked_at_ends_the_search() {
        let place = Place::new();
        place.write("a", "");
        std::fs::create_dir(place.top().join("b")).unwrap();
        for number in 0..NAMES_MAX {
            std::fs::File::create(place.top().join("b").join(number.to_string())).unwrap();
        }
        let many = ask(&place, None, None, 9);
        assert_eq!((&many["missed"], paths(&many).len()), (&json!(["names"]), 2));
    }

    #[test]
    fn names_that_are_no_text_are_shown_and_long_lines_are_cut() {
        use std::os::unix::ffi::OsStrExt;
        let place = Place::new();
        let odd = std::ffi::OsStr::from_bytes(b"odd\xff.txt");
        std::fs::write(
            place.top().join(odd),
            format!("{}ö needle {}", "é".repeat(400), "z".repeat(999)),
        )
        .unwrap();
        let found = ask(&place, Some("odd*"), Some("needle"), 9);
        assert_eq!(paths(&found), ["/workspace/d/odd\u{fffd}.txt"]);
        let line = &found["matches"][0]["lines"][0];
        let text = line["text"].as_str().unwrap();
        assert!(text.contains("needle") && text.len() <= LINE_BYTES_MAX, "{text}");
        assert_eq!(line["cut"], true);
    }
}
