//! Questions about whole sets: what ships, and the traps that an answer could fall into.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use policy::{
    Answer, Call, Counterexample, Lowered, Set, Verdict, certify, diff, parse, parse_properties,
    prove, prove_lowered, theorem,
};
use std::path::Path;

fn set(texts: &[&str]) -> Set {
    let mut layers = texts.iter().map(|text| parse(text).unwrap_or_else(|error| panic!("{error}")));
    let granting = layers.next().unwrap();
    Set::new(granting, layers.collect()).unwrap()
}

fn granting(rules: &str) -> String {
    format!("policy: box\nversion: 1\nrules:\n{rules}")
}

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap()
}

/// What a property's one line says of a set: nothing if it holds, and then it is certified.
fn fails(set: &Set, claim: &str) -> Option<Counterexample> {
    let text = format!("properties: [{{ name: p, {claim} }}]");
    let properties = parse_properties(&text).unwrap_or_else(|error| panic!("{error}: {claim}"));
    let property = properties.first().unwrap();
    match prove(set, property).unwrap() {
        Verdict::Fails(found) => {
            assert_eq!(certify(set, property).unwrap(), None);
            Some(*found)
        }
        Verdict::Holds => {
            let certificate = certify(set, property).unwrap().unwrap();
            let shown = certificate::check(&certificate, &theorem(set, property));
            shown.unwrap_or_else(|refused| panic!("{refused}: {claim}"));
            None
        }
    }
}

#[test]
fn what_ships_keeps_what_every_set_must() {
    for name in ["personal", "team", "restricted"] {
        let set = set(&[&shipped(name), &shipped("system")]);
        for claim in [
            "never: { agents: [any], capabilities: [secrets.read], effects: [secret], decision: [autonomous, notify] }",
            "never: { agents: [any], effects: [setting], decision: [autonomous, notify] }",
            "always: { agents: [any], effects: [code], decision: [approval, blocked] }",
            "never: { agents: [any], effects: [connect], where: { address: [169.254.0.0/16, 10.0.0.0/8, \"fc00::/7\"] }, decision: autonomous }",
            "only: { agents: [any], effects: [read, write, delete], decision: [autonomous, notify, approval], within: { where: { path: { under: /workspace } } } }",
        ] {
            // code of `personal` may do anything within roots that no rule can see, once a person said yes
            let by_code = claim.starts_with("only") && name == "personal";
            let found = fails(&set, claim);
            assert_eq!(found.is_some(), by_code, "{name}: {claim}: {found:?}");
            let Some(found) = found else { continue };
            assert_eq!(
                (found.example.effect.kind, found.decided.answer),
                (Kind::Code, Answer::Approval)
            );
            assert!(found.does.is_some());
        }
    }
}

#[test]
fn a_counterexample_is_a_complete_call() {
    let set = set(&[&shipped("team"), &shipped("system")]);
    let found =
        fails(&set, "never: { agents: [any], effects: [write], decision: notify }").unwrap();
    assert_eq!(
        found.to_string(),
        "a calls filesystem.write@1: write /workspace/a bytes=1: notify by box/write-workspace"
    );
    let claim = "always: { agents: [any], effects: [write], decision: [notify, blocked] }";
    let found = fails(&set, claim).unwrap();
    assert!(found.to_string().ends_with("bytes=1, the limits used up of box/write-workspace: approval by box/write-workspace (its limit is used up)"), "{found}");
}

