//! The formatter over texts that are written in every way there is.

use super::*;
use crate::compiled::tests::{Dice, layer};
use serde_norway::Value;
use std::fmt::Write;

/// A value written in a way that the dice choose: keys in any order, blocks or lines, with quotes or without,
/// with comments that are counted.
struct Scribe<'a> {
    dice: &'a mut Dice,
    out: String,
    comments: Option<usize>,
}

impl Scribe<'_> {
    fn comment(&mut self, indent: Option<usize>) {
        if let Some(count) = self.comments.as_mut().filter(|_| self.dice.below(3) == 0) {
            *count += 1;
            match indent {
                Some(indent) => writeln!(self.out, "{:indent$}# no {count}", "").unwrap(),
                None => write!(self.out, " # no {count}").unwrap(),
            }
        }
    }

    fn word(&mut self, value: &Value) -> String {
        let Some(text) = value.as_str() else {
            return value.as_u64().unwrap().to_string();
        };
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@".contains(c));
        match self.dice.below(3) {
            0 => format!("'{text}'"),
            1 if is_plain => text.to_owned(),
            _ => format!("\"{text}\""),
        }
    }

    fn flow(&mut self, value: &Value) -> String {
        match value {
            Value::Sequence(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item)).collect();
                format!(
                    "[ {}{}]",
                    items.join(" ,"),
                    if self.dice.below(3) == 0 { ", " } else { "" }
                )
            }
            Value::Mapping(_) => {
                let pairs = self.shuffled(value);
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", self.flow(value)))
                    .collect();
                format!("{{{}}}", pairs.join(", "))
            }
            word => self.word(word),
        }
    }

    fn shuffled(&mut self, value: &Value) -> Vec<(String, Value)> {
        let pairs = value.as_mapping().unwrap().iter();
        let mut pairs: Vec<(String, Value)> =
            pairs.map(|(key, value)| (key.as_str().unwrap().to_owned(), value.clone())).collect();
        for at in (1..pairs.len()).rev() {
            pairs.swap(at, self.dice.below(at + 1));
        }
        pairs
    }

    /// The value behind what begins a line, whose children are indented by this.
    fn value(&mut self, value: &Value, indent: usize, is_tall: bool) {
        let is_word = !matches!(value, Value::Sequence(_) | Value::Mapping(_));
        if is_word || (!is_tall && self.dice.below(2) == 0) {
            let flow = self.flow(value);
            write!(self.out, " {flow}").unwrap();
            self.comment(None);
            self.out.push('\n');
            return;
        }
        self.comment(None);
        self.out.push('\n');
        match value {
            Value::Sequence(items) => {
                for item in items {
                    self.comment(Some(indent));
                    write!(self.out, "{:indent$}-", "").unwrap();
                    let inner = indent + 2 + self.dice.below(3);
                    self.value(item, inner, false);
                }
            }
            _ => self.map(value, indent, false),
        }
    }

    fn map(&mut self, value: &Value, indent: usize, is_tall: bool) {
        for (key, value) in self.shuffled(value) {
            self.comment(Some(indent));
            write!(self.out, "{:indent$}{key}:", "").unwrap();
            let inner = indent + 1 + self.dice.below(4);
            self.value(&value, inner, is_tall && key == "rules");
            if self.dice.below(5) == 0 {
                self.out.push('\n');
            }
        }
        self.comment(Some(indent));
    }
}

fn scribbled(dice: &mut Dice, text: &str, with_comments: bool) -> (String, usize) {
    let value: Value = serde_norway::from_str(text).unwrap();
    let mut scribe = Scribe { dice, out: String::new(), comments: with_comments.then_some(0) };
    scribe.map(&value, 0, true);
    let count = scribe.comments.unwrap_or(0);
    (scribe.out, count)
}

