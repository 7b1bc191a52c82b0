//! All patterns over one field at once: a deterministic automaton over bytes, made by the subset
//! construction from the positions in the patterns. A text is read once, however many patterns there are.

use std::collections::{BTreeMap, HashMap};

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Byte(u8),
    /// One byte, whichever.
    One,
    /// Any bytes but `/`.
    Within,
    /// Any bytes.
    Across,
}

/// Most states of one automaton, and most work, in positions looked at, to make it.
const STATES_MAX: usize = 1 << 17;
const POSITIONS_MAX: usize = 1 << 24;
/// Most transitions.
const TRANSITIONS_MAX: usize = 1 << 24;

/// The patterns need more states than there may be: these, above all.
#[derive(Debug)]
pub(crate) struct TooMany(pub(crate) Vec<u32>);

/// The automaton: from a state and a byte to a state.
#[derive(Debug)]
pub(crate) struct Automaton {
    /// Bytes that no pattern tells apart have one number.
    sort_of: [u8; 256],
    /// One byte of each number.
    bytes: Vec<u8>,
    /// For each state, the next by number of the byte.
    next: Vec<u32>,
    /// For each state which patterns match a text that ends there, sorted.
    matching: Vec<Vec<u32>>,
}

/// Where a text begins.
pub(crate) const START: u32 = 0;

/// The patterns' positions, all in one row: a pattern's last is behind its last step.
struct Positions {
    /// The step at each position; nothing at a last one, which has its pattern's number instead.
    steps: Vec<Result<Step, u32>>,
    starts: Vec<u32>,
}

impl Positions {
    fn of(patterns: &[Vec<Step>]) -> Self {
        let (mut steps, mut starts) = (Vec::new(), Vec::new());
        for (number, pattern) in patterns.iter().enumerate() {
            starts.push(u32::try_from(steps.len()).unwrap_or(u32::MAX));
            steps.extend(pattern.iter().map(|step| Ok(*step)));
            steps.push(Err(u32::try_from(number).unwrap_or(u32::MAX)));
        }
        Self { steps, starts }
    }

    fn at(&self, position: u32) -> Option<&Result<Step, u32>> {
        self.steps.get(usize::try_from(position).ok()?)
    }

    /// A star may also stand for nothing: what is behind it belongs to the set.
    fn close(&self, set: &mut Vec<u32>) {
        let mut at = 0;
        while let Some(position) = set.get(at).copied() {
            if matches!(self.at(position), Some(Ok(Step::Within | Step::Across))) {
                set.push(position + 1);
            }
            at += 1;
        }
        set.sort_unstable();
        set.dedup();
    }
}

/// Sets of positions, numbered as they are found.
struct States {
    numbers: HashMap<Vec<u32>, u32>,
    all: Vec<Vec<u32>>,
}

impl States {
    fn number(&mut self, set: Vec<u32>) -> u32 {
        if let Some(number) = self.numbers.get(&set) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(set.clone());
        self.numbers.insert(set, number);
        number
    }
}

/// Numbers for bytes: one for each that a pattern names, for the three that the form of a path tells apart,
/// and one for all others.
fn sorts(patterns: &[Vec<Step>]) -> ([u8; 256], Vec<u8>) {
    let mut named = [false; 256];
    let bytes = patterns.iter().flatten().filter_map(|step| match step {
        Step::Byte(byte) => Some(*byte),
        Step::One | Step::Within | Step::Across => None,
    });
    for byte in bytes.chain([0, b'.', b'/']) {
        if let Some(named) = named.get_mut(usize::from(byte)) {
            *named = true;
        }
    }
    let (mut sort_of, mut bytes) = ([0_u8; 256], Vec::new());
    // the first is all others', of which there are some: no UTF-8 holds 0xff
    bytes.push(
        (1..=255).find(|byte| !named.get(usize::from(*byte)).is_some_and(|n| *n)).unwrap_or(255),
    );
    for byte in 0..=254_u8 {
        if named.get(usize::from(byte)).is_some_and(|named| *named)
            && let Some(sort) = sort_of.get_mut(usize::from(byte))
        {
            *sort = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
            bytes.push(byte);
        }
    }
    (sort_of, bytes)
}

impl Automaton {
    /// Of these patterns.
    pub(crate) fn new(patterns: &[Vec<Step>]) -> Result<Self, TooMany> {
        Self::labelled(patterns).map(|(automaton, _)| automaton)
    }

