//! Patterns over text: literal bytes, `*` within a segment, `**` across segments. A pattern is a
//! non-deterministic automaton whose states are positions in it, so that it can be run over one
//! text or over a whole region of texts.

use crate::compiled::automaton;
use std::collections::BTreeSet;

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// Any bytes but `/`.
    Within,
    /// Any bytes.
    Across,
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    steps: Vec<Step>,
}

/// The positions at which a pattern may stand after some text.
pub(crate) type Positions = BTreeSet<usize>;

impl Glob {
    /// A pattern in which `*` stands for any bytes but `/`, and `**` for any bytes.
    #[must_use]
    pub fn segments(text: &str) -> Self {
        Self::build(text, Step::Within)
    }

    /// A pattern in which `*` stands for any bytes.
    #[must_use]
    pub fn words(text: &str) -> Self {
        Self::build(text, Step::Across)
    }

    /// A pattern that matches `text` alone.
    pub(crate) fn exactly(text: &str) -> Self {
        Self { text: text.to_owned(), steps: text.bytes().map(Step::Byte).collect() }
    }

    /// A pattern that matches `prefix` followed by anything.
    pub(crate) fn beginning(prefix: &str) -> Self {
        let mut glob = Self::exactly(prefix);
        glob.steps.push(Step::Across);
        glob
    }

    fn build(text: &str, star: Step) -> Self {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("**") {
                steps.push(Step::Across);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('*') {
                steps.push(star);
                rest = after;
            } else {
                let length = rest.find('*').unwrap_or(rest.len());
                let (literal, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
                steps.extend(literal.bytes().map(Step::Byte));
                rest = after;
            }
        }
        Self { text: text.to_owned(), steps }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // before its first star a pattern stands at one position
        let literal = self.steps.iter().take_while(|step| matches!(step, Step::Byte(_))).count();
        let Some((begins, rest)) = text.as_bytes().split_at_checked(literal) else { return false };
        let is_same = begins.iter().zip(&self.steps).all(|(byte, step)| *step == Step::Byte(*byte));
        let from = || self.closed([literal]);
        is_same && self.accepts(&rest.iter().fold(from(), |at, byte| self.advance(&at, *byte)))
    }

    /// Its steps, as an automaton over many patterns takes them.
    pub(crate) fn steps(&self) -> Vec<automaton::Step> {
        let step = |step: &Step| match step {
            Step::Byte(byte) => automaton::Step::Byte(*byte),
            Step::Within => automaton::Step::Within,
            Step::Across => automaton::Step::Across,
        };
        self.steps.iter().map(step).collect()
    }

    /// Where the pattern stands before any text.
    pub(crate) fn start(&self) -> Positions {
        self.closed([0])
    }

    /// Where it stands after one more byte.
    pub(crate) fn advance(&self, at: &Positions, byte: u8) -> Positions {
        self.closed(at.iter().filter_map(|&position| match self.steps.get(position)? {
            Step::Byte(wanted) => (*wanted == byte).then_some(position + 1),
            Step::Within => (byte != b'/').then_some(position),
            Step::Across => Some(position),
        }))
    }

    /// Whether the text so far matches.
    pub(crate) fn accepts(&self, at: &Positions) -> bool {
        at.contains(&self.steps.len())
    }

    /// Every byte that the pattern names.
    pub(crate) fn alphabet(&self) -> impl Iterator<Item = u8> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Byte(byte) => Some(*byte),
            Step::Within | Step::Across => None,
        })
    }

    /// A star may also stand for nothing: the position behind it belongs to the set.
    fn closed(&self, positions: impl IntoIterator<Item = usize>) -> Positions {
        let mut closed = Positions::new();
        for mut position in positions {
            while closed.insert(position)
                && matches!(self.steps.get(position), Some(Step::Within | Step::Across))
            {
                position += 1;
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_their_segment_and_double_stars_do_not() {
        let check = |pattern: &str, text: &str| Glob::segments(pattern).matches(text);
        assert!(check("/workspace/*.rs", "/workspace/a.rs"));
        assert!(!check("/workspace/*.rs", "/workspace/a/b.rs"));
        assert!(check("/workspace/**.rs", "/workspace/a/b.rs"));
        assert!(check("/a/**/b", "/a/x/y/b"));
        assert!(check("refs/heads/*", "refs/heads/main"));
        assert!(!check("refs/heads/*", "refs/heads/a/b"));
        assert!(check("", ""));
        assert!(!check("", "a"));
        assert!(Glob::words("build-*").matches("build-a/b"));
    }
}
