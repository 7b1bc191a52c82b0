//! The last so many of something, to tell what was there before from what is new.

use std::collections::{BTreeSet, VecDeque};

/// Remembers the last `MOST` values that were noted.
#[derive(Debug)]
pub struct Recent<T, const MOST: usize> {
    order: VecDeque<T>,
    known: BTreeSet<T>,
}

impl<T, const MOST: usize> Default for Recent<T, MOST> {
    fn default() -> Self {
        Self { order: VecDeque::new(), known: BTreeSet::new() }
    }
}

impl<T: Ord + Copy, const MOST: usize> Recent<T, MOST> {
    /// Whether `value` is among the last.
    #[must_use]
    pub fn contains(&self, value: &T) -> bool {
        self.known.contains(value)
    }

    /// Notes `value`, and forgets the oldest where there are too many.
    pub fn note(&mut self, value: T) {
        if self.known.insert(value) {
            self.order.push_back(value);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::<u8, 2>::default();
        for value in [1, 2, 2, 3] {
            recent.note(value);
        }
        assert!(!recent.contains(&1) && recent.contains(&2) && recent.contains(&3));
    }
}
