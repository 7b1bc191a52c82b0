//! The policies that ship, each held against the table beside it.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

use policy::{Set, cases, parse};
use std::path::Path;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn holds(name: &str, granting: &str) {
    let set = Set::new(parse(&text(granting)).unwrap(), vec![parse(&text("system.yaml")).unwrap()]);
    let set = set.unwrap();
    let cases = cases::read(&text(&format!("{name}.cases.yaml"))).unwrap();
    for case in &cases {
        if let Err(error) = cases::check(&set, case) {
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
fn no_policy_ships_without_its_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in names.iter().filter(|name| !name.ends_with(".cases.yaml")) {
        let table = name.replace(".yaml", ".cases.yaml");
        assert!(names.contains(&table), "{name} has no {table}");
    }
}
