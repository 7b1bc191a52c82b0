//! The classes that the paths of a region are of: those of every state that a canonical path at or beneath
//! its root can end in.

use super::automaton::START;
use super::defect::{Defect, has};
use super::dimension::{Dimension, Lookup};
use crate::region::Segment;
use contract::path::CanonicalPath;
use std::collections::BTreeSet;

/// The classes of the root and of every path beneath it; `None` if the dimension is not of paths.
pub(crate) fn classes(dimension: &Dimension, root: &CanonicalPath) -> Option<BTreeSet<u32>> {
    let Lookup::Text(automaton, of_states) = &dimension.lookup else { return None };
    let class = |state: u32| of_states.get(usize::try_from(state).ok()?).copied();
    let mut classes = BTreeSet::new();
    let prefix = if root.as_str() == "/" { "" } else { root.as_str() };
    if prefix.is_empty() {
        // the path `/` itself, which no continuation of the empty prefix spells
        classes.extend(class(automaton.after(START, "/")));
    }
    let mut next = vec![(Segment::Root, automaton.after(START, prefix))];
    // a bit for each segment that a state was seen in
    let mut seen = vec![0_u8; of_states.len()];
    while let Some((segment, state)) = next.pop() {
        let seen = seen.get_mut(usize::try_from(state).ok()?)?;
        let bit = segment.bit();
        if *seen & bit != 0 {
            continue;
        }
        *seen |= bit;
        if segment.is_path() && !(segment == Segment::Root && prefix.is_empty()) {
            classes.extend(class(state));
        }
        for byte in automaton.bytes() {
            let after = after(segment, *byte);
            next.extend(after.map(|after| (after, automaton.step(state, *byte))));
        }
    }
    Some(classes)
}

/// The segment after a byte, if it may follow there.
pub(super) fn after(segment: Segment, byte: u8) -> Option<Segment> {
    segment.advance(byte).or_else(|| has(Defect::Segments).then_some(Segment::Name))
}