fn formatted(text: &str) -> String {
    format(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn the_form_of_a_text_is_one_and_says_the_same() {
    let mut dice = Dice(7);
    for _ in 0..150 {
        let text = layer(&mut dice, "policy: box");
        let one = formatted(&text);
        assert_eq!(formatted(&one), one);
        assert!(parse(&text).unwrap().says_the_same(&parse(&one).unwrap()));
        for _ in 0..5 {
            let (other, _) = scribbled(&mut dice, &text, false);
            let again = formatted(&other);
            // a line that was left free stays free, and nothing else of how it was written does
            let without =
                |text: &str| text.lines().filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
            assert_eq!(without(&again), without(&one), "{other}");
        }
    }
}

#[test]
fn no_comment_is_lost_wherever_it_stands() {
    let mut dice = Dice(11);
    let mut all = 0;
    for _ in 0..500 {
        let text = layer(&mut dice, "policy: box");
        let (other, count) = scribbled(&mut dice, &text, true);
        let one = formatted(&other);
        for number in 1..=count {
            let line = one.lines().filter(|line| line.ends_with(&format!("# no {number}"))).count();
            assert_eq!(line, 1, "comment {number} of\n{other}\nin\n{one}");
        }
        assert_eq!(formatted(&one), one, "{other}");
        assert!(parse(&text).unwrap().says_the_same(&parse(&one).unwrap()));
        all += count;
    }
    assert!(all > 2_000, "{all}");
}

#[test]
fn what_ships_is_in_its_form() {
    for name in ["personal", "team", "restricted", "system"] {
        let place = format!("{}/../../policies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(place).unwrap();
        assert_eq!(formatted(&text), text, "{name}");
    }
}

#[test]
fn keys_quantities_quotes_and_comments_have_their_places() {
    let text = "# of this text
rules:
- # of the rule
  decision: 'notify'
  agents: [ any ,   # everybody
            'build-*' ]
  where: {bytes: {max: 1048576}, path: {not: \"/w/.git\",
     under: /w}}   # of where
  name: a # of the name
  limits: { over: approval, bytes: 1048576KiB/day, calls: 600/hour } # far
  # of approval
  approval:
    decide_within: 1800s   # half an hour
    run_within: 24h
  effects: [write]
  reason: >-
    it is long,
    and of two lines
  # the end of the rule
# the end of the rules
version: 3


policy: \"box\"
# the end
";
    let wanted = "# of this text

policy: box
# the end of the rules
version: 3
rules:
  # of the rule
  - name: a  # of the name
    agents:
      - any  # everybody
      - \"build-*\"
    effects: [write]
    where: { path: { under: /w, not: /w/.git }, bytes: { max: 1MiB } }  # of where
    decision: notify
    limits: { calls: 600/hour, bytes: 1GiB/day, over: approval }     # far
    # of approval
    approval:
      decide_within: 30m       # half an hour
      run_within: 1d
    reason: it is long, and of two lines
    # the end of the rule
# the end
";
    let one = formatted(text);
    let squeezed = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let indents = |text: &str| -> Vec<usize> {
        text.lines().map(|line| line.len() - line.trim_start().len()).collect()
    };
    assert_eq!(squeezed(&one), squeezed(wanted), "{one}");
    assert_eq!(indents(&one), indents(wanted), "{one}");
}

#[test]
fn lines_that_are_left_free_stay_between_rules_and_what_is_apart_from_the_head_moves() {
    let text = "# of the text

# of the version
version: 1


policy: box
rules:

  # one

  - { decision: blocked, name: a, agents: [any],

      effects: [read] }
  # also of one


  - name: b

    agents: [any]
    effects: [read]
    decision: blocked
    # the end of b

# the end
";
    let wanted = "# of the text

policy: box
# of the version
version: 1
rules:
  # one

  - name: a
    agents: [any]
    effects: [read]
    decision: blocked
  # also of one

  - name: b
    agents: [any]
    effects: [read]
    decision: blocked
    # the end of b
# the end
";
    assert_eq!(formatted(text), wanted);
}

#[test]
fn texts_in_quotes_and_over_lines_are_read_as_they_are() {
    for (written, reason) in [
        ("'it''s: \"so\" # no comment'   # one", "\"it's: \\\"so\\\" # no comment\"  # one"),
        ("\"a \\\"key\\\": b\" # one", "\"a \\\"key\\\": b\"  # one"),
        ("\"of\n      three\n      lines\"   # one", "of three lines  # one"),
        ("of\n      three\n      lines # one", "of three lines  # one"),
        ("|-\n      a line # of text", "\"a line # of text\""),
        ("\"\\u0061 b\"", "a b"),
        ("'- no list'", "\"- no list\""),
        ("'true'", "\"true\""),
    ] {
        let text = |reason: &str| {
            format!(
                "policy: box\nversion: 1\nrules:\n  - name: a\n    agents: [any]\n    effects: [read]\n    decision: blocked\n    reason: {reason}\n"
            )
        };
        let one = formatted(&text(written));
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&one), squeezed(&text(reason)), "{one}");
        assert_eq!(one.matches("# one").count(), written.matches("# one").count());
    }
}

#[test]
fn what_is_not_certain_is_refused_with_its_line() {
    let rule = |line: &str| {
        format!(
            "policy: box\nversion: 1\nrules:\n  - name: a\n    agents: [any]\n    effects: [read]\n    decision: blocked\n{line}\n"
        )
    };
    assert!(format(&rule("    reason: words")).is_ok());
    for (line, at) in [
        ("    ? reason\n    : words", 8),
        ("    reason:", 8),
        ("    reason: >- # folded\n      words", 9),
        ("    \"re\\x61son\": words", 8),
    ] {
        match format(&rule(line)) {
            Err(FormatError::Refused { line: found, .. }) => assert_eq!(found, at, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    match format(&rule("    raeson: words")) {
        Err(FormatError::Mistake(mistake)) => assert_eq!(mistake.line, 8),
        other => panic!("{other:?}"),
    }
}
