//! The classes of a field's values: two values are of one class if the same rules hold of both. That is the
//! coarsest partition which no rule splits, so one value of each class stands for all.

use super::defect::{Defect, has};
use super::formula::Formula;
use std::collections::HashMap;

/// The class of which no rule that tests the field holds; an effect without the field is of it.
pub(crate) const NONE: u32 = 0;

/// Classes, numbered as they are found.
#[derive(Debug)]
pub(crate) struct Classes {
    /// Rules that test the field, in their order.
    tested: Vec<(u32, Formula)>,
    /// For each atom, which of `tested` name it.
    named: Vec<Vec<usize>>,
    /// Which of `tested` hold of a value of which no atom does.
    of_none: Vec<usize>,
    numbers: HashMap<Vec<u32>, u32>,
    /// For each class the rules that hold, sorted.
    pub(crate) holding: Vec<Vec<u32>>,
}

impl Classes {
    /// Of these rules, in their order, over so many atoms.
    pub(crate) fn new(tested: Vec<(u32, Formula)>, atoms: usize) -> Self {
        let mut named = vec![Vec::new(); atoms];
        for (index, (_, formula)) in tested.iter().enumerate() {
            for atom in formula.atoms() {
                if let Some(named) = usize::try_from(atom).ok().and_then(|at| named.get_mut(at)) {
                    named.push(index);
                }
            }
        }
        let of_none = tested.iter().enumerate().filter(|(_, (_, formula))| formula.holds(&[]));
        let of_none = of_none.map(|(index, _)| index).collect();
        let numbers = HashMap::from([(Vec::new(), NONE)]);
        Self { tested, named, of_none, numbers, holding: vec![Vec::new()] }
    }

    /// The class of the values of which exactly `atoms`, sorted, hold.
    pub(crate) fn class(&mut self, atoms: &[u32]) -> u32 {
        let named = atoms.iter().filter_map(|atom| self.named.get(usize::try_from(*atom).ok()?));
        let mut asked: Vec<usize> = named.flatten().copied().collect();
        asked.sort_unstable();
        asked.dedup();
        // of whom no atom is named here the formula has the truth that it has of no atom
        let unasked = |index: &&usize| asked.binary_search(index).is_err();
        let unasked = self.of_none.iter().filter(unasked).filter(|_| !has(Defect::Unnamed));
        let rule = |index: &usize| self.tested.get(*index);
        let holds = |(_, formula): &&(u32, Formula)| formula.holds(atoms);
        let mut holding: Vec<u32> = asked
            .iter()
            .filter_map(rule)
            .filter(holds)
            .chain(unasked.filter_map(rule))
            .map(|(number, _)| *number)
            .collect();
        holding.sort_unstable();
        let next = u32::try_from(self.holding.len()).unwrap_or(u32::MAX);
        let class = *self.numbers.entry(holding.clone()).or_insert(next);
        if class == next {
            self.holding.push(holding);
        }
        class
    }

    /// The rules that test the field.
    pub(crate) fn tested(&self) -> impl Iterator<Item = u32> + '_ {
        self.tested.iter().map(|(rule, _)| *rule)
    }
}
