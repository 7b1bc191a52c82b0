//! What a region holds, made ahead: for each state of the automaton of paths, the classes of the path that ends there
//! and of every canonical path beneath it. Equal sets are one, so that most states cost a number.
//!
//! A state in a segment is a node of a graph, by which bytes may follow there. Nodes that reach each other hold the
//! same: they are found by Tarjan's algorithm (SIAM J. Comput. 1(2), 1972), which also ends with a node when all that
//! it leads to has ended.

use super::automaton::{Automaton, START};
use super::dimension::{Dimension, Lookup};
use super::walk;
use crate::region::Segment;
use contract::path::CanonicalPath;
use std::collections::HashMap;

/// Most members of all sets together; beyond it nothing is made ahead, and each region is walked through.
const MEMBERS_MAX: usize = 1 << 22;

/// The segments that a text beneath a root can end in.
const SEGMENTS: [Segment; 4] = [Segment::Empty, Segment::Dot, Segment::DotDot, Segment::Name];

/// Of which node nothing is known yet.
const UNKNOWN: u32 = u32::MAX;

/// The sets of classes, and which of them each state has.
#[derive(Debug)]
pub(crate) struct Beneath {
    sets: Vec<Vec<u32>>,
    of_states: Vec<u32>,
    /// That of the path `/`, which every other one is beneath.
    of_all: u32,
}

impl Beneath {
    /// For a dimension of paths; `None` of another one, and beyond the bound.
    pub(crate) fn new(dimension: &Dimension) -> Option<Self> {
        let Lookup::Text(automaton, classes) = &dimension.lookup else { return None };
        let nodes = classes.len().checked_mul(SEGMENTS.len())?;
        let mut search = Search {
            automaton,
            classes,
            sets: Sets::default(),
            numbers: vec![0; nodes],
            next: 0,
            found: vec![UNKNOWN; nodes],
            open: Vec::new(),
        };
        let states = u32::try_from(classes.len()).ok()?;
        let of_states = (0..states).map(|state| search.region(state, state)).collect::<Option<_>>();
        let of_all = search.region(automaton.step(START, b'/'), START)?;
        Some(Self { of_states: of_states?, of_all, sets: search.sets.all })
    }

    /// The number of the set of a root.
    pub(crate) fn set_of(&self, dimension: &Dimension, root: &CanonicalPath) -> Option<u32> {
        let Lookup::Text(automaton, _) = &dimension.lookup else { return None };
        match root.as_str() {
            "/" => Some(self.of_all),
            root => {
                let state = automaton.after(START, root);
                self.of_states.get(usize::try_from(state).ok()?).copied()
            }
        }
    }

    /// The sets, each sorted, by their numbers.
    pub(crate) fn sets(&self) -> &[Vec<u32>] {
        &self.sets
    }
}

/// Sets, numbered as they are found.
#[derive(Default)]
struct Sets {
    numbers: HashMap<Vec<u32>, u32>,
    all: Vec<Vec<u32>>,
    members: usize,
}

impl Sets {
    /// The number of these classes and those of other sets; `None` beyond the bound.
    fn number(&mut self, mut classes: Vec<u32>, mut others: Vec<u32>) -> Option<u32> {
        others.sort_unstable();
        others.dedup();
        classes.sort_unstable();
        classes.dedup();
        let set = |number: u32| self.all.get(usize::try_from(number).ok()?);
        if let [other] = others[..] {
            let set = set(other)?;
            if classes.iter().all(|class| set.binary_search(class).is_ok()) {
                return Some(other);
            }
        }
        for other in others {
            classes.extend(set(other)?);
        }
        classes.sort_unstable();
        classes.dedup();
        if let Some(number) = self.numbers.get(&classes) {
            return Some(*number);
        }
        self.members = self.members.checked_add(classes.len())?;
        let number = u32::try_from(self.all.len()).ok()?;
        self.all.push(classes.clone());
        self.numbers.insert(classes, number);
        (self.members <= MEMBERS_MAX).then_some(number)
    }
}

/// A node under way.
struct Frame {
    node: usize,
    /// Which byte is next.
    byte: usize,
    /// The smallest number of a node that is under way and can be reached.
    low: u32,
    /// Classes of its own and of nodes that reach each other with it, and the sets of what else it leads to.
    classes: Vec<u32>,
    sets: Vec<u32>,
}

