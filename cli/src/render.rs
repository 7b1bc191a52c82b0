//! Words and lines for people, objects for programs. A pipe that closes is no error.

use contract::effect::visible;
use policy::ParseError;
use serde_json::{Value as Json, json};
use std::io::Write;

/// Prints one line.
pub(crate) fn line(text: &str) {
    writeln!(std::io::stdout(), "{text}").ok();
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    std::io::stdout().write_all(bytes).ok();
}

/// Prints a part of what a program wrote, at once.
pub(crate) fn output(text: &str, is_error: bool) {
    if is_error {
        write!(std::io::stderr(), "{text}").ok();
    } else {
        bytes(text.as_bytes());
        std::io::stdout().flush().ok();
    }
}

/// A value of a box's answer as text that cannot deceive a terminal.
pub(crate) fn text(value: &Json) -> String {
    match value {
        Json::String(text) => visible(text),
        Json::Null => String::new(),
        other => visible(&other.to_string()),
    }
}

/// Prints one object.
pub(crate) fn object(value: &Json) {
    line(&value.to_string());
}

/// Prints one line where people look for what went wrong.
pub(crate) fn complain(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A mistake with its line, a caret under its column, and what may have been meant.
pub(crate) fn mistake(file: &str, text: &str, error: &ParseError) -> String {
    let ParseError { message, line, column, suggestion } = error;
    let mut shown = format!("{file}:{line}:{column}: {}", visible(message));
    if let Some(source) = text.lines().nth(line.saturating_sub(1)).filter(|_| *line > 0) {
        let gutter = line.to_string();
        let space = " ".repeat(gutter.len());
        let indent = " ".repeat(column.saturating_sub(1));
        shown
            .push_str(&format!("\n{space} |\n{gutter} | {}\n{space} | {indent}^", visible(source)));
    }
    if let Some(suggestion) = suggestion {
        shown.push_str(&format!("\nhelp: did you mean `{suggestion}`?"));
    }
    shown
}

/// The same for programs.
pub(crate) fn mistake_json(file: &str, error: &ParseError) -> Json {
    let ParseError { message, line, column, suggestion } = error;
    json!({ "file": file, "message": message, "line": line, "column": column, "suggestion": suggestion })
}
