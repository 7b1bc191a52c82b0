//! Where in a text its keys, values and comments are: YAML as policies use it, with everything that is no value
//! kept.

use super::FormatError;
use super::tree::{Comment, Content, Entry, Node, Scalar, Style, pair};
use serde_norway::Value;

/// Reads a text that the reader of policies took.
pub(super) fn read(text: &str) -> Result<Node, FormatError> {
    let lines: Vec<&str> = text.lines().collect();
    let chars = lines.join("\n").chars().collect();
    let mut reader = Reader { chars, at: 0, line: 1, begin: 0, pending: Vec::new() };
    reader.next_content();
    let mut node = reader.node(0)?;
    let behind = reader.comment()?;
    reader.next_content();
    if reader.peek().is_some() {
        return Err(reader.refuse("the formatter does not read this"));
    }
    node.tail.extend(behind.map(|comment| comment.text));
    node.tail.extend(reader.pending.drain(..).map(|(_, text)| text));
    let value: Value = serde_norway::from_str(text)
        .map_err(|error| FormatError::Refused { line: 0, message: error.to_string() })?;
    pair(&mut node, &value)?;
    Ok(node)
}

/// Reads from here on.
struct Reader {
    chars: Vec<char>,
    at: usize,
    /// From 1.
    line: usize,
    /// Where the line begins.
    begin: usize,
    /// Comments on lines of their own that belong to what follows, with their columns; one that is empty stands
    /// for a line that is left free.
    pending: Vec<(usize, String)>,
}

impl Reader {
    fn refuse(&self, message: &str) -> FormatError {
        FormatError::Refused { line: self.line, message: message.to_owned() }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    const fn column(&self) -> usize {
        self.at - self.begin
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        if next == '\n' {
            self.line += 1;
            self.begin = self.at;
        }
        Some(next)
    }

    /// Whether a blank, the end of the line or of the text is so many characters ahead.
    fn is_blank(&self, by: usize) -> bool {
        self.ahead(by).is_none_or(|next| matches!(next, ' ' | '\n'))
    }

    fn spaces(&mut self) {
        while self.peek() == Some(' ') {
            self.next();
        }
    }

    /// The comment behind what was read, if there is one on this line.
    fn comment(&mut self) -> Result<Option<Comment>, FormatError> {
        self.spaces();
        if self.peek() != Some('#') {
            return Ok(None);
        }
        let before = self.at.checked_sub(1).and_then(|at| self.chars.get(at));
        if before.is_some_and(|before| !matches!(before, ' ' | '\n')) {
            return Err(
                self.refuse("a `#` without a blank before it; the formatter does not read this")
            );
        }
        let column = Some(self.column());
        Ok(Some(Comment { text: self.rest(), column }))
    }

    /// The rest of the line.
    fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(next) = self.peek().filter(|next| *next != '\n') {
            text.push(next);
            self.next();
        }
        text.trim_end().to_owned()
    }

    /// Goes on to what is neither a blank nor a comment on a line of its own.
    fn next_content(&mut self) {
        loop {
            self.spaces();
            match self.peek() {
                Some('\n') => {
                    if self.column() == 0 || self.is_free() {
                        self.pending.push((usize::MAX, String::new()));
                    }
                    self.next();
                }
                Some('#') => {
                    let column = self.column();
                    let text = self.rest();
                    self.pending.push((column, text));
                }
                _ => return,
            }
        }
    }

    /// Whether nothing but blanks was on this line.
    fn is_free(&self) -> bool {
        self.chars.get(self.begin..self.at).is_some_and(|line| line.iter().all(|c| *c == ' '))
    }

    /// An entry that begins here, with the comments that belong to it.
    fn entry(&mut self) -> Entry {
        let before = self.pending.drain(..).map(|(_, text)| text).collect();
        let content = Content::List(Vec::new());
        let value = Node { line: self.line, content, tail: Vec::new() };
        Entry { before, key: String::new(), behind: None, value }
    }

    /// The comments that stand at this column or further right: they belong to what ends here.
    fn tail(&mut self, column: usize) -> Vec<String> {
        let run = self.pending.iter().take_while(|(at, _)| *at >= column);
        // a free line behind the last of them is before what follows
        let last = run.enumerate().filter(|(_, (_, text))| !text.is_empty()).last();
        let count = last.map_or(0, |(at, _)| at + 1);
        self.pending.drain(..count).map(|(_, text)| text).collect()
    }

