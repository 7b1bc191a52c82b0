//! The most restrictive answer over every path of a region: exact, by running all patterns at once
//! over all texts that the region holds, and asking at each set of positions that can occur.

use crate::answer::{Answer, Because, Decided, Facts};
use crate::glob::{Glob, Positions};
use crate::point::at_point;
use crate::rule::Rule;
use crate::set::Layer;
use crate::test::Test;
use contract::effect::{Effect, Field};
use contract::path::CanonicalPath;
use std::collections::{BTreeSet, HashSet};

/// Most sets of positions that are looked at; a region that needs more is blocked.
const STATES_MAX: usize = 20_000;

/// Where a text stands within the form of a canonical path: which segment it is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// The region's root itself.
    Root,
    /// Just behind a slash.
    Empty,
    /// `.`, which is no segment of a canonical path.
    Dot,
    /// `..`, neither.
    DotDot,
    /// A name.
    Name,
}

impl Segment {
    pub(crate) const fn advance(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Root | Self::Name, b'/') => Some(Self::Empty),
            (Self::Empty | Self::Dot | Self::DotDot, b'/') | (_, 0) | (Self::Root, _) => None,
            (Self::Empty, b'.') => Some(Self::Dot),
            (Self::Dot, b'.') => Some(Self::DotDot),
            (Self::Empty | Self::Dot | Self::DotDot | Self::Name, _) => Some(Self::Name),
        }
    }

    /// One bit for each.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Root => 1,
            Self::Empty => 2,
            Self::Dot => 4,
            Self::DotDot => 8,
            Self::Name => 16,
        }
    }

    pub(crate) const fn is_path(self) -> bool {
        matches!(self, Self::Root | Self::Name)
    }
}

/// The most restrictive answer over `root` and every path beneath it; `None` beyond the bound.
pub(crate) fn worst(
    root: &CanonicalPath,
    speaking: &[(&Layer, Vec<&Rule>)],
    effect: &Effect,
    facts: &Facts,
) -> Option<Decided> {
    let rules: Vec<&Rule> = speaking.iter().flat_map(|(_, rules)| rules).copied().collect();
    let globs = globs(&rules);
    let alphabet = alphabet(&globs);
    let prefix = if root.as_str() == "/" { "" } else { root.as_str() };
    let mut start: Vec<Positions> = globs.iter().map(Glob::start).collect();
    for byte in prefix.bytes() {
        start = step(&globs, &start, byte);
    }
    let mut next = vec![(Segment::Root, start)];
    let mut seen = HashSet::new();
    let mut worst = Decided { answer: Answer::Autonomous, because: Vec::new() };
    if prefix.is_empty() {
        // the path `/` itself, which no continuation of the empty prefix spells
        let at: Vec<Positions> = globs.iter().map(Glob::start).collect();
        keep(&mut worst, decide_at(&globs, &step(&globs, &at, b'/'), speaking, effect, facts));
    }
    while let Some((segment, at)) = next.pop() {
        if !seen.insert((segment, at.clone())) {
            continue;
        }
        if seen.len() > STATES_MAX {
            return None;
        }
        if segment.is_path() && !(segment == Segment::Root && prefix.is_empty()) {
            keep(&mut worst, decide_at(&globs, &at, speaking, effect, facts));
        }
        for &byte in &alphabet {
            if let Some(after) = segment.advance(byte) {
                next.push((after, step(&globs, &at, byte)));
            }
        }
    }
    Some(worst)
}

/// Every pattern that rules have of paths, each once.
pub(crate) fn globs(rules: &[&Rule]) -> Vec<Glob> {
    let mut globs = Vec::new();
    for (field, test) in rules.iter().flat_map(|rule| &rule.conditions.0) {
        if *field == Field::Path {
            collect(test, &mut globs);
        }
    }
    globs
}

/// The more restrictive of two answers, with the reasons of both where they are one.
pub(crate) fn worse(mut one: Decided, other: Decided) -> Decided {
    keep(&mut one, other);
    one
}

fn keep(worst: &mut Decided, found: Decided) {
    if found.answer > worst.answer {
        *worst = found;
    } else if found.answer == worst.answer {
        let new: Vec<Because> =
            found.because.into_iter().filter(|one| !worst.because.contains(one)).collect();
        worst.because.extend(new);
    }
}

fn decide_at(
    globs: &[Glob],
    at: &[Positions],
    speaking: &[(&Layer, Vec<&Rule>)],
    effect: &Effect,
    facts: &Facts,
) -> Decided {
    let matching: Vec<&Glob> = globs
        .iter()
        .zip(at)
        .filter(|(glob, positions)| glob.accepts(positions))
        .map(|(glob, _)| glob)
        .collect();
    at_point(speaking, facts, |rule| {
        rule.conditions.0.iter().all(|(field, test)| match field {
            Field::Path => holds(test, &matching),
            field => effect.get(*field).is_some_and(|value| test.holds(value)),
        })
    })
}

/// Whether a predicate on the path holds where exactly `matching` patterns match.
fn holds(test: &Test, matching: &[&Glob]) -> bool {
    match test {
        Test::OneOf(globs) => globs.iter().any(|glob| matching.contains(&glob)),
        Test::Under(roots) => roots.iter().flat_map(under).any(|glob| matching.contains(&&glob)),
        Test::All(tests) => tests.iter().all(|test| holds(test, matching)),
        Test::Not(test) => !holds(test, matching),
        Test::Hosts(_) | Test::Numbers(_) | Test::Networks(_) => false,
    }
}

fn collect(test: &Test, globs: &mut Vec<Glob>) {
    let mut add = |glob: Glob| {
        if !globs.contains(&glob) {
            globs.push(glob);
        }
    };
    match test {
        Test::OneOf(more) => more.iter().cloned().for_each(add),
        Test::Under(roots) => roots.iter().flat_map(under).for_each(&mut add),
        Test::All(tests) => tests.iter().for_each(|test| collect(test, globs)),
        Test::Not(test) => collect(test, globs),
        Test::Hosts(_) | Test::Numbers(_) | Test::Networks(_) => {}
    }
}

/// `root` and all beneath it, as two patterns.
pub(crate) fn under(root: &CanonicalPath) -> [Glob; 2] {
    let text = root.as_str();
    let slash = if text == "/" { "/".to_owned() } else { format!("{text}/") };
    [Glob::exactly(text), Glob::beginning(&slash)]
}

/// Where each pattern stands after one more byte.
pub(crate) fn step(globs: &[Glob], at: &[Positions], byte: u8) -> Vec<Positions> {
    globs.iter().zip(at).map(|(glob, positions)| glob.advance(positions, byte)).collect()
}

/// Every byte that some pattern tells apart, the dot, the slash, and one byte that none names.
fn alphabet(globs: &[Glob]) -> BTreeSet<u8> {
    let mut alphabet: BTreeSet<u8> = globs.iter().flat_map(Glob::alphabet).collect();
    alphabet.extend([b'/', b'.']);
    alphabet.extend((1..=255).find(|byte| !alphabet.contains(byte)));
    alphabet
}
