//! The schema against the reader: what the reader takes is valid, and what it refuses by structure is not. An
//! evaluator of the keywords that the schema uses is here; one that it does not know ends the test.

use super::*;
use crate::compiled::tests::{Dice, layer};
use crate::parse::parse;

/// Whether text matches from here on, by the pattern from here on: literal characters, classes, groups of
/// alternatives, `.`, `?`, `+` and `*`, with `then` for what follows.
fn matches(pattern: &[char], text: &[char], then: &dyn Fn(&[char]) -> bool) -> bool {
    let Some(first) = pattern.first() else { return then(text) };
    let length = match first {
        '(' => close(pattern, '(', ')'),
        '[' => pattern.iter().position(|c| *c == ']').unwrap() + 1,
        '\\' => 2,
        _ => 1,
    };
    let (atom, rest) = pattern.split_at(length);
    let one = |text: &[char], then: &dyn Fn(&[char]) -> bool| match first {
        '(' => alternatives(&atom[1..length - 1]).iter().any(|one| matches(one, text, then)),
        _ => text.split_first().is_some_and(|(c, text)| in_class(atom, *c) && then(text)),
    };
    match rest.first() {
        Some('?') => {
            one(text, &|text| matches(&rest[1..], text, then)) || matches(&rest[1..], text, then)
        }
        Some('+') => one(text, &|text| many(&one, text, &|text| matches(&rest[1..], text, then))),
        Some('*') => many(&one, text, &|text| matches(&rest[1..], text, then)),
        _ => one(text, &|text| matches(rest, text, then)),
    }
}

type One<'a> = &'a dyn Fn(&[char], &dyn Fn(&[char]) -> bool) -> bool;

fn many(one: One<'_>, text: &[char], then: &dyn Fn(&[char]) -> bool) -> bool {
    let shorter = |rest: &[char]| rest.len() < text.len() && many(one, rest, then);
    one(text, &shorter) || then(text)
}