    /// A value that begins here; further lines of it are indented by `least` or more.
    fn node(&mut self, least: usize) -> Result<Node, FormatError> {
        let line = self.line;
        let column = self.column();
        let (content, tail) = match self.peek() {
            Some('[' | '{') => self.flow()?,
            Some('-') if self.is_blank(1) => self.block(column, false)?,
            Some('?') if self.is_blank(1) => {
                return Err(
                    self.refuse("the formatter does not read `? ` keys; write `key: value`")
                );
            }
            Some('|' | '>') => (Content::Scalar(self.lines(least)), Vec::new()),
            Some(_) if self.is_key() => self.block(column, true)?,
            Some(_) => (Content::Scalar(self.scalar(least, false)?), Vec::new()),
            None => return Err(self.refuse("a value is missing")),
        };
        Ok(Node { line, content, tail })
    }

    /// Whether a key begins here.
    fn is_key(&self) -> bool {
        let quote = self.peek().filter(|first| matches!(first, '"' | '\''));
        let (mut by, mut open) = (usize::from(quote.is_some()), quote.is_some());
        loop {
            match self.ahead(by) {
                None | Some('\n') => return false,
                Some('\\') if open && quote == Some('"') => by += 1,
                // a doubled single quote is one in the text
                Some('\'') if open && quote == Some('\'') && self.ahead(by + 1) == quote => by += 1,
                Some(next) if open => open = Some(next) != quote,
                Some(':') if self.is_blank(by + 1) => return true,
                // behind a text in quotes there is a colon, or no key
                Some(next) if quote.is_some() && next != ' ' => return false,
                Some(' ') if self.ahead(by + 1) == Some('#') => return false,
                Some(_) => {}
            }
            by += 1;
        }
    }

    /// A map or a list whose entries begin at this column.
    fn block(
        &mut self,
        column: usize,
        is_map: bool,
    ) -> Result<(Content, Vec<String>), FormatError> {
        let mut entries = Vec::new();
        let tail = loop {
            let mut entry = self.entry();
            if is_map {
                entry.key = self.key(false)?;
            } else {
                self.next();
            }
            self.value(column, is_map, &mut entry)?;
            entries.push(entry);
            self.next_content();
            let at = self.column();
            let is_item = self.peek() == Some('-') && self.is_blank(1);
            match self.peek() {
                Some(_) if at > column => {
                    return Err(self.refuse("the formatter does not read this"));
                }
                Some(_) if at == column && is_map => {}
                Some(_) if at == column && is_item => {}
                // the list of a key at the same column: what follows is the next key's
                Some(_) if at == column => break Vec::new(),
                _ => break self.tail(column),
            }
        };
        Ok(if is_map { (Content::Map(entries), tail) } else { (Content::List(entries), tail) })
    }

    /// A key, with its colon.
    fn key(&mut self, in_flow: bool) -> Result<String, FormatError> {
        let key = self.scalar(usize::MAX, in_flow)?.raw;
        if self.peek() == Some(' ') {
            self.spaces();
        }
        if self.peek() == Some(':') {
            self.next();
            return Ok(key);
        }
        Err(self.refuse("a key without a value"))
    }

    /// The value of a key, or of an item, that begins at this column.
    fn value(&mut self, column: usize, is_map: bool, entry: &mut Entry) -> Result<(), FormatError> {
        let head = self.comment()?;
        if self.peek() == Some('\n') {
            self.next_content();
            let is_item = self.peek() == Some('-') && self.is_blank(1);
            let at = self.column();
            if self.peek().is_none() || !(at > column || (is_map && at == column && is_item)) {
                let message = "a key without a value; remove it";
                return Err(FormatError::Refused {
                    line: entry.value.line,
                    message: message.to_owned(),
                });
            }
            if !is_item && !self.is_key() {
                entry.before.extend(self.pending.drain(..).map(|(_, text)| text));
            }
        }
        entry.value = self.node(column + 1)?;
        let is_block = self.column() == 0 || self.is_free();
        let behind = if is_block { None } else { self.comment()? };
        match (head, behind) {
            (Some(head), None) if is_map => entry.behind = Some(head),
            (head, behind) => {
                entry.before.extend(head.map(|comment| comment.text));
                entry.behind = behind;
            }
        }
        if !is_block && self.peek().is_some_and(|next| next != '\n') {
            return Err(self.refuse("the formatter does not read what stands behind this value"));
        }
        Ok(())
    }

