//! Patterns over text, step by step: where in each of them a text can be.

use crate::theorem::Test;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// One byte, whichever.
    One,
    /// Any bytes but `/`.
    Within,
    /// Any bytes.
    Across,
}

/// What a rule asks of a text, over numbered patterns.
#[derive(Debug)]
pub(crate) enum Formula {
    Any(Vec<usize>),
    All(Vec<Self>),
    Not(Box<Self>),
}

impl Formula {
    /// Whether it holds of a text that exactly these patterns match.
    pub(crate) fn holds(&self, matching: &[usize]) -> bool {
        match self {
            Self::Any(of) => of.iter().any(|pattern| matching.contains(pattern)),
            Self::All(of) => of.iter().all(|one| one.holds(matching)),
            Self::Not(one) => !one.holds(matching),
        }
    }
}

/// Patterns, each once, in the order in which they are first named. A position is a step of one, all patterns' in
/// one row, each with one more behind its last.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    each: Vec<Vec<Step>>,
    /// At each position its step, or which pattern ends there.
    row: Vec<Result<Step, usize>>,
}

fn glob(text: &str, star: Step) -> Vec<Step> {
    let bytes = text.as_bytes();
    let (mut steps, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let is_double = *byte == b'*' && bytes.get(at + 1) == Some(&b'*');
        steps.push(match byte {
            b'*' if is_double => Step::Across,
            b'*' => star,
            byte => Step::Byte(*byte),
        });
        at += if is_double { 2 } else { 1 };
    }
    steps
}

fn literal(text: &str) -> Vec<Step> {
    text.bytes().map(Step::Byte).collect()
}

impl Patterns {
    fn number(&mut self, pattern: Vec<Step>) -> usize {
        if let Some(number) = self.each.iter().position(|known| *known == pattern) {
            return number;
        }
        let number = self.each.len();
        self.row.extend(pattern.iter().map(|step| Ok(*step)));
        self.row.push(Err(number));
        self.each.push(pattern);
        number
    }

    /// What an agent must be called: one of these, where `*` is any characters.
    pub(crate) fn agents(&mut self, patterns: &[String]) -> Formula {
        Formula::Any(patterns.iter().map(|text| self.number(glob(text, Step::Across))).collect())
    }

    /// What an agent must be called: this.
    pub(crate) fn agent(&mut self, name: &str) -> Formula {
        Formula::Any(vec![self.number(literal(name))])
    }

    /// A test of text; nothing if it is one of something else.
    pub(crate) fn formula(&mut self, test: &Test) -> Option<Formula> {
        Some(match test {
            Test::OneOf(texts) => Formula::Any(
                texts.iter().map(|text| self.number(glob(text, Step::Within))).collect(),
            ),
            Test::Hosts(names) => {
                let host = |name: &String| match name.strip_prefix("*.") {
                    Some(rest) => {
                        [vec![Step::One, Step::Across, Step::Byte(b'.')], literal(rest)].concat()
                    }
                    None => literal(name),
                };
                Formula::Any(names.iter().map(|name| self.number(host(name))).collect())
            }
            Test::Under(roots) => {
                let mut any = Vec::new();
                for root in roots {
                    let beneath = if root == "/" { "/".to_owned() } else { format!("{root}/") };
                    any.push(self.number(literal(root)));
                    any.push(self.number([literal(&beneath), vec![Step::Across]].concat()));
                }
                Formula::Any(any)
            }
            Test::All(tests) => {
                Formula::All(tests.iter().map(|test| self.formula(test)).collect::<Option<_>>()?)
            }
            Test::Not(test) => Formula::Not(Box::new(self.formula(test)?)),
            Test::Numbers(_) | Test::Networks(_) => return None,
        })
    }

    fn at(&self, position: u32) -> Option<Result<Step, usize>> {
        self.row.get(usize::try_from(position).ok()?).copied()
    }

    /// A star may also stand for nothing.
    fn closed(&self, mut set: Vec<u32>) -> Vec<u32> {
        let mut at = 0;
        while let Some(position) = set.get(at).copied() {
            if matches!(self.at(position), Some(Ok(Step::Within | Step::Across))) {
                set.push(position + 1);
            }
            at += 1;
        }
        set.sort_unstable();
        set.dedup();
        set
    }

    /// Before any text.
    pub(crate) fn start(&self) -> Vec<u32> {
        let begins = |at: usize| at == 0 || self.row.get(at - 1).is_some_and(Result::is_err);
        let starts = (0..self.row.len()).filter(|at| begins(*at));
        self.closed(starts.filter_map(|at| u32::try_from(at).ok()).collect())
    }

    /// After one more byte.
    pub(crate) fn step(&self, from: &[u32], byte: u8) -> Vec<u32> {
        let step = |position: &u32| match self.at(*position)? {
            Ok(Step::Byte(wanted)) => (wanted == byte).then_some(position + 1),
            Ok(Step::One) => Some(position + 1),
            Ok(Step::Within) => (byte != b'/').then_some(*position),
            Ok(Step::Across) => Some(*position),
            Err(_) => None,
        };
        self.closed(from.iter().filter_map(step).collect())
    }

    /// The patterns that match a text that ends there.
    pub(crate) fn matching(&self, positions: &[u32]) -> Vec<usize> {
        positions.iter().filter_map(|position| self.at(*position)?.err()).collect()
    }

    /// Bytes that some pattern names.
    pub(crate) fn names(&self, byte: u8) -> bool {
        self.row.contains(&Ok(Step::Byte(byte)))
    }
}
