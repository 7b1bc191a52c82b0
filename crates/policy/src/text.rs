//! What a text must be before it is read as YAML: printable, of one nesting, and without what YAML has
//! beyond values: anchors, aliases and tags, by which a small text becomes a large one or another. And how far two words
//! are from each other, for who mistyped one.

use contract::effect::is_hidden;

/// Longest text of one layer.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of `[` and `{`.
const DEPTH_MAX: usize = 16;

/// What is wrong, and at which line and column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Refuses what no policy holds.
///
/// # Errors
/// [`Wrong`], the first.
pub(crate) fn check(text: &str) -> Result<(), Wrong> {
    let error = |message: String, line: usize, column: usize| Err(Wrong { message, line, column });
    if text.len() > TEXT_BYTES_MAX {
        return error(format!("the text is longer than {TEXT_BYTES_MAX} bytes"), 0, 0);
    }
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(at) = line.chars().position(is_hidden) {
            return error("a character that is not seen; remove it".to_owned(), number, at + 1);
        }
        if ["%", "---", "..."].iter().any(|mark| line.starts_with(mark)) {
            return error("a policy is one document without directives".to_owned(), number, 1);
        }
        if let Err((message, at)) = reader.line(line) {
            return error(message.to_owned(), number, at + 1);
        }
    }
    Ok(())
}

/// Where in the grammar of YAML 1.2 a line begins.
#[derive(Debug, Default)]
struct Reader {
    /// Within quotes of this kind.
    quote: Option<char>,
    /// Open `[` and `{`.
    depth: usize,
    /// Within a block scalar (`|`, `>`), whose lines are indented by more than this.
    block: Option<usize>,
}

impl Reader {
    /// Reads one line; what is wrong with it, and at which of its characters.
    fn line(&mut self, line: &str) -> Result<(), (&'static str, usize)> {
        let indent = line.chars().take_while(|character| *character == ' ').count();
        if let Some(outer) = self.block {
            if indent > outer || line.trim().is_empty() {
                return Ok(());
            }
            self.block = None;
        }
        // whether a value may begin here, and whether blanks came before
        let (mut fresh, mut blank, mut escaped) = (true, true, false);
        let mut characters = line.chars().enumerate().peekable();
        while let Some((at, character)) = characters.next() {
            let next_is_blank = characters.peek().is_none_or(|(_, next)| *next == ' ');
            if let Some(quote) = self.quote {
                // a doubled single quote ends the text and begins it again
                if !escaped && character == quote {
                    self.quote = None;
                }
                escaped = quote == '"' && character == '\\' && !escaped;
                (fresh, blank) = (self.quote.is_none() && quote == '\'', false);
                continue;
            }
            match character {
                '#' if blank => return Ok(()),
                '&' | '*' | '!' if fresh && !(character == '*' && next_is_blank) => {
                    return Err((
                        "anchors, aliases and tags are no part of this; quote the value",
                        at,
                    ));
                }
                '"' | '\'' if fresh => self.quote = Some(character),
                '|' | '>' if fresh && self.depth == 0 => {
                    self.block = Some(indent);
                    return Ok(());
                }
                '[' | '{' if fresh => self.depth += 1,
                ']' | '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > DEPTH_MAX {
                return Err(("nested too deeply", at));
            }
            let begins = match character {
                '[' | '{' => fresh,
                ',' => self.depth > 0,
                '-' | ':' | '?' => next_is_blank,
                ' ' => fresh,
                _ => false,
            };
            (fresh, blank) = (begins, character == ' ');
        }
        Ok(())
    }
}

/// Edit distance (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let change = get(&row, j) + usize::from(x != *y);
            next.push(change.min(get(&row, j + 1) + 1).min(get(&next, j) + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_aliases_and_tags_are_refused_where_they_would_be_ones() {
        for (text, place) in [
            ("rules: &a []", (1, 8)),
            ("a:\n  - *a", (2, 5)),
            ("a: [x, *a]", (1, 8)),
            ("a: { b: !!str x }", (1, 9)),
            ("a: 'it''s' \nb: &x y", (2, 4)),
            ("a: \"\\\"\" \nb: &x y", (2, 4)),
            ("a: |\n  *x\nb: *x", (3, 4)),
        ] {
            let error = check(text).unwrap_err();
            assert_eq!((error.line, error.column), place, "{text}");
        }
        for text in [
            "agents: [\"build-*\", '*']",
            "reason: all of it, *.rs and & too!",
            "a: x # &a *b",
            "a: |\n  * one\n  & two\nb: c",
            "a: \"x\n  *y\"\nb: c",
            "path: /a/*",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn hidden_characters_and_deep_nesting_are_refused() {
        for text in ["a: x\u{202e}", "\u{feff}a: b", "a:\tb", "a: \u{0}"] {
            assert!(check(text).is_err(), "{text:?}");
        }
        assert!(check(&"[".repeat(DEPTH_MAX)).is_ok());
        assert!(check(&"[".repeat(DEPTH_MAX + 1)).is_err());
        assert!(check(&"x".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }
}
