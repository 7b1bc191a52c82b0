//! `krux policy prove` and `diff`: exit codes, and certificates that a checker of its own accepts or
//! refuses.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod program;

use program::{directory, json as krux};
use serde_json::Value as Json;

const SYSTEM: [&str; 2] = ["--limits", "policies/system.yaml"];
const PROPERTIES: &str = "properties:
  - name: deletes-ask
    always: { agents: [any], effects: [delete], decision: [approval, blocked] }
  - name: writes-stay
    only: { agents: [any], effects: [write], decision: [autonomous, notify], within: { where: { path: { under: /workspace } } } }
";

#[test]
fn the_invariants_are_proved_of_a_shipped_policy_and_a_wrong_claim_has_a_call() {
    let prove = |words: &[&str]| {
        krux(&[&["policy", "prove", "policies/team.yaml"], &SYSTEM[..], words].concat())
    };
    let (code, said, _) = prove(&[]);
    assert_eq!((code, said.get("failures")), (Some(0), Some(&Json::from(0))), "{said}");
    let directory = directory("claims");
    let file = directory.join("wrong.yaml");
    std::fs::write(&file, PROPERTIES.replace("always:", "never:")).unwrap();
    let (code, said, _) = prove(&["--properties", &file.display().to_string()]);
    let call = said.pointer("/properties/0/counterexample").and_then(Json::as_str).unwrap();
    assert!(code == Some(1) && call.contains("calls") && call.contains("delete /"), "{said}");
    std::fs::write(&file, PROPERTIES.replace("effects", "efects")).unwrap();
    let (code, _, errors) = prove(&["--properties", &file.display().to_string()]);
    assert!(code == Some(2) && errors.contains("did you mean `effects`?"), "{errors}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_certificate_is_accepted_and_with_one_byte_altered_refused() {
    let directory = directory("certificates");
    let (file, to) = (directory.join("p.yaml"), directory.join("out"));
    std::fs::write(&file, PROPERTIES).unwrap();
    let (file, place) = (file.display().to_string(), to.display().to_string());
    let prove = |policy: &str, words: &[&str]| {
        let head = ["policy", "prove", policy, "--properties", &file];
        krux(&[&head[..], &SYSTEM[..], words].concat()).0
    };
    assert_eq!(prove("policies/team.yaml", &["--certificates", &place]), Some(0));
    assert_eq!(prove("policies/team.yaml", &["--check", &place]), Some(0));
    assert_eq!(prove("policies/restricted.yaml", &["--check", &place]), Some(1), "another policy");
    let one = to.join("deletes-ask.certificate");
    let whole = std::fs::read(&one).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        std::fs::write(&one, altered).unwrap();
        assert_eq!(prove("policies/team.yaml", &["--check", &place]), Some(1), "byte {at}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_difference_has_regions_and_calls_and_is_a_gate() {
    let diff = |old: &str, new: &str, words: &[&str]| {
        krux(&[&["policy", "diff", old, new], &SYSTEM[..], words].concat())
    };
    let (personal, restricted) = ("policies/personal.yaml", "policies/restricted.yaml");
    let (code, said, _) = diff(personal, restricted, &["--only-tightens"]);
    assert_eq!((code, said.get("only_tightens")), (Some(0), Some(&Json::Bool(true))), "{said}");
    let (code, said, _) = diff(restricted, personal, &["--only-tightens"]);
    assert_eq!(code, Some(1));
    let first = said.pointer("/changed/0").unwrap();
    assert_eq!(first.get("loosens"), Some(&Json::Bool(true)), "the milder ones come first: {said}");
    assert!(first.get("witness").and_then(Json::as_str).unwrap().contains(" calls "), "{first}");
    assert_eq!(diff(restricted, personal, &[]).0, Some(0), "no gate was asked for");
    let (_, said, _) = diff(personal, personal, &[]);
    assert_eq!(said.pointer("/changed").and_then(Json::as_array).map(Vec::len), Some(0));
}

#[test]
fn what_is_hardly_meant_is_found_and_shipped_policies_have_none_of_it() {
    let lint = |policy: &str| krux(&[&["policy", "lint", policy], &SYSTEM[..]].concat());
    for policy in ["personal", "team", "restricted"] {
        let (code, said, _) = lint(&format!("policies/{policy}.yaml"));
        assert_eq!(code, Some(0), "{policy}: {said}");
    }
    let directory = directory("lint");
    let file = directory.join("policy.yaml");
    let rules = [
        "{ name: a, agents: [any], effects: [read], where: { path: { under: /workspace } }, decision: autonomous }",
        "{ name: b, agents: [any], effects: [read], where: { path: { under: /workspace/x } }, decision: autonomous }",
        "{ name: c, agents: [any], capabilities: [filesystem.reed], effects: [read], decision: approval }",
        "{ name: d, agents: [any], capabilities: [filesystem.read], effects: [read, delete], where: { path: { under: /workspace } }, decision: notify }",
        "{ name: e, agents: [any], effects: [delete], decision: autonomous }",
    ];
    let rules = rules.map(|rule| format!("  - {rule}\n")).concat();
    std::fs::write(&file, format!("policy: box\nversion: 1\nrules:\n{rules}")).unwrap();
    let (code, said, _) = lint(&file.display().to_string());
    let findings = said.get("findings").and_then(Json::as_array).unwrap().iter();
    let of = |finding: &Json, key| finding.get(key).and_then(Json::as_str).unwrap().to_owned();
    let found: Vec<String> =
        findings.map(|one| format!("{}: {}", of(one, "rule"), of(one, "code"))).collect();
    let wanted = [
        "b: changes-nothing",
        "c: unknown-capability",
        "c: no-reason",
        "d: never-lowered",
        "e: wide",
    ];
    assert_eq!((code, found), (Some(1), wanted.map(str::to_owned).to_vec()));
    std::fs::remove_dir_all(&directory).unwrap();
}