fn in_class(atom: &[char], c: char) -> bool {
    let Some(['[', inner @ .., ']']) = Some(atom) else {
        return match atom {
            ['.'] => true,
            ['\\', escaped] => *escaped == c,
            _ => atom == [c],
        };
    };
    let (inner, wanted) = match inner {
        ['^', inner @ ..] => (inner, false),
        _ => (inner, true),
    };
    let (mut at, mut found) = (0, false);
    while at < inner.len() {
        if inner.get(at + 1) == Some(&'-') && at + 2 < inner.len() {
            found |= (inner[at]..=inner[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= inner[at] == c;
            at += 1;
        }
    }
    found == wanted
}

/// How long a group is.
fn close(pattern: &[char], open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, c) in pattern.iter().enumerate() {
        if *c == open && (at == 0 || pattern[at - 1] != '\\') {
            depth += 1;
        } else if *c == close && pattern[at - 1] != '\\' {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    panic!("a group that does not end")
}

fn alternatives(pattern: &[char]) -> Vec<Vec<char>> {
    let (mut depth, mut all) = (0, vec![Vec::new()]);
    for c in pattern {
        match c {
            '|' if depth == 0 => all.push(Vec::new()),
            c => {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                all.last_mut().unwrap().push(*c);
            }
        }
    }
    all
}

fn fits(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).unwrap();
    let alternatives = alternatives(&inner.chars().collect::<Vec<char>>());
    let text: Vec<char> = text.chars().collect();
    alternatives.iter().any(|one| matches(one, &text, &<[char]>::is_empty))
}

/// Whether an instance is valid under a schema.
fn valid(root: &Value, schema: &Value, it: &Value) -> bool {
    let Value::Object(schema) = schema else { return schema == &json!(true) };
    let count = |wanted: &Value| usize::try_from(wanted.as_u64().unwrap()).unwrap();
    let each = |of: &Value| -> Vec<bool> {
        of.as_array().unwrap().iter().map(|one| valid(root, one, it)).collect()
    };
    schema.iter().all(|(keyword, says)| match keyword.as_str() {
        "$schema" | "$id" | "title" | "$defs" | "then" => true,
        "$ref" => {
            let place = says.as_str().unwrap().strip_prefix('#').unwrap();
            valid(root, root.pointer(place).unwrap(), it)
        }
        "type" => match says.as_str().unwrap() {
            "string" => it.is_string(),
            "integer" => it.is_u64() || it.is_i64(),
            "array" => it.is_array(),
            "object" => it.is_object(),
            other => panic!("type {other}"),
        },
        "enum" => says.as_array().unwrap().contains(it),
        "const" => says == it,
        "pattern" => it.as_str().is_none_or(|text| fits(says.as_str().unwrap(), text)),
        "minLength" => it.as_str().is_none_or(|text| text.chars().count() >= count(says)),
        "maxLength" => it.as_str().is_none_or(|text| text.chars().count() <= count(says)),
        "minimum" => it.as_i64().is_none_or(|number| number >= says.as_i64().unwrap()),
        "maximum" => it.as_u64().is_none_or(|number| number <= says.as_u64().unwrap()),
        "minItems" => it.as_array().is_none_or(|items| items.len() >= count(says)),
        "maxItems" => it.as_array().is_none_or(|items| items.len() <= count(says)),
        "minProperties" => it.as_object().is_none_or(|map| map.len() >= count(says)),
        "items" => it.as_array().is_none_or(|items| items.iter().all(|one| valid(root, says, one))),
        "contains" => {
            it.as_array().is_none_or(|items| items.iter().any(|one| valid(root, says, one)))
        }
        "required" => it.as_object().is_none_or(|map| {
            says.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
        }),
        "properties" => it.as_object().is_none_or(|map| {
            let of = says.as_object().unwrap();
            map.iter().all(|(key, value)| of.get(key).is_none_or(|says| valid(root, says, value)))
        }),
        "additionalProperties" => it.as_object().is_none_or(|map| {
            assert_eq!(says, &json!(false));
            let known = schema["properties"].as_object().unwrap();
            map.keys().all(|key| known.contains_key(key))
        }),
        "anyOf" => each(says).contains(&true),
        "oneOf" => each(says).iter().filter(|one| **one).count() == 1,
        "allOf" => !each(says).contains(&false),
        "if" => !valid(root, says, it) || valid(root, &schema["then"], it),
        other => panic!("a keyword that this does not know: {other}"),
    })
}

fn is_valid(text: &str) -> bool {
    static SCHEMA: std::sync::LazyLock<Value> = std::sync::LazyLock::new(schema);
    let schema = &*SCHEMA;
    valid(schema, schema, &serde_norway::from_str::<Value>(text).unwrap())
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_policy_that_the_reader_takes_is_valid_under_the_schema() {
    for name in ["personal", "team", "restricted", "system"] {
        assert!(is_valid(&file(&format!("policies/{name}.yaml"))), "{name}");
    }
    let guide = file("docs/how-to/write-a-policy.md");
    let example =
        guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    parse(example).unwrap();
    assert!(is_valid(example));
    let mut dice = Dice(5);
    for _ in 0..300 {
        let text = layer(&mut dice, "limits: agent/x");
        assert!(is_valid(&text), "{text}");
    }
}

const RULE: &str = "{ name: a, agents: [any], effects: [write], where: { path: { under: /w }, bytes: { max: 1MiB } }, decision: notify, limits: { calls: 3/hour, over: approval }, approval: { votes: 1, decide_within: 30m, grants: never }, reason: why }";

#[test]
fn what_the_reader_refuses_by_structure_is_not_valid() {
    let whole =
        |rule: &str| format!("policy: box\nversion: 1\notherwise: blocked\nrules: [{rule}]\n");
    let right = whole(RULE);
    assert!(parse(&right).is_ok() && is_valid(&right));
    for (old, new) in [
        ("policy: box", "policy: boxes"),
        ("policy: box", "policy: box\nlimits: system"),
        ("policy: box", "limits: system"),
        ("policy: box\n", ""),
        ("version: 1\n", ""),
        ("version: 1", "version: one"),
        ("version: 1", "version: -1"),
        ("otherwise: blocked", "otherwise: notify"),
        ("rules: [", "ruled: ["),
        ("name: a, ", ""),
        ("name: a", "name: a b"),
        ("agents: [any], ", ""),
        ("agents: [any]", "agents: []"),
        ("agents: [any]", "agents: any"),
        ("effects: [write]", "effects: []"),
        ("effects: [write]", "effects: [writes]"),
        ("effects: [write]", "efects: [write]"),
        ("effects: [write]", "effects: [connect]"),
        ("effects: [write]", "effects: [write], capabilities: [write]"),
        ("decision: notify, ", ""),
        ("decision: notify", "decision: allow"),
        ("decision: notify", "decision: blocked"),
        ("over: approval", "over: autonomous"),
        ("calls: 3/hour, ", ""),
        ("calls: 3/hour", "calls: 3"),
        ("calls: 3/hour", "calls: 3/year"),
        ("calls: 3/hour", "concurrent: many"),
        ("path: { under: /w }", "path: { under: w }"),
        ("path: { under: /w }", "path: /w/"),
        ("path: { under: /w }", "path: {}"),
        ("path: { under: /w }", "path: []"),
        ("path: { under: /w }", "path: { beneath: /w }"),
        ("path: { under: /w }", "path: { max: 1 }"),
        ("path: { under: /w }", "port: 443"),
        ("path: { under: /w }", "argv: [a]"),
        ("max: 1MiB", "max: 1MB"),
        ("max: 1MiB", "max: -1"),
        ("max: 1MiB", "under: /w"),
        ("votes: 1", "vote: 1"),
        ("decide_within: 30m", "decide_within: 30"),
        ("grants: never", "grants: always"),
        ("over: approval", "over: blocked"),
        ("reason: why", "reason: [why]"),
    ] {
        let wrong = right.replacen(old, new, 1);
        assert!(wrong != right && parse(&wrong).is_err(), "the reader takes {new}");
        assert!(!is_valid(&wrong), "the schema takes {new}");
    }
}

/// A text of which one thing was changed, if there is one of it.
fn mutated(dice: &mut Dice, value: &mut Value) {
    let others = [json!("nobody"), json!([]), json!({}), json!(["nobody"]), json!({ "not": "/a" })];
    match value {
        Value::Object(map) if dice.below(5) > 0 => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = keys[dice.below(keys.len())].clone();
            match dice.below(8) {
                0 => {
                    map.remove(&key);
                }
                1 => {
                    let other = map.remove(&key).unwrap();
                    map.insert(
                        dice.one(&["path", "port", "limits", "nobody", "min"]).to_owned(),
                        other,
                    );
                }
                _ => mutated(dice, map.get_mut(&key).unwrap()),
            }
        }
        Value::Array(items) if !items.is_empty() && dice.below(5) > 0 => {
            let at = dice.below(items.len());
            mutated(dice, &mut items[at]);
        }
        other => *other = others[dice.below(others.len())].clone(),
    }
}

#[test]
fn what_the_reader_takes_of_texts_that_were_changed_at_random_is_valid() {
    let mut dice = Dice(3);
    let (mut taken, mut refused, mut seen) = (0, 0, 0);
    for _ in 0..3_000 {
        let text = layer(&mut dice, "policy: box");
        let mut value: Value = serde_norway::from_str(&text).unwrap();
        mutated(&mut dice, &mut value);
        let text = value.to_string();
        match (parse(&text), is_valid(&text)) {
            (Ok(_), true) => taken += 1,
            (Ok(_), false) => panic!("the schema refuses what the reader takes: {text}"),
            (Err(_), is_valid) => {
                refused += 1;
                seen += usize::from(!is_valid);
            }
        }
    }
    assert!(taken > 40 && refused > 1_000, "{taken} {refused}");
    // of a hundred texts that the reader refuses, the schema finds ninety or more
    assert!(seen * 10 > refused * 9, "{seen} of {refused}");
}
