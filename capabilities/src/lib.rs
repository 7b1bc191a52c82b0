//! The catalogue. A [`Declaration`] is all that KruxOS knows about a capability: what it takes, which
//! effects that has, who performs it, how it fails, how it is undone. Checking an input
//! ([`Declaration::accept`]), lowering it to effects ([`Declaration::lower`]) and writing its
//! documentation and schema ([`document`]) are the same few lines for all of them, so that a new
//! capability brings data and no code into the trusted core.
#![forbid(unsafe_code)]

mod admin;
mod agent;
mod cage;
mod declaration;
pub mod document;
pub mod filesystem;
mod git;
mod input;
pub mod look;
mod lower;
mod network;
mod process;
pub mod program;
pub mod programs;
mod shared;
mod system;

pub use declaration::{
    Class, Declaration, Example, Failure, PLACES_MAX, Parameter, Performer, Risk, Shape, Source,
    Template,
};
pub use input::{Accepted, Argument, InputError};
pub use shared::{Place, Shared};

/// Every capability, sorted by name.
pub const CATALOGUE: &[&Declaration] = &[
    &agent::WHOAMI,
    &cage::TRY,
    &filesystem::APPEND,
    &filesystem::regions::ARCHIVE,
    &filesystem::COPY,
    &filesystem::DELETE,
    &filesystem::DIGEST,
    &filesystem::regions::EXTRACT,
    &filesystem::LIST,
    &filesystem::MKDIR,
    &filesystem::MOVE,
    &filesystem::regions::MOVE_DIRECTORY,
    &filesystem::READ,
    &filesystem::RESTORE,
    &filesystem::regions::SEARCH,
    &filesystem::STAT,
    &filesystem::WRITE,
    &git::ADD,
    &git::BRANCH_CREATE,
    &git::BRANCH_LIST,
    &git::COMMIT,
    &git::DIFF,
    &git::INIT,
    &git::LOG,
    &git::SHOW,
    &git::STATUS,
    &network::DNS_LOOKUP,
    &network::HTTP_REQUEST,
    &network::TCP_CHECK,
    &network::WEBHOOK,
    &process::RUN,
    &process::RUN_CODE,
    &admin::BOOT,
    &system::INFO,
    &admin::LOGS,
    &admin::PROPOSE_POLICY,
    &admin::REBOOT,
    &admin::RESTART_SERVICE,
    &admin::SERVICES,
    &admin::SHUTDOWN,
    &system::TIME,
];

/// Finds `category.verb@version`, or the newest version of `category.verb`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Declaration> {
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => (name, Some(version.parse::<u32>().ok()?)),
        None => (name, None),
    };
    let named = CATALOGUE.iter().filter(|declaration| declaration.name == name);
    named
        .filter(|declaration| version.is_none_or(|version| declaration.version == version))
        .max_by_key(|declaration| declaration.version)
        .copied()
}
