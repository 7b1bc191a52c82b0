//! A policy's table of expected answers: calls and what they must get, beside the policy's text.

use crate::answer::{Answer, Call, CapabilityName, Facts, LayerKind};
use crate::decide::decide;
use crate::set::Set;
use contract::effect::{Effect, Field, Form, Kind, Type, Value};
use contract::path::CanonicalPath;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// One row: a call with its effects, and the answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What this row shows.
    pub name: String,
    /// The calling agent.
    pub agent: String,
    /// `category.verb`, version 1.
    pub capability: String,
    /// Its effects.
    pub effects: Vec<CaseEffect>,
    /// Names of rules of the granting layer whose limit is used up.
    #[serde(default)]
    pub exhausted: Vec<String>,
    /// When it is made, such as `2026-03-29T01:00:00Z`; without the key every window of time is open.
    #[serde(default)]
    pub at: Option<String>,
    /// The expected answer.
    pub expect: Answer,
}

/// One effect of a row. Every key but `kind` and `form` must name a field, or the row is refused.
#[derive(Debug, Clone, Deserialize)]
pub struct CaseEffect {
    /// Its kind.
    pub kind: Kind,
    /// Its form, exact without the key.
    #[serde(default)]
    pub form: Option<Form>,
    /// Its fields.
    #[serde(flatten)]
    pub fields: BTreeMap<Field, serde_norway::Value>,
}

/// A row that did not get its answer, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// The table is not one.
    #[error("the table of cases: {0}")]
    Table(String),
    /// A row is wrong in itself.
    #[error("case `{name}`: {message}")]
    Row {
        /// The row.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The set answers otherwise.
    #[error("case `{name}`: expected {expected}, the policy answers {found}")]
    Answer {
        /// The row.
        name: String,
        /// What it expects.
        expected: Answer,
        /// What the set answers.
        found: Answer,
    },
}

/// Reads a table of cases.
///
/// # Errors
/// [`CaseError::Table`].
pub fn read(text: &str) -> Result<Vec<Case>, CaseError> {
    let cases: Vec<Case> =
        serde_norway::from_str(text).map_err(|error| CaseError::Table(error.to_string()))?;
    if cases.is_empty() { Err(CaseError::Table("it is empty".to_owned())) } else { Ok(cases) }
}

/// Rules by their layer and name, or why it is not known which.
pub type Closed = Result<BTreeSet<(LayerKind, String)>, String>;

/// Holds a set against one row; `closed` says which rules' windows of time are closed for a call at a moment.
///
/// # Errors
/// [`CaseError`].
pub fn check(
    set: &Set,
    case: &Case,
    closed: impl Fn(&Call<'_>, &[Effect], &str) -> Closed,
) -> Result<(), CaseError> {
    let row = |message: String| CaseError::Row { name: case.name.clone(), message };
    let effects = case.effects.iter().map(effect).collect::<Result<Vec<_>, _>>().map_err(row)?;
    CapabilityName::read(&case.capability).ok_or_else(|| row("no capability".to_owned()))?;
    let call = Call { agent: &case.agent, capability: &case.capability, version: 1 };
    let mut exhausted: BTreeSet<(LayerKind, String)> =
        case.exhausted.iter().map(|name| (LayerKind::Box, name.clone())).collect();
    if let Some(at) = &case.at {
        exhausted.extend(closed(&call, &effects, at).map_err(row)?);
    }
    let found = decide(set, &call, &effects, &Facts { exhausted }).answer;
    if found == case.expect {
        Ok(())
    } else {
        Err(CaseError::Answer { name: case.name.clone(), expected: case.expect, found })
    }
}

/// What [`check`] is given where no table says when a call is made.
///
/// # Errors
/// Always.
pub fn no_clock(_call: &Call<'_>, _effects: &[Effect], _at: &str) -> Closed {
    Err("nobody here knows what clocks show".to_owned())
}

fn effect(case: &CaseEffect) -> Result<Effect, String> {
    let mut fields = Vec::new();
    for (field, value) in &case.fields {
        let text = || value.as_str().map(str::to_owned).ok_or(format!("`{field}` is no text"));
        fields.push((
            *field,
            match field.ty() {
                Type::Path => {
                    Value::Path(CanonicalPath::parse(&text()?).map_err(|e| e.to_string())?)
                }
                Type::Number => {
                    Value::Number(value.as_u64().ok_or(format!("`{field}` is no number"))?)
                }
                Type::Host | Type::Address | Type::Text => Value::Text(text()?),
                Type::List => return Err(format!("`{field}`: lists are not in cases yet")),
            },
        ));
    }
    Effect::new(case.kind, case.form.unwrap_or(Form::Exact), fields).map_err(|e| e.to_string())
}
