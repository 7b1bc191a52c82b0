//! Documentation and schemas, generated from declarations and never written by hand.

use crate::declaration::{Declaration, PLACES_MAX, Performer, Shape};
use crate::program::Program;
use crate::programs::{OPEN, PROGRAMS};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// The JSON Schema (2020-12) of a capability's input.
#[must_use]
pub fn schema(declaration: &Declaration) -> Json {
    let mut properties = serde_json::Map::new();
    for parameter in declaration.parameters {
        let mut property = match parameter.shape {
            Shape::Path => json!({"type": "string", "minLength": 1, "maxLength": 4095}),
            Shape::Text { bytes_max } => json!({"type": "string", "maxLength": bytes_max}),
            Shape::OneOf(words) => json!({"type": "string", "enum": words}),
            Shape::Number { max } => json!({"type": "integer", "minimum": 0, "maximum": max}),
            Shape::Flag => json!({"type": "boolean"}),
            Shape::Call => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
            Shape::Digest => json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
            Shape::Url => {
                json!({"type": "string", "format": "uri", "maxLength": contract::url::URL_BYTES_MAX})
            }
            Shape::Host => {
                json!({"type": "string", "maxLength": contract::url::NAME_BYTES_MAX})
            }
            Shape::Headers => json!({
                "type": "object",
                "additionalProperties": {"type": "string"},
                "maxProperties": contract::headers::HEADERS_MAX,
            }),
            Shape::Places => {
                json!({"type": "array", "items": {"type": "string"}, "maxItems": PLACES_MAX})
            }
            Shape::Command | Shape::OpenCommand => {
                json!({"type": "array", "items": {"type": "string"}, "minItems": 1})
            }
        };
        if let Some(members) = property.as_object_mut() {
            let usages = usages(programs(parameter.shape));
            members
                .insert("description".to_owned(), json!(format!("{}{usages}", parameter.meaning)));
        }
        properties.insert(parameter.name.to_owned(), property);
    }
    let required: Vec<&str> =
        declaration.parameters.iter().filter(|p| p.required).map(|p| p.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The programs that a command of this shape is of.
const fn programs(shape: Shape) -> &'static [&'static Program] {
    match shape {
        Shape::Command => PROGRAMS,
        Shape::OpenCommand => OPEN,
        _ => &[],
    }
}

/// How the commands of these programs are written.
fn usages(programs: &[&Program]) -> String {
    let line = |program: &&Program| format!("\n{}", program.usage());
    let lines: String = programs.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("; the programs:{lines}") }
}

/// The whole catalogue as Markdown.
#[must_use]
pub fn markdown(catalogue: &[&Declaration]) -> String {
    let mut text = String::from(
        "# Capabilities\n\nGenerated from capabilities/ by its tests; change the declarations.\n",
    );
    for declaration in catalogue {
        page(&mut text, declaration);
    }
    text
}

fn page(text: &mut String, declaration: &Declaration) {
    let mut line = |words: std::fmt::Arguments<'_>| {
        // writing into a String cannot fail
        text.write_fmt(words).ok();
        text.push('\n');
    };
    line(format_args!("\n## {}\n\n{}\n", declaration.id(), declaration.purpose));
    line(format_args!("{}\n", declaration.when));
    let performer = match declaration.performer {
        Performer::Cage(class) => format!("a worker in a fresh cage, class {class:?}"),
        Performer::Service(name) => name.to_owned(),
        Performer::Pdp => "the policy decision point".to_owned(),
    };
    line(format_args!("Risk {}; performed by {performer}.", declaration.risk.name()));
    match declaration.undo {
        Some(undo) => line(format_args!("Undone by {undo}.")),
        None => line(format_args!("Nothing undoes it.")),
    }
    if !declaration.parameters.is_empty() {
        line(format_args!("\n| parameter | takes | meaning |\n|---|---|---|"));
    }
    for parameter in declaration.parameters {
        let need = if parameter.required { "" } else { ", optional" };
        let shape = parameter.shape.describe();
        line(format_args!("| `{}` | {shape}{need} | {} |", parameter.name, parameter.meaning));
    }
    for shape in declaration.parameters.iter().map(|parameter| parameter.shape) {
        for (at, program) in programs(shape).iter().enumerate() {
            if at == 0 {
                line(format_args!("\nPrograms, and what of their options is admitted:\n"));
            }
            line(format_args!("- `{}`: {}", program.usage(), program.purpose));
        }
    }
    line(format_args!("\nEffects:"));
    for effect in declaration.effects {
        let fields: Vec<String> = effect
            .fields
            .iter()
            .map(|(field, source)| format!("{field} from {source:?}"))
            .collect();
        let shown = if effect.expects { "; who is asked is shown what is there" } else { "" };
        let fields = fields.join(", ");
        line(format_args!("- {} ({:?}): {fields}{shown}", effect.kind, effect.form));
    }
    if !declaration.failures.is_empty() {
        line(format_args!("\n| fails with | when | next |\n|---|---|---|"));
    }
    for failure in declaration.failures {
        line(format_args!("| `{}` | {} | {} |", failure.code, failure.when, failure.next));
    }
}
