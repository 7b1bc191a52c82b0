//! `krux secret import`: lines `NAME=VALUE`, as files of settings have them. What is not taken is said, with its line
//! and without its value.

use super::words::Bound;
use super::{put, recipient};
use crate::ended::{Ended, Failed, failed};
use crate::remote::Desk;
use crate::render;
use anyhow::{Context, Result};
use contract::effect::visible;
use contract::secret::{Sealed, Value};
use serde_json::json;
use std::path::Path;

const FILE_BYTES_MAX: u64 = 1 << 20;

/// One line that is no comment and not empty.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// 1 and on.
    number: usize,
    /// A secret's name and its value, or what is wrong.
    read: Result<(String, String), &'static str>,
}

pub(crate) fn run(desk: &Desk, file: &Path, bound: &Bound, as_json: bool) -> Result<Ended> {
    let unread = || format!("cannot read {}", file.display());
    if std::fs::metadata(file).with_context(unread)?.len() > FILE_BYTES_MAX {
        return Err(failed(Ended::Usage, "a file to import has at most 1 MiB"));
    }
    let text = std::fs::read_to_string(file).with_context(unread)?;
    let (binding, recipient) = (bound.binding()?, recipient(desk)?);
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for Line { number, read } in lines(&text) {
        let done = read.map_err(str::to_owned).and_then(|(name, value)| {
            let binding = Some(binding.clone());
            let sealed = Sealed { name: name.clone(), value: Value::Token(value), binding };
            let answer = put(desk, &recipient, "vault.add", &sealed);
            answer.map(|_answer| name).map_err(|error| match error.downcast::<Failed>() {
                Ok(failed) => failed.message,
                Err(error) => error.to_string(),
            })
        });
        match done {
            Ok(name) => taken.push(name),
            Err(why) => left.push((number, why)),
        }
    }
    if as_json {
        let left: Vec<_> =
            left.iter().map(|(line, why)| json!({ "line": line, "error": why })).collect();
        render::object(&json!({ "taken": taken, "left": left }));
    } else {
        taken.iter().for_each(|name| render::line(&format!("the vault has {name}")));
        for (line, why) in &left {
            render::complain(&format!("{}:{line}: not taken: {}", file.display(), visible(why)));
        }
    }
    Ok(if left.is_empty() { Ended::Done } else { Ended::No })
}

fn lines(text: &str) -> Vec<Line> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let there = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    there.map(|(number, line)| Line { number, read: read(line) }).collect()
}

/// `NAME=VALUE`, with or without `export` and quotes; nothing is replaced in it.
fn read(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = name.trim_end();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("a name has letters, digits, `-` and `_`");
    }
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let rest = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            let rest = rest.ok_or("a quote that does not end with the line")?;
            if rest.contains(quote) || (quote == '"' && rest.contains(['\\', '$'])) {
                return Err("a value with quotes, `\\` or `$` within quotes; add it alone");
            }
            rest
        }
        _ if value.contains([' ', '\t', '#', '$', '`', '\\']) => {
            return Err(
                "a value with blanks, `#`, `$`, `\\` or a backquote outside of quotes; quote it",
            );
        }
        _ => value,
    };
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_as_it_is_or_said_with_its_number() {
        let text = "# settings\n\nAPI_TOKEN=canary-value\nexport OTHER='a b $c'\nSAID=\"x y\"\n";
        let of = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        let expected = [
            (3, of("api_token", "canary-value")),
            (4, of("other", "a b $c")),
            (5, of("said", "x y")),
        ];
        assert_eq!(lines(text), expected.map(|(number, read)| Line { number, read }));
        for line in
            ["nothing", "A.B=x", "A='x", "A=\"a$b\"", "A=a b", "A=a # b", "A=$(x)", "=x", "A='a'b'"]
        {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
