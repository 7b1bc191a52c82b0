//! Questions against the interpreter: every answer is compared with what it says of every call of small universes,
//! and the same with a defect made on purpose, which must be noticed.

use super::defect::{ALL, BROKEN};
use super::*;
use crate::answer::{Answer, Call, Facts, LayerKind};
use crate::compiled::tests::{
    ADDRESSES, AGENTS, CAPABILITIES, Dice, HOSTS, PATHS, conditions, set,
};
use crate::decide::decide;
use crate::parse::parse;
use crate::rule::Limits;
use crate::set::Set;
use crate::window::{Shown, Windows};
use contract::effect::{Field, Form, Kind, Type, Value};
use contract::path::CanonicalPath;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const KINDS: [&str; 4] = ["read", "write", "connect", "code"];

/// Every value of a field in the small universe; of numbers those about the ends of random intervals.
fn values(field: Field) -> Vec<Value> {
    let texts = |texts: &[&str]| texts.iter().map(|text| Value::Text((*text).to_owned())).collect();
    match (field, field.ty()) {
        (_, Type::Path) => {
            PATHS.iter().map(|path| Value::Path(CanonicalPath::parse(path).unwrap())).collect()
        }
        (_, Type::Number) => (0..7).map(Value::Number).collect(),
        (_, Type::Host) => texts(&HOSTS),
        (_, Type::Address) => texts(&ADDRESSES[..4]),
        (Field::Program, _) => texts(&["make", "python3"]),
        _ => Vec::new(),
    }
}

/// Every effect of a kind in it; fields that no random rule asks about are left out.
fn effects(kind: Kind) -> Vec<Effect> {
    let mut all: Vec<Vec<(Field, Value)>> = vec![Vec::new()];
    for field in kind.fields() {
        let values = values(*field);
        if kind == Kind::Connect && *field == Field::Bytes {
            continue;
        }
        let with = |fields: &Vec<(Field, Value)>| -> Vec<Vec<(Field, Value)>> {
            let one = |value: &Value| [fields.clone(), vec![(*field, value.clone())]].concat();
            std::iter::once(fields.clone()).chain(values.iter().map(one)).collect()
        };
        all = all.iter().flat_map(with).collect();
    }
    let form = if kind == Kind::Code { Form::Code } else { Form::Exact };
    all.into_iter().map(|fields| Effect::new(kind, form, fields).unwrap()).collect()
}

/// Whether a limit is used up after so many calls where clocks show this.
fn is_used(limits: &Limits, calls: u64, shown: Shown) -> bool {
    let open = |windows: &Windows| windows.0.iter().any(|window| window.holds(shown));
    limits.calls.is_some_and(|rate| calls >= rate.amount)
        || limits.open.as_ref().is_some_and(|windows| !open(windows))
}

/// In which of two sets a rule's limit can be used up at one moment after the same calls, found by looking at many.
fn ways(limits: [Option<&Limits>; 2]) -> BTreeSet<[bool; 2]> {
    let shown = (0..7_u8).flat_map(|day| (0..24).map(move |hour| Shown { day, minute: hour * 60 }));
    let moments = shown.flat_map(|shown| (0..7).map(move |calls| (calls, shown)));
    let one = |(calls, shown)| limits.map(|of| of.is_some_and(|of| is_used(of, calls, shown)));
    let mut found: BTreeSet<[bool; 2]> = moments.map(one).collect();
    // any limit can be used up: a clock may not be known
    found.insert(limits.map(|of| of.is_some()));
    found.insert([false; 2]);
    found
}

