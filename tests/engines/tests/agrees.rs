//! Cedar as an oracle: policies of the part of our grammar that Cedar can say are translated, and random requests are
//! decided by both. Cedar knows allow and deny; which of our four answers is given is found by asking for each, from
//! the strictest on, whether a rule that gives it speaks. What Cedar has nothing for is left out: globs within paths,
//! addresses, regions, limits.
//!
//! Every way to translate wrongly that could be thought of must be noticed.
#![forbid(unsafe_code)]

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use policy::{Answer, Call, Compiled, Facts, Set};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// One thing translated wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// `under` is a beginning of text.
    Under,
    /// `not` holds of what is absent.
    Not,
    /// The mildest answer counts.
    Mildest,
    /// No match of the granting layer is autonomous.
    Otherwise,
    /// `name@1` is every version.
    Version,
    /// The layer of one agent speaks of all.
    OtherAgent,
    /// A `*` in an agent's name is one character, if any.
    Star,
    /// `*.` of a host may stand for nothing.
    Labels,
    /// Intervals lack their upper ends.
    Ends,
    /// Every capability is meant.
    AnyCapability,
}

const LIES: [Lie; 10] = [
    Lie::Under,
    Lie::Not,
    Lie::Mildest,
    Lie::Otherwise,
    Lie::Version,
    Lie::OtherAgent,
    Lie::Star,
    Lie::Labels,
    Lie::Ends,
    Lie::AnyCapability,
];

/// Numbers that are the same in every run (Marsaglia 2003, xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const AGENTS: [&str; 6] = ["build-1", "build-", "build", "x", "admin", "rebuild-1"];
const PATTERNS: [&str; 6] = ["any", "*", "build-*", "*-1", "x", "b*-*"];
const CAPABILITIES: [&str; 3] = ["filesystem.read", "filesystem.write", "git.push"];
const PATHS: [&str; 11] = [
    "/", "/w", "/w/a", "/w/ab", "/w/a/b", "/wa", "/w/a\"b", "/w/a\\b", "/w/é b", "/w/*", "/v/a/b/c",
];
/// Without `*`, which is a pattern in our paths and not in Cedar's equality.
const WRITTEN: [&str; 10] =
    ["/", "/w", "/w/a", "/w/ab", "/w/a/b", "/wa", "/w/a\"b", "/w/a\\b", "/w/é b", "/v/a"];
const HOSTS: [&str; 6] = ["a.example", "b.a.example", "example", "xexample", "x.test", "c.b.a.example"];
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
const ANSWERS: [Answer; 4] =
    [Answer::Blocked, Answer::Approval, Answer::Notify, Answer::Autonomous];

/// What must hold of a field.
#[derive(Debug, Clone)]
enum Test {
    Is(Vec<String>),
    Hosts(Vec<String>),
    Under(Vec<String>),
    Between(u64, u64),
    Not(Box<Test>),
    All(Vec<Test>),
}

