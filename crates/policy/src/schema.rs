//! The grammar of a layer's text as a JSON Schema (draft 2020-12), for editors. It says of a text what can be said of
//! its structure: keys, kinds, fields, decisions, the form of quantities. What it lets through may still be refused:
//! [`crate::parse()`] alone is the grammar. It is made of the tables that the reader has, so that a kind or a field
//! that is new is in it.

use crate::answer::Answer;
use crate::grammar;
use crate::parse::{NAME_BYTES_MAX, REASON_BYTES_MAX, RULES_MAX};
use crate::quantity::{Bytes, Rate, Span};
use crate::rule::{GROUP_BYTES_MAX, PATTERN_BYTES_MAX, VALUES_MAX, VOTES_MAX};
use crate::window::{WINDOW_BYTES_MAX, WINDOWS_MAX};
use contract::effect::{Field, Kind, Type};
use serde_json::{Map, Value, json};

/// Where the schema is known by.
const ID: &str = "urn:kruxos:policy:1";
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const ANSWERS: [Answer; 4] =
    [Answer::Autonomous, Answer::Notify, Answer::Approval, Answer::Blocked];

/// The schema, a JSON object.
#[must_use]
pub fn schema() -> Value {
    let quantity = |units: &[(&str, u64)], rest: &str| {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!("^[0-9]+({}){rest}$", names.join("|"))
    };
    let periods: Vec<&str> = Rate::PERIODS.iter().map(|(name, _)| *name).collect();
    let per = format!("?/({})", periods.join("|"));
    let mut tests = Map::new();
    for field in fields() {
        tests.insert(format!("test-{field}"), test(field));
    }
    let mut definitions = json!({
        "answer": { "enum": ANSWERS },
        "kind": { "enum": Kind::ALL },
        "agent": { "type": "string", "minLength": 1, "maxLength": PATTERN_BYTES_MAX },
        "capability": { "type": "string", "pattern": "^[a-z_]+\\.[a-z_]+(@[0-9]+)?$" },
        "amount": {
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": quantity(&Bytes::UNITS, "?") },
            ],
        },
        "span": { "type": "string", "pattern": quantity(&Span::UNITS, "") },
        "rate": { "type": "string", "pattern": quantity(&Bytes::UNITS, &per) },
        "count": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        "rule": rule(),
        "where": conditions(),
        "limits": limits(),
        "approval": approval(),
    });
    if let Some(definitions) = definitions.as_object_mut() {
        definitions.append(&mut tests);
    }
    let mut layer = object(&grammar::LAYER, &["version", "rules"], |key| match key {
        "policy" => json!({ "const": "box" }),
        "limits" => json!({ "type": "string", "pattern": "^(system|(organisation|agent)/.+)$" }),
        "version" => json!({ "type": "integer", "minimum": 0 }),
        "otherwise" => json!({ "enum": [Answer::Blocked, Answer::Approval] }),
        "rules" => array("rule", 0, RULES_MAX),
        _ => json!(false),
    });
    set(&mut layer, "$schema", json!(DRAFT));
    set(&mut layer, "$id", json!(ID));
    set(&mut layer, "title", json!("A layer of KruxOS policy"));
    // one of both, and only what grants says `otherwise`
    let policy = json!({ "required": ["policy"], "properties": { "limits": false } });
    let limits =
        json!({ "required": ["limits"], "properties": { "policy": false, "otherwise": false } });
    set(&mut layer, "oneOf", json!([policy, limits]));
    set(&mut layer, "$defs", definitions);
    layer
}

/// Fields that a rule can ask about.
fn fields() -> impl Iterator<Item = Field> {
    // a list of words cannot be compared
    Field::ALL.into_iter().filter(|field| field.ty() != Type::List)
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn of(definition: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}") })
}

fn array(of: &str, least: usize, most: usize) -> Value {
    json!({ "type": "array", "items": self::of(of), "minItems": least, "maxItems": most })
}

