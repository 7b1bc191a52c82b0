//! Writes what was read in the one form: keys in their order, what fits in one line in one line, quantities
//! in their largest unit, each comment where it belongs.

use super::tree::{Comment, Content, Entry, Node, Scalar};
use crate::grammar;
use crate::quantity::{Bytes, Rate, Span};
use contract::effect::{Field, Type, is_hidden};
use serde_norway::Value;
use std::fmt::Write;

/// Longest line of a map or list that is written in one, in characters.
const LINE_CHARS_MAX: usize = 128;

/// What a value is for, which says in which order its keys are and how its quantities are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Layer,
    Rules,
    Rule,
    Where,
    Test(Field),
    Limits,
    Approval,
    /// An amount in a time: of bytes or of something else.
    Rate(bool),
    Span,
    /// A sentence.
    Sentence,
    /// A whole number.
    Number,
    Word,
}

impl Place {
    /// Of the value of a key.
    fn of(self, key: &str) -> Self {
        let field = || Field::ALL.into_iter().find(|field| field.name() == key);
        match (self, key) {
            (Self::Layer, "rules") => Self::Rules,
            (Self::Layer, "version") | (Self::Limits, "concurrent") | (Self::Approval, "votes") => {
                Self::Number
            }
            (Self::Rule, "where") => Self::Where,
            (Self::Rule, "limits") => Self::Limits,
            (Self::Rule, "approval") => Self::Approval,
            (Self::Rule, "reason") => Self::Sentence,
            (Self::Where, _) => field().map_or(Self::Word, Self::Test),
            (Self::Test(field), _) => Self::Test(field),
            (Self::Limits, "bytes") => Self::Rate(true),
            (Self::Limits, "calls" | "seconds") => Self::Rate(false),
            (Self::Approval, "decide_within" | "run_within") => Self::Span,
            _ => Self::Word,
        }
    }

    /// Of an item.
    const fn item(self) -> Self {
        match self {
            Self::Rules => Self::Rule,
            other => other,
        }
    }

    /// Where a key stands among the others.
    fn rank(self, key: &str) -> usize {
        let of = |keys: &[&str]| keys.iter().position(|known| *known == key);
        let rank = match self {
            Self::Layer => of(&grammar::LAYER),
            Self::Rule => of(&grammar::RULE),
            Self::Limits => of(&grammar::LIMITS),
            Self::Approval => of(&grammar::APPROVAL),
            Self::Test(_) => of(&grammar::TEST),
            Self::Where => of(&Field::ALL.map(Field::name)),
            _ => None,
        };
        rank.unwrap_or(usize::MAX)
    }

    /// Whether it is written over more than one line wherever it stands.
    const fn is_tall(self) -> bool {
        matches!(self, Self::Layer | Self::Rules | Self::Rule)
    }
}

/// A text in the one form.
pub(super) fn write(node: &Node) -> String {
    let mut writer = Writer { out: String::new() };
    let sorted = sorted(Place::Layer, node);
    // what stands before everything stays there, but for what is apart from it and about the first key alone
    let first = node.entries().first();
    let is_moved = sorted.first().is_some_and(|(number, _)| *number > 0);
    let before = first.filter(|_| is_moved).map_or(&[][..], |first| first.before.as_slice());
    let end = before.iter().rposition(String::is_empty).map_or(before.len(), |at| at + 1);
    let (head, own) = before.split_at_checked(end).unwrap_or_default();
    writer.spaced(0, head);
    for (number, entry) in sorted {
        writer.spaced(0, if number == 0 && is_moved { own } else { &entry.before });
        writer.value(0, &format!("{}:", entry.key), Place::Layer.of(&entry.key), entry, None);
    }
    writer.comments(0, &node.tail);
    writer.out
}

