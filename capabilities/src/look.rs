//! Looking at what an effect is about, before a person is asked for it: which call of its agent that is,
//! and what its answer says.

use contract::effect::{Effect, Field, Form, Value};
use contract::found::Found;
use serde_json::{Value as Json, json};

/// The call that looks at what is at an effect's path: its capability and input. One that is not about a
/// path has none.
#[must_use]
pub fn at(effect: &Effect) -> Option<(&'static str, Json)> {
    let Some(Value::Path(path)) = effect.get(Field::Path) else { return None };
    Some(match effect.form {
        Form::Region => ("filesystem.digest", json!({ "path": path.as_str() })),
        _ => ("filesystem.stat", json!({ "path": path.as_str(), "digest": true })),
    })
}

/// What a look at an effect found, by the code that it ended with and its answer; nothing where it cannot
/// be told.
#[must_use]
pub fn found(effect: &Effect, code: &str, answer: &Json) -> Option<Found> {
    let number = |name: &str| answer.get(name).and_then(Json::as_u64);
    let digest = || {
        let text = answer.get("digest").and_then(Json::as_str)?;
        Found::is_digest(text).then(|| text.to_owned())
    };
    match (code, effect.form) {
        ("not_found", _) => Some(Found::Nothing),
        ("ok", Form::Region) => Some(Found::Tree {
            entries: number("entries")?,
            bytes: number("bytes")?,
            digest: digest()?,
        }),
        ("ok", _) => match answer.get("kind").and_then(Json::as_str)? {
            "file" => Some(Found::File { bytes: number("size")?, digest: digest()? }),
            "directory" => Some(Found::Directory { names: number("names")? }),
            "link" => Some(Found::Link { bytes: number("size")? }),
            "other" => Some(Found::Other),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::effect::Kind;
    use contract::path::CanonicalPath;

    fn delete(form: Form) -> Effect {
        let path = Value::Path(CanonicalPath::parse("a").unwrap());
        Effect::new(Kind::Delete, form, [(Field::Path, path)]).unwrap()
    }

    #[test]
    fn a_look_is_a_call_that_only_reads_what_the_effect_is_about() {
        for (form, shown) in [
            (Form::Exact, "read /workspace/a"),
            (Form::Region, "read everything under /workspace/a"),
        ] {
            let (capability, input) = at(&delete(form)).unwrap();
            let declaration = crate::find(capability).unwrap();
            let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
            let effects: Vec<String> = effects.iter().map(ToString::to_string).collect();
            assert_eq!(effects, [shown]);
        }
        let no_path = Effect::new(Kind::Observe, Form::Exact, []).unwrap();
        assert_eq!(at(&no_path), None);
    }

    #[test]
    fn what_cannot_be_told_is_not_found_to_be_anything() {
        let digest = "ab".repeat(32);
        let exact = |code: &str, answer: &Json| found(&delete(Form::Exact), code, answer);
        let file = json!({ "kind": "file", "size": 3, "digest": digest });
        assert_eq!(exact("ok", &file), Some(Found::File { bytes: 3, digest: digest.clone() }));
        assert_eq!(exact("not_found", &json!({})), Some(Found::Nothing));
        let directory = json!({ "kind": "directory", "size": 4096, "names": 0 });
        assert_eq!(exact("ok", &directory), Some(Found::Directory { names: 0 }));
        for (code, answer) in [
            ("too_large", &file),
            ("link", &file),
            ("killed", &file),
            ("ok", &json!({ "kind": "file", "size": 3 })),
            ("ok", &json!({ "kind": "file", "size": 3, "digest": "\u{1b}[2J" })),
            ("ok", &json!({ "kind": "directory", "size": 4096 })),
            ("ok", &json!({ "kind": "elephant", "size": 3 })),
            ("ok", &Json::Null),
        ] {
            assert_eq!(exact(code, answer), None, "{code} {answer}");
        }
        let tree = json!({ "digest": digest, "entries": 2, "bytes": 3 });
        let region = delete(Form::Region);
        assert_eq!(found(&region, "ok", &tree), Some(Found::Tree { entries: 2, bytes: 3, digest }));
        assert_eq!(found(&region, "ok", &file), None);
    }
}