#[derive(Debug, Clone)]
struct Rule {
    agents: Vec<&'static str>,
    capabilities: Vec<(&'static str, Option<u32>)>,
    kinds: Vec<Kind>,
    conditions: Vec<(Field, Test)>,
    answer: Answer,
}

#[derive(Debug, Clone)]
struct Layer {
    head: &'static str,
    /// The agent whose layer it is.
    agent: Option<&'static str>,
    otherwise: Option<Answer>,
    rules: Vec<Rule>,
}

fn some(dice: &mut Dice, of: &[&str]) -> Vec<String> {
    (0..=dice.below(2)).map(|_| dice.one(of).to_owned()).collect()
}

fn test(dice: &mut Dice, field: Field, depth: usize) -> Test {
    let compound = depth > 0 && dice.below(3) == 0;
    if compound {
        let inner = Box::new(test(dice, field, depth - 1));
        return match dice.below(2) {
            0 => Test::Not(inner),
            _ => Test::All(vec![plain(dice, field), Test::Not(inner)]),
        };
    }
    plain(dice, field)
}

fn plain(dice: &mut Dice, field: Field) -> Test {
    match field {
        Field::Path if dice.below(2) == 0 => Test::Under(some(dice, &WRITTEN)),
        Field::Path => Test::Is(some(dice, &WRITTEN)),
        Field::Host => {
            let star = |host: String, dice: &mut Dice| match dice.below(2) {
                0 => format!("*.{host}"),
                _ => host,
            };
            let hosts = some(dice, &HOSTS);
            Test::Hosts(hosts.into_iter().map(|host| star(host, dice)).collect())
        }
        Field::Method => Test::Is(some(dice, &METHODS)),
        _ => {
            let low = dice.below(5);
            Test::Between(low as u64, (low + dice.below(5)) as u64)
        }
    }
}

fn rule(dice: &mut Dice) -> Rule {
    let kinds = match dice.below(4) {
        0 => vec![Kind::Read],
        1 => vec![Kind::Write],
        2 => vec![Kind::Read, Kind::Write],
        _ => vec![Kind::Connect],
    };
    let fields: &[Field] = match kinds[0] {
        Kind::Connect => &[Field::Host, Field::Port, Field::Method],
        Kind::Write => &[Field::Path, Field::Bytes],
        _ => &[Field::Path],
    };
    let mut conditions = Vec::new();
    for field in fields {
        if dice.below(3) > 0 {
            conditions.push((*field, test(dice, *field, 2)));
        }
    }
    let capability = |dice: &mut Dice| {
        let version = [None, Some(1), Some(2)][dice.below(3)];
        (CAPABILITIES[dice.below(3)], version)
    };
    let capabilities = (0..dice.below(3)).map(|_| capability(dice)).collect();
    let agents = (0..=dice.below(2)).map(|_| PATTERNS[dice.below(PATTERNS.len())]).collect();
    Rule { agents, capabilities, kinds, conditions, answer: ANSWERS[dice.below(4)] }
}

fn layers(dice: &mut Dice) -> Vec<Layer> {
    let mut all = Vec::new();
    for (head, agent) in [("policy: box", None), ("limits: system", None), ("limits: agent/x", Some("x"))] {
        if all.is_empty() || dice.below(2) == 0 {
            let otherwise = [Answer::Blocked, Answer::Approval][dice.below(2)];
            let otherwise = all.is_empty().then_some(otherwise);
            let rules = (0..=dice.below(6)).map(|_| rule(dice)).collect();
            all.push(Layer { head, agent, otherwise, rules });
        }
    }
    all
}

/// As our own grammar has it; JSON is YAML.
fn ours(layer: &Layer) -> String {
    let mut text = format!("{}\nversion: 1\n", layer.head);
    if let Some(otherwise) = layer.otherwise {
        writeln!(text, "otherwise: {otherwise}").unwrap();
    }
    text.push_str("rules:\n");
    for (number, rule) in layer.rules.iter().enumerate() {
        let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.name()).collect();
        let mut written = json!({ "name": format!("r{number}"), "agents": rule.agents,
            "effects": kinds, "decision": rule.answer.to_string() });
        if !rule.capabilities.is_empty() {
            let named = rule.capabilities.iter().map(|(name, version)| match version {
                Some(version) => format!("{name}@{version}"),
                None => (*name).to_owned(),
            });
            written["capabilities"] = named.collect();
        }
        let conditions = rule.conditions.iter().map(|(field, test)| (field.name().to_owned(), of_ours(test)));
        let conditions: serde_json::Map<String, Json> = conditions.collect();
        if !conditions.is_empty() {
            written["where"] = Json::Object(conditions);
        }
        writeln!(text, "  - {written}").unwrap();
    }
    text
}

fn of_ours(test: &Test) -> Json {
    match test {
        Test::Is(values) | Test::Hosts(values) => json!(values),
        Test::Under(roots) => json!({ "under": roots }),
        Test::Between(low, high) => json!({ "min": low, "max": high }),
        Test::Not(test) => json!({ "not": of_ours(test) }),
        Test::All(tests) => {
            let mut all = serde_json::Map::new();
            for test in tests {
                match of_ours(test) {
                    Json::Object(object) => all.extend(object),
                    values => drop(all.insert("in".to_owned(), values)),
                }
            }
            Json::Object(all)
        }
    }
}

/// A text of Cedar; its patterns have a `*` only where one is meant.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn either(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "false".to_owned() } else { format!("({})", parts.join(" || ")) }
}

fn every(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "true".to_owned() } else { format!("({})", parts.join(" && ")) }
}

