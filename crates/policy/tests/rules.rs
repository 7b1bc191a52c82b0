//! What rules mean, and how mistakes in them are told.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use policy::{Answer, Because, Call, Facts, LayerKind, Set, decide, parse};
use proptest::prelude::*;

const CALL: Call<'_> = Call { agent: "build-1", capability: "filesystem.read", version: 1 };

fn set(rules: &str, limits: &[&str]) -> Set {
    let granting = parse(&format!("policy: box\nversion: 1\nrules:\n{rules}")).unwrap();
    Set::new(granting, limits.iter().map(|text| parse(text).unwrap()).collect()).unwrap()
}

fn read(path: &str, form: Form) -> Effect {
    let path = Value::Path(CanonicalPath::parse(path).unwrap());
    Effect::new(Kind::Read, form, [(Field::Path, path)]).unwrap()
}

fn connect(fields: &[(Field, Value)]) -> Effect {
    Effect::new(Kind::Connect, Form::Exact, fields.iter().cloned()).unwrap()
}

fn answer(set: &Set, effect: Effect) -> Answer {
    decide(set, &CALL, &[effect], &Facts::default()).answer
}

#[test]
fn a_call_without_an_effect_is_blocked() {
    let set = set("  - { name: all, agents: [any], effects: [read], decision: autonomous }", &[]);
    let decision = decide(&set, &CALL, &[], &Facts::default());
    assert_eq!(decision.answer, Answer::Blocked);
    assert_eq!(decision.effects[0].because, [Because::NoEffect]);
}

#[test]
fn one_effect_that_no_rule_speaks_of_blocks_the_whole_call() {
    let set = set("  - { name: r, agents: [any], effects: [read], decision: autonomous }", &[]);
    let deleted = Value::Path(CanonicalPath::parse("/workspace/x").unwrap());
    let delete = Effect::new(Kind::Delete, Form::Exact, [(Field::Path, deleted)]).unwrap();
    let both = [read("/workspace/x", Form::Exact), delete];
    let decision = decide(&set, &CALL, &both, &Facts::default());
    assert_eq!(decision.answer, Answer::Blocked);
    assert_eq!(decision.effects[1].because, [Because::Otherwise]);
    assert_eq!(answer(&set, both[0].clone()), Answer::Autonomous);
}

#[test]
fn the_most_restrictive_rule_wins_in_any_order() {
    let a = "  - { name: a, agents: [any], effects: [read], decision: autonomous }\n";
    let b = "  - { name: b, agents: [\"build-*\"], effects: [read], decision: approval }\n";
    for rules in [format!("{a}{b}"), format!("{b}{a}")] {
        assert_eq!(answer(&set(&rules, &[]), read("/workspace/x", Form::Exact)), Answer::Approval);
    }
}

#[test]
fn a_limit_only_tightens_and_its_silence_is_no_opinion() {
    let all = "  - { name: all, agents: [any], effects: [read], decision: notify }";
    let system = "limits: system\nversion: 1\nrules:\n  - { name: s, agents: [any], effects: [read], where: { path: /workspace/a }, decision: blocked }\n";
    let milder = "limits: organisation/x\nversion: 1\nrules:\n  - { name: o, agents: [any], effects: [read], decision: autonomous }\n";
    let set = set(all, &[system, milder]);
    assert_eq!(answer(&set, read("/workspace/a", Form::Exact)), Answer::Blocked);
    assert_eq!(answer(&set, read("/workspace/b", Form::Exact)), Answer::Notify);
}

#[test]
fn a_layer_of_one_agent_is_silent_about_others() {
    let all = "  - { name: all, agents: [any], effects: [read], decision: autonomous }";
    let other = "limits: agent/other\nversion: 1\nrules:\n  - { name: o, agents: [any], effects: [read], decision: blocked }\n";
    assert_eq!(answer(&set(all, &[other]), read("/workspace/a", Form::Exact)), Answer::Autonomous);
}

#[test]
fn neither_a_predicate_nor_its_not_holds_of_an_absent_field() {
    let rules = "  - { name: a, agents: [any], effects: [connect], where: { host: { not: evil.example } }, decision: autonomous }";
    let set = set(rules, &[]);
    let host = |name: &str| (Field::Host, Value::Text(name.to_owned()));
    assert_eq!(answer(&set, connect(&[host("good.example")])), Answer::Autonomous);
    assert_eq!(answer(&set, connect(&[host("evil.example")])), Answer::Blocked);
    assert_eq!(answer(&set, connect(&[(Field::Port, Value::Number(443))])), Answer::Blocked);
}

