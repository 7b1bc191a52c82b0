//! Proofs against a solver that shares nothing with them: whether a property holds of a set is asked of z3 as well, in
//! its theories of strings, regular expressions and integers, for small random sets and properties. Needs `z3`
//! (`./ci/setup` installs it); without it these tests fail.

use super::tests::{property_text, random_set};
use super::*;
use crate::answer::{Answer, CapabilityName, LayerKind};
use crate::compiled::tests::Dice;
use crate::rule::{AgentPattern, Where};
use crate::set::Set;
use crate::test::Test;
use contract::effect::{Field, Kind, Type};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// How much z3 may do about one question, in units of its own, which are the same on every machine.
const WORK_MAX: u64 = 4_000_000;

/// One thing said wrongly to z3, to show that a difference would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// A star crosses `/`.
    Star,
    /// `under` is a beginning of text.
    Under,
    /// `not` holds of what is absent.
    Not,
    /// Limits are never used up.
    Limits,
    /// What no rule speaks of is autonomous.
    Otherwise,
    /// `name@1` is every version.
    Version,
    /// Intervals do not include their ends.
    Ends,
}

const LIES: [Lie; 7] =
    [Lie::Star, Lie::Under, Lie::Not, Lie::Limits, Lie::Otherwise, Lie::Version, Lie::Ends];

/// Rules and a property for each lie, of which it makes another one.
const TELLING: [[&str; 2]; 7] = [
    [
        "effects: [read], where: { path: \"/w/*\" }, decision: autonomous",
        "only: { agents: [any], effects: [read], decision: autonomous, within: { where: { path: { not: \"/w/*/*\" } } } }",
    ],
    [
        "effects: [read], where: { path: { under: /w } }, decision: autonomous",
        "only: { agents: [any], effects: [read], decision: autonomous, within: { where: { path: { under: /w } } } }",
    ],
    [
        "effects: [read], where: { path: { not: { under: /v } } }, decision: autonomous",
        "only: { agents: [any], effects: [read], decision: autonomous, within: { where: { path: { not: { under: /v } } } } }",
    ],
    [
        "effects: [read], limits: { calls: 1/hour }, decision: notify",
        "always: { agents: [any], effects: [read], decision: notify }",
    ],
    [
        "effects: [write], decision: notify",
        "never: { agents: [any], effects: [read], decision: blocked }",
    ],
    [
        "effects: [read], capabilities: [git.push@1], decision: notify",
        "only: { agents: [any], effects: [read], decision: notify, within: { capabilities: [git.push@1] } }",
    ],
    [
        "effects: [write], where: { bytes: { min: 1, max: 4 } }, decision: notify",
        "never: { agents: [any], effects: [write], where: { bytes: 4 }, decision: notify }",
    ],
];

/// What z3 is told.
struct Teller {
    lie: Option<Lie>,
}

