//! Verification: from the first record of an export on, what holds, and the first thing that does not.

use crate::chain::Chain;
use crate::record::{Digest, Record, RecordError};

/// What an export proves of itself. Who signed its end is proved by checkpoints, apart from this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Number of records.
    pub records: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// The first thing that is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// These bytes are no record.
    #[error("record {at}: {error}")]
    Record {
        /// The number that the record should have.
        at: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// A record that does not follow the one before: something was changed, left out or put in.
    #[error("record {at} does not follow the one before: it says it is {says} after {previous}")]
    Chain {
        /// The number that the record should have.
        at: u64,
        /// The number that it gives itself.
        says: u64,
        /// The record that it says came before.
        previous: Digest,
    },
}

/// Verifies records from the first one on.
///
/// # Errors
/// [`Broken`], the first one.
pub fn verify<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Verified, Broken> {
    let mut chain = Chain::default();
    for bytes in records {
        let at = chain.next();
        let record = Record::read(bytes).map_err(|error| Broken::Record { at, error })?;
        if !chain.fits(&record) {
            let (says, previous) = (record.envelope().sequence, record.envelope().previous);
            return Err(Broken::Chain { at, says, previous });
        }
        chain.take(&record);
    }
    Ok(Verified { records: chain.next(), root: chain.tree().root() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Envelope, Kind, SaltedDigest, VERSION};
    use proptest::prelude::*;

    fn envelope(n: u64) -> Envelope {
        Envelope {
            version: VERSION,
            sequence: 0,
            previous: Digest::NONE,
            kind: Kind::Decision,
            boot: [7; 16],
            boot_us: n * 10,
            wall_us: 1_700_000_000_000_000 + n,
            call: Some([1; 16]),
            policy: None,
            facts: [("agent".to_owned(), format!("a{n}"))].into_iter().collect(),
            effects: Vec::new(),
            bodies: [("input".to_owned(), SaltedDigest::of(&[3; 16], b"x"))].into_iter().collect(),
        }
    }

    fn ledger(length: u64) -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        (0..length).map(|n| chain.append(envelope(n)).unwrap().record().bytes().to_vec()).collect()
    }

    fn check(records: &[Vec<u8>]) -> Result<Verified, Broken> {
        verify(records.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_whole_ledger_is_intact() {
        let verified = check(&ledger(20)).unwrap();
        assert_eq!(verified.records, 20);
    }

    #[test]
    fn leaving_out_exchanging_and_inserting_are_found_where_they_begin() {
        let whole = ledger(10);
        let mut without = whole.clone();
        without.remove(4);
        assert!(matches!(check(&without), Err(Broken::Chain { at: 4, says: 5, .. })));
        let mut exchanged = whole.clone();
        exchanged.swap(6, 7);
        assert!(matches!(check(&exchanged), Err(Broken::Chain { at: 6, .. })));
        let mut twice = whole.clone();
        twice.insert(3, whole[2].clone());
        assert!(matches!(check(&twice), Err(Broken::Chain { at: 3, .. })));
    }

    #[test]
    fn cutting_off_the_end_is_another_root_and_so_for_checkpoints_to_notice() {
        let whole = ledger(10);
        let short = check(&whole[..9]).unwrap();
        assert_ne!(short.root, check(&whole).unwrap().root);
    }

    #[test]
    fn a_digest_of_a_body_needs_its_salt() {
        assert_ne!(SaltedDigest::of(&[1; 16], b"yes"), SaltedDigest::of(&[2; 16], b"yes"));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_found(at in 0_usize..2_000, change in 1_u8..=255) {
            let mut records = ledger(8);
            let total: usize = records.iter().map(Vec::len).sum();
            let mut at = at % total;
            let last = records.len() - 1;
            for (index, record) in records.iter_mut().enumerate() {
                if at < record.len() {
                    record[at] ^= change;
                    // the last record's own content is covered by the checkpoint over the root
                    prop_assume!(index < last);
                    break;
                }
                at -= record.len();
            }
            prop_assert!(check(&records).is_err());
        }

        #[test]
        fn any_bytes_are_no_record_or_one(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(record) = Record::read(&bytes) {
                prop_assert_eq!(record.bytes(), &bytes[..]);
            }
        }
    }
}