#[test]
fn an_exhausted_limit_gives_over_and_never_no_match() {
    let rules = "  - { name: a, agents: [any], effects: [read], decision: autonomous, limits: { calls: 1/hour, over: approval } }\n  - { name: b, agents: [any], effects: [read], decision: autonomous, limits: { calls: 1/hour } }";
    let set = set(rules, &[]);
    let used =
        |name: &str| Facts { exhausted: [(LayerKind::Box, name.to_owned())].into_iter().collect() };
    let effect = [read("/workspace/a", Form::Exact)];
    assert_eq!(decide(&set, &CALL, &effect, &Facts::default()).answer, Answer::Autonomous);
    assert_eq!(decide(&set, &CALL, &effect, &used("a")).answer, Answer::Approval);
    assert_eq!(decide(&set, &CALL, &effect, &used("b")).answer, Answer::Blocked);
}

#[test]
fn a_closed_window_gives_over_and_never_no_match() {
    let rules = "  - { name: a, agents: [any], effects: [read], decision: autonomous, limits: { open: \"mon 09:00-17:00 UTC\", over: approval } }";
    let set = set(rules, &[]);
    let used = Facts { exhausted: [(LayerKind::Box, "a".to_owned())].into_iter().collect() };
    let effect = [read("/workspace/a", Form::Exact)];
    assert_eq!(decide(&set, &CALL, &effect, &Facts::default()).answer, Answer::Autonomous);
    let decision = decide(&set, &CALL, &effect, &used);
    assert_eq!(decision.answer, Answer::Approval);
    assert!(matches!(&decision.effects[0].because[..], [Because::Rule { exhausted: true, .. }]));
}

#[test]
fn a_capability_without_a_version_means_all_of_them() {
    let rule = |capability: &str| {
        set(
            &format!(
                "  - {{ name: a, agents: [any], capabilities: [{capability}], effects: [read], decision: autonomous }}"
            ),
            &[],
        )
    };
    let effect = || read("/workspace/a", Form::Exact);
    assert_eq!(answer(&rule("filesystem.read"), effect()), Answer::Autonomous);
    assert_eq!(answer(&rule("\"filesystem.read@1\""), effect()), Answer::Autonomous);
    assert_eq!(answer(&rule("\"filesystem.read@2\""), effect()), Answer::Blocked);
    assert_eq!(answer(&rule("filesystem.list"), effect()), Answer::Blocked);
}

#[test]
fn mistakes_have_a_place_and_a_suggestion() {
    let check = |text: &str| {
        let error = parse(text).unwrap_err();
        (error.line, error.suggestion.clone(), error.to_string())
    };
    let head = "policy: box\nversion: 1\nrules:\n";
    let rule =
        |rest: &str| format!("{head}  - name: a\n    agents: [any]\n    effects: [read]\n{rest}");
    let (line, suggestion, _) = check(&rule("    decison: autonomous\n"));
    assert_eq!((line, suggestion.as_deref()), (7, Some("decision")));
    let (_, suggestion, _) = check(&rule("    decision: autonomus\n"));
    assert_eq!(suggestion.as_deref(), Some("autonomous"));
    let (line, suggestion, _) = check(&rule("    decision: blocked\n    where: { pth: /a }\n"));
    assert_eq!((line, suggestion.as_deref()), (8, Some("path")));
    for (text, says) in [
        (rule("    decision: blocked\n    where: { path: workspace }\n"), "not canonical"),
        (rule("    decision: blocked\n    where: { path: /a/../b }\n"), "write `/b`"),
        (rule("    decision: blocked\n    where: { host: a.example }\n"), "a field `host`"),
        (rule("    decision: blocked\n    where: { path: { max: 3 } }\n"), "for numbers alone"),
        (rule("    decision: blocked\n    where: { path: [] }\n"), "matches nothing"),
        (rule("    decision: notify\n    limits: { calls: 6/hour, over: autonomous }\n"), "milder"),
        (rule("    decision: notify\n    limits: { calls: 6/year }\n"), "per second, minute"),
        (rule("    decision: notify\n    approval: { votes: 1 }\n"), "never asks"),
        (rule("    decision: approval\n    approval: { votes: 0 }\n"), "1 to 16"),
        (rule("    decision: approval\n    approval: { votes: 17 }\n"), "1 to 16"),
        (rule("    decision: approval\n    approval: { of: Ops }\n"), "a group of operators"),
        (
            rule("    decision: approval\n    approval: { votes: 2, grants: bounded }\n"),
            "beside `votes`",
        ),
        (rule("    decision: approval\n    approval: { of: a, grants: bounded }\n"), "beside"),
        (rule("    decision: notify\n    decision: blocked\n"), "duplicate"),
        (
            format!(
                "{}{}",
                rule("    decision: notify\n"),
                "  - { name: a, agents: [any], effects: [read], decision: blocked }\n"
            ),
            "two rules named `a`",
        ),
        (
            "policy: box\nlimits: system\nversion: 1\nrules: []\n".to_owned(),
            "expected `policy: box`",
        ),
        (
            "limits: system\nversion: 1\notherwise: blocked\nrules: []\n".to_owned(),
            "only the granting layer",
        ),
        (
            "policy: box\nversion: 1\notherwise: notify\nrules: []\n".to_owned(),
            "blocked or approval",
        ),
        ("policy: [".to_owned(), "line"),
    ] {
        let (_, _, shown) = check(&text);
        assert!(shown.contains(says), "`{shown}` does not say `{says}`");
    }
}