/// What holds of a value that is there.
fn of_cedar(of: &str, test: &Test, lie: Option<Lie>) -> String {
    match test {
        Test::Is(values) => either(values.iter().map(|value| format!("{of} == {}", quoted(value)))),
        Test::Hosts(hosts) => either(hosts.iter().map(|host| match host.strip_prefix("*.") {
            Some(rest) if lie == Some(Lie::Labels) => {
                format!("({of} == {} || {of} like {})", quoted(rest), quoted(&format!("*.{rest}")))
            }
            Some(rest) => format!("{of} like {}", quoted(&format!("*.{rest}"))),
            None => format!("{of} == {}", quoted(host)),
        })),
        Test::Under(roots) => either(roots.iter().map(|root| match root.as_str() {
            "/" => "true".to_owned(),
            root if lie == Some(Lie::Under) => format!("{of} like {}", quoted(&format!("{root}*"))),
            root => format!("({of} == {} || {of} like {})", quoted(root), quoted(&format!("{root}/*"))),
        })),
        Test::Between(low, high) => {
            let less = if lie == Some(Lie::Ends) { "<" } else { "<=" };
            format!("({low} <= {of} && {of} {less} {high})")
        }
        Test::Not(test) => format!("!({})", of_cedar(of, test, lie)),
        Test::All(tests) => every(tests.iter().map(|test| of_cedar(of, test, lie))),
    }
}

/// A rule as a permit.
fn permit(layer: &Layer, rule: &Rule, lie: Option<Lie>) -> String {
    let kinds = either(rule.kinds.iter().map(|kind| format!("action == Action::\"{kind}\"")));
    let agents = either(rule.agents.iter().map(|pattern| match (*pattern, lie) {
        ("any", _) => "true".to_owned(),
        (pattern, Some(Lie::Star)) => format!("context.agent == {}", quoted(&pattern.replace('*', "1"))),
        (pattern, _) => format!("context.agent like {}", quoted(pattern)),
    }));
    let capabilities = if rule.capabilities.is_empty() || lie == Some(Lie::AnyCapability) {
        "true".to_owned()
    } else {
        either(rule.capabilities.iter().map(|(name, version)| {
            let name = format!("context.capability == {}", quoted(name));
            match version.filter(|_| lie != Some(Lie::Version)) {
                Some(version) => format!("({name} && context.version == {version})"),
                None => name,
            }
        }))
    };
    let conditions = every(rule.conditions.iter().map(|(field, test)| {
        let holds = of_cedar(&format!("context.{field}"), test, lie);
        match test {
            Test::Not(_) if lie == Some(Lie::Not) => format!("(!(context has {field}) || {holds})"),
            _ => format!("(context has {field} && {holds})"),
        }
    }));
    let agent = layer.agent.filter(|_| lie != Some(Lie::OtherAgent));
    let of_layer = agent.map_or("true".to_owned(), |agent| format!("context.agent == {}", quoted(agent)));
    format!(
        "permit(principal, action, resource) when {{ {of_layer} && {kinds} && {agents} && {capabilities} && {conditions} }};\n"
    )
}

/// What Cedar is asked: for each answer whether a rule that gives it speaks, and whether one of the granting layer does.
struct Translated {
    by_answer: Vec<(Answer, PolicySet)>,
    granting: PolicySet,
    otherwise: Answer,
    lie: Option<Lie>,
}

impl Translated {
    fn of(layers: &[Layer], lie: Option<Lie>) -> Self {
        let set = |wanted: &dyn Fn(&Layer, &Rule) -> bool| -> PolicySet {
            let rules = layers.iter().flat_map(|layer| layer.rules.iter().map(move |rule| (layer, rule)));
            let rules = rules.filter(|(layer, rule)| wanted(layer, rule));
            let text: String = rules.map(|(layer, rule)| permit(layer, rule, lie)).collect();
            text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
        };
        let by_answer = ANSWERS.map(|answer| (answer, set(&|_, rule| rule.answer == answer)));
        let granting = set(&|layer, _| layer.otherwise.is_some());
        let otherwise = layers.iter().find_map(|layer| layer.otherwise).unwrap();
        let otherwise = if lie == Some(Lie::Otherwise) { Answer::Autonomous } else { otherwise };
        Self { by_answer: by_answer.into(), granting, otherwise, lie }
    }

