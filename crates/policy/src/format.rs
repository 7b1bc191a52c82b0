//! The one form of a policy's text: keys in the order of the guide, what fits in a line in one line, quantities in
//! their largest unit, words without quotes where they need none. Comments stay, each where it belongs: a text
//! of which a comment's place is not certain is refused with its line. Before a new text is given back it is
//! read again: it says the same, and has the same comments, or it is not given back.

mod read;
mod tree;
mod write;

use crate::parse::{ParseError, parse};
use crate::set::Layer;
use crate::test::Test;

/// Why a text was not formatted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is no policy.
    #[error("{0}")]
    Mistake(ParseError),
    /// It is one, and written in a way of which the formatter does not know where comments belong.
    #[error("line {line}: {message}")]
    Refused {
        /// From 1; 0 when it is the text as a whole.
        line: usize,
        /// What, and what to write instead.
        message: String,
    },
    /// The new text would say something else: a defect of this program.
    #[error("a defect in this program: the formatted text would {0}; nothing is written")]
    Defect(&'static str),
}

/// The text of one layer in its one form.
///
/// # Errors
/// [`FormatError`].
pub fn format(text: &str) -> Result<String, FormatError> {
    let layer = parse(text).map_err(FormatError::Mistake)?;
    let before = read::read(text)?;
    let formatted = write::write(&before);
    let again = parse(&formatted).map_err(|_mistake| FormatError::Defect("be no policy"))?;
    if !layer.says_the_same(&again) {
        return Err(FormatError::Defect("say something else"));
    }
    let after = read::read(&formatted)?;
    let [mut old, mut new] = [before.comments(), after.comments()];
    old.sort_unstable();
    new.sort_unstable();
    if old != new {
        return Err(FormatError::Defect("lose a comment"));
    }
    if write::write(&after) != formatted {
        return Err(FormatError::Defect("not be the last form of it"));
    }
    Ok(formatted)
}

impl Layer {
    /// Whether another text of a layer says the same, rule by rule, in whatever order its keys are.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.settled() == other.settled()
    }

    /// With everything whose order means nothing in one order, but its rules.
    fn settled(&self) -> Self {
        let mut layer = self.clone();
        for rule in &mut layer.rules {
            let conditions = &mut rule.conditions.0;
            conditions.sort_by_key(|(field, _)| *field);
            conditions.iter_mut().for_each(|(_, test)| settle(test));
        }
        layer
    }
}

fn settle(test: &mut Test) {
    match test {
        Test::All(tests) => {
            tests.iter_mut().for_each(settle);
            tests.sort_by_key(|test| format!("{test:?}"));
        }
        Test::Not(test) => settle(test),
        Test::OneOf(_) | Test::Hosts(_) | Test::Under(_) | Test::Numbers(_) | Test::Networks(_) => {
        }
    }
}

#[cfg(test)]
mod tests;
