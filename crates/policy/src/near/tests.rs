//! What nearly spoke, and changes, of policies that ship and of random ones.

use super::*;
use crate::compiled::tests::{AGENTS, Dice, effect, set as random_set};
use crate::parse::parse;
use contract::effect::{Form, Kind};
use contract::path::CanonicalPath;

fn team() -> Set {
    let text = |name: &str| {
        let place = format!("{}/../../policies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        parse(&std::fs::read_to_string(place).unwrap()).unwrap()
    };
    Set::new(text("team"), vec![text("system")]).unwrap()
}

fn path(text: &str) -> (Field, Value) {
    (Field::Path, Value::Path(CanonicalPath::parse(text).unwrap()))
}

fn asked(set: &Set, agent: &str, capability: &str, effect: &Effect) -> (Vec<Near>, Vec<Change>) {
    let call = Call { agent, capability, version: 1 };
    let effects = std::slice::from_ref(effect);
    let facts = Facts::default();
    (near(set, &call, effects, &facts), changes(set, &call, effects, &facts))
}

/// The one change to an answer, of the call or of a rule.
fn to(changes: &[Change], answer: Answer, of_rule: bool) -> Option<(String, String, String)> {
    let found =
        changes.iter().find(|c| c.effect_answer == answer && c.rule.is_some() == of_rule)?;
    let of = found.rule.as_ref().map_or(String::new(), |(_, rule)| rule.clone());
    Some((of, found.what.to_string(), found.to.clone()))
}

fn said(of: &str, what: &str, to: &str) -> Option<(String, String, String)> {
    Some((of.to_owned(), what.to_owned(), to.to_owned()))
}

#[test]
fn a_number_one_too_large_names_the_rule_and_the_bound() {
    let bytes = |bytes: u64| {
        let fields = [path("/workspace/a"), (Field::Bytes, Value::Number(bytes))];
        Effect::new(Kind::Write, Form::Exact, fields).unwrap()
    };
    let (near, changes) = asked(&team(), "a", "filesystem.write", &bytes((10 << 20) + 1));
    let near: Vec<_> = near.iter().map(|n| (n.rule.as_str(), n.what, n.wants.as_str())).collect();
    assert!(
        near.contains(&("write-workspace", What::Field(Field::Bytes), "{ max: 10MiB }")),
        "{near:?}"
    );
    assert_eq!(to(&changes, Answer::Notify, false), said("", "bytes", "10MiB"), "{changes:?}");
    let rule = said("write-workspace", "bytes", "{ max: 10485761 }");
    assert_eq!(to(&changes, Answer::Notify, true), rule, "{changes:?}");
    // of one that is let through: what would block it
    let (near, changes) = asked(&team(), "a", "filesystem.write", &bytes(10 << 20));
    assert!(near.iter().all(|near| near.rule != "write-workspace"), "{near:?}");
    assert_eq!(to(&changes, Answer::Blocked, false), said("", "bytes", "10485761"), "{changes:?}");
}

#[test]
fn a_region_is_explained_by_the_path_in_it_that_is_refused() {
    let effect = Effect::new(Kind::Read, Form::Region, [path("/workspace")]).unwrap();
    let (near, changes) = asked(&team(), "a", "filesystem.list", &effect);
    let read = near.iter().find(|near| near.rule == "read-workspace").unwrap();
    let is = read.is.as_ref().unwrap();
    assert!([".pem", ".key", ".env"].iter().any(|end| is.ends_with(end)), "{read:?}");
    assert_eq!(
        to(&changes, Answer::Autonomous, false),
        None,
        "of a region it is the rule: {changes:?}"
    );
    // where no other rule could be stretched, every one of the exceptions must go
    let text = "policy: box\nversion: 1\nrules:\n  - { name: r, agents: [any], effects: [read], where: { path: { under: /w, not: [\"/w/**.pem\", \"/w/**.key\", /w/.env] } }, decision: notify }\n";
    let set = Set::new(parse(text).unwrap(), Vec::new()).unwrap();
    let effect = Effect::new(Kind::Read, Form::Region, [path("/w")]).unwrap();
    let (_, changes) = asked(&set, "a", "filesystem.list", &effect);
    let rule = said("r", "path", "{ under: /w }");
    assert_eq!(to(&changes, Answer::Notify, true), rule, "{changes:?}");
}

#[test]
fn another_agent_or_capability_is_said() {
    let logs = [(Field::Subject, Value::Text("box/logs".to_owned()))];
    let effect = Effect::new(Kind::Observe, Form::Exact, logs).unwrap();
    let (near, changes) = asked(&team(), "a", "system.logs", &effect);
    let admin = near.iter().find(|near| near.rule == "admin-looks").unwrap();
    assert_eq!((admin.what, admin.is.as_deref()), (What::Agent, Some("a")));
    let rule = said("admin-looks", "agent", "[a, admin, admin-*]");
    assert_eq!(to(&changes, Answer::Notify, true), rule, "{changes:?}");
    let effect = Effect::new(Kind::Read, Form::Exact, [path("/workspace/.git/x.key")]).unwrap();
    let (near, _) = asked(&team(), "a", "filesystem.read", &effect);
    let history = near.iter().find(|near| near.rule == "read-history").unwrap();
    assert_eq!(
        (history.what, history.is.as_deref()),
        (What::Capability, Some("filesystem.read@1"))
    );
}

/// A set with a change of a rule, made again from the words that it is said in.
fn changed(set: &Set, change: &Change) -> Set {
    let (layer, name) = change.rule.as_ref().unwrap();
    let mut layers: Vec<Layer> = set.layers().cloned().collect();
    let of = layers.iter_mut().find(|of| of.kind == *layer).unwrap();
    let rule = of.rules.iter_mut().find(|rule| rule.name == *name).unwrap();
    let kinds: Vec<&str> = rule.effects.iter().map(|kind| kind.0.name()).collect();
    let said = |key: &str, value: &str| {
        let usual = |of: &str, usual: &str| {
            let value = if of == key { value } else { usual };
            if value.is_empty() { String::new() } else { format!("{of}: {value}, ") }
        };
        let text = format!(
            "policy: box\nversion: 1\nrules: [{{ name: x, {}{}{}{}effects: [{}] }}]",
            usual("agents", "[any]"),
            usual("capabilities", ""),
            usual("where", ""),
            usual("decision", "blocked"),
            kinds.join(", ")
        );
        parse(&text).unwrap_or_else(|error| panic!("{error}: {text}")).rules.remove(0)
    };
    // what is said of one pattern is no list
    let list = |to: &str| {
        let quoted = to.trim_matches(['[', ']']).split(", ").map(|word| format!("\"{word}\""));
        format!("[{}]", quoted.collect::<Vec<String>>().join(", "))
    };
    match change.what {
        What::Agent => rule.agents = said("agents", &list(&change.to)).agents,
        What::Capability => {
            rule.capabilities = said("capabilities", &list(&change.to)).capabilities;
        }
        What::Decision => rule.decision = said("decision", &change.to).decision,
        What::Field(field) => {
            rule.conditions.0.retain(|(of, _)| *of != field);
            if change.to != "anything" {
                let test = said("where", &format!("{{ {field}: {} }}", change.to));
                rule.conditions.0.extend(test.conditions.0);
            }
        }
    }
    let granting = layers.remove(0);
    Set::new(granting, layers).unwrap()
}

/// What is said is made again from its words, and asked.
#[test]
fn every_change_of_random_policies_is_as_it_is_said() {
    let mut dice = Dice(23);
    let (mut of_calls, mut of_rules, mut nears) = (0, 0, 0);
    for _ in 0..1_000 {
        let (set, text) = random_set(&mut dice);
        let effects: Vec<Effect> = (0..=dice.below(2)).map(|_| effect(&mut dice)).collect();
        let call = Call { agent: dice.one(&AGENTS), capability: "filesystem.read", version: 1 };
        let facts = Facts::default();
        let now = decide(&set, &call, &effects, &facts);
        for near in near(&set, &call, &effects, &facts) {
            let layer = set.layers().find(|layer| layer.kind == near.layer).unwrap();
            let rule = layer.rules.iter().find(|rule| rule.name == near.rule).unwrap();
            // it did not speak of an exact effect
            let spoke = now.effects[near.effect].because.iter().any(|because| {
                matches!(because, crate::answer::Because::Rule { layer, name, .. }
                    if *layer == near.layer && *name == near.rule)
            });
            let is_region = effects[near.effect].form == Form::Region;
            assert!(is_region || !spoke, "{text}\n{near:?}");
            assert_eq!(near.decision, rule.decision);
            nears += 1;
        }
        for change in changes(&set, &call, &effects, &facts) {
            let before = now.effects[change.effect].answer;
            assert!(
                change.effect_answer != before && change.from != change.to,
                "{text}\n{change:?}"
            );
            if change.rule.is_some() {
                let then = decide(&changed(&set, &change), &call, &effects, &facts);
                assert_eq!(
                    then.effects[change.effect].answer, change.effect_answer,
                    "{text}\n{change:?}"
                );
                assert_eq!(then.answer, change.call_answer);
                of_rules += 1;
                continue;
            }
            let What::Field(field) = change.what else { continue };
            // the call is made again from what is said of it
            let value = match effects[change.effect].get(field).unwrap() {
                Value::Path(_) => Value::Path(CanonicalPath::parse(&change.to).unwrap()),
                Value::Number(_) => {
                    Value::Number(crate::quantity::Bytes::read(&change.to).unwrap().0)
                }
                _ => Value::Text(change.to.clone()),
            };
            let mut other = effects.clone();
            other[change.effect].fields.insert(field, value);
            let then = decide(&set, &call, &other, &facts);
            assert_eq!(
                then.effects[change.effect].answer, change.effect_answer,
                "{text}\n{change:?}"
            );
            assert_eq!(then.answer, change.call_answer);
            of_calls += 1;
        }
    }
    assert!(nears > 600 && of_calls > 100 && of_rules > 150, "{nears} {of_calls} {of_rules}");
}
