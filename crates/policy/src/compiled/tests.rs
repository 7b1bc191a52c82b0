//! The engine against its specification: every combination of classes of the shipped policies, many random
//! policies and requests, and the same with the engine broken on purpose, which must be noticed.

use super::defect::{ALL, BROKEN};
use super::dimension::{Dimension, Lookup, Subject};
use super::*;
use crate::answer::LayerKind;
use crate::parse::parse;
use crate::region::Segment;
use std::collections::{BTreeMap as Map, VecDeque};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What differs between both engines, if anything does; the order of reasons does not count.
fn difference(
    compiled: &Compiled,
    call: &Call<'_>,
    effects: &[Effect],
    facts: &Facts,
) -> Option<String> {
    let sorted = |mut decision: Decision| {
        for decided in &mut decision.effects {
            decided.because.sort_by_key(|because: &Because| format!("{because:?}"));
            decided.because.dedup();
        }
        decision
    };
    let (fast, plain) = (
        sorted(compiled.decide(call, effects, facts)),
        sorted(decide::decide(compiled.set(), call, effects, facts)),
    );
    (fast != plain)
        .then(|| format!("{call:?} {effects:?} {facts:?}\nfast {fast:?}\nplain {plain:?}"))
}

/// A value of each class that a canonical value can be of.
fn representatives(dimension: &Dimension) -> Vec<Option<Value>> {
    let Subject::Field(field) = dimension.subject else { return vec![None] };
    let mut found: Map<u32, Value> = Map::new();
    match &dimension.lookup {
        Lookup::Text(automaton, classes) => {
            let mut next = VecDeque::from([(automaton::START, Segment::Root, String::new())]);
            let mut seen = BTreeSet::new();
            while let Some((state, segment, text)) = next.pop_front() {
                let at = usize::try_from(state).unwrap();
                if !seen.insert((state, format!("{segment:?}"))) {
                    continue;
                }
                let value = if field.ty() == contract::effect::Type::Path {
                    CanonicalPath::parse(&text)
                        .ok()
                        .filter(|path| path.as_str() == text)
                        .map(Value::Path)
                } else {
                    Some(Value::Text(text.clone()))
                };
                found.entry(classes[at]).or_insert_with_value(value);
                for byte in automaton.bytes().iter().filter(|byte| **byte < 128) {
                    let longer = format!("{text}{}", char::from(*byte));
                    let segment = segment.advance(*byte).unwrap_or(Segment::Root);
                    next.push_back((automaton.step(state, *byte), segment, longer));
                }
            }
        }
        Lookup::Numbers(cuts) => {
            found.extend(cuts.iter().map(|(from, class)| (*class, Value::Number(*from))));
        }
        Lookup::Addresses(cuts, no_address) => {
            for ((is_v6, from), class) in cuts {
                let v4 = || Ipv4Addr::from(u32::try_from(from >> 96).unwrap());
                let address =
                    if *is_v6 { IpAddr::V6(Ipv6Addr::from(*from)) } else { IpAddr::V4(v4()) };
                found.insert(*class, Value::Text(address.to_string()));
            }
            found.insert(*no_address, Value::Text("none".to_owned()));
        }
        Lookup::Capabilities(_) => {}
    }
    std::iter::once(None).chain(found.into_values().map(Some)).collect()
}

/// Inserts only what there is.
trait OrInsert {
    fn or_insert_with_value(self, value: Option<Value>);
}

impl OrInsert for std::collections::btree_map::Entry<'_, u32, Value> {
    fn or_insert_with_value(self, value: Option<Value>) {
        if let (Self::Vacant(vacant), Some(value)) = (self, value) {
            vacant.insert(value);
        }
    }
}

