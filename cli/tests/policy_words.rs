//! `krux policy fmt`, `schema`, `explain` and `reach` as they are called: words in, lines, files and exit codes out.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod program;

use program::{directory, krux};
use serde_json::Value as Json;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const SYSTEM: [&str; 2] = ["--limits", "policies/system.yaml"];
const UGLY: &str = "rules: [{decision: blocked, name: a, agents: [any], effects: [read]}] # all of it\nversion: 1\npolicy: box\n";
const PRETTY: &str = "policy: box\nversion: 1\nrules:  # all of it\n  - name: a\n    agents: [any]\n    effects: [read]\n    decision: blocked\n";

/// What it says as JSON, or what it says of errors.
fn json(words: &[&str]) -> (Option<i32>, Json) {
    let (code, said, errors) = program::json(words);
    (code, if said.is_null() { Json::from(errors) } else { said })
}

#[test]
fn texts_are_formatted_whole_or_not_at_all() {
    let directory = directory("fmt");
    let [ugly, wrong, link] = ["a.yaml", "b.yaml", "c.yaml"].map(|name| directory.join(name));
    let names = [&ugly, &wrong, &link].map(|path| path.to_str().unwrap().to_owned());
    std::fs::write(&ugly, UGLY).unwrap();
    std::fs::set_permissions(&ugly, PermissionsExt::from_mode(0o640)).unwrap();
    symlink(&ugly, &link).unwrap();
    let text = || std::fs::read_to_string(&ugly).unwrap();

    let (code, said) = json(&["policy", "fmt", "--check", &names[0]]);
    assert_eq!(
        (code, said.pointer("/changed/0").and_then(Json::as_str)),
        (Some(1), Some(names[0].as_str()))
    );
    assert_eq!(text(), UGLY, "--check writes nothing");

    // a text that is no policy, and one with a comment that cannot be placed: no file is written
    for (bad, line) in [
        (PRETTY.replace("decision", "decison"), ":7:"),
        (PRETTY.replace("effects:", "? effects\n    :"), ":6: "),
    ] {
        std::fs::write(&wrong, &bad).unwrap();
        let (code, _, errors) = krux(&["policy", "fmt", &names[0], &names[1]]);
        assert!(code == Some(1) && errors.contains(line), "{errors}");
        assert_eq!((text(), std::fs::read_to_string(&wrong).unwrap()), (UGLY.to_owned(), bad));
    }

    let (code, said, _) = krux(&["policy", "fmt", &names[2]]);
    assert_eq!((code, text().as_str()), (Some(0), PRETTY), "{said}");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays one");
    assert_eq!(std::fs::metadata(&ugly).unwrap().permissions().mode() & 0o777, 0o640);
    let left = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(left, 3, "nothing else is left there");
    assert_eq!(krux(&["policy", "fmt", "--check", &names[0]]).0, Some(0));
    assert_eq!(krux(&["policy", "fmt", "no/such/file"]).0, Some(2));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn shipped_policies_are_formatted_and_editors_get_a_schema() {
    let files =
        ["personal", "team", "restricted", "system"].map(|name| format!("policies/{name}.yaml"));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (code, said, errors) = krux(&[&["policy", "fmt", "--check"], &files[..]].concat());
    assert_eq!(code, Some(0), "{said}{errors}");
    let (code, said) = json(&["policy", "schema"]);
    assert_eq!(code, Some(0));
    let draft = said.get("$schema").and_then(Json::as_str).unwrap();
    assert_eq!(draft, "https://json-schema.org/draft/2020-12/schema");
    assert!(said.pointer("/$defs/rule/properties/effects").is_some());
}

#[test]
fn an_operator_is_told_what_nearly_spoke_and_the_smallest_change() {
    let words = ["policy", "explain", "policies/team.yaml", SYSTEM[0], SYSTEM[1], "--agent", "a"];
    let call = ["--capability", "filesystem.read", "--input", "{\"path\":\"id.key\"}"];
    let (code, said) = json(&[&words[..], &call[..]].concat());
    assert_eq!(code, Some(1), "{said}");
    let near = said.pointer("/effects/0/near").and_then(Json::as_array).unwrap();
    let of = |one: &Json, key: &str| one.get(key).and_then(Json::as_str).unwrap().to_owned();
    let read = near.iter().find(|one| of(one, "rule") == "read-workspace").unwrap();
    assert_eq!(
        (of(read, "what"), of(read, "is")),
        ("path".to_owned(), "/workspace/id.key".to_owned())
    );
    assert!(of(read, "wants").contains("not: [\"/workspace/**.pem\""), "{read}");
    let changes = said.pointer("/effects/0/changes").and_then(Json::as_array).unwrap();
    let changes: Vec<_> =
        changes.iter().filter(|one| of(one, "call_answer") == "autonomous").collect();
    assert_eq!(changes.len(), 2, "one of the call and one of a rule: {said}");
    let rule = changes.iter().find(|one| one.get("rule").is_some_and(Json::is_string)).unwrap();
    assert!(!of(rule, "to").contains(".key"), "{rule}");
    // the change of the call, made: it is let through
    let call = changes.iter().find(|one| one.get("rule").is_some_and(Json::is_null)).unwrap();
    let input = format!("{{\"path\":\"{}\"}}", of(call, "to"));
    let call = ["--capability", "filesystem.read", "--input", &input];
    let (code, said) = json(&[&words[..], &call[..]].concat());
    assert_eq!((code, said.get("answer").and_then(Json::as_str)), (Some(0), Some("autonomous")));
    // in words
    let call = ["--capability", "filesystem.read", "--input", "{\"path\":\"id.key\"}"];
    let (_, said, _) = krux(&[&words[..], &call[..]].concat());
    assert!(
        said.contains("nearly rule `read-workspace` of the box's policy (autonomous)"),
        "{said}"
    );
    assert!(said.contains("autonomous if in this call path were "), "{said}");
}

/// What `reach` says of `team` without its rules on the network, and with these more: its exit code, and from whom to
/// whom.
fn reach(rules: &str, words: &[&str]) -> (Option<i32>, Vec<(String, String)>, Json) {
    let directory = directory(&format!("reach-{}", rules.len() + words.len()));
    let file = directory.join("policy.yaml");
    let team = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/team.yaml");
    let team = std::fs::read_to_string(team).unwrap();
    let parts: Vec<&str> = team.split_inclusive('\n').collect();
    let mut kept = String::new();
    for rule in parts.chunk_by(|_, line| !line.starts_with("  - name: ")) {
        let rule = rule.concat();
        if !rule.contains("capabilities: [network.") {
            kept.push_str(&rule);
        }
    }
    assert!(kept.len() < team.len());
    std::fs::write(&file, format!("{kept}{rules}")).unwrap();
    let (code, ways, said) = reach_of(file.to_str().unwrap(), words);
    std::fs::remove_dir_all(&directory).unwrap();
    (code, ways, said)
}

/// The same of a file as it is.
fn reach_of(file: &str, words: &[&str]) -> (Option<i32>, Vec<(String, String)>, Json) {
    let head = ["policy", "reach", file, SYSTEM[0], SYSTEM[1]];
    let (code, said) = json(&[&head[..], words].concat());
    let all = said.get("reaches").and_then(Json::as_array).cloned().unwrap_or_default();
    let of = |one: &Json, key: &str| one.get(key).and_then(Json::as_str).unwrap().to_owned();
    let ways = all.iter().map(|one| (of(one, "from"), of(one, "to"))).collect();
    (code, ways, said)
}

#[test]
fn agents_reach_each_other_by_what_they_share_and_by_nothing_else() {
    // files are each agent's own, and no setting changes without a person; an admin proposes a policy to operators
    let is_proposal =
        |(from, to): &(String, String)| from.starts_with("admin") && to == "the operators";
    let (code, ways, said) = reach("", &[]);
    assert!(code == Some(1) && ways.len() == 2 && ways.iter().all(is_proposal), "{said}");
    let (code, ways, said) = reach("", &["--agent", "a", "--agent", "b"]);
    assert_eq!((code, ways.len()), (Some(0), 0), "{said}");
    // an admin restarts a service if a person says so, and another admin sees that
    let (code, ways, said) = reach("", &["--with-approvals"]);
    assert_eq!(code, Some(1));
    let has = |ways: &[(String, String)], from: &str, to: &str| {
        ways.contains(&(from.to_owned(), to.to_owned()))
    };
    let other = |name: &String| name.starts_with("admin-");
    assert!(ways.iter().any(|(from, to)| from == "admin" && other(to)), "{said}");
    assert!(ways.iter().any(|(from, to)| other(from) && from == to), "another of them: {said}");
    assert!(!has(&ways, "admin", "admin"), "there is one of this name: {said}");
    // `team` lets nobody end the machine, so that who only sees the time sees nothing
    assert!(!ways.iter().any(|(_, to)| to == "a"), "{said}");

    let code_connects = |agents: &str, network: &str, name: &str| {
        format!(
            "  - {{ name: {name}-code, agents: [{agents}], capabilities: [process.run_code], effects: [code], decision: approval }}\n  - {{ name: {name}-net, agents: [{agents}], capabilities: [process.run_code], effects: [connect], where: {{ address: {network}, port: 443 }}, decision: notify }}\n"
        )
    };
    // two agents that reach one network, and a third that reaches another
    let rules = [
        code_connects("build-1", "203.0.113.0/24", "one"),
        code_connects("build-2", "203.0.113.128/25", "two"),
        code_connects("build-3", "198.51.100.0/24", "three"),
    ]
    .concat();
    let (code, ways, said) = reach(&rules, &["--with-approvals"]);
    assert_eq!(code, Some(1));
    assert!(has(&ways, "build-1", "build-2") && has(&ways, "build-2", "build-1"), "{said}");
    assert!(!has(&ways, "build-1", "build-3") && !has(&ways, "build-3", "build-1"), "{said}");
    for from in ["build-1", "build-2", "build-3"] {
        assert!(ways.iter().any(|(of, to)| of == from && to.starts_with("machines at ")), "{said}");
    }
    let edges = said.get("edges").and_then(Json::as_array).unwrap();
    assert!(edges.iter().all(|edge| edge.get("answer").and_then(Json::as_str) != Some("blocked")));
    // each step is a call that `explain` says the same of: here the first one of build-1
    let edge = edges
        .iter()
        .find(|edge| edge.get("from").and_then(Json::as_str) == Some("build-1"))
        .unwrap();
    let call = edge.get("call").and_then(Json::as_str).unwrap();
    assert_eq!(call, "build-1 calls process.run_code@1");
    let place = edge.pointer("/input/connect/0").and_then(Json::as_str).unwrap();
    assert!(place.starts_with("203.0.113.") && place.ends_with(":443"), "{place}");
    assert_eq!(edge.get("answer").and_then(Json::as_str), Some("approval"));
    // without a person nobody runs code
    let (_, ways, said) = reach(&rules, &[]);
    assert!(ways.iter().all(is_proposal), "{said}");
    // from one of them
    let (_, ways, _) = reach(&rules, &["--with-approvals", "--from", "build-3"]);
    assert!(ways.iter().all(|(from, _)| from == "build-3") && !ways.is_empty(), "{ways:?}");
}

#[test]
fn shipped_policies_say_which_agents_the_network_joins() {
    for (name, without, with) in
        [("personal", true, true), ("team", true, true), ("restricted", false, false)]
    {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../policies/{name}.yaml"));
        let file = file.to_str().unwrap();
        let has = |words: &[&str]| {
            let names = ["--agent", "a", "--agent", "b"];
            let (code, ways, said) = reach_of(file, &[&names[..], words].concat());
            assert!(code == Some(0) || code == Some(1), "{name}: {said}");
            let joined = ways.contains(&("a".to_owned(), "b".to_owned()));
            let named = ways.iter().any(|(_, to)| to == "machines of any name");
            assert_eq!(joined, named, "{name}: {said}");
            joined
        };
        assert_eq!((has(&[]), has(&["--with-approvals"])), (without, with), "{name}");
    }
}

#[test]
fn a_chain_goes_by_an_agent_between() {
    // a person may let `lifter` restart the machine; whoever asks for the time sees that, and `middle` connects
    let rules = "  - { name: lifts, agents: [lifter], effects: [setting], where: { name: power/restart }, decision: approval }
  - { name: runs, agents: [middle, far], capabilities: [process.run_code], effects: [code], decision: approval }
  - { name: nets, agents: [middle, far], capabilities: [process.run_code], effects: [connect], where: { address: 203.0.113.7 }, decision: approval }
";
    let names = ["--with-approvals", "--agent", "lifter", "--agent", "middle", "--agent", "far"];
    let (code, ways, said) = reach(rules, &names);
    assert_eq!(code, Some(1));
    let from_lifter: Vec<&str> =
        ways.iter().filter(|(from, _)| from == "lifter").map(|(_, to)| to.as_str()).collect();
    assert_eq!(from_lifter.len(), 3, "both others and a machine: {said}");
    let all = said.get("reaches").and_then(Json::as_array).unwrap();
    let machine = all.iter().find(|one| {
        one.get("from").and_then(Json::as_str) == Some("lifter")
            && one.get("is_outside") == Some(&Json::Bool(true))
    });
    // it connects nowhere itself: by the boot and one of those who do
    let by = machine.unwrap().get("by").and_then(Json::as_array).unwrap();
    let by: Vec<&str> = by.iter().filter_map(Json::as_str).collect();
    assert!(by[0] == "the box's boot" && ["middle", "far"].contains(&by[1]), "{said}");
    assert!(!ways.contains(&("far".to_owned(), "lifter".to_owned())), "{said}");
}

#[test]
fn no_process_of_a_box_knows_what_would_get_through() {
    // the one module that looks for it is not named by whatever answers agents; `krux` names it
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = |folder: &str| {
        let (mut next, mut found, mut files) = (vec![root.join(folder)], false, 0);
        while let Some(folder) = next.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    next.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                    let is_word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                    found |= code.flat_map(|line| line.split(is_word)).any(|word| word == "near");
                    files += 1;
                }
            }
        }
        (found, files > 3)
    };
    assert_eq!(names("gateway"), (false, true));
    assert_eq!(names("cli/src"), (true, true));
}