#[test]
fn not_over_an_absent_field_says_nothing() {
    let rules = "  - { name: far, agents: [any], effects: [connect], where: { address: { not: 10.0.0.0/8 } }, decision: autonomous }\n";
    let set = set(&[&granting(rules)]);
    // an effect without an address is in neither region
    let far =
        "{ agents: [any], effects: [connect], where: { address: { not: 10.0.0.0/8 } }, decision";
    assert!(fails(&set, &format!("always: {far}: autonomous }}")).is_none());
    let found = fails(
        &set,
        "always: { agents: [any], effects: [connect], where: { port: 1 }, decision: autonomous }",
    );
    let found = found.unwrap();
    assert_eq!(found.decided.answer, Answer::Blocked);
    assert_eq!(found.example.effect.get(Field::Port), Some(&Value::Number(1)));
    let rules = rules.replace("not: 10.0.0.0/8", "not: [0.0.0.0/0, \"::/0\"]");
    let none = self::set(&[&granting(&rules)]);
    assert!(
        fails(&none, "never: { agents: [any], effects: [connect], decision: autonomous }")
            .is_none()
    );
    let all = "  - { name: any, agents: [any], effects: [connect], where: { address: [0.0.0.0/0, \"::/0\"] }, decision: autonomous }\n";
    let absent = fails(
        &self::set(&[&granting(all)]),
        "always: { agents: [any], effects: [connect], decision: autonomous }",
    );
    assert_eq!(absent.unwrap().example.effect.get(Field::Address), None);
}

#[test]
fn a_kind_that_no_rule_speaks_of_is_answered_otherwise() {
    let set = set(&[&granting(
        "  - { name: r, agents: [any], effects: [read], decision: autonomous }\n",
    )]);
    assert!(fails(&set, "always: { agents: [any], effects: [push], decision: blocked }").is_none());
    let found =
        fails(&set, "never: { agents: [any], effects: [push], decision: blocked }").unwrap();
    assert_eq!(found.example.effect.kind, Kind::Push);
    let both =
        fails(&set, "always: { agents: [any], effects: [read, push], decision: autonomous }");
    assert_eq!(both.unwrap().example.effect.kind, Kind::Push);
}

#[test]
fn a_layer_of_one_agent_speaks_of_that_one() {
    let rules = "  - { name: r, agents: [any], effects: [read], decision: autonomous }\n";
    let layer = "limits: agent/x\nversion: 1\nrules:\n  - { name: none, agents: [any], effects: [read], decision: blocked }\n";
    let set = set(&[&granting(rules), layer]);
    assert!(fails(&set, "never: { agents: [x], effects: [read], decision: autonomous }").is_none());
    let found =
        fails(&set, "always: { agents: [any], effects: [read], decision: autonomous }").unwrap();
    assert_eq!(found.example.agent, "x");
    // a name that no agent can have
    let other = layer.replace("agent/x", "agent/X.Y");
    let set = self::set(&[&granting(rules), &other]);
    assert!(
        fails(&set, "always: { agents: [any], effects: [read], decision: autonomous }").is_none()
    );
}

#[test]
fn versions_and_any_are_what_rules_mean_by_them() {
    let rules = "  - { name: all, agents: [any], capabilities: [files.read], effects: [read], decision: notify }\n  - { name: one, agents: [any], capabilities: [files.read@2], effects: [read], decision: approval }\n";
    let set = set(&[&granting(rules)]);
    let region = |name: &str| {
        format!("{{ agents: [any], capabilities: [{name}], effects: [read], decision: notify }}")
    };
    assert!(fails(&set, &format!("always: {}", region("files.read@1"))).is_none());
    assert_eq!(
        fails(&set, &format!("always: {}", region("files.read"))).unwrap().example.version,
        2
    );
    assert!(fails(&set, &format!("never: {}", region("files.read@2"))).is_none());
    let any =
        fails(&set, "always: { agents: [any], effects: [read], decision: [notify, approval] }")
            .unwrap();
    assert_ne!(any.example.capability, "files.read");
}