/// Every combination of one value of each class of everything that rules of a kind ask about.
fn agrees_everywhere(compiled: &Compiled, agents: &[&str], capabilities: &[&str]) -> usize {
    let mut compared = 0;
    for (kind, of_kind) in &compiled.kinds {
        let mut effects: Vec<Vec<(Field, Value)>> = vec![Vec::new()];
        for dimension in &of_kind.dimensions {
            let Subject::Field(field) = dimension.subject else { continue };
            let values = representatives(dimension);
            effects = effects
                .iter()
                .flat_map(|fields| {
                    let with = |value: &Option<Value>| {
                        let more = value.clone().map(|value| (field, value));
                        fields.iter().cloned().chain(more).collect()
                    };
                    values.iter().map(with).collect::<Vec<Vec<(Field, Value)>>>()
                })
                .collect();
        }
        for fields in effects {
            for form in [Form::Exact, Form::Region] {
                let Ok(effect) = Effect::new(*kind, form, fields.clone()) else { continue };
                for (agent, capability) in
                    agents.iter().flat_map(|agent| capabilities.iter().map(move |c| (agent, c)))
                {
                    let call = Call { agent, capability, version: 1 };
                    let differs = difference(
                        compiled,
                        &call,
                        std::slice::from_ref(&effect),
                        &Facts::default(),
                    );
                    assert_eq!(differs, None);
                    compared += 1;
                }
            }
        }
    }
    compared
}

#[test]
fn both_engines_agree_on_every_combination_of_classes_of_the_shipped_policies() {
    let text = |name: &str| {
        let place = format!("{}/../../policies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(place).unwrap()
    };
    for name in ["personal", "team", "restricted"] {
        let set = Set::new(parse(&text(name)).unwrap(), vec![parse(&text("system")).unwrap()]);
        let compiled = Compiled::new(set.unwrap()).unwrap();
        let named = compiled.set().layers().flat_map(|layer| &layer.rules);
        let named: BTreeSet<String> = named
            .filter_map(|rule| rule.capabilities.as_ref())
            .flatten()
            .map(|name| name.name().to_owned())
            .collect();
        let capabilities: Vec<&str> =
            named.iter().map(String::as_str).chain(["filesystem.other"]).collect();
        let compared =
            agrees_everywhere(&compiled, &["build-1", "admin", "admin-x", ""], &capabilities);
        assert!(compared > 400, "{name}: {compared}");
    }
}

/// Numbers that are the same in every run (Marsaglia 2003, xorshift64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

pub(crate) const AGENTS: [&str; 4] = ["build-1", "build-2", "x", "admin"];
pub(crate) const CAPABILITIES: [&str; 3] = ["filesystem.read", "filesystem.write", "git.push"];
pub(crate) const PATHS: [&str; 9] =
    ["/", "/w", "/w/a", "/w/a/b", "/w/b", "/w/a/.x", "/w/.x", "/w/a/b/c.rs", "/v/a"];
const PATTERNS: [&str; 9] =
    ["/w/*", "/w/**", "/w/*/b", "/w/**/*.rs", "/**/.x", "/w/.*", "/w/a", "/*", "/w/a/**/c.rs"];
pub(crate) const HOSTS: [&str; 5] = ["a.example", "b.a.example", "example", "192.0.2.1", "x.test"];
pub(crate) const ADDRESSES: [&str; 5] =
    ["192.0.2.1", "192.0.3.0", "2001:db8::1", "2001:db9::", "no"];

fn path_test(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 3 } else { 5 }) {
        0 => format!("\"{}\"", dice.one(&PATTERNS)),
        1 => format!("{{ under: {} }}", dice.one(&PATHS)),
        2 => format!("[\"{}\", \"{}\"]", dice.one(&PATTERNS), dice.one(&PATTERNS)),
        3 => format!("{{ not: {} }}", path_test(dice, depth - 1)),
        _ => format!("{{ under: {}, not: {} }}", dice.one(&PATHS), path_test(dice, depth - 1)),
    }
}

