//! Which rules hold, one dimension after the other: a state is the set of rules that still may, an edge goes
//! by the class of a value. Equal sets are one state, so that however many rules there are, a decision is one
//! edge a dimension.

use super::classes::NONE;
use super::defect::{Defect, has};
use super::dimension::Dimension;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Most edges, and most members of all states together, of the diagram of one kind.
const EDGES_MAX: usize = 1 << 22;
const MEMBERS_MAX: usize = 1 << 24;

/// The first state.
pub(crate) const START: u32 = 0;

/// The rules need more states than there may be: those of the state that was too much.
#[derive(Debug)]
pub(crate) struct TooMany(pub(crate) Vec<u32>);

/// Edges for one dimension.
#[derive(Debug, Default)]
struct Edges {
    /// From each state, by a class of which no rule of the state holds that asks.
    otherwise: Vec<u32>,
    /// From a state by a class.
    by_class: HashMap<(u32, u32), u32, BuildHasherDefault<Mix>>,
}

/// The diagram of one kind of effect.
#[derive(Debug)]
pub(crate) struct Diagram {
    edges: Vec<Edges>,
    /// The rules of each last state.
    pub(crate) last: Vec<Vec<u32>>,
}

/// States of one level, numbered as they are found.
#[derive(Default)]
struct States {
    numbers: HashMap<Vec<u32>, u32>,
    all: Vec<Vec<u32>>,
    members: usize,
}

impl States {
    fn number(&mut self, rules: Vec<u32>) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(rules.clone()).or_insert(next);
        if number == next {
            self.members = self.members.saturating_add(rules.len());
            self.all.push(rules);
        }
        number
    }
}

impl Diagram {
    /// Of rules 0 to `rules`, through these dimensions.
    pub(crate) fn new(rules: u32, dimensions: &[Dimension]) -> Result<Self, TooMany> {
        let mut level = States::default();
        level.number((0..rules).collect());
        let (mut all, mut count) = (Vec::new(), 0_usize);
        for dimension in dimensions {
            let (mut edges, mut next) = (Edges::default(), States::default());
            let classes = classes_of_rules(dimension);
            for (number, state) in (0..).zip(&level.all) {
                let asks = |rule: &&u32| dimension.tested.contains(*rule);
                let keeps = |rule: &&u32| !asks(rule) && !has(Defect::Unasked);
                let base: Vec<u32> = state.iter().filter(keeps).copied().collect();
                let mut by_class: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
                for rule in state.iter().filter(asks) {
                    for class in classes.get(rule).into_iter().flatten() {
                        by_class.entry(*class).or_default().push(*rule);
                    }
                }
                for (class, holding) in by_class {
                    let to = next.number(merged(&base, &holding));
                    edges.by_class.insert((number, class), to);
                    count += 1;
                    if count > EDGES_MAX || next.members > MEMBERS_MAX {
                        return Err(TooMany(state.clone()));
                    }
                }
                edges.otherwise.push(next.number(base));
            }
            all.push(edges);
            level = next;
        }
        Ok(Self { edges: all, last: level.all })
    }

    /// How many states there are before the dimension of this number.
    pub(crate) fn states(&self, dimension: usize) -> usize {
        self.edges.get(dimension).map_or(0, |edges| edges.otherwise.len())
    }

    /// The edges of every state before the dimension of this number.
    pub(crate) fn out(&self, dimension: usize) -> Vec<Out> {
        let Some(edges) = self.edges.get(dimension) else { return Vec::new() };
        let out = |otherwise: &u32| Out { otherwise: *otherwise, by_class: Vec::new() };
        let mut all: Vec<Out> = edges.otherwise.iter().map(out).collect();
        for ((state, class), to) in &edges.by_class {
            let of = usize::try_from(*state).ok().and_then(|state| all.get_mut(state));
            if let Some(of) = of {
                of.by_class.push((*class, *to));
            }
        }
        for out in &mut all {
            out.by_class.sort_unstable();
        }
        all
    }

    /// The state behind `state` by a class of the dimension of this number.
    pub(crate) fn step(&self, dimension: usize, state: u32, class: u32) -> Option<u32> {
        let edges = self.edges.get(dimension)?;
        let otherwise = || edges.otherwise.get(usize::try_from(state).ok()?).copied();
        if class == NONE {
            return otherwise();
        }
        edges.by_class.get(&(state, class)).copied().or_else(otherwise)
    }
}

/// The edges of one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Out {
    /// Where a class leads that is not in the list.
    pub(crate) otherwise: u32,
    /// From a class, in order, to a state.
    pub(crate) by_class: Vec<(u32, u32)>,
}

/// For each rule that asks, in which classes it holds.
fn classes_of_rules(dimension: &Dimension) -> HashMap<u32, Vec<u32>> {
    let mut classes: HashMap<u32, Vec<u32>> = HashMap::new();
    for (class, holding) in (0..).zip(&dimension.holding) {
        for rule in holding {
            classes.entry(*rule).or_default().push(class);
        }
    }
    classes
}

/// Two sorted lists as one.
fn merged(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut both = [one, other].concat();
    both.sort_unstable();
    both
}

/// A hash for pairs of small numbers, which nobody outside chooses: states and classes.
#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // the odd constant of Fibonacci hashing: 2^64 divided by the golden ratio
        let mixed =
            (self.0.rotate_left(26) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