    /// The answer to one effect.
    fn decide(&self, call: &Call<'_>, effect: &Effect) -> Answer {
        let mut context = json!({ "agent": call.agent, "capability": call.capability, "version": call.version });
        for (field, value) in &effect.fields {
            context[field.name()] = match value {
                Value::Path(path) => json!(path.as_str()),
                Value::Text(text) => json!(text),
                Value::Number(number) => json!(number),
                Value::List(_) => unreachable!("no effect of these has one"),
            };
        }
        let uid = |text: String| -> EntityUid { text.parse().unwrap() };
        let request = Request::new(
            uid("Agent::\"a\"".to_owned()),
            uid(format!("Action::\"{}\"", effect.kind)),
            uid("Thing::\"t\"".to_owned()),
            Context::from_json_value(context, None).unwrap(),
            None,
        );
        let (request, authorizer) = (request.unwrap(), Authorizer::new());
        let speaks = |set: &PolicySet| {
            let said = authorizer.is_authorized(&request, set, &Entities::empty());
            // a rule that Cedar cannot evaluate would be passed over
            assert_eq!(said.diagnostics().errors().count(), 0, "{said:?}");
            said.decision() == Decision::Allow
        };
        let mut asked = self.by_answer.iter();
        let spoken = if self.lie == Some(Lie::Mildest) {
            asked.rfind(|(_, set)| speaks(set))
        } else {
            asked.find(|(_, set)| speaks(set))
        };
        let spoken = spoken.map(|(answer, _)| *answer);
        let otherwise = (!speaks(&self.granting)).then_some(self.otherwise);
        spoken.into_iter().chain(otherwise).max().expect("some rule speaks, or none of the granting layer does")
    }
}

fn effect(dice: &mut Dice) -> Effect {
    let kind = [Kind::Read, Kind::Write, Kind::Connect, Kind::Delete][dice.below(4)];
    let mut fields = Vec::new();
    let text = |text: &str| Value::Text(text.to_owned());
    for field in [Field::Path, Field::Bytes, Field::Host, Field::Port, Field::Method] {
        if !kind.fields().contains(&field) || dice.below(5) == 0 {
            continue;
        }
        let value = match field {
            Field::Path => Value::Path(CanonicalPath::parse(dice.one(&PATHS)).unwrap()),
            Field::Host => text(dice.one(&HOSTS)),
            Field::Method => text(dice.one(&METHODS)),
            _ => Value::Number(dice.below(9) as u64),
        };
        fields.push((field, value));
    }
    Effect::new(kind, Form::Exact, fields).unwrap()
}

/// How often each answer was given, by both alike; or what differs.
fn compare(seed: u64, sets: usize, requests: usize, lie: Option<Lie>) -> Result<[usize; 4], String> {
    let mut dice = Dice(seed);
    let mut seen = [0; 4];
    for _ in 0..sets {
        let layers = layers(&mut dice);
        let texts: Vec<String> = layers.iter().map(ours).collect();
        let mut parsed = texts.iter().map(|text| policy::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")));
        let granting = parsed.next().unwrap();
        let set = Compiled::new(Set::new(granting, parsed.collect()).unwrap()).unwrap();
        let translated = Translated::of(&layers, lie);
        for _ in 0..requests {
            let call = Call {
                agent: dice.one(&AGENTS),
                capability: dice.one(&CAPABILITIES),
                version: 1 + dice.below(2) as u32,
            };
            let effects: Vec<Effect> = (0..=dice.below(2)).map(|_| effect(&mut dice)).collect();
            let by_us = set.decide(&call, &effects, &Facts::default()).answer;
            let by_cedar = effects.iter().map(|effect| translated.decide(&call, effect)).max().unwrap();
            if by_us != by_cedar {
                return Err(format!(
                    "we {by_us}, Cedar {by_cedar}: {call:?} {effects:?}\n{}",
                    texts.join("\n")
                ));
            }
            seen[ANSWERS.iter().position(|answer| *answer == by_us).unwrap()] += 1;
        }
    }
    Ok(seen)
}

#[test]
fn cedar_decides_alike_what_it_can_say() {
    let seen = compare(1, 300, 30, None).unwrap_or_else(|differs| panic!("{differs}"));
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn a_translation_that_is_wrong_is_noticed() {
    for lie in LIES {
        assert!(compare(1, 300, 30, Some(lie)).is_err(), "{lie:?} is not noticed");
    }
}
