//! `krux policy replay` over records that a candidate in shadow decided too: what it says of them is of the policy
//! in force alone.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use ledger::writer::Draft;
use ledger::{Chain, Digest, Kind, frame};
use policy::{Call, Facts, Set, decide, parse};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The frames of decisions about these calls under `personal`, each beside a candidate that blocks; `answer`
/// stands for the recorded one if it is given.
fn export(calls: &[(&str, Json)], answer: Option<&str>) -> Vec<u8> {
    let personal = shipped("personal.yaml");
    let limits = vec![parse(&shipped("system.yaml")).unwrap()];
    let set = Set::new(parse(&personal).unwrap(), limits).unwrap();
    let (mut chain, mut frames) = (Chain::default(), Vec::new());
    for (name, input) in calls {
        let declaration = capabilities::find(name).unwrap();
        let effects = declaration.lower(&declaration.accept(input).unwrap()).unwrap();
        let (capability, version) = (declaration.name, declaration.version);
        let call = Call { agent: "a", capability, version };
        let decision = decide(&set, &call, &effects, &Facts::default());
        let given = answer.map_or_else(|| decision.answer.to_string(), str::to_owned);
        let facts = [
            ("agent", "a"),
            ("capability", &declaration.id()),
            ("answer", &given),
            ("rules", &decision.rule_names()),
            ("shadow", "blocked"),
            ("shadow_policy", &Digest::of(b"candidate").to_string()),
        ];
        let mut draft = Draft::new(Kind::Decision, &facts);
        (draft.policy, draft.effects) = (Some(Digest::of(personal.as_bytes())), effects);
        let envelope = draft.into_envelope([1; 16], 0, 0, BTreeMap::new());
        frame::write(&mut frames, &[chain.append(envelope).unwrap().record().bytes()]);
    }
    frames
}

fn replay(frames: &[u8], name: &str) -> (Option<i32>, Json) {
    let file = std::env::temp_dir().join(format!("krux-{name}-{}", std::process::id()));
    std::fs::write(&file, frames).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_krux"));
    let output = command.args(["--json", "policy", "replay"]).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn what_a_candidate_answered_is_no_difference_to_what_was_decided() {
    let calls = [
        ("filesystem.read", json!({ "path": "a" })),
        ("filesystem.write", json!({ "path": "a", "content": "x" })),
        ("filesystem.delete", json!({ "path": "a" })),
    ];
    let (code, said) = replay(&export(&calls, None), "shadowed");
    assert_eq!((code, said.get("same")), (Some(0), Some(&json!(3))), "{said}");
    let (code, said) = replay(&export(&calls, Some("blocked")), "altered");
    assert_eq!((code, said.get("differ")), (Some(1), Some(&json!(3))), "{said}");
}
