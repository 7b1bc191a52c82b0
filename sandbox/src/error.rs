//! Why there is no cage.

use channel::ChannelError;
use linux::KernelError;
use linux::seccomp::FilterError;

/// Why there is no cage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CageError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("cage socket: {0}")]
    Socket(#[from] ChannelError),
    #[error("{0} `{1}`: {2}")]
    File(&'static str, String, std::io::Error),
    #[error("filter of system calls: {0}")]
    Filter(#[from] FilterError),
    #[error("confine: {0}")]
    Confine(String),
    #[error("the cage lacks a namespace of its own: it has {0}")]
    SharedNamespace(String),
    #[error("the cage's network namespace is the box's own")]
    SameNetwork,
    #[error("the worker said something else than that it is there")]
    Unexpected,
    #[error("it was not there within {0} ms")]
    TooSlow(u64),
}