fn segment() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "ab", ".git", "a.key"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(segment(), 1..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn rules() -> impl Strategy<Value = String> {
    let test = prop_oneof![
        path().prop_map(|p| format!("{{ under: {p} }}")),
        path().prop_map(|p| format!("{{ not: {{ under: {p} }} }}")),
        path(),
        path().prop_map(|p| format!("\"{p}/*\"")),
        path().prop_map(|p| format!("\"{p}/**.key\"")),
        path().prop_map(|p| format!("{{ not: \"{p}**\" }}")),
    ];
    let decision = proptest::sample::select(vec!["autonomous", "notify", "approval", "blocked"]);
    proptest::collection::vec((test, decision), 1..5).prop_map(|rules| {
        let line = |(n, (test, decision)): (usize, (String, &str))| {
            format!("  - {{ name: r{n}, agents: [any], effects: [read], where: {{ path: {test} }}, decision: {decision} }}\n")
        };
        rules.into_iter().enumerate().map(line).collect()
    })
}

proptest! {
    /// The answer of a region is at least that of each point in it, and some point has it.
    #[test]
    fn a_region_gets_the_worst_answer_of_its_points(
        rules in rules(),
        root in path(),
        beneath in proptest::collection::vec(path(), 0..12),
    ) {
        let set = set(&rules, &[]);
        let region = answer(&set, read(&root, Form::Region));
        for path in beneath.iter().map(|rest| format!("{root}{rest}")).chain([root.clone()]) {
            let point = answer(&set, read(&path, Form::Exact));
            prop_assert!(point <= region, "{path}: {point} > {region}\n{rules}");
        }
    }

    /// One more rule of a limiting layer never makes an answer milder.
    #[test]
    fn limits_only_tighten(granting in rules(), limiting in rules(), path in path()) {
        let without = set(&granting, &[]);
        let with = set(&granting, &[&format!("limits: system\nversion: 1\nrules:\n{limiting}")]);
        prop_assert!(answer(&with, read(&path, Form::Exact)) >= answer(&without, read(&path, Form::Exact)));
    }

    /// Any text parses or is refused with a place, and never panics.
    #[test]
    fn any_text_is_parsed_or_refused(text in "[a-z:{}\\[\\], \n*&#|>'\"-]{0,200}") {
        drop(parse(&text));
    }
}

/// Exhaustively over all paths of up to three segments of a small alphabet: the region's answer is
/// exactly the worst one, so that it is not merely an upper bound.
#[test]
fn a_regions_answer_is_reached_by_a_point_of_it() {
    let rules = "  - { name: all, agents: [any], effects: [read], where: { path: { under: /w } }, decision: autonomous }\n  - { name: keys, agents: [any], effects: [read], where: { path: \"/w/**.key\" }, decision: approval }\n  - { name: git, agents: [any], effects: [read], where: { path: { under: /w/.git } }, decision: blocked }";
    let set = set(rules, &[]);
    let names = ["a", "x.key", ".git"];
    for (root, worst) in
        [("/w/a", Answer::Approval), ("/w", Answer::Blocked), ("/w/.git", Answer::Blocked)]
    {
        assert_eq!(answer(&set, read(root, Form::Region)), worst, "{root}");
        let points =
            names.iter().flat_map(|a| names.iter().map(move |b| format!("{root}/{a}/{b}")));
        let found = points.map(|p| answer(&set, read(&p, Form::Exact))).max();
        assert_eq!(found, Some(worst), "{root}: no point has it");
    }
}
