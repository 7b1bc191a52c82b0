//! Exact questions about whole sets: whether a property holds of every call ([`prove()`]), and which calls two
//! sets answer differently ([`diff()`]). What is asked about becomes rules in the same diagram that decides,
//! so that an answer is a path of it; never "unknown" for a set and a property that loaded.
//!
//! What both speak of:
//!
//! - One exact effect of one call, asked by any agent's name, of any capability and version, with each field of
//!   its kind absent or of any canonical value. What a capability lowers to is not known here: a property that
//!   holds also holds of what is lowered, and a counterexample may be a call that no capability lowers to.
//! - A call of several effects gets the most restrictive of their answers, and a region the most restrictive of
//!   its points: neither is answered more mildly than what is said here of its points.
//! - Every combination of used-up limits.

mod alike;
mod certificate;
mod defect;
mod diff;
mod inhabited;
mod outcome;
mod product;
mod property;
mod prove;
mod render;
#[cfg(test)]
mod solver;
mod space;
#[cfg(test)]
mod tests;
mod text;

use crate::answer::{Call, Facts};
use crate::compiled::TooManyStates;
use crate::compiled::dimension::Subject;
use crate::test::Test;
use contract::effect::{Effect, Field, visible};
use std::fmt;

pub use alike::{AgentsAlike, ValuesAlike, agents_alike, values_alike};
pub use certificate::{certify, theorem};
pub use diff::{Change, Changed, Diff, diff};
pub use product::Product;
pub use property::{Answers, Claim, Property, Region, parse_properties};
pub use prove::{Counterexample, Verdict, prove, prove_lowered};
pub use space::Lowered;

/// Why a question has no answer. Neither is a matter of time or luck.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// What is asked multiplies with what rules ask, beyond the bounds of deciding.
    #[error(transparent)]
    TooMany(#[from] TooManyStates),
    /// An example was found that the plain interpreter answers otherwise: a defect of this program.
    #[error("a defect in this program: an example was found that deciding does not confirm ({0})")]
    Unconfirmed(String),
}

/// A complete call of one effect, made to show something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The calling agent.
    pub agent: String,
    /// The capability, without its version.
    pub capability: String,
    /// Its version.
    pub version: u32,
    /// What the call would do.
    pub effect: Effect,
    /// Which limits are used up.
    pub facts: Facts,
}

impl Example {
    /// The call.
    #[must_use]
    pub fn call(&self) -> Call<'_> {
        Call { agent: &self.agent, capability: &self.capability, version: self.version }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, capability, version, effect, facts } = self;
        write!(f, "{} calls {capability}@{version}: {effect}", visible(agent))?;
        for (number, (layer, name)) in facts.exhausted.iter().enumerate() {
            let word = if number == 0 { ", the limits used up of" } else { "," };
            write!(f, "{word} {layer}/{name}")?;
        }
        Ok(())
    }
}

/// A test of a field as a rule writes it.
pub(crate) fn written(test: &Test, field: Field) -> String {
    render::written(test, Subject::Field(field))
}

/// A number of a field as a rule writes it.
pub(crate) fn number(field: Field, number: u64) -> String {
    render::number(Subject::Field(field), number)
}