/// Entries in their order, each with its number in the text.
fn sorted(place: Place, node: &Node) -> Vec<(usize, &Entry)> {
    let mut entries: Vec<(usize, &Entry)> = node.entries().iter().enumerate().collect();
    if matches!(node.content, Content::Map(_)) {
        entries.sort_by_key(|(number, entry)| (place.rank(&entry.key), *number));
    }
    entries
}

struct Writer {
    out: String,
}

impl Writer {
    fn comments(&mut self, indent: usize, comments: &[String]) {
        for comment in comments.iter().filter(|comment| !comment.is_empty()) {
            self.line(&format!("{:indent$}{comment}", ""), None);
        }
    }

    /// Comments with the lines that are left free between them, one at most.
    fn spaced(&mut self, indent: usize, comments: &[String]) {
        for comment in comments {
            if !comment.is_empty() {
                self.line(&format!("{:indent$}{comment}", ""), None);
            } else if !self.out.is_empty() && !self.out.ends_with("\n\n") {
                self.out.push('\n');
            }
        }
    }

    /// One line, a comment behind it in its column where there is room.
    fn line(&mut self, line: &str, behind: Option<&Comment>) {
        self.out.push_str(line);
        if let Some(Comment { text, column }) = behind {
            let length = line.chars().count();
            let column = column.filter(|column| *column >= length + 2).unwrap_or(length + 2);
            self.out.extend(std::iter::repeat_n(' ', column - length));
            self.out.push_str(text);
        }
        self.out.push('\n');
    }

    /// A value behind what begins its line, with the comment behind it, or `behind` where it has none.
    fn value(
        &mut self,
        indent: usize,
        head: &str,
        place: Place,
        entry: &Entry,
        behind: Option<&Comment>,
    ) {
        let (node, inner) = (&entry.value, indent + 2);
        let behind = entry.behind.as_ref().or(behind);
        if let Some(flow) = in_one_line(head, place, node) {
            self.line(&format!("{head} {flow}"), behind);
            // of an empty list: there is nothing in it that they could stand before
            self.comments(indent, &node.tail);
            return;
        }
        let behind = behind.map(|comment| Comment { column: None, ..comment.clone() });
        self.line(head, behind.as_ref());
        self.children(inner, place, node, false);
    }

    /// The entries of a map or list, but not the first where it has been written.
    fn children(&mut self, indent: usize, place: Place, node: &Node, but_first: bool) {
        let is_map = matches!(node.content, Content::Map(_));
        let skipped = usize::from(but_first);
        for (at, (_, child)) in sorted(place, node).into_iter().enumerate().skip(skipped) {
            if is_map {
                self.comments(indent, &child.before);
                let head = format!("{:indent$}{}:", "", child.key);
                self.value(indent, &head, place.of(&child.key), child, None);
            } else {
                self.item(indent, place.item(), child, at == 0);
            }
        }
        self.comments(indent, &node.tail);
    }

    /// One item of a list; a map begins on the line of the dash.
    fn item(&mut self, indent: usize, place: Place, entry: &Entry, is_first: bool) {
        let before = entry.before.iter().skip_while(|comment| is_first && comment.is_empty());
        let before: Vec<String> = before.cloned().collect();
        if place == Place::Rule {
            self.spaced(indent, &before);
        } else {
            self.comments(indent, &before);
        }
        let head = format!("{:indent$}-", "");
        let node = &entry.value;
        let first = sorted(place, node).first().map(|(_, first)| *first);
        let is_map = matches!(node.content, Content::Map(_));
        match first.filter(|_| is_map && in_one_line(&head, place, node).is_none()) {
            None => self.value(indent, &head, place, entry, None),
            Some(first) => {
                self.comments(indent, &first.before);
                let own = entry.behind.as_ref();
                let own = own.map(|comment| Comment { column: None, ..comment.clone() });
                if let (Some(own), Some(_)) = (&own, &first.behind) {
                    self.comments(indent, std::slice::from_ref(&own.text));
                }
                let head = format!("{head} {}:", first.key);
                self.value(indent + 2, &head, place.of(&first.key), first, own.as_ref());
                self.children(indent + 2, place, node, true);
            }
        }
    }
}

