//! What a door and the policy decision point say to each other. A door authenticates nothing: it
//! passes credentials on, and carries answers back.

use crate::bytes::Bytes;
use crate::perform::{CallId, Used};
use serde::{Deserialize, Serialize};

/// Version of the messages below; the first element of every frame.
pub const VERSION: u16 = 3;

/// Longest JSON text in one frame; longer answers come as a sealed file.
pub const TEXT_BYTES_MAX: usize = 48 << 10;

/// From a door to pdp. `number` is the door's own, for the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromDoor {
    /// An agent calls a capability; with the sealed input and the answer's pipe as descriptors.
    Call {
        /// For the answer.
        number: u64,
        /// The agent's token.
        token: Bytes,
        /// The client's address, for the record.
        source: String,
        /// `category.verb`, or with `@version`.
        capability: String,
        /// Whether [pieces](crate::piece) of what its program writes are wanted while it runs.
        streams: bool,
    },
    /// An agent asks what it can call.
    Tools {
        /// For the answer.
        number: u64,
        /// The agent's token.
        token: Bytes,
        /// The client's address.
        source: String,
    },
    /// An agent asks what became of a call of its own.
    Poll {
        /// For the answer.
        number: u64,
        /// The agent's token.
        token: Bytes,
        /// The client's address.
        source: String,
        /// The call.
        call: CallId,
        /// Of a call that streams and is under way: from which byte of its [pieces](crate::piece) on
        /// they are wanted, as a file.
        from: Option<u64>,
    },
    /// Somebody asks for a number that makes a statement new.
    Challenge {
        /// For the answer.
        number: u64,
    },
    /// Somebody wants to become the first operator.
    Pair {
        /// For the answer.
        number: u64,
        /// [`crate::pairing::Request`] as JSON.
        request: String,
    },
    /// Somebody asks a box without a console to prove its CA key to its first operator.
    Prove {
        /// For the answer.
        number: u64,
    },
    /// An operator's statement, with the answer's pipe and, if it has one, the sealed body.
    Act {
        /// For the answer.
        number: u64,
        /// The client's address, for the record.
        source: String,
        /// [`crate::statement::Statement`] as JSON: what was signed, byte for byte.
        statement: String,
        /// Ed25519 over [`crate::statement::CONTEXT`] and the statement.
        signature: Bytes,
        /// Whether a body comes with it.
        body: bool,
    },
    /// Requests that were refused before they were calls.
    Refused {
        /// The client's address.
        source: String,
        /// Why, one word.
        reason: String,
        /// How many in this second.
        count: u64,
    },
}

/// From pdp to a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToDoor {
    /// The whole answer as JSON.
    Said {
        /// The door's number.
        number: u64,
        /// What kind of answer.
        status: Status,
        /// One JSON object.
        json: String,
    },
    /// The answer is in the sealed file that comes with this.
    File {
        /// The door's number.
        number: u64,
        /// Media type of the file.
        media_type: String,
    },
    /// The decision of a call that streams is durable, and what its performer writes into the pipe before
    /// its answer may go out.
    Begun {
        /// The door's number.
        number: u64,
        /// The call.
        call: CallId,
    },
    /// The performer ended, and the outcome is recorded: what it wrote into the pipe may go out.
    Ended {
        /// The door's number.
        number: u64,
        /// The call.
        call: CallId,
        /// `ok`, or how it failed.
        code: String,
        /// What it used.
        used: Used,
    },
}

/// The kinds of answer; a door turns each into a status of its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Done, or here it is.
    Ok,
    /// Taken, and waits for a person.
    Pending,
    /// The request is wrong in itself.
    Bad,
    /// No valid credential.
    Unauthenticated,
    /// Valid, and not allowed.
    Denied,
    /// Nothing of this name.
    NotFound,
    /// It was decided, used or over already.
    Conflict,
    /// Too much at once.
    Busy,
    /// A part of the box is not there; try again.
    Unavailable,
    /// The ledger is full, so nothing is done.
    Full,
}