/// A map that has these keys and no other.
fn object(keys: &[&str], required: &[&str], value: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), value(key))).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn rule() -> Value {
    let mut rule =
        object(&grammar::RULE, &["name", "agents", "effects", "decision"], |key| match key {
            "name" => json!({
                "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "maxLength": NAME_BYTES_MAX,
            }),
            "agents" => array("agent", 1, VALUES_MAX),
            "capabilities" => array("capability", 0, VALUES_MAX),
            "effects" => array("kind", 1, VALUES_MAX),
            "decision" => of("answer"),
            "where" | "limits" | "approval" => of(key),
            "reason" => json!({ "type": "string", "maxLength": REASON_BYTES_MAX }),
            _ => json!(false),
        });
    let has = |key: &str, value: Value| json!({ "required": [key], "properties": { key: value } });
    let over = |value: Value| has("limits", has("over", value));
    let mut all = Vec::new();
    for field in fields() {
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| kind.fields().contains(&field)).collect();
        let asks = has("where", json!({ "required": [field] }));
        let one = has("effects", json!({ "contains": { "enum": kinds } }));
        all.push(json!({ "if": asks, "then": one }));
    }
    let approval = json!({ "const": Answer::Approval });
    let asks = json!({ "anyOf": [has("decision", approval.clone()), over(approval)] });
    all.push(json!({ "if": { "required": ["approval"] }, "then": asks }));
    // what is answered once a limit is used up is no milder
    for answer in ANSWERS {
        let as_strict: Vec<Answer> = ANSWERS.into_iter().filter(|other| *other >= answer).collect();
        let decides = has("decision", json!({ "const": answer }));
        let has_over = over(json!(true));
        all.push(json!({
            "if": { "allOf": [decides, has_over] },
            "then": over(json!({ "enum": as_strict })),
        }));
    }
    set(&mut rule, "allOf", json!(all));
    rule
}

fn conditions() -> Value {
    let names: Vec<&str> = fields().map(Field::name).collect();
    object(&names, &[], |field| of(&format!("test-{field}")))
}

fn limits() -> Value {
    let mut limits = object(&grammar::LIMITS, &[], |key| match key {
        "calls" | "bytes" | "seconds" => of("rate"),
        "concurrent" => of("count"),
        "open" => windows(),
        "over" => of("answer"),
        _ => json!(false),
    });
    let one = grammar::LIMITS.iter().filter(|key| **key != "over");
    let one: Vec<Value> = one.map(|key| json!({ "required": [key] })).collect();
    set(&mut limits, "anyOf", json!(one));
    limits
}

fn windows() -> Value {
    let time = "[0-9][0-9]:[0-9][0-9]";
    let one = json!({
        "type": "string", "maxLength": WINDOW_BYTES_MAX,
        "pattern": format!("^([a-z,-]+ )?{time}-{time} [A-Za-z0-9/_+-]+$"),
    });
    json!({ "anyOf": [
        one, { "type": "array", "items": one, "minItems": 1, "maxItems": WINDOWS_MAX },
    ] })
}

fn approval() -> Value {
    object(&grammar::APPROVAL, &[], |key| match key {
        "votes" => json!({ "type": "integer", "minimum": 1, "maximum": VOTES_MAX }),
        "of" => json!({
            "type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$", "maxLength": GROUP_BYTES_MAX,
        }),
        "decide_within" | "run_within" => of("span"),
        "grants" => json!({ "enum": ["never", "bounded"] }),
        _ => json!(false),
    })
}

/// What can be said of a field: a value, any of a list, or a map of both and more.
fn test(field: Field) -> Value {
    let one = value(field.ty());
    let any = json!({ "anyOf": [
        one,
        { "type": "array", "items": one, "minItems": 1, "maxItems": VALUES_MAX },
    ] });
    let keys = grammar::TEST.iter().copied().filter(|key| match *key {
        "under" => field.ty() == Type::Path,
        "min" | "max" => field.ty() == Type::Number,
        _ => true,
    });
    let mut map = object(&keys.collect::<Vec<&str>>(), &[], |key| match key {
        "min" | "max" => of("amount"),
        "not" => of(&format!("test-{field}")),
        _ => any.clone(),
    });
    set(&mut map, "minProperties", json!(1));
    json!({ "anyOf": [any, map] })
}

/// One value.
fn value(ty: Type) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "maxLength": PATTERN_BYTES_MAX, "pattern": pattern });
    match ty {
        Type::Path => text("^(/|(/[^/]+)+)$"),
        Type::Host => text("^(\\*\\.)?([a-z0-9_-]+(\\.[a-z0-9_-]+)*|[0-9a-fA-F:.]+)$"),
        Type::Address => text("^[0-9a-fA-F:.]+(/[0-9]+)?$"),
        Type::Number => of("amount"),
        Type::Text | Type::List => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "maxLength": PATTERN_BYTES_MAX },
        ] }),
    }
}

#[cfg(test)]
mod tests;
