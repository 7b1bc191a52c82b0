//! The catalogue as a whole: every declaration is sound, documented, and lowered as it says.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use capabilities::programs::PROGRAMS;
use capabilities::{CATALOGUE, InputError, Shape, document, find, look};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// An input that gives every parameter.
fn full(name: &str) -> Json {
    let mut input = serde_json::Map::new();
    for parameter in find(name).unwrap().parameters {
        let value = match parameter.shape {
            Shape::Path => json!(format!("{}.txt", parameter.name)),
            Shape::Text { .. } => json!("text"),
            Shape::OneOf(words) => json!(words.first()),
            Shape::Number { .. } => json!(1),
            Shape::Flag => json!(true),
            Shape::Call => json!("00112233445566778899aabbccddeeff"),
            Shape::Command => json!(["sort", "-o", "out.txt", "in.txt"]),
            Shape::OpenCommand => json!(["python3", "a.py", "-v"]),
            Shape::Digest => json!("00".repeat(32)),
            Shape::Places => json!(["192.0.2.1:443"]),
            Shape::Url => json!("https://api.example.org/v1"),
            Shape::Host => json!("api.example.org"),
            Shape::Headers => json!({"authorization": "Bearer ${secret:token}"}),
        };
        input.insert(parameter.name.to_owned(), value);
    }
    Json::Object(input)
}

#[test]
fn every_declaration_is_sound() {
    let mut names = Vec::new();
    for declaration in CATALOGUE {
        let id = declaration.id();
        names.push(id.clone());
        assert!(!declaration.effects.is_empty(), "{id}: a call with no effect is blocked");
        assert!(!declaration.examples.is_empty(), "{id}: no example");
        for (_, source) in declaration.effects.iter().flat_map(|effect| effect.fields) {
            if let Some(name) = source.parameter() {
                assert!(declaration.parameters.iter().any(|p| p.name == name), "{id}: {name}");
            }
        }
        let input = declaration.accept(&full(declaration.name)).unwrap();
        let effects = declaration.lower(&input).unwrap();
        assert_eq!(effects.len(), declaration.effects.len(), "{id}");
        // which effects are looked at is told by what they are
        for one in declaration.effects {
            let alike =
                declaration.effects.iter().filter(|of| (of.kind, of.form) == (one.kind, one.form));
            assert!(alike.clone().all(|of| of.expects == one.expects), "{id}: {one:?}");
        }
        let expected = declaration.effects.iter().filter(|effect| effect.expects).count();
        let looks = declaration.expects(&effects);
        assert_eq!(looks.len(), expected, "{id}");
        assert!(looks.iter().all(|at| effects.get(*at).and_then(look::at).is_some()), "{id}");
        let declared = declaration.failures.iter().any(|failure| failure.code == "changed");
        assert!(expected == 0 || declared, "{id}: it ends as changed and does not say so");
        for example in declaration.examples {
            let input: Json = serde_json::from_str(example.input).unwrap();
            assert!(declaration.accept(&input).is_ok(), "{id}: {}", example.title);
            let known = example.ends == "ok"
                || declaration.failures.iter().any(|failure| failure.code == example.ends);
            assert!(known, "{id}: {} is no failure of it", example.ends);
        }
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(names, sorted, "the catalogue is sorted, and nothing is there twice");
}

#[test]
fn the_capability_that_tries_a_ring_is_the_one_that_the_box_calls() {
    assert!(find(contract::rings::CAPABILITY).is_some_and(|it| it.name == "cage.try"));
}

/// Every program that is declared is in the toolbox that is built, and no other.
#[test]
fn the_toolbox_holds_the_declared_programs() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/toolbox.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().skip_while(|line| *line != "[programs]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let built: Vec<&str> =
        lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    let declared: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    assert_eq!(built, declared);
}

#[test]
fn a_move_is_a_read_a_delete_and_a_write() {
    let declaration = find("filesystem.move@1").unwrap();
    let input = declaration.accept(&json!({"from": "a", "to": "/workspace/../b"})).unwrap();
    let shown: Vec<String> =
        declaration.lower(&input).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["read /workspace/a", "delete /workspace/a", "write /b bytes=16777216"]);
}