    /// Of these patterns, with the positions that each state stands for: sorted, all patterns' in one row,
    /// one more than its steps for each pattern.
    pub(crate) fn labelled(patterns: &[Vec<Step>]) -> Result<(Self, Vec<Vec<u32>>), TooMany> {
        let positions = Positions::of(patterns);
        let (sort_of, bytes) = sorts(patterns);
        let mut start = positions.starts.clone();
        positions.close(&mut start);
        let mut states =
            States { numbers: HashMap::from([(start.clone(), START)]), all: vec![start] };
        let (mut next, mut matching, mut looked_at) = (Vec::new(), Vec::new(), 0_usize);
        let mut at = 0;
        while let Some(state) = states.all.get(at).cloned() {
            at += 1;
            matching.push(ends(&positions, &state));
            let after = successors(&positions, &state, &sort_of);
            let mut number = |set: Vec<u32>| {
                looked_at = looked_at.saturating_add(set.len() + 1);
                states.number(set)
            };
            let row = next.len();
            let otherwise = number(after.otherwise);
            next.resize(row + bytes.len(), otherwise);
            for (sort, set) in after.by_sort {
                let number = number(set);
                if let Some(next) = next.get_mut(row + sort) {
                    *next = number;
                }
            }
            let many = states.all.len() > STATES_MAX || next.len() > TRANSITIONS_MAX;
            if many || looked_at > POSITIONS_MAX {
                return Err(TooMany(crowd(&positions, &states.all)));
            }
        }
        Ok((Self { sort_of, bytes, next, matching }, states.all))
    }

    /// The state after one more byte.
    pub(crate) fn step(&self, state: u32, byte: u8) -> u32 {
        let sort = self.sort_of.get(usize::from(byte)).copied().map_or(0, usize::from);
        let row = usize::try_from(state).unwrap_or(usize::MAX).saturating_mul(self.bytes.len());
        self.next.get(row.saturating_add(sort)).copied().unwrap_or(START)
    }

    /// The state after a text.
    pub(crate) fn after(&self, state: u32, text: &str) -> u32 {
        text.bytes().fold(state, |state, byte| self.step(state, byte))
    }

    /// One byte of each sort that the patterns tell apart.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// For each state which patterns match a text that ends there.
    pub(crate) fn matching(&self) -> &[Vec<u32>] {
        &self.matching
    }
}

fn ends(positions: &Positions, state: &[u32]) -> Vec<u32> {
    let mut ends: Vec<u32> = state
        .iter()
        .filter_map(|position| positions.at(*position)?.as_ref().err().copied())
        .collect();
    ends.sort_unstable();
    ends
}

/// The sets behind a state: for most bytes the same.
struct Successors {
    by_sort: BTreeMap<usize, Vec<u32>>,
    otherwise: Vec<u32>,
}

fn successors(positions: &Positions, state: &[u32], sort_of: &[u8; 256]) -> Successors {
    let sort = |byte: u8| sort_of.get(usize::from(byte)).copied().map_or(0, usize::from);
    let slash = sort(b'/');
    // what stays for every byte, and for every byte but the slash
    let (mut always, mut within) = (Vec::new(), Vec::new());
    let mut by_sort: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for &position in state {
        match positions.at(position) {
            Some(Ok(Step::Byte(byte))) => {
                by_sort.entry(sort(*byte)).or_default().push(position + 1);
            }
            Some(Ok(Step::One)) => always.push(position + 1),
            Some(Ok(Step::Within)) => within.push(position),
            Some(Ok(Step::Across)) => always.push(position),
            Some(Err(_)) | None => {}
        }
    }
    by_sort.entry(slash).or_default();
    for (sort, set) in &mut by_sort {
        set.extend(&always);
        if *sort != slash {
            set.extend(&within);
        }
        positions.close(set);
    }
    let mut otherwise = [always, within].concat();
    positions.close(&mut otherwise);
    Successors { by_sort, otherwise }
}

/// The patterns with the most positions in the largest state: those that multiply.
fn crowd(positions: &Positions, states: &[Vec<u32>]) -> Vec<u32> {
    let largest = states.iter().max_by_key(|state| state.len()).map_or(&[][..], Vec::as_slice);
    let pattern = |position: &u32| {
        u32::try_from(positions.starts.partition_point(|start| start <= position))
            .ok()?
            .checked_sub(1)
    };
    let mut patterns: Vec<u32> = largest.iter().filter_map(pattern).collect();
    patterns.dedup();
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Vec<Step> {
        text.bytes()
            .map(|byte| match byte {
                b'*' => Step::Within,
                b'%' => Step::Across,
                b'?' => Step::One,
                byte => Step::Byte(byte),
            })
            .collect()
    }

    #[test]
    fn a_text_is_read_once_for_all_patterns() {
        let patterns = ["/a/*", "/a/%", "%.rs", "/a/b", "", "?"].map(pattern);
        let automaton = Automaton::new(&patterns).unwrap();
        for (text, wanted) in [
            ("/a/b", vec![0, 1, 3]),
            ("/a/b/c", vec![1]),
            ("/a/x.rs", vec![0, 1, 2]),
            ("", vec![4]),
            ("/", vec![5]),
            ("\u{fc}", vec![]),
        ] {
            let state = usize::try_from(automaton.after(START, text)).unwrap();
            assert_eq!(automaton.matching()[state], wanted, "{text}");
        }
    }

    #[test]
    fn patterns_that_multiply_are_refused_and_named() {
        let many: Vec<Vec<Step>> =
            (0..30).map(|n| pattern(&format!("%/{}/%", char::from(b'A' + n)))).collect();
        let TooMany(named) = Automaton::new(&many).unwrap_err();
        assert!(named.len() > 10, "{named:?}");
    }
}
