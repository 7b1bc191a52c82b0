//! The words that two KruxOS processes say to each other, and no verbs: what a message is, how it
//! is written down ([`cbor`]), and how much of anything there may be ([`limits`]).
#![forbid(unsafe_code)]

pub mod cbor;
pub mod control;
pub mod effect;
pub mod limits;
pub mod meta;
pub mod path;
pub mod perform;
pub mod uids;
