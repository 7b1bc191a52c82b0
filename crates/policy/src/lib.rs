//! Decides effects by rules that people can read: (policy, effects, facts) -> decision. Pure: no file,
//! no clock, no randomness, so that the same question has the same answer when it is replayed.
//!
//! A [`Set`] is one granting layer and any number of layers that only tighten. [`parse()`] reads a
//! layer's text strictly; [`decide()`] is the plain interpreter, which is also the specification of
//! every faster engine; [`cases`] holds a policy against its table of expected answers.
#![forbid(unsafe_code)]

pub mod cases;
mod decide;
mod glob;
mod parse;
mod quantity;
mod region;
mod rule;
mod test;

pub use decide::{Answer, Because, Call, CapabilityName, Decided, Decision, Facts, decide};
pub use parse::{Layer, LayerKind, ParseError, Set, SetError, parse};
pub use quantity::{Bytes, Rate, Span};
pub use rule::{Approval, Grants, Limits, Rule};
pub use test::Test;