    /// A list in `[]`, or a map in `{}`.
    fn flow(&mut self) -> Result<(Content, Vec<String>), FormatError> {
        let is_map = self.next() == Some('{');
        let close = if is_map { '}' } else { ']' };
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            self.flow_space(entries.last_mut())?;
            match self.peek() {
                None => return Err(self.refuse("a list or a map does not end")),
                Some(next) if next == close => {
                    self.next();
                    break;
                }
                Some(_) => {}
            }
            let mut entry = self.entry();
            if is_map {
                entry.key = self.key(true)?;
                self.flow_space(None)?;
            }
            entry.before.extend(self.pending.drain(..).map(|(_, text)| text));
            let line = self.line;
            let (content, tail) = match self.peek() {
                Some('[' | '{') => self.flow()?,
                _ => (Content::Scalar(self.scalar(0, true)?), Vec::new()),
            };
            entry.value = Node { line, content, tail };
            entries.push(entry);
            self.flow_space(entries.last_mut())?;
            match self.peek() {
                Some(',') => {
                    self.next();
                }
                Some(next) if next == close => {}
                _ => return Err(self.refuse("the formatter does not read this")),
            }
        }
        let tail = self.pending.drain(..).map(|(_, text)| text).collect();
        Ok(if is_map { (Content::Map(entries), tail) } else { (Content::List(entries), tail) })
    }

    /// What is between entries of a list or a map: a comment on the line of the last one is behind it.
    fn flow_space(&mut self, last: Option<&mut Entry>) -> Result<(), FormatError> {
        self.spaces();
        if let Some(comment) = self.comment()? {
            match last.filter(|last| last.behind.is_none()) {
                Some(last) => last.behind = Some(Comment { column: None, ..comment }),
                None => self.pending.push((0, comment.text)),
            }
        }
        self.next_content();
        Ok(())
    }

    /// One word or number; further lines of it are indented by `least` or more.
    fn scalar(&mut self, least: usize, in_flow: bool) -> Result<Scalar, FormatError> {
        let (style, raw) = match self.peek() {
            Some('"') => (Style::Double, self.quoted('"')?),
            Some('\'') => (Style::Single, self.quoted('\'')?),
            _ => (Style::Plain, self.plain(least, in_flow)),
        };
        if style == Style::Plain && raw.is_empty() {
            return Err(self.refuse("a value is missing"));
        }
        Ok(Scalar { style, raw, text: String::new(), is_text: true })
    }

    fn quoted(&mut self, quote: char) -> Result<String, FormatError> {
        let mut raw = String::new();
        self.next();
        loop {
            match self.next() {
                None => return Err(self.refuse("a text in quotes does not end")),
                Some('\\') if quote == '"' => {
                    raw.push('\\');
                    raw.extend(self.next());
                }
                Some(next) if next == quote && quote == '\'' && self.peek() == Some('\'') => {
                    self.next();
                    raw.push('\'');
                }
                Some(next) if next == quote => return Ok(raw),
                Some(next) => raw.push(next),
            }
        }
    }

    fn plain(&mut self, least: usize, in_flow: bool) -> String {
        let mut raw = String::new();
        let ends_flow = |next: char| in_flow && matches!(next, ',' | '[' | ']' | '{' | '}');
        loop {
            while let Some(next) = self.peek() {
                let is_colon =
                    next == ':' && (self.is_blank(1) || self.ahead(1).is_some_and(ends_flow));
                let is_comment = next == ' ' && self.ahead(1) == Some('#');
                if next == '\n' || ends_flow(next) || is_colon || is_comment {
                    break;
                }
                raw.push(next);
                self.next();
            }
            raw.truncate(raw.trim_end().len());
            let (at, line, begin) = (self.at, self.line, self.begin);
            // its next line, if there is one
            let goes_on = self.peek() == Some('\n') && least < usize::MAX && {
                while matches!(self.peek(), Some(' ' | '\n')) {
                    self.next();
                }
                let enough = in_flow || self.column() >= least;
                let next = self.peek().filter(|next| *next != '#' && !ends_flow(*next));
                enough && next.is_some()
            };
            if !goes_on {
                (self.at, self.line, self.begin) = (at, line, begin);
                return raw;
            }
            raw.push(' ');
        }
    }

    /// Lines that are indented (`|`, `>`).
    fn lines(&mut self, least: usize) -> Scalar {
        let mut words = Vec::new();
        let mut head = String::new();
        while let Some(next) = self.peek() {
            if next == '\n' || (next == ' ' && self.ahead(1) == Some('#')) {
                break;
            }
            head.push(next);
            self.next();
        }
        if self.peek() == Some('\n') {
            loop {
                let (at, line, begin) = (self.at, self.line, self.begin);
                self.next();
                self.spaces();
                let is_in = self.column() >= least && self.peek().is_some();
                if !is_in && self.peek() != Some('\n') {
                    (self.at, self.line, self.begin) = (at, line, begin);
                    break;
                }
                words.push(self.rest());
                if self.peek().is_none() {
                    break;
                }
            }
        }
        let raw = words.join(" ");
        Scalar { style: Style::Block, raw, text: String::new(), is_text: true }
    }
}
