//! The path within a region that got the region's answer: the shortest.

use super::Asked;
use crate::decide::decide_effect;
use crate::glob::{Glob, Positions};
use crate::region::{Segment, globs, step};
use contract::effect::{Effect, Field, Form, Value};
use contract::path::CanonicalPath;
use std::collections::{BTreeSet, HashSet, VecDeque};

/// Most sets of positions that are looked at, and most patterns in all of them; a region that needs more has no rule
/// that nearly spoke.
const STATES_MAX: usize = 5_000;
const PATTERNS_MAX: usize = 1_000_000;

/// The effect itself, or of a region the exact effect within it that gets its answer.
pub(super) fn point(asked: &Asked<'_>, effect: &Effect) -> Option<Effect> {
    if effect.form != Form::Region {
        return Some(effect.clone());
    }
    let Some(Value::Path(root)) = effect.get(Field::Path) else { return None };
    let worst = decide_effect(asked.set, asked.call, effect, asked.facts).answer;
    let rules: Vec<_> = asked.rules(effect).into_iter().map(|(_, rule)| rule).collect();
    let globs = globs(&rules);
    let prefix = if root.as_str() == "/" { "" } else { root.as_str() };
    let start: Vec<Positions> = globs.iter().map(Glob::start).collect();
    let start = prefix.bytes().fold(start, |at, byte| step(&globs, &at, byte));
    let alphabet = alphabet(&globs);
    let most = STATES_MAX.min(PATTERNS_MAX / globs.len().max(1));
    let mut next = VecDeque::from([(Segment::Root, start, prefix.as_bytes().to_vec())]);
    let mut seen = HashSet::new();
    if prefix.is_empty()
        && let Some(found) = at(asked, effect, root.clone(), worst)
    {
        return Some(found);
    }
    while let Some((segment, positions, text)) = next.pop_front() {
        if !seen.insert((segment, positions.clone())) {
            continue;
        }
        if seen.len() > most {
            return None;
        }
        let path = String::from_utf8(text.clone()).ok().filter(|_| segment.is_path());
        let path =
            path.and_then(|path| CanonicalPath::parse(&path).ok().filter(|p| p.as_str() == path));
        if let Some(found) = path.and_then(|path| at(asked, effect, path, worst)) {
            return Some(found);
        }
        for byte in &alphabet {
            if let Some(after) = segment.advance(*byte) {
                let text = text.iter().copied().chain([*byte]).collect();
                next.push_back((after, step(&globs, &positions, *byte), text));
            }
        }
    }
    None
}

/// The exact effect at a path, if it gets this answer.
fn at(
    asked: &Asked<'_>,
    effect: &Effect,
    path: CanonicalPath,
    worst: crate::answer::Answer,
) -> Option<Effect> {
    let mut exact = Effect { form: Form::Exact, ..effect.clone() };
    exact.fields.insert(Field::Path, Value::Path(path));
    let decided = decide_effect(asked.set, asked.call, &exact, asked.facts);
    (decided.answer == worst).then_some(exact)
}

/// Every byte that a pattern names, those of a path's form, and a letter that none names; letters first.
fn alphabet(globs: &[Glob]) -> Vec<u8> {
    let named: BTreeSet<u8> = globs.iter().flat_map(Glob::alphabet).chain([b'/', b'.']).collect();
    let free = (b'a'..=b'z').chain(b'0'..=b'9').chain(1..=255).find(|byte| !named.contains(byte));
    let mut all: Vec<u8> = free.into_iter().chain(named).collect();
    all.sort_by_key(|byte| (!byte.is_ascii_alphanumeric(), Some(*byte) != free, *byte));
    all
}
