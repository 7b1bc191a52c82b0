//! `krux` as it is called: words in, lines and exit codes out.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn krux(words: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(env!("CARGO_BIN_EXE_krux")).args(words).current_dir(root).output().unwrap()
}

fn shown(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("krux-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_mistake_in_a_policy_is_shown_with_a_caret() {
    let text = "policy: box\nversion: 1\nrules:\n  - name: a\n    agents: [any]\n    efects: [read]\n    decision: blocked\n";
    let path = file("mistake.yaml", text);
    let output = krux(&["policy", "check", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in [":6:5: ", "6 |     efects: [read]", "  |     ^", "help: did you mean `effects`?"] {
        assert!(shown(&output).contains(part), "no `{part}` in\n{}", shown(&output));
    }
}

#[test]
fn shipped_policies_check_and_pass_their_tables() {
    let output = krux(&["policy", "check", "policies/personal.yaml", "policies/system.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let words = ["policy", "test", "policies/team.yaml", "--limits", "policies/system.yaml"];
    let output = krux(&[&words[..], &["--cases", "policies/team.cases.yaml"]].concat());
    assert!(shown(&output).contains("65 passed, 0 failed"), "{}", shown(&output));
    let output = krux(&[&words[..], &["--cases", "policies/personal.cases.yaml"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
}

#[test]
fn a_call_is_explained_by_the_rules_that_spoke() {
    let words = |input: &'static str| {
        let words = ["policy", "explain", "policies/team.yaml", "--agent", "a"];
        krux(&[&words[..], &["--capability", "filesystem.read", "--input", input]].concat())
    };
    let good = words("{\"path\": \"src/a.rs\"}");
    assert_eq!(good.status.code(), Some(0));
    assert!(shown(&good).contains("read /workspace/src/a.rs: autonomous"), "{}", shown(&good));
    assert!(shown(&good).contains("rule `read-workspace` of the box's policy"), "{}", shown(&good));
    let bad = words("{\"path\": \"id.key\"}");
    assert_eq!(bad.status.code(), Some(1));
    assert!(shown(&bad).contains("otherwise"), "{}", shown(&bad));
    let wrong = words("{\"pth\": \"a\"}");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(shown(&wrong).contains("`pth` is no parameter"), "{}", shown(&wrong));
}

#[test]
fn programs_get_json_and_shells_get_completions() {
    let output = krux(&["capability", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json.get("capabilities").and_then(|all| all.as_array()).map(Vec::len),
        Some(capabilities::CATALOGUE.len())
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(shown(&krux(&["completions", shell])).contains("krux"));
    }
    let output = krux(&["capability", "show", "filesystem.fly"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("krux capability list"));
}

#[test]
fn a_policy_is_applied_from_a_file_or_from_a_proposal_and_not_from_both() {
    let call = "00".repeat(16);
    for (words, said) in [
        (vec![], "<FILE>"),
        (vec!["policies/team.yaml", "--proposal", &call], "cannot be used with"),
    ] {
        let output = krux(&[&["policy", "apply"], &words[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(shown(&output).contains(said), "{}", shown(&output));
    }
    let both = ["policy", "proposal", call.as_str(), "--refuse", "--ledger", "export.bin"];
    assert!(shown(&krux(&both)).contains("cannot be used with"));
    for (words, said) in [
        (["policy", "shadow", "--help"], "decides beside"),
        (["policy", "apply", "--help"], "--proposal <CALL>"),
    ] {
        let output = krux(&words);
        assert_eq!(output.status.code(), Some(0));
        assert!(shown(&output).contains(said), "{}", shown(&output));
    }
}
