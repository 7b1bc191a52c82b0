//! How a command ends, as the exit code that scripts read.

use std::fmt;
use std::process::ExitCode;

/// Every exit code of `krux` but 0 and clap's 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Done; the answer is yes.
    Done,
    /// The answer is no, or something failed.
    No,
    /// Wrong words, or a file that cannot be read.
    Usage,
    /// Nothing of this name.
    NotFound,
    /// No key or token that the box takes.
    SignIn,
    /// A policy says no.
    Denied,
    /// It waits for a person.
    Pending,
    /// It was decided already, or changed meanwhile.
    Conflict,
    /// A ledger does not verify.
    NotVerified,
    /// The box does not answer.
    Unreachable,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(match ended {
            Ended::Done => 0,
            Ended::No => 1,
            Ended::Usage => 2,
            Ended::NotFound => 3,
            Ended::SignIn => 4,
            Ended::Denied => 5,
            Ended::Pending => 6,
            Ended::Conflict => 8,
            Ended::NotVerified => 9,
            Ended::Unreachable => 10,
        })
    }
}

/// A failure that knows its exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) ended: Ended,
    pub(crate) message: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// An error with its exit code.
pub(crate) fn failed(ended: Ended, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failed { ended, message: message.into() })
}