#[test]
fn values_that_are_none_are_no_counterexample() {
    let rule = |path: &str, decision: &str| {
        granting(&format!(
            "  - {{ name: r, agents: [any], effects: [read], where: {{ path: {path} }}, decision: {decision} }}\n"
        ))
    };
    // a path begins with a slash
    let set = set(&[&rule("{ not: \"/**\" }", "notify")]);
    let never = "never: { agents: [any], effects: [read], decision: notify }";
    assert!(fails(&set, never).is_none());
    assert!(fails(&self::set(&[&rule("{ not: \"/*\" }", "notify")]), never).is_some());
    // and has no segment of more than 255 bytes
    let set = self::set(&[&rule(&format!("\"/*{}*\"", "a".repeat(200)), "notify")]);
    let both = |bytes: usize| {
        let path = "b".repeat(bytes);
        fails(
            &set,
            &format!(
                "never: {{ agents: [any], effects: [read], where: {{ path: \"/*{path}*\" }}, decision: notify }}"
            ),
        )
    };
    assert!(both(56).is_none());
    assert!(both(55).is_some());
    // an address that stands for one of IPv4 is written as that
    let far = "  - { name: far, agents: [any], effects: [connect], where: { address: \"::ffff:0:0/NN\" }, decision: notify }\n";
    let never = "never: { agents: [any], effects: [connect], decision: notify }";
    assert!(fails(&self::set(&[&granting(&far.replace("NN", "96"))]), never).is_none());
    let wide = far.replace("::ffff:0:0/NN", "::/64");
    assert!(fails(&self::set(&[&granting(&wide)]), never).is_some());
}

#[test]
fn a_property_that_says_nothing_is_a_mistake_with_its_place() {
    for (claim, message) in [
        (
            "never: { agents: [any], effects: [read], where: { path: { under: /w, not: { under: / } } }, decision: blocked }",
            "nothing lies in it: no `path` is so",
        ),
        (
            "never: { agents: [\"A*\"], effects: [read], decision: blocked }",
            "nothing lies in it: no agent's name is so",
        ),
        (
            "never: { agents: [any], effects: [observe], where: { path: /w }, decision: blocked }",
            "none of its effects has a field `path`",
        ),
        ("never: { agents: [any], effects: [read], decision: [] }", "no decision at all"),
        (
            "only: { agents: [any], effects: [read], decision: blocked, within: {} }",
            "`within` says nothing",
        ),
        (
            "only: { agents: [any], effects: [read], where: { path: { under: /w/a } }, decision: blocked, within: { where: { path: { under: /w } } } }",
            "leaves nothing out",
        ),
        (
            "only: { agents: [any], effects: [read], decision: blocked, within: { effects: [write] } }",
            "`write` is none of its effects",
        ),
        ("reason: x", "expected one of `never`, `always` and `only`"),
    ] {
        let text = format!("properties:\n  - name: p\n    {claim}\n");
        let error = parse_properties(&text).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        assert!(error.line > 1 && error.column > 0, "{error}");
    }
    let text = "properties:\n  - name: p\n    never: { agents: [any], efects: [read], decision: blocked }\n";
    let error = parse_properties(text).unwrap_err();
    assert_eq!((error.line, error.suggestion.as_deref()), (3, Some("effects")));
    assert!(parse_properties(&text.replace("efects", "effects")).is_ok());
}

#[test]
fn a_difference_is_told_in_the_words_of_rules() {
    let old = shipped("team");
    let new = old.replace("bytes: { max: 10MiB }", "bytes: { max: 20MiB }");
    let system = shipped("system");
    let diff = diff(&set(&[&old, &system]), &set(&[&new, &system])).unwrap();
    assert!(!diff.only_tightens());
    let told = diff.to_string();
    let first = told.lines().nth(1).unwrap();
    assert!(told.starts_with("1. blocked -> notify; blocked -> approval once the limit is used up of box/write-workspace\n"), "{told}");
    assert!(first.contains("bytes: { min: 10485761, max: 20MiB }"), "{told}");
    assert!(first.contains("path: { under: /workspace, not:"), "{told}");
    let call = Call { agent: "a", capability: "filesystem.write", version: 1 };
    let effect = |path: &str, bytes: u64, form| {
        let path = Value::Path(CanonicalPath::parse(path).unwrap());
        Effect::new(Kind::Write, form, [(Field::Path, path), (Field::Bytes, Value::Number(bytes))])
            .unwrap()
    };
    let places = |effect: &Effect| diff.regions_of(&call, effect).len();
    assert_eq!(places(&effect("/workspace/a", 11 << 20, Form::Exact)), 1);
    assert_eq!(places(&effect("/workspace/a", 1, Form::Exact)), 0);
    assert_eq!(places(&effect("/workspace/.git", 11 << 20, Form::Exact)), 0);
    assert_eq!(places(&effect("/workspace", 11 << 20, Form::Region)), 1);
    assert_eq!(places(&effect("/workspace/.git", 11 << 20, Form::Region)), 0);
}

