//! The one error of PID 1: what was being done, to what, and why it did not hold.

use linux::KernelError;
use std::fmt::Display;

/// A boot that cannot go on. Its text goes to the console and to pstore.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {object}: {cause}")]
pub(crate) struct BootError {
    doing: &'static str,
    object: String,
    cause: String,
}

impl BootError {
    /// Says what was being `doing`, to which `object`, and the `cause`.
    pub(crate) fn new(doing: &'static str, object: impl Display, cause: impl Display) -> Self {
        Self { doing, object: object.to_string(), cause: cause.to_string() }
    }
}

impl From<KernelError> for BootError {
    fn from(error: KernelError) -> Self {
        Self { doing: error.operation, object: error.object, cause: error.errno.to_string() }
    }
}

/// Adds what was being done, and to what, to an error of std or rustix.
pub(crate) trait While<T> {
    /// `doing` is a verb, `object` what it was done to.
    fn during(self, doing: &'static str, object: impl Display) -> Result<T, BootError>;
}

impl<T, E: Display> While<T> for Result<T, E> {
    fn during(self, doing: &'static str, object: impl Display) -> Result<T, BootError> {
        self.map_err(|cause| BootError::new(doing, object, cause))
    }
}
