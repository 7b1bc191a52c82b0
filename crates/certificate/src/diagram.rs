//! Which rules can hold together of a whole call: the listed sets are closed under every value of every thing that
//! rules ask about.

use crate::Refused;
use crate::read::Reader;
use crate::values::Dimension;
use std::collections::{BTreeSet, HashMap};

/// Checks the lists behind each dimension, from all of so many rules on, and gives the last.
pub(crate) fn check(
    rules: usize,
    dimensions: &[Dimension],
    proof: &mut Reader<'_>,
) -> Result<Vec<Vec<u32>>, Refused> {
    let all = (0..).take(rules).collect();
    let mut level: Vec<Vec<u32>> = vec![all];
    for dimension in dimensions {
        let next = proof.list(Reader::rising).ok_or(Refused::Form)?;
        if !next.is_sorted_by(|one, other| one < other) {
            return Err(Refused::Form);
        }
        let places: HashMap<&[u32], usize> =
            next.iter().enumerate().map(|(place, set)| (set.as_slice(), place)).collect();
        let mut is_led_to = vec![false; next.len()];
        for set in &level {
            for after in steps(set, dimension) {
                let place = places.get(after.as_slice()).ok_or(Refused::Rules)?;
                is_led_to.get_mut(*place).into_iter().for_each(|it| *it = true);
            }
        }
        if is_led_to.contains(&false) {
            return Err(Refused::Surplus);
        }
        level = next;
    }
    Ok(level)
}

/// What is left of a set of rules, for every class of values.
fn steps(set: &[u32], dimension: &Dimension) -> BTreeSet<Vec<u32>> {
    let asks = |rule: &&u32| dimension.tested.contains(rule);
    let stay: Vec<u32> = set.iter().filter(|rule| !asks(rule)).copied().collect();
    let asking: BTreeSet<u32> = set.iter().filter(asks).copied().collect();
    let mut steps = BTreeSet::new();
    let mut known = BTreeSet::new();
    for class in &dimension.classes {
        let holds: Vec<u32> = class.iter().filter(|rule| asking.contains(rule)).copied().collect();
        if known.insert(holds.clone()) {
            let mut after = [stay.clone(), holds].concat();
            after.sort_unstable();
            steps.insert(after);
        }
    }
    steps
}