fn quoted(text: &str) -> String {
    assert!(text.is_ascii() && !text.contains('\\'), "{text}");
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn all(word: &str, none: &str, parts: Vec<String>) -> String {
    match parts.len() {
        0 => none.to_owned(),
        1 => parts.into_iter().next().unwrap(),
        _ => format!("({word} {})", parts.join(" ")),
    }
}

fn and(parts: Vec<String>) -> String {
    all("and", "true", parts)
}

fn or(parts: Vec<String>) -> String {
    all("or", "false", parts)
}

const NOT_SLASH: &str = "name-char";
/// What values look like that are any: of characters those of ASCII that are seen, since no pattern names another. A
/// name of a file is neither empty nor a dot or two, and has no `/`.
const FORMS: &str = r#"
(define-fun no-dot () RegLan (re.union (re.range " " "-") (re.range "0" "~")))
(define-fun name-char () RegLan (re.union no-dot (str.to_re ".")))
(define-fun segment () RegLan (re.union (re.++ no-dot (re.* name-char))
  (re.++ (str.to_re ".") no-dot (re.* name-char)) (re.++ (str.to_re "..") (re.+ name-char))))
(define-fun path-form () RegLan (re.union (str.to_re "/") (re.+ (re.++ (str.to_re "/") segment))))
(define-fun letter () RegLan (re.union (re.range "a" "z") (re.range "0" "9")))
(define-fun word () RegLan (re.union letter (str.to_re "-")))
(define-fun agent-form () RegLan (re.++ letter (re.* word)))
(define-fun label () RegLan (re.+ (re.union word (str.to_re "_"))))
(define-fun host-form () RegLan (re.++ label (re.* (re.++ (str.to_re ".") label))))
(define-fun verb () RegLan (re.+ (re.union (re.range "a" "z") (str.to_re "_"))))
(define-fun capability-form () RegLan (re.++ verb (str.to_re ".") verb))
"#;

impl Teller {
    fn lies(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    /// A pattern as a regular expression; `star` is what `*` stands for.
    fn pattern(text: &str, star: &str) -> String {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("**") {
                parts.push("re.all".to_owned());
                rest = after;
            } else if let Some(after) = rest.strip_prefix('*') {
                parts.push(star.to_owned());
                rest = after;
            } else {
                let (literal, after) = rest.split_at(rest.find('*').unwrap_or(rest.len()));
                parts.push(format!("(str.to_re {})", quoted(literal)));
                rest = after;
            }
        }
        all("re.++", "(str.to_re \"\")", parts)
    }

    fn test(&self, of: &str, test: &Test) -> String {
        match test {
            Test::OneOf(globs) => or(globs
                .iter()
                .map(|glob| {
                    let star = format!("(re.* {NOT_SLASH})");
                    let star = if self.lies(Lie::Star) { "re.all" } else { star.as_str() };
                    format!("(str.in_re {of} {})", Self::pattern(glob.as_str(), star))
                })
                .collect()),
            Test::Hosts(hosts) => or(hosts
                .iter()
                .map(|host| match host.strip_prefix("*.") {
                    Some(rest) => {
                        let end = quoted(&format!(".{rest}"));
                        format!("(and (str.suffixof {end} {of}) (not (= {of} {end})))")
                    }
                    None => format!("(= {of} {})", quoted(host)),
                })
                .collect()),
            Test::Under(roots) => or(roots
                .iter()
                .map(|root| match root.as_str() {
                    "/" => "true".to_owned(),
                    root if self.lies(Lie::Under) => {
                        format!("(str.prefixof {} {of})", quoted(root))
                    }
                    root => {
                        let beneath = quoted(&format!("{root}/"));
                        format!("(or (= {of} {}) (str.prefixof {beneath} {of}))", quoted(root))
                    }
                })
                .collect()),
            Test::Numbers(ranges) => {
                let less = if self.lies(Lie::Ends) { "<" } else { "<=" };
                let range = |(low, high): &(u64, u64)| {
                    format!("(and ({less} {low} {of}) ({less} {of} {high}))")
                };
                or(ranges.iter().map(range).collect())
            }
            Test::All(tests) => and(tests.iter().map(|test| self.test(of, test)).collect()),
            Test::Not(test) => format!("(not {})", self.test(of, test)),
            Test::Networks(_) => unreachable!("sets with addresses are not asked about"),
        }
    }

    fn conditions(&self, kind: Kind, conditions: &Where) -> String {
        let each = conditions.0.iter().map(|(field, test)| {
            if !kind.fields().contains(field) {
                return "false".to_owned();
            }
            let holds = self.test(field.name(), test);
            if self.lies(Lie::Not) && matches!(test, Test::Not(_)) {
                return format!("(or (not has-{}) {holds})", field.name());
            }
            format!("(and has-{} {holds})", field.name())
        });
        and(each.collect())
    }

    fn region(
        &self,
        kind: Kind,
        (agents, capabilities): (&[AgentPattern], Option<&[CapabilityName]>),
        conditions: &Where,
    ) -> String {
        let agents = agents.iter().map(|agent| match agent.glob().as_str() {
            "any" => "true".to_owned(),
            pattern => format!("(str.in_re agent {})", Self::pattern(pattern, "re.all")),
        });
        let capabilities = capabilities.map_or("true".to_owned(), |capabilities| {
            let each = capabilities.iter().map(|capability| {
                let name = format!("(= capability {})", quoted(capability.name()));
                match capability.version().filter(|_| !self.lies(Lie::Version)) {
                    Some(version) => format!("(and {name} (= version {version}))"),
                    None => name,
                }
            });
            or(each.collect())
        });
        and(vec![or(agents.collect()), capabilities, self.conditions(kind, conditions)])
    }

    /// That the answer is at least this restrictive, for an effect of a kind.
    fn at_least(&self, set: &Set, kind: Kind, least: Answer) -> String {
        let mut causes = Vec::new();
        for layer in set.layers() {
            let of_layer = match &layer.kind {
                LayerKind::Agent(name) => format!("(= agent {})", quoted(name)),
                _ => "true".to_owned(),
            };
            let mut spoken = Vec::new();
            let rules = layer.rules.iter().enumerate();
            for (number, rule) in rules.filter(|(_, r)| r.effects.iter().any(|k| k.0 == kind)) {
                let who = (rule.agents.as_slice(), rule.capabilities.as_deref());
                let holds = self.region(kind, who, &rule.conditions);
                spoken.push(holds.clone());
                let used = format!("used-{}-{number}", layer.kind.to_string().replace('/', "-"));
                let over =
                    rule.limits.as_ref().map(|limits| limits.over.unwrap_or(Answer::Blocked));
                let is = |answer: Answer| if answer >= least { "true" } else { "false" };
                let answers = match over.filter(|_| !self.lies(Lie::Limits)) {
                    Some(over) => format!("(ite {used} {} {})", is(over), is(rule.decision)),
                    None => is(rule.decision).to_owned(),
                };
                causes.push(and(vec![of_layer.clone(), holds, answers]));
            }
            if layer.otherwise.is_some_and(|o| o >= least && !self.lies(Lie::Otherwise)) {
                causes.push(format!("(not {})", or(spoken)));
            }
        }
        or(causes)
    }

    /// Whether there is an effect of this kind that is against a property.
    fn question(&self, set: &Set, property: &Property, kind: Kind) -> String {
        let mut text = "(reset)\n".to_owned() + FORMS;
        writeln!(text, "(declare-const agent String)(assert (str.in_re agent agent-form))")
            .unwrap();
        writeln!(text, "(assert (<= (str.len agent) 32))(declare-const version Int)").unwrap();
        writeln!(text, "(assert (<= 0 version 4294967295))(declare-const capability String)")
            .unwrap();
        writeln!(text, "(assert (str.in_re capability capability-form))").unwrap();
        for layer in set.layers() {
            for number in 0..layer.rules.len() {
                let layer = layer.kind.to_string().replace('/', "-");
                writeln!(text, "(declare-const used-{layer}-{number} Bool)").unwrap();
            }
        }
        for field in kind.fields() {
            let (name, sort) =
                (field.name(), ["String", "Int"][usize::from(field.ty() == Type::Number)]);
            writeln!(text, "(declare-const has-{name} Bool)(declare-const {name} {sort})").unwrap();
            let form = match field.ty() {
                Type::Path => format!("(str.in_re {name} path-form)"),
                Type::Host => format!("(str.in_re {name} host-form)"),
                Type::Number if *field == Field::Port => format!("(<= 0 {name} 65535)"),
                Type::Number => format!("(<= 0 {name} {})", u64::MAX),
                Type::Address | Type::Text | Type::List => continue,
            };
            writeln!(text, "(assert {form})").unwrap();
        }
        // what is asked is said as it is, also where the set is told wrongly
        let honest = Self { lie: None };
        let lies_in = |region: &Region| {
            let (who, conditions) = region.parts();
            honest.region(kind, who, conditions)
        };
        writeln!(text, "(assert {})", lies_in(property.region())).unwrap();
        if let Some(within) = property.within().filter(|within| within.kinds().any(|k| k == kind)) {
            writeln!(text, "(assert (not {}))", lies_in(within)).unwrap();
        }
        let answers = [Answer::Autonomous, Answer::Notify, Answer::Approval, Answer::Blocked];
        let forbidden = (0..4).filter(|at| property.forbids(answers[*at])).map(|at| {
            let least = self.at_least(set, kind, answers[at]);
            match answers.get(at + 1) {
                Some(next) => {
                    and(vec![least, format!("(not {})", self.at_least(set, kind, *next))])
                }
                None => least,
            }
        });
        writeln!(text, "(assert {})", or(forbidden.collect())).unwrap();
        text + "(check-sat)\n"
    }
}

/// What z3 says to each question.
fn ask(questions: &[String]) -> Vec<String> {
    let child = Command::new("z3")
        .args(["-in", "-smt2", &format!("rlimit={WORK_MAX}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.expect("`z3` must be here; ./ci/setup installs it");
    let mut input = child.stdin.take().unwrap();
    let text = questions.concat();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    assert!(lines.len() == questions.len(), "{} questions: {said}", questions.len());
    lines
}

fn has_addresses(conditions: &Where) -> bool {
    conditions.0.iter().any(|(field, _)| *field == Field::Address)
}

/// A set and a property that both can be asked about.
struct Instance {
    set: Set,
    property: Property,
    text: String,
}

/// Those of [`TELLING`], and random ones.
fn instances(seed: u64, count: usize) -> Vec<Instance> {
    let mut dice = Dice(seed);
    let told = TELLING.map(|[rule, claim]| {
        let text =
            format!("policy: box\nversion: 1\nrules:\n  - {{ name: r, agents: [any], {rule} }}\n");
        let wanted = format!("properties:\n  - {{ name: p, {claim} }}\n");
        let set = Set::new(crate::parse::parse(&text).unwrap(), Vec::new()).unwrap();
        let property = parse_properties(&wanted).unwrap().remove(0);
        Instance { set, property, text: format!("{text}\n{wanted}") }
    });
    let mut found = Vec::from(told);
    while found.len() < count {
        let (set, text) = random_set(&mut dice);
        let wanted = property_text(&mut dice);
        let Ok(properties) = parse_properties(&wanted) else { continue };
        let property = properties.into_iter().next().unwrap();
        let regions = std::iter::once(property.region()).chain(property.within());
        let mut conditions = regions.map(|region| region.parts().1);
        let asked = conditions.any(has_addresses)
            || set.layers().flat_map(|layer| &layer.rules).any(|r| has_addresses(&r.conditions))
            // of code there is more to say
            || property.region().kinds().any(|kind| kind == Kind::Code)
            || property.region().envelope().next().is_some()
                && set.layers().flat_map(|layer| &layer.rules).any(|rule| {
                    rule.effects.iter().any(|kind| kind.0 == Kind::Code)
                });
        if !asked {
            found.push(Instance { set, property, text: format!("{text}\n{wanted}") });
        }
    }
    found
}

/// How many hold, how many do not, how many z3 does not know; or what differs.
fn compare(instances: &[Instance], lie: Option<Lie>) -> Result<[usize; 3], String> {
    let teller = Teller { lie };
    let kinds = |instance: &Instance| -> Vec<Kind> {
        let mut kinds: Vec<Kind> = instance.property.region().kinds().collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    let questions: Vec<String> = instances
        .iter()
        .flat_map(|one| {
            kinds(one).into_iter().map(|kind| teller.question(&one.set, &one.property, kind))
        })
        .collect();
    let mut said = ask(&questions).into_iter();
    let mut seen = [0; 3];
    for instance in instances {
        let said: Vec<String> = kinds(instance).iter().map(|_| said.next().unwrap()).collect();
        let holds = prove(&instance.set, &instance.property).unwrap() == Verdict::Holds;
        let solved = if said.iter().any(|one| one == "sat") {
            Some(false)
        } else {
            said.iter().all(|one| one == "unsat").then_some(true)
        };
        let place = match solved {
            Some(solved) if solved != holds => {
                return Err(format!("holds: {holds}, z3: {said:?}\n{}", instance.text));
            }
            Some(true) => 0,
            Some(false) => 1,
            None => {
                assert!(
                    said.iter().all(|one| matches!(one.as_str(), "unsat" | "unknown")),
                    "{said:?}"
                );
                2
            }
        };
        seen[place] += 1;
    }
    Ok(seen)
}

#[test]
fn a_proof_is_what_a_solver_says() {
    let instances = instances(7, 250);
    let [hold, fail, unknown] =
        compare(&instances, None).unwrap_or_else(|differs| panic!("{differs}"));
    assert!(hold > 30 && fail > 100 && unknown * 20 < instances.len(), "{hold} {fail} {unknown}");
}

#[test]
fn a_solver_that_is_told_something_else_disagrees() {
    let instances = instances(7, 250);
    for lie in LIES {
        let mut some = instances.chunks(8);
        let noticed = some.any(|some| compare(some, Some(lie)).is_err());
        assert!(noticed, "{lie:?} is not noticed");
    }
}
