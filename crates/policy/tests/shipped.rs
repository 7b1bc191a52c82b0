//! The policies that ship, each held against the table beside it.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

use policy::{Layer, Property, Set, Verdict, cases, parse, parse_properties, prove};
use std::path::Path;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn holds(name: &str, granting: &str) {
    holds_under(name, granting, vec![parse(&text("system.yaml")).unwrap()]);
}

fn holds_under(name: &str, granting: &str, limits: Vec<Layer>) {
    let set = Set::new(parse(&text(granting)).unwrap(), limits).unwrap();
    let cases = cases::read(&text(&format!("{name}.cases.yaml"))).unwrap();
    for case in &cases {
        if let Err(error) = cases::check(&set, case, cases::no_clock) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn personal_answers_as_its_table_says() {
    holds("personal", "personal.yaml");
}

#[test]
fn team_answers_as_its_table_says() {
    holds("team", "team.yaml");
}

#[test]
fn restricted_answers_as_its_table_says() {
    holds("restricted", "restricted.yaml");
}

#[test]
fn the_systems_limits_answer_as_their_table_says() {
    holds("system", "personal.yaml");
}

#[test]
fn what_the_box_tells_by_itself_is_answered_as_its_table_says() {
    holds_under("webhooks", "webhooks.yaml", Vec::new());
}

/// A layer that allows everything.
const ALL: &str = "policy: box\nversion: 1\nrules:\n  - { name: all, agents: [any], effects: [observe, read, \
                   write, delete, run, code, connect, resolve, secret, push, fetch, setting, message], \
                   decision: autonomous }\n";

#[test]
fn the_systems_limits_give_every_set_its_invariants() {
    let properties = parse_properties(&text("invariants.yaml")).unwrap();
    let fails = |limits: &[&str], property: &Property| {
        let limits = limits.iter().map(|name| parse(&text(name)).unwrap()).collect();
        let set = Set::new(parse(ALL).unwrap(), limits).unwrap();
        prove(&set, property).unwrap() != Verdict::Holds
    };
    for property in &properties {
        // limits only tighten, so what holds above a layer that allows all holds above any
        assert!(!fails(&["system.yaml"], property), "{}", property.name);
        assert!(fails(&[], property), "{} holds of everything", property.name);
    }
    assert_eq!(properties.len(), 5);
}

#[test]
fn no_policy_ships_without_its_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let is_policy = |name: &&String| !name.ends_with(".cases.yaml") && *name != "invariants.yaml";
    for name in names.iter().filter(is_policy) {
        let table = name.replace(".yaml", ".cases.yaml");
        assert!(names.contains(&table), "{name} has no {table}");
    }
}