/// A value in one line behind what begins it, if it is written so.
fn in_one_line(head: &str, place: Place, node: &Node) -> Option<String> {
    match &node.content {
        Content::Scalar(scalar) => Some(self::scalar(place, scalar)),
        Content::List(entries) | Content::Map(entries) if entries.is_empty() => {
            Some(flow(place, node))
        }
        _ if place.is_tall() || !node.comments().is_empty() => None,
        _ => {
            let flow = flow(place, node);
            let length = head.chars().count() + 1 + flow.chars().count();
            (length <= LINE_CHARS_MAX).then_some(flow)
        }
    }
}

fn flow(place: Place, node: &Node) -> String {
    match &node.content {
        Content::Scalar(scalar) => self::scalar(place, scalar),
        Content::List(entries) => {
            let items = entries.iter().map(|entry| flow(place.item(), &entry.value));
            format!("[{}]", items.collect::<Vec<String>>().join(", "))
        }
        Content::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Content::Map(_) => {
            let pairs = sorted(place, node).into_iter().map(|(_, entry)| {
                format!("{}: {}", entry.key, flow(place.of(&entry.key), &entry.value))
            });
            format!("{{ {} }}", pairs.collect::<Vec<String>>().join(", "))
        }
    }
}

/// One word, number or sentence.
fn scalar(place: Place, scalar: &Scalar) -> String {
    let text = scalar.text.as_str();
    let number = |with_units| Bytes::read(text).map(|Bytes(number)| amount(number, with_units));
    let written = match place {
        Place::Test(field) if field.ty() == Type::Number => number(field == Field::Bytes),
        Place::Rate(of_bytes) => rate(text, of_bytes),
        Place::Span => Span::read(text).map(|Span(seconds)| unit(seconds, &Span::UNITS)),
        // a number that is a word for its reader is the one that is written
        Place::Word | Place::Sentence if !scalar.is_text => Some(scalar.raw.clone()),
        _ if !scalar.is_text => Some(text.to_owned()),
        Place::Sentence if is_plain(text, false) => Some(text.to_owned()),
        _ => None,
    };
    written.unwrap_or_else(|| if is_plain(text, true) { text.to_owned() } else { quoted(text) })
}

/// A number in the largest unit that it is a whole number of.
fn unit(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, size): &&(&str, u64)| number > 0 && number.is_multiple_of(*size);
    match units.iter().filter(fits).max_by_key(|(_, size)| *size) {
        Some((name, size)) => format!("{}{name}", number / size),
        None => number.to_string(),
    }
}

fn amount(number: u64, of_bytes: bool) -> String {
    if of_bytes { unit(number, &Bytes::UNITS) } else { number.to_string() }
}

/// The period stays: so much in a minute is another limit than sixty times as much in an hour.
fn rate(text: &str, of_bytes: bool) -> Option<String> {
    let Rate { amount: number, .. } = Rate::read(text)?;
    let (_, period) = text.split_once('/')?;
    Some(format!("{}/{period}", amount(number, of_bytes)))
}

/// Whether text is read as itself without quotes; `is_word` where it may stand in a list or a map, and is
/// quoted as soon as it has anything that could be more than a letter to somebody.
fn is_plain(text: &str, is_word: bool) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "/._-@+".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_alphanumeric() || "/._".contains(c));
    let seen = if is_word { text.chars().all(word) } else { !text.chars().any(is_hidden) };
    let line = format!("key: {text}");
    first
        && seen
        && crate::text::check(&line).is_ok()
        && serde_norway::from_str::<Value>(&line)
            .is_ok_and(|value| value.get("key").and_then(Value::as_str) == Some(text))
}

/// Text in double quotes (YAML 1.2, 7.3.1).
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            hidden if is_hidden(hidden) => {
                write!(quoted, "\\U{:08x}", u32::from(hidden)).ok();
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