/// Every set of used-up limits of two sets, at one moment.
fn facts([old, new]: [&Set; 2]) -> Vec<[Facts; 2]> {
    let limits = |set: &'_ Set| -> BTreeMap<(LayerKind, String), Limits> {
        let rules =
            set.layers().flat_map(|layer| layer.rules.iter().map(move |rule| (layer, rule)));
        let limited = rules.filter_map(|(layer, rule)| {
            Some(((layer.kind.clone(), rule.name.clone()), rule.limits.clone()?))
        });
        limited.collect()
    };
    let (old, new) = (limits(old), limits(new));
    let keys: BTreeSet<&(LayerKind, String)> = old.keys().chain(new.keys()).collect();
    let mut all = vec![[Facts::default(), Facts::default()]];
    for key in keys {
        let ways = ways([old.get(key), new.get(key)]);
        let with = |[one, other]: &[Facts; 2]| {
            let mut more = Vec::new();
            for way in &ways {
                let mut facts = [one.clone(), other.clone()];
                for (facts, used) in facts.iter_mut().zip(way) {
                    if *used {
                        facts.exhausted.insert(key.clone());
                    }
                }
                more.push(facts);
            }
            more
        };
        all = all.iter().flat_map(with).collect();
        // of many limits there are too many sets to ask about each
        if all.len() > 64 {
            return Vec::new();
        }
    }
    all
}

fn calls() -> Vec<Call<'static>> {
    let mut calls = Vec::new();
    for agent in AGENTS {
        for capability in CAPABILITIES {
            calls.extend([1, 2].map(|version| Call { agent, capability, version }));
        }
    }
    calls
}

fn region(dice: &mut Dice, kinds: &[&str]) -> String {
    let agents = dice.one(&["any", "\"build-*\"", "build-1", "x, admin"]);
    let mut text = format!("agents: [{agents}], effects: [{}]", kinds.join(", "));
    if dice.below(3) == 0 {
        let version = dice.one(&["", "@1", "@2"]);
        write!(text, ", capabilities: [{}{version}]", dice.one(&CAPABILITIES)).unwrap();
    }
    let conditions = if kinds == ["code"] { String::new() } else { conditions(dice, kinds[0]) };
    if !conditions.is_empty() {
        write!(text, ", where: {{ {conditions} }}").unwrap();
    }
    text
}

/// A random property's text.
pub(super) fn property_text(dice: &mut Dice) -> String {
    let kind = dice.one(&KINDS);
    let kinds =
        if kind == "read" && dice.below(3) == 0 { vec!["read", "write"] } else { vec![kind] };
    let claim = dice.one(&["never", "always", "only"]);
    let decision = dice.one(&["autonomous", "[autonomous, notify]", "approval", "blocked"]);
    let within = if claim == "only" {
        format!(", within: {{ {} }}", region(dice, &kinds))
    } else {
        String::new()
    };
    let region = region(dice, &kinds);
    format!(
        "properties:\n  - {{ name: p, {claim}: {{ {region}, decision: {decision}{within} }} }}\n"
    )
}

/// A random set, some of which speak of code.
pub(super) fn random_set(dice: &mut Dice) -> (Set, String) {
    let (set, text) = set(dice);
    if dice.below(2) == 0 {
        return (set, text);
    }
    let decision = dice.one(&["autonomous", "approval"]);
    let agents = dice.one(&["any", "build-1"]);
    let rule = format!(
        "  - {{ name: code, agents: [{agents}], effects: [code], decision: {decision} }}\n"
    );
    let granting = text.split("\nlimits:").next().unwrap().to_owned();
    let granting = format!("{}\n{rule}", granting.trim_end());
    let set = Set::new(parse(&granting).unwrap(), Vec::new()).unwrap();
    (set, granting)
}

/// What code may do of the small universe.
fn does() -> Vec<Effect> {
    [Kind::Read, Kind::Write].into_iter().flat_map(effects).collect()
}

