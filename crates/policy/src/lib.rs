//! Decides effects by rules that people can read: (policy, effects, facts) -> decision. Pure: no file,
//! no clock, no randomness, so that the same question has the same answer when it is replayed.
//!
//! A [`Set`] is one granting layer and any number of layers that only tighten. [`parse()`] reads a
//! layer's text strictly; [`decide()`] is the plain interpreter, which is also the specification of
//! [`Compiled`], the engine that decides in one pass over a call however many rules there are;
//! [`cases`] holds a policy against its table of expected answers. [`prove()`] and [`diff()`] ask about every
//! call at once.
#![forbid(unsafe_code)]

mod answer;
pub mod cases;
mod compiled;
mod decide;
mod format;
mod glob;
mod grammar;
pub mod near;
mod parse;
mod point;
mod quantity;
mod question;
mod region;
mod residual;
mod rule;
mod schema;
mod set;
mod special;
mod test;
mod text;
mod window;

pub use answer::{Answer, Because, Call, CapabilityName, Decided, Decision, Facts, LayerKind};
pub use compiled::{Compiled, TooManyStates};
pub use decide::decide;
pub use format::{FormatError, format};
pub use glob::Glob;
pub use parse::{ParseError, parse};
pub use quantity::{Bytes, Rate, Span};
pub use question::{
    AgentsAlike, Answers, Change, Changed, Claim, Counterexample, Diff, Example, Lowered, Product,
    Property, QuestionError, Region, ValuesAlike, Verdict, agents_alike, certify, diff,
    parse_properties, prove, prove_lowered, theorem, values_alike,
};
pub use residual::NoReach;
pub use rule::{Approval, Grants, Limits, Rule, VOTES_MAX};
pub use schema::schema;
pub use set::{Layer, Set, SetError};
pub use test::{Network, Test};
pub use window::{Shown, Window, Windows};
