//! The end of the ledger: the only thing that must be known to append to it.

use crate::record::{Digest, Envelope, Record, RecordError};
use crate::tree::Tree;

/// The end of a ledger and the tree over it.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    next: u64,
    last: Option<Digest>,
    tree: Tree,
}

/// Proof that a record was put at the end of a chain. Its bytes are not on a disk yet.
#[derive(Debug)]
pub struct Appended {
    record: Record,
}

impl Appended {
    /// The record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }
}

impl Chain {
    /// Number of the record that comes next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The tree over all records so far.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Puts an envelope at the end: its sequence and previous digest are set here and nowhere else.
    ///
    /// # Errors
    /// [`RecordError`]; the chain is then as it was.
    pub fn append(&mut self, mut envelope: Envelope) -> Result<Appended, RecordError> {
        envelope.sequence = self.next;
        envelope.previous = self.last.unwrap_or(Digest::NONE);
        let record = Record::new(envelope)?;
        self.take(&record);
        Ok(Appended { record })
    }

    /// Whether `record` is the one that comes next.
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        let envelope = record.envelope();
        envelope.sequence == self.next && envelope.previous == self.last.unwrap_or(Digest::NONE)
    }

    /// Takes a record that was read back, if it follows.
    pub fn follow(&mut self, record: &Record) -> bool {
        let fits = self.fits(record);
        if fits {
            self.take(record);
        }
        fits
    }

    pub(crate) fn take(&mut self, record: &Record) {
        self.next += 1;
        self.last = Some(record.digest());
        self.tree.push(record.bytes());
    }
}
