//! The Merkle tree over all records (RFC 6962 section 2.1), as the roots of its complete subtrees:
//! appending and asking for the root take a logarithm of the ledger's length, in time and memory.

use crate::record::Digest;
use sha2::{Digest as _, Sha256};

/// A growing tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of complete subtrees, the largest first; their sizes are the bits of `size`.
    peaks: Vec<Digest>,
}

impl Tree {
    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) {
        let mut node = leaf(record);
        let mut rest = self.size;
        while rest & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                node = parent(&left, &node);
            }
            rest >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root; that of no records is the digest of nothing.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(first) = peaks.next() else { return Digest::of(b"") };
        peaks.fold(first, |right, left| parent(&left, &right))
    }
}

fn leaf(record: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0]).chain_update(record).finalize().into())
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    Digest(
        Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into(),
    )
}

/// Whether `path` proves that `record` is number `index` of the `size` records under `root`
/// (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn inclusion_holds(
    record: &[u8],
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut node) = (index, size - 1, leaf(record));
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            node = parent(sibling, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = parent(&node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && node == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962 section 2.1, word for word.
    fn defined(records: &[Vec<u8>]) -> Digest {
        match records {
            [] => Digest::of(b""),
            [one] => leaf(one),
            many => {
                let split = many.len().next_power_of_two() / 2;
                parent(&defined(&many[..split]), &defined(&many[split..]))
            }
        }
    }

    /// Its audit path, section 2.1.1.
    fn path(index: usize, records: &[Vec<u8>]) -> Vec<Digest> {
        if records.len() <= 1 {
            return Vec::new();
        }
        let split = records.len().next_power_of_two() / 2;
        let (left, right) = records.split_at(split);
        let (mut inner, sibling) = if index < split {
            (path(index, left), defined(right))
        } else {
            (path(index - split, right), defined(left))
        };
        inner.push(sibling);
        inner
    }

    #[test]
    fn the_root_is_the_one_that_the_rfc_defines() {
        let records: Vec<Vec<u8>> = (0..70_u8).map(|n| vec![n; usize::from(n)]).collect();
        let mut tree = Tree::default();
        for size in 0..records.len() {
            assert_eq!(tree.root(), defined(&records[..size]), "{size} records");
            tree.push(&records[size]);
        }
    }

    #[test]
    fn an_inclusion_is_proved_and_a_wrong_one_is_not() {
        let records: Vec<Vec<u8>> = (0..21_u8).map(|n| vec![n]).collect();
        for size in 1..records.len() {
            let (root, length) = (defined(&records[..size]), u64::try_from(size).unwrap());
            for index in 0..size {
                let path = path(index, &records[..size]);
                let at = u64::try_from(index).unwrap();
                assert!(inclusion_holds(&records[index], at, length, &path, &root));
                assert!(!inclusion_holds(b"other", at, length, &path, &root));
                assert!(!inclusion_holds(&records[index], at + length, length, &path, &root));
            }
        }
    }
}