/// A call of the small universe that is against a property, found by asking the interpreter about each.
fn against(set: &Set, property: &Property) -> Option<String> {
    let facts = facts([set, set]);
    for kind in KINDS {
        let kind: Kind = serde_norway::from_str(kind).unwrap();
        let inner = if kind == Kind::Code { does() } else { Vec::new() };
        // of connections there are many
        let every = if kind == Kind::Connect { 3 } else { 1 };
        for effect in effects(kind).into_iter().step_by(every) {
            for call in calls() {
                let directly = property.concerns(&call, &effect);
                let by_code = || inner.iter().any(|does| property.concerns(&call, does));
                if !directly && !by_code() {
                    continue;
                }
                for [facts, _] in &facts {
                    let answer = decide(set, &call, std::slice::from_ref(&effect), facts).answer;
                    // code that is blocked does nothing
                    let happens = directly || answer != Answer::Blocked;
                    if happens && property.forbids(answer) {
                        return Some(format!("{call:?} {effect} {facts:?}: {answer}"));
                    }
                }
            }
        }
    }
    None
}

/// Whether a counterexample is one, asked of the interpreter and of the property's plain words.
fn is_one(set: &Set, property: &Property, found: &Counterexample) -> bool {
    let Counterexample { example, decided, does } = found;
    let effects = std::slice::from_ref(&example.effect);
    let answer = decide(set, &example.call(), effects, &example.facts).answer;
    let canonical = example.effect.fields.values().all(|value| match value {
        Value::Path(path) => CanonicalPath::parse(path.as_str()).unwrap() == *path,
        _ => true,
    });
    canonical
        && answer == decided.answer
        && property.forbids(answer)
        && (does.is_none() || answer != Answer::Blocked)
        && property.concerns(&example.call(), does.as_ref().unwrap_or(&example.effect))
}

/// Random properties of random sets: the first that is answered otherwise than by the interpreter, and how many held.
fn compare_proofs(seed: u64, sets: usize) -> Result<[usize; 2], String> {
    let mut dice = Dice(seed);
    let mut seen = [0, 0];
    for _ in 0..sets {
        let (set, text) = random_set(&mut dice);
        for _ in 0..6 {
            let wanted = property_text(&mut dice);
            let Ok(properties) = parse_properties(&wanted) else { continue };
            let property = &properties[0];
            let told = |what: &str| format!("{what}\n{text}\n{wanted}");
            match prove(&set, property).map_err(|error| told(&error.to_string()))? {
                Verdict::Fails(found) if is_one(&set, property, &found) => seen[1] += 1,
                Verdict::Fails(found) => return Err(told(&format!("no counterexample: {found}"))),
                Verdict::Holds => {
                    seen[0] += 1;
                    let certificate =
                        certify(&set, property).map_err(|error| told(&error.to_string()))?;
                    let certificate = certificate.ok_or_else(|| told("no certificate"))?;
                    ::certificate::check(&certificate, &theorem(&set, property))
                        .map_err(|refused| told(&format!("the checker: {refused}")))?;
                    if let Some(found) = against(&set, property) {
                        return Err(told(&format!("it does not hold: {found}")));
                    }
                }
            }
        }
    }
    Ok(seen)
}

/// Limits before and after: the stricter one first, last, and neither.
const CHANGED: [[&str; 2]; 6] = [
    ["calls: 3/hour", "calls: 5/hour"],
    ["calls: 5/hour", "calls: 3/hour"],
    ["open: \"mon-fri 09:00-17:00 UTC\"", "open: \"mon-sat 09:00-17:00 UTC\""],
    ["open: \"mon-sat 09:00-17:00 UTC\"", "open: \"mon-fri 09:00-17:00 UTC\""],
    ["open: \"mon-fri 09:00-17:00 UTC\"", "open: \"tue-sat 08:00-12:00 UTC\""],
    ["open: \"mon-fri 09:00-17:00 UTC\"", "calls: 3/hour"],
];

/// The first layer of a text, with these limits at its first mild rule that has none.
fn limited(text: &str, limits: &str) -> String {
    let first = text.split("\nlimits:").next().unwrap();
    let is_one = |line: &&str| {
        let is_mild = line.contains("decision: autonomous") || line.contains("decision: notify");
        is_mild && !line.contains("limits:")
    };
    let Some(line) = first.lines().find(is_one) else { return first.to_owned() };
    let with = format!("limits: {{ {limits} }}, decision:");
    first.replacen(line, &line.replace("decision:", &with), 1)
}

