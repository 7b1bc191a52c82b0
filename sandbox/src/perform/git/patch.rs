//! Differences as text: a unified diff of bounded length.

use super::object::{MODE_LINK, MODE_REPOSITORY};
use imara_diff::sources::byte_lines;
use imara_diff::{Algorithm, Diff, InternedInput};
use serde_json::{Value as Json, json};
use std::ops::Range;

/// Longest patch, and longest file that is compared line by line: the time grows with the square of
/// the lines where few of them differ from each other, 0.8 s for this many.
const PATCH_BYTES_MAX: usize = 1 << 20;
const FILE_BYTES_MAX: usize = 4 << 20;
const LINES_MAX: usize = 50_000;
/// Lines around a change.
const CONTEXT: u32 = 3;
/// Where a zero byte says that a file is no text.
const BINARY_BYTES: usize = 8_000;

/// One version of a file.
pub(super) struct Version {
    pub(super) mode: u32,
    pub(super) content: Vec<u8>,
}

/// Patches of many files. Where one had no room, none follows.
#[derive(Default)]
pub(super) struct Patch {
    text: String,
    files: Vec<Json>,
    truncated: bool,
}

impl Patch {
    /// Adds a file of which at least one version is there.
    pub(super) fn add(
        &mut self,
        path: &[u8],
        change: &str,
        before: Option<&Version>,
        after: Option<&Version>,
    ) {
        let shown = String::from_utf8_lossy(path);
        let text = text(before).zip(text(after));
        let (mut removed, mut added) = (None, None);
        let mut part = head(&shown, before, after);
        if self.truncated {
            // nothing of it would be shown
        } else if let Some((before, after)) = text {
            let input = InternedInput::new(byte_lines(before), byte_lines(after));
            let mut diff = Diff::compute(Algorithm::Histogram, &input);
            diff.postprocess_lines(&input);
            (removed, added) = (Some(diff.count_removals()), Some(diff.count_additions()));
            hunks(&mut part, &input, &diff);
        } else {
            part.push_str(&format!("Binary files a/{shown} and b/{shown} differ\n"));
        }
        self.truncated |= self.text.len() + part.len() > PATCH_BYTES_MAX;
        if !self.truncated {
            self.text.push_str(&part);
        }
        self.files.push(json!({
            "path": shown, "change": change, "added": added, "removed": removed,
            "binary": text.is_none(),
        }));
    }

    /// As members of an answer.
    pub(super) fn into_answer(self) -> Json {
        json!({ "files": self.files, "patch": self.text, "truncated": self.truncated })
    }
}

/// What is compared line by line; nothing of a version that is not there.
fn text(version: Option<&Version>) -> Option<&[u8]> {
    let Some(Version { mode, content }) = version else { return Some(b"") };
    let begin = content.get(..content.len().min(BINARY_BYTES)).unwrap_or_default();
    let ends = || content.iter().filter(|byte| **byte == b'\n').count();
    let lines = content.len() <= FILE_BYTES_MAX && !begin.contains(&0) && ends() <= LINES_MAX;
    let readable = *mode != MODE_REPOSITORY && *mode != MODE_LINK;
    (lines && readable && std::str::from_utf8(content).is_ok()).then_some(content)
}

fn head(path: &str, before: Option<&Version>, after: Option<&Version>) -> String {
    let mut head = format!("diff --git a/{path} b/{path}\n");
    match (before, after) {
        (None, Some(after)) => head.push_str(&format!("new file mode {:o}\n", after.mode)),
        (Some(before), None) => head.push_str(&format!("deleted file mode {:o}\n", before.mode)),
        (Some(before), Some(after)) if before.mode != after.mode => {
            head.push_str(&format!("old mode {:o}\nnew mode {:o}\n", before.mode, after.mode));
        }
        _ => {}
    }
    if text(before).is_some() && text(after).is_some() {
        let side = |letter: char, there: bool| {
            if there { format!("{letter}/{path}") } else { "/dev/null".to_owned() }
        };
        let (before, after) = (side('a', before.is_some()), side('b', after.is_some()));
        head.push_str(&format!("--- {before}\n+++ {after}\n"));
    }
    head
}

/// What two hunks have in common is one; each has lines around it.
fn hunks(out: &mut String, input: &InternedInput<&[u8]>, diff: &Diff) {
    let mut groups: Vec<Vec<(Range<u32>, Range<u32>)>> = Vec::new();
    for hunk in diff.hunks() {
        let near = |group: &&mut Vec<(Range<u32>, Range<u32>)>| {
            group.last().is_some_and(|(before, _)| hunk.before.start <= before.end + 2 * CONTEXT)
        };
        let pair = (hunk.before.clone(), hunk.after.clone());
        match groups.last_mut().filter(near) {
            Some(group) => group.push(pair),
            None => groups.push(vec![pair]),
        }
    }
    let lines = u32::try_from(input.before.len()).unwrap_or(u32::MAX);
    for group in groups {
        group_of(out, input, &group, lines);
    }
}

fn group_of(
    out: &mut String,
    input: &InternedInput<&[u8]>,
    group: &[(Range<u32>, Range<u32>)],
    lines: u32,
) {
    let (Some((first, first_new)), Some((last, last_new))) = (group.first(), group.last()) else {
        return;
    };
    let lead = CONTEXT.min(first.start);
    let tail = CONTEXT.min(lines.saturating_sub(last.end));
    let before = first.start - lead..last.end + tail;
    let after = first_new.start - lead..last_new.end + tail;
    let range = |range: &Range<u32>| {
        let length = range.end - range.start;
        let start = if length == 0 { range.start } else { range.start + 1 };
        if length == 1 { start.to_string() } else { format!("{start},{length}") }
    };
    out.push_str(&format!("@@ -{} +{} @@\n", range(&before), range(&after)));
    let mut at = before.start;
    for (removed, added) in group {
        put(out, ' ', input, &input.before, at..removed.start);
        put(out, '-', input, &input.before, removed.clone());
        put(out, '+', input, &input.after, added.clone());
        at = removed.end;
    }
    put(out, ' ', input, &input.before, at..before.end);
}

fn put(
    out: &mut String,
    mark: char,
    input: &InternedInput<&[u8]>,
    tokens: &[imara_diff::Token],
    range: Range<u32>,
) {
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let range = number(range.start)..number(range.end);
    for token in tokens.get(range).unwrap_or_default() {
        let line = input.interner[*token];
        out.push(mark);
        out.push_str(&String::from_utf8_lossy(line));
        if !line.ends_with(b"\n") {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}