/// The search through all nodes.
struct Search<'a> {
    automaton: &'a Automaton,
    /// The class of each state.
    classes: &'a [u32],
    sets: Sets,
    /// For each node when it was first seen, from 1 on.
    numbers: Vec<u32>,
    next: u32,
    /// For each node the number of its set.
    found: Vec<u32>,
    /// Nodes whose set is not known yet, in the order in which they were seen.
    open: Vec<usize>,
}

impl Search<'_> {
    /// The set of a path that ends in state `own`, with all that follows state `root` behind a slash.
    fn region(&mut self, own: u32, root: u32) -> Option<u32> {
        let class = *self.classes.get(usize::try_from(own).ok()?)?;
        let node = to_node(self.automaton.step(root, b'/'), Segment::Empty)?;
        let beneath = match *self.found.get(node)? {
            UNKNOWN => self.from(node)?,
            found => found,
        };
        self.sets.number(vec![class], vec![beneath])
    }

    /// The set of a node that was not seen yet.
    fn from(&mut self, node: usize) -> Option<u32> {
        let mut frames = vec![self.begin(node)?];
        loop {
            let frame = frames.last_mut()?;
            let Some(byte) = self.automaton.bytes().get(frame.byte) else {
                let frame = frames.pop()?;
                let Some(parent) = frames.last_mut() else { return self.end(frame) };
                self.fold(parent, frame)?;
                continue;
            };
            frame.byte += 1;
            let (state, segment) = of_node(frame.node)?;
            let Some(after) = walk::after(segment, *byte) else { continue };
            let to = to_node(self.automaton.step(state, *byte), after)?;
            match (*self.found.get(to)?, *self.numbers.get(to)?) {
                (UNKNOWN, 0) => {
                    let child = self.begin(to)?;
                    frames.push(child);
                }
                (UNKNOWN, number) => frame.low = frame.low.min(number),
                (set, _) if frame.sets.last() != Some(&set) => frame.sets.push(set),
                _ => {}
            }
        }
    }

    fn begin(&mut self, node: usize) -> Option<Frame> {
        self.next = self.next.checked_add(1)?;
        *self.numbers.get_mut(node)? = self.next;
        self.open.push(node);
        let (state, segment) = of_node(node)?;
        let class = self.classes.get(usize::try_from(state).ok()?);
        let classes = class.filter(|_| segment.is_path()).into_iter().copied().collect();
        Some(Frame { node, byte: 0, low: self.next, classes, sets: Vec::new() })
    }

    /// A node that ended, into the one that led to it.
    fn fold(&mut self, parent: &mut Frame, mut child: Frame) -> Option<()> {
        if self.numbers.get(child.node) == Some(&child.low) {
            let set = self.end(child)?;
            parent.sets.push(set);
            return Some(());
        }
        parent.low = parent.low.min(child.low);
        // the shorter list to the longer one, since nodes that reach each other may be many
        for (of_parent, of_child) in
            [(&mut parent.classes, &mut child.classes), (&mut parent.sets, &mut child.sets)]
        {
            if of_parent.len() < of_child.len() {
                std::mem::swap(of_parent, of_child);
            }
            of_parent.append(of_child);
        }
        Some(())
    }

    /// Gives a node, and all that reach each other with it, their set.
    fn end(&mut self, frame: Frame) -> Option<u32> {
        let set = self.sets.number(frame.classes, frame.sets)?;
        while let Some(node) = self.open.pop() {
            *self.found.get_mut(node)? = set;
            if node == frame.node {
                break;
            }
        }
        Some(set)
    }
}

/// The number of a state in a segment; `None` of the root itself, which is no node.
fn to_node(state: u32, segment: Segment) -> Option<usize> {
    let at = SEGMENTS.iter().position(|of| *of == segment)?;
    usize::try_from(state).ok()?.checked_mul(SEGMENTS.len())?.checked_add(at)
}

/// The state and the segment of a number.
fn of_node(node: usize) -> Option<(u32, Segment)> {
    let segment = SEGMENTS.get(node % SEGMENTS.len()).copied()?;
    Some((u32::try_from(node / SEGMENTS.len()).ok()?, segment))
}
