//! Last states of a diagram as products: for each thing that rules ask about a set of its classes, all of whose
//! combinations lead there. The part of the diagram that leads there is made minimal first, so that what does not
//! matter is not asked.

use super::render;
use super::space::{Space, at};
use crate::compiled::diagram::START;
use crate::compiled::predicate::Predicate;
use contract::effect::Field;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Most products that are written of one region.
const PRODUCTS_MAX: usize = 64;

/// What calls have in common; what is not said may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Which agents.
    pub agents: Option<String>,
    /// Which capabilities.
    pub capabilities: Option<String>,
    /// What holds of fields, in the words of a rule's `where`.
    pub fields: Vec<(Field, String)>,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, said) in [("agents", &self.agents), ("capabilities", &self.capabilities)] {
            if let Some(said) = said {
                write!(f, ", {word}: {said}")?;
            }
        }
        for (field, said) in &self.fields {
            write!(f, ", {field}: {said}")?;
        }
        Ok(())
    }
}

/// For each target the classes that lead there.
type Branches = Vec<(usize, BTreeSet<u32>)>;

/// A diagram that says yes or no; node 0 is yes.
#[derive(Default)]
struct Minimal {
    nodes: Vec<Branches>,
    numbers: BTreeMap<Branches, usize>,
}

impl Minimal {
    fn number(&mut self, branches: Branches) -> usize {
        let next = self.nodes.len() + 1;
        let number = *self.numbers.entry(branches.clone()).or_insert(next);
        if number == next {
            self.nodes.push(branches);
        }
        number
    }

    fn branches(&self, node: usize) -> &[(usize, BTreeSet<u32>)] {
        node.checked_sub(1).and_then(|at| self.nodes.get(at)).map_or(&[], Vec::as_slice)
    }
}

/// For each state behind a dimension, from which states and by which class it is reached: by none that has
/// an edge of its own, where none is said.
type Edges = Vec<Vec<(u32, Option<u32>)>>;

/// The edges of a diagram that calls take, backwards.
#[derive(Debug)]
pub(super) struct Back(Vec<Edges>);

impl Back {
    pub(super) fn of(space: &Space) -> Self {
        let mut all = Vec::new();
        for (number, (out, inhabited)) in space.out.iter().zip(&space.all.inhabited).enumerate() {
            let mut edges = Edges::new();
            let mut add = |to: u32, from: u32, class: Option<u32>| {
                edges.resize(edges.len().max(at(to) + 1), Vec::new());
                edges.get_mut(at(to)).into_iter().for_each(|of| of.push((from, class)));
            };
            for (from, out) in (0..).zip(out).filter(|(from, _)| space.is_reached(number, *from)) {
                let own = out.by_class.iter().filter(|(class, _)| inhabited.cost(*class).is_some());
                own.for_each(|(class, to)| add(*to, from, Some(*class)));
                add(out.otherwise, from, None);
            }
            all.push(edges);
        }
        Self(all)
    }
}

/// The products that lead to these last states, and how many more there are.
pub(super) fn of(
    space: &Space,
    back: &Back,
    predicates: &[Predicate<'_>],
    leaves: &[u32],
) -> (Vec<Product>, u64) {
    let mut minimal = Minimal::default();
    let mut level: BTreeMap<u32, usize> = leaves.iter().map(|leaf| (*leaf, 0)).collect();
    // how many products each node has
    let mut counts: BTreeMap<usize, u64> = BTreeMap::from([(0, 1)]);
    let levels = back.0.iter().zip(&space.out).zip(&space.all.inhabited);
    for ((edges, out), inhabited) in levels.rev() {
        let mut before: BTreeMap<u32, BTreeMap<usize, BTreeSet<u32>>> = BTreeMap::new();
        for (to, node) in level {
            for (from, class) in edges.get(at(to)).into_iter().flatten() {
                let others = || {
                    let own = out.get(at(*from)).map_or(&[][..], |out| &out.by_class);
                    let is_own =
                        |class: u32| own.binary_search_by_key(&class, |(of, _)| *of).is_ok();
                    inhabited.classes().iter().copied().filter(move |class| !is_own(*class))
                };
                let classes: BTreeSet<u32> =
                    class.map_or_else(|| others().collect(), |class| BTreeSet::from([class]));
                if !classes.is_empty() {
                    before.entry(*from).or_default().entry(node).or_default().extend(classes);
                }
            }
        }
        level = BTreeMap::new();
        for (state, branches) in before {
            let branches: Branches = branches.into_iter().collect();
            let of = |(node, _): &(usize, BTreeSet<u32>)| counts.get(node).copied().unwrap_or(0);
            let count = branches.iter().map(of).fold(0, u64::saturating_add);
            let node = minimal.number(branches);
            counts.insert(node, count);
            level.insert(state, node);
        }
    }
    let Some(root) = level.get(&START) else { return (Vec::new(), 0) };
    let mut found = Vec::new();
    paths(&minimal, *root, &mut Vec::new(), &mut found);
    let products: Vec<Product> =
        found.iter().map(|classes| render::product(space, predicates, classes)).collect();
    let count = counts.get(root).copied().unwrap_or(0);
    let told = u64::try_from(products.len()).unwrap_or(u64::MAX);
    (products, count.saturating_sub(told))
}

/// The sets of classes on every way to yes, as many as are written.
fn paths(
    minimal: &Minimal,
    node: usize,
    way: &mut Vec<BTreeSet<u32>>,
    found: &mut Vec<Vec<BTreeSet<u32>>>,
) {
    if node == 0 && found.len() < PRODUCTS_MAX {
        found.push(way.clone());
    }
    for (next, classes) in minimal.branches(node) {
        if found.len() >= PRODUCTS_MAX {
            return;
        }
        way.push(classes.clone());
        paths(minimal, *next, way, found);
        way.pop();
    }
}
