//! Which files are not to be taken in: patterns of `.gitignore` files and of `.git/info/exclude`. A file
//! that the user's own configuration names is not looked at. What was not there before is matched in a time
//! that grows with pattern and path, and with nothing else.

use super::Answer;
use super::folder::{Folder, join};

/// Longest file of patterns, and most patterns that hold at once.
const FILE_BYTES_MAX: usize = 64 << 10;
const PATTERNS_MAX: usize = 2_000;

/// The patterns that hold in a directory: those of the outermost file first.
#[derive(Default)]
pub(super) struct Patterns(Vec<Pattern>);

struct Pattern {
    /// The directory whose file it is of.
    within: Vec<u8>,
    /// Its segments; `**` stands for any number of them.
    segments: Vec<Vec<u8>>,
    takes_in: bool,
    folders_only: bool,
}

impl Patterns {
    /// Adds those of a file of the directory `within`; returns how many there were before.
    pub(super) fn enter(&mut self, files: &Folder, name: &[u8], within: &[u8]) -> Answer<usize> {
        let before = self.0.len();
        let path = join(within, name);
        let content = match files.read(&path, FILE_BYTES_MAX) {
            // a link or a directory of that name says nothing
            Err("link" | "wrong_kind") => None,
            content => content?,
        };
        for line in content.unwrap_or_default().split(|byte| *byte == b'\n') {
            self.0.extend(Pattern::read(line, if name == b".gitignore" { within } else { b"" }));
        }
        if self.0.len() > PATTERNS_MAX { Err("too_large") } else { Ok(before) }
    }

    /// Takes away what was entered since.
    pub(super) fn leave(&mut self, before: usize) {
        self.0.truncate(before);
    }

    /// Whether a path is left out; the last pattern that speaks of it says.
    pub(super) fn leaves_out(&self, path: &[u8], folder: bool) -> bool {
        let speaking = self.0.iter().rev().find(|pattern| pattern.matches(path, folder));
        speaking.is_some_and(|pattern| !pattern.takes_in)
    }
}

impl Pattern {
    fn read(line: &[u8], within: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let end = line.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
        let escaped = line.get(..end).is_some_and(|kept| kept.ends_with(b"\\")) && end < line.len();
        let line = line.get(..end + usize::from(escaped))?;
        let takes_in = line.starts_with(b"!");
        let line = line.strip_prefix(b"!").unwrap_or(line);
        if line.is_empty() || !takes_in && line.starts_with(b"#") {
            return None;
        }
        let folders_only = line.ends_with(b"/");
        let line = line.strip_suffix(b"/").unwrap_or(line);
        let rooted = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        let mut segments: Vec<Vec<u8>> =
            line.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        if segments.last().is_some_and(|last| last == b"**") {
            // what lies in the directory, and not the directory itself
            segments.push(b"*".to_vec());
        }
        if !rooted {
            segments.insert(0, b"**".to_vec());
        }
        Some(Self { within: within.to_vec(), segments, takes_in, folders_only })
    }

    fn matches(&self, path: &[u8], folder: bool) -> bool {
        let path = match path.strip_prefix(self.within.as_slice()) {
            Some(rest) if self.within.is_empty() => rest,
            Some(rest) => rest.strip_prefix(b"/").unwrap_or_default(),
            None => return false,
        };
        if self.folders_only && !folder || path.is_empty() {
            return false;
        }
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        matches(&self.segments, &names, |it| it == b"**", |it, name| in_segment(it, name))
    }
}

/// One step of a pattern within a segment.
enum Step {
    Any,
    One,
    Byte(u8),
    Class(Vec<(u8, u8)>, bool),
}

fn in_segment(pattern: &[u8], name: &[u8]) -> bool {
    let steps = steps(pattern);
    let one = |step: &Step, byte: &u8| match step {
        Step::Byte(wanted) => wanted == byte,
        Step::Class(ranges, not) => {
            ranges.iter().any(|(low, high)| (low..=high).contains(&byte)) != *not
        }
        Step::One | Step::Any => true,
    };
    matches(&steps, name, |step| matches!(step, Step::Any), one)
}

