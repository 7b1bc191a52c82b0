//! The words that two KruxOS processes say to each other, and no verbs: what a message is, how it
//! is written down ([`cbor`]), and how much of anything there may be ([`limits`]).
#![forbid(unsafe_code)]

pub mod base64;
pub mod bytes;
pub mod cbor;
pub mod console;
pub mod control;
pub mod digits;
pub mod door;
pub mod effect;
pub mod found;
pub mod headers;
pub mod issue;
pub mod lend;
pub mod limits;
pub mod links;
pub mod meta;
pub mod pairing;
pub mod path;
pub mod perform;
pub mod piece;
pub mod rings;
pub mod secret;
pub mod statement;
pub mod uids;
pub mod url;
pub mod webhook;
