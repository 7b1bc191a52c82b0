//! The audit ledger's format, without a file or a clock: a [`Record`] in its one encoding, the
//! [`Chain`] that ties each record to the one before, the [`Tree`] over all of them (RFC 6962), and
//! [`verify()`], which says what holds and where it stops to hold.
//!
//! Bodies (inputs, answers, texts of policies) are not in the chain: a record holds their salted
//! digests, so that a body can be erased and the chain stays whole.
#![forbid(unsafe_code)]

mod chain;
pub mod checkpoint;
pub mod frame;
mod record;
mod tree;
mod verify;
pub mod writer;

pub use chain::{Appended, Chain};
pub use record::{Digest, Envelope, Kind, Record, RecordError, SaltedDigest};
pub use tree::{Tree, inclusion_holds};
pub use verify::{Broken, Verified, verify};
