//! A layer's text: YAML, one grammar, strict. Every mistake has a line, a column, and where one can
//! be guessed a suggestion.

use crate::answer::{Answer, LayerKind};
use crate::rule::{Approval, Rule};
use crate::set::Layer;
use crate::text::{self, Wrong};
use contract::effect::is_hidden;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;

/// Longest name of a rule, and longest reason.
pub(crate) const NAME_BYTES_MAX: usize = 64;
pub(crate) const REASON_BYTES_MAX: usize = 500;
/// Most rules of one layer with windows of time: a record has room for the names of all, where all are closed.
const TIMED_RULES_MAX: usize = 500;
/// Most rules of one layer.
pub(crate) const RULES_MAX: usize = 10_000;

/// A mistake in a layer's text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong: lower case, no stop.
    pub message: String,
    /// Line, from 1; 0 when it is the text as a whole.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What may have been meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    policy: Option<String>,
    limits: Option<String>,
    version: u64,
    otherwise: Option<Answer>,
    rules: Vec<Rule>,
}

/// Reads one layer.
///
/// # Errors
/// [`ParseError`], the first mistake.
pub fn parse(text: &str) -> Result<Layer, ParseError> {
    let whole = |message: String| ParseError { message, line: 0, column: 0, suggestion: None };
    plain(text)?;
    let raw: Raw = serde_norway::from_str(text).map_err(|error| located(&error))?;
    if raw.rules.len() > RULES_MAX {
        return Err(whole(format!("more than {RULES_MAX} rules")));
    }
    let timed = |rule: &&Rule| rule.limits.as_ref().is_some_and(|limits| limits.open.is_some());
    if raw.rules.iter().filter(timed).count() > TIMED_RULES_MAX {
        return Err(whole(format!("more than {TIMED_RULES_MAX} rules with windows of time")));
    }
    let kind = match (raw.policy.as_deref(), raw.limits.as_deref()) {
        (Some("box"), None) => LayerKind::Box,
        (None, Some("system")) => LayerKind::System,
        (None, Some(name)) => named_layer(name).ok_or_else(|| {
            whole(format!("`limits: {name}`: expected system, organisation/NAME or agent/NAME"))
        })?,
        _ => return Err(whole("expected `policy: box`, or `limits:` and a layer".to_owned())),
    };
    let grants = kind == LayerKind::Box;
    let otherwise = match (grants, raw.otherwise) {
        (true, None) => Some(Answer::Blocked),
        (true, Some(answer @ (Answer::Blocked | Answer::Approval))) => Some(answer),
        (true, Some(_)) => return Err(whole("`otherwise` is blocked or approval".to_owned())),
        (false, None) => None,
        (false, Some(_)) => {
            return Err(whole("only the granting layer has `otherwise`".to_owned()));
        }
    };
    let mut names = BTreeSet::new();
    for rule in &raw.rules {
        let twice = || format!("there are two rules named `{}`", rule.name);
        let checked = if names.insert(&rule.name) { check(rule) } else { Err(twice()) };
        checked.map_err(|message| at_rule(text, &rule.name, message))?;
    }
    Ok(Layer { kind, version: raw.version, otherwise, rules: raw.rules })
}

/// Refuses what no text of ours holds, before it is read as YAML.
pub(crate) fn plain(text: &str) -> Result<(), ParseError> {
    let at =
        |Wrong { message, line, column }| ParseError { message, line, column, suggestion: None };
    text::check(text).map_err(at)
}

fn named_layer(name: &str) -> Option<LayerKind> {
    let (kind, name) = name.split_once('/').filter(|(_, name)| !name.is_empty())?;
    match kind {
        "organisation" => Some(LayerKind::Organisation(name.to_owned())),
        "agent" => Some(LayerKind::Agent(name.to_owned())),
        _ => None,
    }
}

/// Whether a rule can have this name: it stands in records and on terminals.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain)
}

/// What one rule must satisfy beside its grammar.
fn check(rule: &Rule) -> Result<(), String> {
    if !is_name(&rule.name) {
        return Err(format!(
            "a rule's name is letters, digits, `-`, `_` and `.`, at most {NAME_BYTES_MAX}"
        ));
    }
    let reason = rule.reason.as_deref().unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(is_hidden) {
        return Err(format!(
            "rule `{}`: its reason is longer than {REASON_BYTES_MAX} bytes, or has a character that is not seen",
            rule.name
        ));
    }
    if rule.agents.is_empty() || rule.effects.is_empty() {
        return Err(format!("rule `{}` names no agent or no effect", rule.name));
    }
    for (field, test) in &rule.conditions.0 {
        if !rule.effects.iter().any(|kind| kind.0.fields().contains(field)) {
            return Err(format!("rule `{}`: none of its effects has a field `{field}`", rule.name));
        }
        if !test.suits(field.ty()) {
            return Err(format!("rule `{}`: this cannot be said of `{field}`", rule.name));
        }
    }
    if rule.limits.as_ref().is_some_and(|limits| !limits.is_one()) {
        return Err(format!(
            "rule `{}`: `limits` has none of calls, bytes, seconds, concurrent or open",
            rule.name
        ));
    }
    let over = rule.limits.as_ref().and_then(|limits| limits.over);
    if over.is_some_and(|over| over < rule.decision) {
        return Err(format!("rule `{}`: `over` is milder than its decision", rule.name));
    }
    if rule.approval.is_some()
        && rule.decision != Answer::Approval
        && over != Some(Answer::Approval)
    {
        return Err(format!("rule `{}` has `approval:` and never asks", rule.name));
    }
    let approval = rule.approval.as_ref().map_or(Ok(()), Approval::check);
    approval.map_err(|message| format!("rule `{}`: {message}", rule.name))
}

/// The place of a rule that is wrong as a whole: the line of its name.
pub(crate) fn at_rule(text: &str, name: &str, message: String) -> ParseError {
    let mut found = (0, 0);
    for (number, line) in text.lines().enumerate() {
        if let Some(at) = line.find("name:").filter(|_| line.contains(name)) {
            found = (number + 1, at + 1);
        }
    }
    ParseError { message, line: found.0, column: found.1, suggestion: None }
}

/// A mistake that the reader of YAML found.
pub(crate) fn located(error: &serde_norway::Error) -> ParseError {
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let text = error.to_string();
    let message = match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    };
    let suggestion = suggest(&message);
    ParseError { message, line, column, suggestion }
}

/// Of ``unknown field `x`, expected one of `a`, `b` `` the nearest to `x`.
fn suggest(message: &str) -> Option<String> {
    if !message.contains("unknown") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    let near = quoted.map(|known| (text::distance(wrong, known), known)).min()?;
    // a window's zone may be meant by the name of its city
    let city = near.1.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(wrong));
    (near.0 <= 2 || city).then(|| near.1.to_owned())
}
