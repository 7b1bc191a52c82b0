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

/// A wall time as RFC 3339 in UTC, to the second (days since 1970 by Hinnant's civil calendar).
pub(crate) fn time(wall_us: u64) -> String {
    let seconds = i64::try_from(wall_us / 1_000_000).unwrap_or(0);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_406_225, "2026-11-23T03:57:05Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(time(seconds * 1_000_000), text);
        }
    }
}