#[test]
fn policies_that_ship_differ_in_a_list_that_can_be_read() {
    let of = |name: &str| set(&[&shipped(name), &shipped("system")]);
    let found = diff(&of("team"), &of("restricted")).unwrap();
    let reads: Vec<(Answer, Answer)> = found
        .changed()
        .iter()
        .filter(|changed| changed.kind == Kind::Read)
        .map(|changed| changed.changes.first().unwrap())
        .map(|change| (change.old, change.new))
        .collect();
    // one region for each way, and an example in each
    assert_eq!(
        reads,
        [
            (Answer::Approval, Answer::Notify),
            (Answer::Blocked, Answer::Notify),
            (Answer::Autonomous, Answer::Notify),
            (Answer::Autonomous, Answer::Blocked),
            (Answer::Approval, Answer::Blocked),
        ]
    );
    for (number, changed) in found.changed().iter().enumerate() {
        let example = &changed.example;
        let regions = found.regions_of(&example.call(), &example.effect);
        assert_eq!(regions.into_iter().collect::<Vec<usize>>(), [number], "{changed}");
        assert!(!changed.products.is_empty() && changed.more == 0, "{changed}");
    }
}

#[test]
fn a_set_that_only_tightens_is_told_from_one_that_loosens() {
    let system = shipped("system");
    let base = set(&[&shipped("personal"), &system]);
    let tight = shipped("personal").replace("decision: autonomous", "decision: notify");
    let tight = set(&[&tight, &system]);
    assert!(diff(&base, &tight).unwrap().only_tightens());
    assert!(!diff(&tight, &base).unwrap().only_tightens());
    let same = diff(&base, &base).unwrap();
    assert!(same.changed().is_empty() && same.only_tightens());
    assert_eq!(same.to_string(), "no call is answered differently");
    // only where a limit is used up
    let rule = |over: &str| {
        granting(&format!(
            "  - {{ name: r, agents: [any], effects: [read], limits: {{ calls: 1/hour, over: {over} }}, decision: notify }}\n"
        ))
    };
    let (asks, blocks) = (set(&[&rule("approval")]), set(&[&rule("blocked")]));
    let found = diff(&blocks, &asks).unwrap();
    assert!(!found.only_tightens());
    let change = found.changed().first().unwrap().changes.first().unwrap();
    assert_eq!(
        (change.old, change.new, change.exhausted.exhausted.len()),
        (Answer::Blocked, Answer::Approval, 1)
    );
    assert!(diff(&asks, &blocks).unwrap().only_tightens());
    // another answer for what no rule speaks of changes every kind
    let other = granting("  - { name: r, agents: [any], effects: [read], decision: notify }\n");
    let asked = other.replace("version: 1", "version: 1\notherwise: approval");
    let found = diff(&set(&[&other]), &set(&[&asked])).unwrap();
    assert_eq!(found.changed().len(), Kind::ALL.len() - 1);
}

#[test]
fn a_window_counts_open_and_closed() {
    let rule = |limits: &str, decision: &str| {
        granting(&format!(
            "  - {{ name: r, agents: [any], effects: [read], limits: {{ {limits} }}, decision: {decision} }}\n"
        ))
    };
    let window = "open: \"mon-fri 09:00-17:00 Europe/Berlin\", over: approval";
    let timed = set(&[&rule(window, "notify")]);
    let region = "agents: [any], effects: [read]";
    for (claim, is_open, is_closed) in [
        (format!("never: {{ {region}, decision: notify }}"), true, false),
        (format!("never: {{ {region}, decision: approval }}"), false, true),
        (format!("always: {{ {region}, decision: notify }}"), false, true),
        (format!("always: {{ {region}, decision: approval }}"), true, false),
    ] {
        let found = fails(&timed, &claim).unwrap();
        let closed = !found.example.facts.exhausted.is_empty();
        assert_eq!((!closed, closed), (is_open, is_closed), "{claim}: {found}");
    }
    let both = format!("always: {{ {region}, decision: [notify, approval] }}");
    assert_eq!(fails(&timed, &both), None);
    // a certificate of it is accepted by the checker of its own, and shows nothing where over is another
    let text = format!("properties:\n  - name: p\n    {both}\n");
    let property = parse_properties(&text).unwrap().remove(0);
    let proof = certify(&timed, &property).unwrap().unwrap();
    assert!(certificate::check(&proof, &theorem(&timed, &property)).is_ok());
    let blocks = set(&[&rule(&window.replace("approval", "blocked"), "notify")]);
    assert!(certificate::check(&proof, &theorem(&blocks, &property)).is_err());
    assert!(certify(&blocks, &property).unwrap().is_none());
    // to have no window any more is milder; to get one is not
    let plain = granting("  - { name: r, agents: [any], effects: [read], decision: notify }\n");
    let plain = set(&[&plain]);
    assert!(!diff(&timed, &plain).unwrap().only_tightens());
    assert!(diff(&plain, &timed).unwrap().only_tightens());
}