pub(crate) fn conditions(dice: &mut Dice, kind: &str) -> String {
    let mut tests = Vec::new();
    if kind == "connect" {
        if dice.below(2) == 0 {
            tests.push(format!(
                "host: [\"{}\", \"*.{}\"]",
                dice.one(&HOSTS),
                dice.one(&HOSTS[..3])
            ));
        }
        if dice.below(2) == 0 {
            let not = dice.below(2) == 0;
            let network = dice.one(&["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "192.0.2.1"]);
            tests.push(if not {
                format!("address: {{ not: \"{network}\" }}")
            } else {
                format!("address: \"{network}\"")
            });
        }
        if dice.below(2) == 0 {
            tests.push(format!("port: {{ min: {}, max: {} }}", dice.below(3), 3 + dice.below(3)));
        }
    } else {
        if dice.below(4) > 0 {
            tests.push(format!("path: {}", path_test(dice, 2)));
        }
        if kind == "write" && dice.below(2) == 0 {
            let not = if dice.below(3) == 0 { "not: " } else { "" };
            let range = format!("{{ min: {}, max: {} }}", dice.below(4), 4 + dice.below(4));
            tests.push(if not.is_empty() {
                format!("bytes: {range}")
            } else {
                format!("bytes: {{ not: {range} }}")
            });
        }
    }
    tests.join(", ")
}

const LIMITS: [&str; 6] = [
    "calls: 3/hour",
    "calls: 3/hour",
    "calls: 5/hour",
    "open: \"mon-fri 09:00-17:00 UTC\"",
    "open: [\"mon-sat 08:00-17:00 UTC\"]",
    "calls: 3/hour, open: \"22:00-06:00 UTC\"",
];

/// A random layer's text; its rules are named from 0 on.
pub(crate) fn layer(dice: &mut Dice, head: &str) -> String {
    let mut text = format!("{head}\nversion: 1\nrules:\n");
    for number in 0..=dice.below(6) {
        let kind = dice.one(&["read", "write", "connect"]);
        let agents = dice.one(&["any", "\"build-*\"", "build-1", "x, admin"]);
        let decision = dice.one(&["autonomous", "notify", "approval", "blocked"]);
        write!(text, "  - {{ name: r{number}, agents: [{agents}], effects: [{kind}], ").unwrap();
        if dice.below(3) == 0 {
            let version = dice.one(&["", "@1", "@2"]);
            write!(text, "capabilities: [{}{version}], ", dice.one(&CAPABILITIES)).unwrap();
        }
        let conditions = conditions(dice, kind);
        if !conditions.is_empty() {
            write!(text, "where: {{ {conditions} }}, ").unwrap();
        }
        if dice.below(4) == 0 {
            let over =
                if decision == "blocked" { decision } else { dice.one(&["approval", "blocked"]) };
            let limits = dice.one(&LIMITS);
            write!(text, "limits: {{ {limits}, over: {over} }}, ").unwrap();
        }
        writeln!(text, "decision: {decision} }}").unwrap();
    }
    text
}

pub(crate) fn set(dice: &mut Dice) -> (Set, String) {
    let mut texts = vec![layer(dice, "policy: box")];
    for head in ["limits: system", "limits: agent/x"] {
        if dice.below(2) == 0 {
            texts.push(layer(dice, head));
        }
    }
    let mut layers =
        texts.iter().map(|text| parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")));
    let granting = layers.next().unwrap();
    (Set::new(granting, layers.collect()).unwrap(), texts.join("\n"))
}

pub(crate) fn effect(dice: &mut Dice) -> Effect {
    let some = |dice: &mut Dice| dice.below(4) > 0;
    let (kind, mut fields) = match dice.below(3) {
        0 => (Kind::Read, Vec::new()),
        1 => (Kind::Write, Vec::new()),
        _ => (Kind::Connect, Vec::new()),
    };
    let mut form = Form::Exact;
    if kind == Kind::Connect {
        for (field, of) in [(Field::Host, &HOSTS), (Field::Address, &ADDRESSES)] {
            if some(dice) {
                fields.push((field, Value::Text(dice.one(of).to_owned())));
            }
        }
        if some(dice) {
            fields.push((Field::Port, Value::Number(dice.below(8).try_into().unwrap())));
        }
    } else {
        if some(dice) {
            fields
                .push((Field::Path, Value::Path(CanonicalPath::parse(dice.one(&PATHS)).unwrap())));
            form = if dice.below(3) == 0 { Form::Region } else { Form::Exact };
        }
        if kind == Kind::Write && some(dice) {
            fields.push((Field::Bytes, Value::Number(dice.below(10).try_into().unwrap())));
        }
    }
    Effect::new(kind, form, fields).unwrap()
}

/// Compares both engines over random sets and requests from this seed on: the first difference.
fn compare(seed: u64, sets: usize, requests: usize) -> Option<String> {
    let mut dice = Dice(seed);
    for _ in 0..sets {
        let (set, text) = set(&mut dice);
        let mut compiled = Compiled::new(set).unwrap();
        if dice.below(2) == 0 {
            // as beyond the bounds of what is made ahead
            compiled.kinds.values_mut().for_each(|of_kind| of_kind.regions = None);
        }
        for _ in 0..requests {
            let call = Call {
                agent: dice.one(&AGENTS),
                capability: dice.one(&CAPABILITIES),
                version: 1 + u32::try_from(dice.below(2)).unwrap(),
            };
            let effects: Vec<Effect> = (0..=dice.below(2)).map(|_| effect(&mut dice)).collect();
            let exhausted = (0..dice.below(3)).map(|_| {
                let layer = if dice.below(2) == 0 { LayerKind::Box } else { LayerKind::System };
                (layer, format!("r{}", dice.below(4)))
            });
            let facts = Facts { exhausted: exhausted.collect() };
            if let Some(differs) = difference(&compiled, &call, &effects, &facts) {
                return Some(format!("{text}\n{differs}"));
            }
        }
    }
    None
}

#[test]
fn both_engines_agree_on_random_policies_and_requests() {
    if let Some(differs) = compare(1, 200, 40) {
        panic!("{differs}");
    }
}

/// By hand, in release: `cargo test --release -p policy -- --ignored`.
#[test]
#[ignore = "millions, by hand"]
fn both_engines_agree_on_millions_of_random_policies_and_requests() {
    for seed in 2..34 {
        if let Some(differs) = compare(seed, 4_000, 64) {
            panic!("{differs}");
        }
    }
}

#[test]
fn an_engine_that_is_broken_is_noticed() {
    for defect in ALL {
        BROKEN.set(Some(defect));
        let found = compare(1, 200, 40);
        BROKEN.set(None);
        assert!(found.is_some(), "{defect:?} is not noticed");
    }
}

#[test]
fn what_a_region_holds_is_made_ahead_for_every_root() {
    let mut dice = Dice(3);
    let mut many = 0;
    for _ in 0..200 {
        let (set, text) = set(&mut dice);
        let compiled = Compiled::new(set).unwrap();
        for of_kind in compiled.kinds.values() {
            let Some(dimension) =
                of_kind.dimensions.last().filter(|of| of.subject == Subject::Field(Field::Path))
            else {
                continue;
            };
            let beneath = beneath::Beneath::new(dimension).unwrap();
            for root in PATHS.iter().map(|path| CanonicalPath::parse(path).unwrap()) {
                let number = usize::try_from(beneath.set_of(dimension, &root).unwrap()).unwrap();
                let walked: Vec<u32> =
                    walk::classes(dimension, &root).unwrap().into_iter().collect();
                assert_eq!(beneath.sets()[number], walked, "{root:?}\n{text}");
                many += usize::from(walked.len() > 2);
            }
        }
    }
    assert!(many > 100, "{many}");
}

#[test]
fn patterns_that_multiply_are_refused_with_the_rules_that_have_them() {
    let mut text = "policy: box\nversion: 1\nrules:\n".to_owned();
    for name in 'a'..='z' {
        writeln!(text, "  - {{ name: {name}, agents: [any], effects: [read], where: {{ path: \"/**/{name}/**\" }}, decision: autonomous }}").unwrap();
    }
    let refused = Compiled::new(Set::new(parse(&text).unwrap(), Vec::new()).unwrap()).unwrap_err();
    assert_eq!((refused.kind, refused.subject.as_str()), (Kind::Read, "`path`"));
    assert!(refused.rules.contains(&"box/a".to_owned()), "{refused}");
}
