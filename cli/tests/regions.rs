//! What a region means, from a call's input to the answer: lowering and deciding as the box does both. A
//! blocked child below an allowed parent blocks each call whose region holds it; beside it the same call is
//! allowed.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use policy::{Answer, Call, Compiled, Facts, Set, decide, parse};
use serde_json::{Value as Json, json};
use std::path::Path;

/// What both engines answer to a call.
fn answer(set: &Set, capability: &str, input: &Json) -> Answer {
    let declaration = capabilities::find(capability).unwrap();
    let effects = declaration.lower(&declaration.accept(input).unwrap()).unwrap();
    let call = Call { agent: "a", capability: declaration.name, version: declaration.version };
    let plain = decide(set, &call, &effects, &Facts::default()).answer;
    let compiled = Compiled::new(set.clone()).unwrap();
    assert_eq!(compiled.decide(&call, &effects, &Facts::default()).answer, plain, "{capability}");
    plain
}

/// A policy with these rules under the limits that ship.
fn set(rules: &str) -> Set {
    let system = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/system.yaml");
    let system = parse(&std::fs::read_to_string(system).unwrap()).unwrap();
    let text = format!("policy: box\nversion: 1\nrules:\n{rules}");
    Set::new(parse(&text).unwrap(), vec![system]).unwrap()
}

/// As shipped policies say it: allowed under the workspace, but for one directory in it.
fn except(kinds: &str, except: &str) -> String {
    format!(
        "  - name: except-{}\n    agents: [any]\n    effects: [{kinds}]\n    where: {{ path: {{ under: \
         /workspace, not: {{ under: {except} }} }} }}\n    decision: autonomous\n",
        kinds.replace(", ", "-")
    )
}

/// The same by a rule that blocks.
fn blocks(kinds: &str, path: &str) -> String {
    format!(
        "  - name: all-{0}\n    agents: [any]\n    effects: [{kinds}]\n    where: {{ path: {{ under: /workspace }} \
         }}\n    decision: autonomous\n  - name: blocks-{0}\n    agents: [any]\n    effects: [{kinds}]\n    where: \
         {{ path: \"{path}\" }}\n    decision: blocked\n",
        kinds.replace(", ", "-")
    )
}

/// Each call by the directory that is its region, and the kinds of effect that it has on it.
fn calls(region: &str) -> Vec<(&'static str, &'static [&'static str], Json)> {
    vec![
        ("filesystem.list", &["read"], json!({ "path": region })),
        ("filesystem.digest", &["read"], json!({ "path": region })),
        ("filesystem.search", &["read"], json!({ "path": region, "text": "x" })),
        ("filesystem.archive", &["read"], json!({ "from": region, "to": "/workspace/b/a.tar" })),
        ("filesystem.extract", &["write"], json!({ "from": "/workspace/b/a.tar", "to": region })),
        (
            "filesystem.move_directory",
            &["read", "delete"],
            json!({ "from": region, "to": "/workspace/b/new" }),
        ),
        (
            "filesystem.move_directory",
            &["write"],
            json!({ "from": "/workspace/b/old", "to": region }),
        ),
    ]
}

#[test]
fn a_blocked_child_below_an_allowed_parent_blocks_every_region_that_holds_it() {
    let child = "/workspace/a/kept";
    let policies = [
        except("read, write, delete", child),
        blocks("read, write, delete", child),
        blocks("read, write, delete", "/workspace/a/**/deep.key"),
    ];
    for rules in policies {
        let set = set(&rules);
        for holds in ["/workspace/a", "/workspace/a/../a"] {
            for (capability, _, input) in calls(holds) {
                assert_eq!(
                    answer(&set, capability, &input),
                    Answer::Blocked,
                    "{capability} {input}"
                );
            }
        }
        for beside in ["/workspace/c", "/workspace/ab"] {
            for (capability, _, input) in calls(beside) {
                let found = answer(&set, capability, &input);
                assert_eq!(found, Answer::Autonomous, "{capability} {input}");
            }
        }
    }
    // one that lies beside the blocked one, below the same parent
    let set = set(&except("read, write, delete", child));
    for (capability, _, input) in calls("/workspace/a/other") {
        assert_eq!(answer(&set, capability, &input), Answer::Autonomous, "{capability}");
    }
    for (capability, _, input) in calls("/workspace/a/kept/within") {
        assert_eq!(answer(&set, capability, &input), Answer::Blocked, "{capability}");
    }
}

#[test]
fn each_kind_of_effect_on_a_region_is_decided_for_itself() {
    let all = ["read", "write", "delete"];
    for blocked in all {
        let others: Vec<&str> = all.into_iter().filter(|kind| *kind != blocked).collect();
        let rules = format!(
            "{}{}",
            except(&others.join(", "), "/none"),
            blocks(blocked, "/workspace/a/kept")
        );
        let set = set(&rules);
        for (capability, kinds, input) in calls("/workspace/a") {
            let wanted = match kinds.contains(&blocked) {
                true => Answer::Blocked,
                false => Answer::Autonomous,
            };
            assert_eq!(answer(&set, capability, &input), wanted, "{blocked}: {capability} {input}");
        }
    }
}

#[test]
fn a_bound_that_the_call_gives_is_what_is_decided() {
    let set = set(
        "  - { name: r, agents: [any], effects: [read], where: { path: { under: /workspace } }, decision: autonomous }\n  \
         - { name: w, agents: [any], effects: [write], where: { path: { under: /workspace }, bytes: { max: 10MiB } }, decision: notify }\n",
    );
    for (capability, mut input) in [
        ("filesystem.archive", json!({ "from": "a", "to": "b.tar" })),
        ("filesystem.extract", json!({ "from": "b.tar", "to": "a" })),
    ] {
        // 16 MiB without it
        assert_eq!(answer(&set, capability, &input), Answer::Blocked, "{capability}");
        for (bytes, wanted) in [(10 << 20, Answer::Notify), ((10 << 20) + 1, Answer::Blocked)] {
            input["bytes_max"] = json!(bytes);
            assert_eq!(answer(&set, capability, &input), wanted, "{capability} {bytes}");
        }
    }
}