#[test]
fn a_wider_limit_is_milder_and_a_narrower_one_tightens() {
    let of = |limits: &str| {
        set(&[&granting(&format!(
            "  - {{ name: r, agents: [any], effects: [read], limits: {{ {limits}, over: approval }}, decision: notify }}\n"
        ))])
    };
    for (narrow, wide) in [
        ("open: \"mon-fri 09:00-17:00 UTC\"", "open: \"mon-sat 09:00-17:00 UTC\""),
        ("open: \"22:00-05:00 UTC\"", "open: [\"22:00-24:00 UTC\", \"00:00-06:00 UTC\"]"),
        ("calls: 10/hour", "calls: 11/hour"),
        ("calls: 10/hour", "calls: 10/minute"),
        ("bytes: 1MiB/day", "bytes: 2MiB/day"),
        ("seconds: 10/hour", "seconds: 20/hour"),
        ("concurrent: 2", "concurrent: 3"),
        ("calls: 10/hour, concurrent: 2", "calls: 10/hour"),
        ("calls: 10/hour, open: \"09:00-17:00 UTC\"", "calls: 20/hour, open: \"08:00-17:00 UTC\""),
    ] {
        let (narrow_set, wide_set) = (of(narrow), of(wide));
        let milder = diff(&narrow_set, &wide_set).unwrap();
        assert!(!milder.only_tightens(), "{narrow} {wide}");
        let changes = &milder.changed().first().unwrap().changes;
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!((change.old, change.new), (Answer::Approval, Answer::Notify));
        assert!(
            change.exhausted_new.exhausted.is_empty() && !change.exhausted.exhausted.is_empty()
        );
        assert!(diff(&wide_set, &narrow_set).unwrap().only_tightens(), "{wide} {narrow}");
    }
    // neither is the stricter one
    for (one, other) in [
        ("open: \"09:00-17:00 UTC\"", "open: \"10:00-18:00 UTC\""),
        ("open: \"09:00-17:00 UTC\"", "open: \"09:00-17:00 Europe/Berlin\""),
        ("calls: 10/minute", "calls: 20/hour"),
        ("calls: 10/hour", "concurrent: 1"),
    ] {
        for (one, other) in [(of(one), of(other)), (of(other), of(one))] {
            let found = diff(&one, &other).unwrap();
            let ways: Vec<(Answer, Answer)> =
                found.changed()[0].changes.iter().map(|change| (change.old, change.new)).collect();
            assert_eq!(ways.len(), 2, "{ways:?}");
            assert!(!found.only_tightens());
        }
    }
    // the same windows are no difference
    let same = ["open: \"09:00-17:00 UTC\"", "open: [\"09:00-17:00 UTC\"]"].map(of);
    assert!(diff(&same[0], &same[1]).unwrap().changed().is_empty());
    let apart = "open: [\"09:00-12:00 UTC\", \"12:00-17:00 UTC\"]";
    assert!(diff(&same[0], &of(apart)).unwrap().changed().is_empty(), "said otherwise");
}

