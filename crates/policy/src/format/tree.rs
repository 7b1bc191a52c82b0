//! What was read of a text: keys, values and comments with their places. What a value means is not read here but by
//! the reader of YAML, of which each value is asked ([`pair`]); so that what is taken for a comment and is none, or
//! the other way round, is noticed.

use super::FormatError;
use serde_norway::Value;

/// A comment behind something on its line.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    /// From its `#` on.
    pub(super) text: String,
    /// Where it begins on its line, from 0; nothing where it stood behind something else.
    pub(super) column: Option<usize>,
}

/// One key with its value, or one item of a list.
#[derive(Debug)]
pub(super) struct Entry {
    /// Comments on lines of their own before it; empty where a line is left free.
    pub(super) before: Vec<String>,
    /// Empty for an item.
    pub(super) key: String,
    /// A comment behind it.
    pub(super) behind: Option<Comment>,
    /// The value.
    pub(super) value: Node,
}

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    /// The line that it begins on, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) content: Content,
    /// Comments after its last entry; empty where a line is left free.
    pub(super) tail: Vec<String>,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    /// One word or number.
    Scalar(Scalar),
    /// A list.
    List(Vec<Entry>),
    /// A map.
    Map(Vec<Entry>),
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// As lines that are indented (`|`, `>`).
    Block,
}

/// One word or number.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) style: Style,
    /// As it is written, its lines joined by blanks.
    pub(super) raw: String,
    /// What the reader of YAML says it is.
    pub(super) text: String,
    /// Whether it is text for the reader of YAML, and no number, `true` or `null`.
    pub(super) is_text: bool,
}

impl Node {
    /// Every comment in it.
    pub(super) fn comments(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        for entry in self.entries() {
            found.extend(entry.before.iter().map(String::as_str));
            found.extend(entry.behind.as_ref().map(|comment| comment.text.as_str()));
            found.extend(entry.value.comments());
        }
        found.retain(|comment| !comment.is_empty());
        found
    }

    /// Its keys or items.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Scalar(_) => &[],
            Content::List(entries) | Content::Map(entries) => entries,
        }
    }
}

/// The words of a text, whatever blanks and lines are between them.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Asks the reader of YAML what each value is; refused where it sees something else than was read here.
pub(super) fn pair(node: &mut Node, value: &Value) -> Result<(), FormatError> {
    let line = node.line;
    let refuse = |message: &str| FormatError::Refused { line, message: message.to_owned() };
    let differs = || refuse("the formatter does not read this; write it more simply");
    match (&mut node.content, value) {
        (Content::List(entries), Value::Sequence(values)) if entries.len() == values.len() => {
            entries
                .iter_mut()
                .zip(values)
                .try_for_each(|(entry, value)| pair(&mut entry.value, value))
        }
        (Content::Map(entries), Value::Mapping(values)) if entries.len() == values.len() => {
            for (entry, (key, value)) in entries.iter_mut().zip(values) {
                if key.as_str() != Some(entry.key.as_str()) {
                    let message =
                        "the formatter does not read this key; write it as it is".to_owned();
                    return Err(FormatError::Refused { line: entry.value.line, message });
                }
                pair(&mut entry.value, value)?;
            }
            Ok(())
        }
        (Content::Scalar(scalar), Value::String(text)) => {
            let has_escapes = scalar.style == Style::Double && scalar.raw.contains('\\');
            if !has_escapes && words(&scalar.raw) != words(text) {
                return Err(differs());
            }
            scalar.text.clone_from(text);
            Ok(())
        }
        (Content::Scalar(scalar), Value::Number(_) | Value::Bool(_) | Value::Null)
            if scalar.style == Style::Plain && !scalar.raw.contains(' ') =>
        {
            let number = value.as_u64().map(|number| number.to_string());
            scalar.text = number.unwrap_or_else(|| scalar.raw.clone());
            scalar.is_text = false;
            Ok(())
        }
        _ => Err(differs()),
    }
}
