//! The most restrictive answer over every path of a region, made ahead for each state before the path and each set of
//! classes that a region can hold: deciding a region takes one step more than deciding a path.

use super::diagram::Diagram;
use super::dimension::{Dimension, Subject};
use super::{Leaf, beneath::Beneath};
use crate::answer::Answer;
use contract::effect::Field;
use contract::path::CanonicalPath;
use std::collections::{BTreeSet, HashMap};

/// Most classes looked at to make the answers of one kind; beyond it none is made ahead.
const STEPS_MAX: usize = 1 << 22;

/// What the last states that a region ends in answer together.
#[derive(Debug)]
pub(super) struct Worst {
    pub(super) answer: Answer,
    /// The rules that give this answer somewhere, by their numbers; and whether it is also what no rule spoke of.
    pub(super) speaking: BTreeSet<u32>,
    pub(super) is_otherwise: bool,
    /// Whether one of all rules has a limit, which may be exhausted.
    pub(super) is_limited: bool,
    pub(super) last: BTreeSet<u32>,
}

impl Worst {
    /// Of these last states.
    pub(super) fn of(last: BTreeSet<u32>, answers: &[Leaf]) -> Option<Self> {
        let leaf = |last: &u32| answers.get(usize::try_from(*last).ok()?);
        let leaves: Vec<&Leaf> = last.iter().map(leaf).collect::<Option<_>>()?;
        let answer = leaves.iter().map(|leaf| leaf.decided.answer).max()?;
        let worst = || leaves.iter().filter(|leaf| leaf.decided.answer == answer);
        Some(Self {
            answer,
            speaking: worst().flat_map(|leaf| &leaf.speaking).copied().collect(),
            is_otherwise: worst().any(|leaf| leaf.is_otherwise),
            is_limited: leaves.iter().any(|leaf| leaf.is_limited),
            last,
        })
    }
}

/// The last states behind `before`, for paths of these classes.
pub(super) fn last(
    diagram: &Diagram,
    paths: usize,
    before: u32,
    classes: impl IntoIterator<Item = u32>,
) -> Option<BTreeSet<u32>> {
    classes.into_iter().map(|class| diagram.step(paths, before, class)).collect()
}

/// The answers to all regions of one kind.
#[derive(Debug)]
pub(super) struct Regions {
    beneath: Beneath,
    /// For each state before the path, for each set, the number of the answer.
    by_set: Vec<u32>,
    answers: Vec<Worst>,
}

impl Regions {
    /// For a kind whose last dimension is the path; `None` of another one, and beyond the bounds.
    pub(super) fn new(
        dimensions: &[Dimension],
        diagram: &Diagram,
        leaves: &[Leaf],
    ) -> Option<Self> {
        let paths = dimensions.len().checked_sub(1)?;
        let dimension =
            dimensions.get(paths).filter(|of| of.subject == Subject::Field(Field::Path))?;
        let beneath = Beneath::new(dimension)?;
        let members: usize = beneath.sets().iter().map(Vec::len).sum();
        let states = diagram.states(paths);
        if members.saturating_mul(states) > STEPS_MAX {
            return None;
        }
        let (mut by_set, mut answers) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<BTreeSet<u32>, u32> = HashMap::new();
        for before in 0..u32::try_from(states).ok()? {
            for set in beneath.sets() {
                let last = last(diagram, paths, before, set.iter().copied())?;
                let next = u32::try_from(answers.len()).ok()?;
                let number = *numbers.entry(last.clone()).or_insert(next);
                if number == next {
                    answers.push(Worst::of(last, leaves)?);
                }
                by_set.push(number);
            }
        }
        Some(Self { beneath, by_set, answers })
    }

    /// The answer to a root, behind a state before the path.
    pub(super) fn answer(
        &self,
        dimension: &Dimension,
        before: u32,
        root: &CanonicalPath,
    ) -> Option<&Worst> {
        let set = usize::try_from(self.beneath.set_of(dimension, root)?).ok()?;
        let row = usize::try_from(before).ok()?.checked_mul(self.beneath.sets().len())?;
        let number = self.by_set.get(row.checked_add(set)?)?;
        self.answers.get(usize::try_from(*number).ok()?)
    }
}