#[test]
fn what_capabilities_lower_to_is_less_than_everything() {
    let lowered = |capability: &str, kind: Kind, fields: &[Field], roots: Option<&str>| Lowered {
        capability: capability.to_owned(),
        version: 1,
        kind,
        fields: fields.to_vec(),
        roots: roots.map(|root| vec![CanonicalPath::parse(root).unwrap()]),
    };
    let files = lowered("filesystem.write", Kind::Write, &[Field::Path, Field::Bytes], None);
    let code = |root| lowered("process.run_code", Kind::Code, Kind::Code.fields(), Some(root));
    let connects = lowered("process.run_code", Kind::Connect, &[Field::Address, Field::Port], None);
    let proved = |set: &Set, claim: &str, lowered: &[Lowered]| {
        let text = format!("properties: [{{ name: p, {claim} }}]");
        let properties = parse_properties(&text).unwrap_or_else(|error| panic!("{error}"));
        match prove_lowered(set, properties.first().unwrap(), lowered).unwrap() {
            Verdict::Holds => None,
            Verdict::Fails(found) => Some(*found),
        }
    };
    let personal = set(&[&shipped("personal"), &shipped("system")]);
    let only = "only: { agents: [any], effects: [read, write, delete], decision: [autonomous, notify, approval], within: { where: { path: { under: /workspace } } } }";
    assert!(fails(&personal, only).is_some());
    assert_eq!(proved(&personal, only, &[files.clone(), code("/workspace")]), None);
    let found = proved(&personal, only, &[files, code("/")]).unwrap();
    assert_eq!(found.example.effect.kind, Kind::Code);
    // fields that are not lowered are absent, and those that are are there
    let host = "  - { name: r, agents: [any], effects: [connect], where: { host: a.example }, decision: autonomous }\n  - { name: s, agents: [any], effects: [connect], where: { address: [0.0.0.0/0, \"::/0\"] }, decision: notify }\n";
    let hosts = set(&[&granting(host)]);
    let autonomous = "never: { agents: [any], effects: [connect], decision: autonomous }";
    let notify = "always: { agents: [any], effects: [connect], decision: notify }";
    for claim in [autonomous, notify] {
        assert!(fails(&hosts, claim).is_some());
        assert_eq!(proved(&hosts, claim, std::slice::from_ref(&connects)), None);
    }
    let other = Lowered { fields: vec![Field::Port], ..connects };
    let found = proved(&hosts, notify, &[other]).unwrap();
    assert_eq!(found.example.capability, "process.run_code");
    assert_eq!(found.example.effect.fields.len(), 1);
}

#[test]
fn a_property_that_survives_tightening_allows_all_that_is_stricter() {
    let survives = |claim: &str| {
        let text = format!("properties:\n  - {{ name: p, {claim} }}\n");
        parse_properties(&text).unwrap()[0].survives_tightening()
    };
    let region = "agents: [any], effects: [read], decision:";
    for (claim, decision, expected) in [
        ("never", "[autonomous, notify]", true),
        ("never", "autonomous", true),
        ("never", "notify", false),
        ("never", "blocked", false),
        ("always", "[approval, blocked]", true),
        ("always", "blocked", true),
        ("always", "approval", false),
        ("always", "[autonomous, notify]", false),
    ] {
        let claim = format!("{claim}: {{ {region} {decision} }}");
        assert_eq!(survives(&claim), expected, "{claim}");
    }
}

/// By hand, in release: `cargo test --release -p policy -- --ignored`.
#[test]
#[ignore = "times, by hand"]
fn a_property_that_multiplies_is_refused_within_a_second() {
    let names: Vec<String> = ('a'..='z').map(|name| format!("\"/**/{name}/**\"")).collect();
    let text = |names: &[String]| {
        let path = names.join(", ");
        format!(
            "properties: [{{ name: p, never: {{ agents: [any], effects: [read], where: {{ path: [{path}] }}, decision: blocked }} }}]"
        )
    };
    let started = std::time::Instant::now();
    let error = parse_properties(&text(&names)).unwrap_err();
    assert!(error.message.contains("too many combinations"), "{error}");
    assert!(started.elapsed().as_millis() < 1_000, "{:?}", started.elapsed());
    assert!(parse_properties(&text(names.get(..4).unwrap())).is_ok());
}