fn steps(pattern: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = pattern;
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        steps.push(match byte {
            b'*' => Step::Any,
            b'?' => Step::One,
            b'\\' => match rest.split_first() {
                Some((&byte, more)) => {
                    rest = more;
                    Step::Byte(byte)
                }
                None => Step::Byte(b'\\'),
            },
            b'[' => match class(rest) {
                Some((step, more)) => {
                    rest = more;
                    step
                }
                None => Step::Byte(b'['),
            },
            byte => Step::Byte(byte),
        });
    }
    steps
}

/// What stands between brackets, and what behind them.
fn class(bytes: &[u8]) -> Option<(Step, &[u8])> {
    let not = matches!(bytes.first(), Some(b'!' | b'^'));
    let mut rest = if not { bytes.get(1..)? } else { bytes };
    let mut ranges = Vec::new();
    loop {
        let (&low, more) = rest.split_first()?;
        rest = more;
        match (low, rest) {
            (b']', _) if !ranges.is_empty() => return Some((Step::Class(ranges, not), rest)),
            (low, [b'-', high, more @ ..]) if *high != b']' => {
                ranges.push((low, *high));
                rest = more;
            }
            (low, _) => ranges.push((low, low)),
        }
    }
}

/// Whether items match a pattern in which some steps stand for any number of items. Only the last such
/// step that was passed is ever tried again, which is enough.
fn matches<S, I>(
    steps: &[S],
    items: &[I],
    any: impl Fn(&S) -> bool,
    one: impl Fn(&S, &I) -> bool,
) -> bool {
    let (mut step, mut item) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    while item < items.len() {
        match (steps.get(step), items.get(item)) {
            (Some(this), _) if any(this) => {
                again = Some((step + 1, item));
                step += 1;
            }
            (Some(this), Some(that)) if one(this, that) => {
                step += 1;
                item += 1;
            }
            _ => match again {
                Some((from, at)) => {
                    again = Some((from, at + 1));
                    (step, item) = (from, at + 1);
                }
                None => return false,
            },
        }
    }
    steps.get(step..).is_some_and(|rest| rest.iter().all(&any))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves_out(lines: &str, path: &str) -> bool {
        let mut patterns = Patterns::default();
        patterns.0.extend(lines.lines().filter_map(|line| Pattern::read(line.as_bytes(), b"")));
        let folder = path.ends_with('/');
        patterns.leaves_out(path.trim_end_matches('/').as_bytes(), folder)
    }

    #[test]
    fn patterns_mean_what_gitignore_says() {
        for (lines, path, out) in [
            ("*.o", "a.o", true),
            ("*.o", "deep/down/a.o", true),
            ("*.o", "a.ob", false),
            ("/a", "a", true),
            ("/a", "b/a", false),
            ("a/b", "a/b", true),
            ("a/b", "c/a/b", false),
            ("build/", "build/", true),
            ("build/", "build", false),
            ("build/", "x/build/", true),
            ("*.o\n!keep.o", "keep.o", false),
            ("!keep.o\n*.o", "keep.o", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("**/b", "x/y/b", true),
            ("a/**", "a/x", true),
            ("a/**", "a/", false),
            ("[a-c]?.txt", "bx.txt", true),
            ("[!a-c]?.txt", "bx.txt", false),
            ("\\#a", "#a", true),
            ("# a", "# a", false),
            ("\\!a", "!a", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("", "a", false),
        ] {
            assert_eq!(leaves_out(lines, path), out, "{lines:?} {path}");
        }
    }

    #[test]
    fn a_pattern_that_is_meant_to_take_for_ever_does_not() {
        let pattern = "*a".repeat(200);
        assert!(!leaves_out(&pattern, &"a".repeat(150)));
        let pattern = "**/a/".repeat(100);
        assert!(!leaves_out(&format!("{pattern}b"), &"a/".repeat(500)));
    }
}