/// Random pairs of sets: the first call that the interpreter and the difference disagree about.
fn compare_diffs(seed: u64, pairs: usize) -> Result<usize, String> {
    let mut dice = Dice(seed);
    let mut seen = 0;
    for _ in 0..pairs {
        let ((mut old, mut old_text), (mut new, mut new_text)) =
            (random_set(&mut dice), random_set(&mut dice));
        let alone = |text: &str| {
            let first = text.split("\nlimits:").next().unwrap();
            Set::new(parse(first).unwrap(), Vec::new()).unwrap()
        };
        match dice.below(4) {
            0 => {
                new_text = old_text.replacen("decision: autonomous", "decision: approval", 1);
                new = alone(&new_text);
            }
            1 => {
                let plain = old_text;
                let limits = CHANGED[dice.below(CHANGED.len())];
                [old_text, new_text] = limits.map(|limits| limited(&plain, limits));
                (old, new) = (alone(&old_text), alone(&new_text));
            }
            _ => {}
        }
        let told = |what: &str| format!("{what}\n{old_text}\n--\n{new_text}");
        let diff = diff(&old, &new).map_err(|error| told(&error.to_string()))?;
        let facts = facts([&old, &new]);
        if facts.is_empty() {
            continue;
        }
        let mut is_looser = false;
        for effect in KINDS.iter().flat_map(|kind| effects(serde_norway::from_str(kind).unwrap())) {
            if dice.below(8) > 0 {
                continue;
            }
            for call in calls() {
                let regions = diff.regions_of(&call, &effect);
                let mut found = Vec::new();
                for [before, after] in &facts {
                    let effects = std::slice::from_ref(&effect);
                    let old = decide(&old, &call, effects, before).answer;
                    let new = decide(&new, &call, effects, after).answer;
                    if old != new {
                        found.push((old, new));
                    }
                }
                is_looser |= found.iter().any(|(old, new)| new < old);
                found.sort_unstable();
                found.dedup();
                let region = regions.first().map(|number| &diff.changed()[*number]);
                let mut said: Vec<(Answer, Answer)> = region
                    .map(|region| region.changes.iter().map(|c| (c.old, c.new)).collect())
                    .unwrap_or_default();
                said.sort_unstable();
                if regions.len() > 1 || said != found {
                    return Err(told(&format!("{call:?} {effect}: {said:?}, not {found:?}")));
                }
                seen += usize::from(region.is_some());
            }
        }
        if is_looser && diff.only_tightens() {
            return Err(told("something is looser"));
        }
    }
    Ok(seen)
}

#[test]
fn a_proof_is_what_the_interpreter_says_of_every_call() {
    let [held, failed] = compare_proofs(1, 60).unwrap_or_else(|differs| panic!("{differs}"));
    assert!(held > 20 && failed > 100, "{held} {failed}");
}

#[test]
fn a_difference_is_what_the_interpreter_says_of_every_call() {
    let seen = compare_diffs(1, 30).unwrap_or_else(|differs| panic!("{differs}"));
    assert!(seen > 1_000, "{seen}");
}

#[test]
fn questions_that_are_answered_wrongly_are_noticed() {
    for defect in ALL {
        BROKEN.set(Some(defect));
        let found = compare_proofs(1, 60).is_err() || compare_diffs(1, 40).is_err();
        BROKEN.set(None);
        assert!(found, "{defect:?} is not noticed");
    }
}

/// By hand, in release: `cargo test --release -p policy -- --ignored`.
#[test]
#[ignore = "many, by hand"]
fn many_proofs_and_differences_are_what_the_interpreter_says() {
    for seed in 2..12 {
        compare_proofs(seed, 400).unwrap_or_else(|differs| panic!("{differs}"));
        compare_diffs(seed, 100).unwrap_or_else(|differs| panic!("{differs}"));
    }
}