/// What a call would destroy, replace or take from elsewhere is looked at before a person is asked.
#[test]
fn what_is_deleted_moved_or_overwritten_is_looked_at() {
    let looked = |name: &str, input: Json| {
        let declaration = find(name).unwrap();
        let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
        let shown = |at: &usize| effects.get(*at).unwrap().to_string();
        declaration.expects(&effects).iter().map(shown).collect::<Vec<String>>().join(", ")
    };
    let moves = json!({"from": "a", "to": "b"});
    for (name, input, shown) in [
        ("filesystem.delete", json!({"path": "a"}), "delete /workspace/a"),
        ("filesystem.write", json!({"path": "a", "content": ""}), "write /workspace/a bytes=0"),
        (
            "filesystem.move",
            moves.clone(),
            "delete /workspace/a, write /workspace/b bytes=16777216",
        ),
        ("filesystem.move_directory", moves.clone(), "delete everything under /workspace/a"),
        ("filesystem.copy", moves.clone(), "read /workspace/a, write /workspace/b bytes=16777216"),
        ("filesystem.archive", moves.clone(), "write /workspace/b bytes=16777216"),
        ("filesystem.extract", moves, "read /workspace/a, read /workspace/b"),
        // what only looks or adds takes nothing away
        ("filesystem.read", json!({"path": "a"}), ""),
        ("filesystem.append", json!({"path": "a", "content": ""}), ""),
        ("filesystem.list", json!({"path": "a"}), ""),
    ] {
        assert_eq!(looked(name, input), shown, "{name}");
    }
}

#[test]
fn a_place_has_one_form_and_is_one_machines() {
    let code = find("process.run_code@1").unwrap();
    let lowered = |connect: Json| {
        let input =
            json!({"command": ["python3", "a.py"], "expect": "00".repeat(32), "connect": connect});
        let effects = code.lower(&code.accept(&input).ok()?).unwrap();
        Some(effects.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>())
    };
    let twice = json!(["[::ffff:192.0.2.1]:80", "192.0.2.1:80", "[2001:db8:0::1]:443"]);
    let one = ["connect address=192.0.2.1 port=80", "connect address=2001:db8::1 port=443"];
    assert_eq!(lowered(twice).unwrap(), one);
    assert_eq!(lowered(json!([])).unwrap(), Vec::<String>::new());
    for place in [
        "example.org:80",
        "192.0.2.1",
        "192.0.2.1:0",
        "0.0.0.0:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "[ff02::1]:1",
        "[::]:1",
        "[fe80::1%2]:1",
        "192.0.2.256:1",
        "0x7f000001:1",
        "[::ffff:0.0.0.0]:1",
    ] {
        assert_eq!(lowered(json!([place])), None, "{place}");
    }
    let many: Vec<String> = (1..10).map(|port| format!("192.0.2.1:{port}")).collect();
    assert_eq!(lowered(json!(many)), None);
}

#[test]
fn what_is_not_declared_is_refused_with_what_to_do() {
    let read = find("filesystem.read").unwrap();
    let check = |input: Json| read.accept(&input).unwrap_err();
    assert_eq!(check(json!([])), InputError::NotAnObject);
    assert!(matches!(check(json!({})), InputError::Missing { name: "path", .. }));
    assert!(matches!(check(json!({"path": "a", "follow": true})), InputError::Unknown(..)));
    for path in [json!(""), json!("a\u{0}b"), json!("../../.."), json!(7), json!("x".repeat(300))] {
        assert!(matches!(check(json!({"path": path})), InputError::Shape { name: "path", .. }));
    }
    for length in [json!(-1), json!(1.5), json!("1"), json!(16_777_217)] {
        let error = check(json!({"path": "a", "length": length}));
        assert!(matches!(error, InputError::Shape { name: "length", .. }));
    }
    assert!(find("filesystem.read@2").is_none());
}

/// docs/capabilities.md is what the declarations say; with `--ignored` it is written anew.
#[test]
fn the_documentation_is_generated() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/capabilities.md");
    let text = document::markdown(CATALOGUE);
    let new = path.with_extension("md.new");
    let same = std::fs::read_to_string(&path).is_ok_and(|old| old == text);
    if !same {
        std::fs::write(&new, &text).unwrap();
    }
    assert!(same, "docs/capabilities.md is stale; move {} over it", new.display());
}

#[test]
fn schemas_close_their_objects() {
    for declaration in CATALOGUE {
        let schema = document::schema(declaration);
        assert_eq!(schema.get("additionalProperties"), Some(&json!(false)));
    }
}

proptest! {
    #[test]
    fn any_text_as_a_path_lowers_or_is_refused(path in ".{0,60}") {
        let write = find("filesystem.write").unwrap();
        if let Ok(input) = write.accept(&json!({"path": path, "content": "x"})) {
            prop_assert_eq!(write.lower(&input).unwrap().len(), 1);
        }
    }
}
