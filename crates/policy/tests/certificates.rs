//! Certificates against the checker that shares no code with what makes them: it accepts what holds, and refuses
//! every altered byte and every lie, also one whose digest was made anew.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

use certificate::{Refused, check};
use policy::{Property, Set, Verdict, certify, diff, parse, parse_properties, prove, theorem};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const POLICY: &str = r#"
policy: box
version: 1
otherwise: blocked
rules:
  - { name: look, agents: [any], effects: [read], where: { path: { under: /w, not: "/w/**.key" } }, decision: autonomous }
  - { name: keys, agents: ["b-*"], capabilities: [files.read@1], effects: [read], where: { path: "/w/**.key" }, decision: approval }
  - { name: put, agents: [any], effects: [write], where: { path: { under: /w }, bytes: { max: 9 } }, decision: notify, limits: { calls: 3/hour, over: approval } }
  - { name: out, agents: [b-1], effects: [connect], where: { host: ["*.a.example", "2001:db8::1"], address: { not: 10.0.0.0/8 }, port: 443 }, decision: autonomous }
"#;

const PROPERTIES: &str = r#"
properties:
  - { name: keys, never: { agents: [any], effects: [read], where: { path: "/**.key" }, decision: [autonomous, notify] } }
  - { name: puts, only: { agents: [any], effects: [write], decision: [autonomous, notify], within: { where: { path: { under: /w } } } } }
  - { name: near, always: { agents: [any], effects: [connect], where: { address: 10.0.0.0/8 }, decision: blocked } }
"#;

fn set(text: &str) -> Set {
    Set::new(parse(text).unwrap(), Vec::new()).unwrap()
}

fn properties() -> Vec<Property> {
    parse_properties(PROPERTIES).unwrap()
}

fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&body);
    body.extend(digest);
    body
}

#[test]
fn a_property_that_holds_is_certified_and_one_that_does_not_is_not() {
    let (set, mut stranger) = (set(POLICY), None);
    for property in properties() {
        let claimed = theorem(&set, &property);
        let certificate = certify(&set, &property).unwrap().unwrap();
        let shown = check(&certificate, &claimed).unwrap();
        assert_eq!(shown.property, property.name);
        assert!(shown.cases > 2, "{shown:?}");
        if let Some(other) = stranger.replace(claimed) {
            assert_eq!(check(&certificate, &other), Err(Refused::AnotherTheorem));
        }
    }
    let more = "properties: [{ name: no, never: { agents: [any], effects: [read], decision: autonomous } }]";
    assert_eq!(certify(&set, &parse_properties(more).unwrap()[0]).unwrap(), None);
}

#[test]
fn every_altered_byte_is_refused_also_under_a_new_digest() {
    let set = set(POLICY);
    for property in properties() {
        let claimed = theorem(&set, &property);
        let certificate = certify(&set, &property).unwrap().unwrap();
        let body = certificate.len() - 32;
        // of a large certificate some thousand places
        let step = (certificate.len() / 1_500).max(1);
        for at in (0..certificate.len()).step_by(step) {
            let mut altered = certificate.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(check(&altered, &claimed).is_err(), "{}: {at}", property.name);
            if at < body {
                let altered = sealed(altered[..body].to_vec());
                assert!(check(&altered, &claimed).is_err(), "{}: {at}", property.name);
            }
        }
        assert!(check(&certificate[..body], &claimed).is_err());
        assert!(check(&sealed([&certificate[..body], &[0]].concat()), &claimed).is_err());
        for at in 0..claimed.len() {
            let mut altered = claimed.clone();
            altered[at] ^= 1;
            assert_eq!(check(&certificate, &altered), Err(Refused::AnotherTheorem));
        }
        assert!(check(&certificate, &claimed).is_ok());
    }
}

/// A certificate taken apart, as the crate `certificate` describes it.
#[derive(Clone)]
struct Parts {
    head: Vec<u8>,
    queries: Vec<Question>,
}

#[derive(Clone)]
struct Question {
    kind: String,
    is_envelope: u64,
    dimensions: Vec<(String, Option<Labels>)>,
    levels: Vec<Vec<Vec<u64>>>,
}

#[derive(Clone)]
struct Labels {
    states: Vec<Vec<u64>>,
    nodes: Vec<[u64; 5]>,
}

/// Reads or writes bytes; which dimensions have labels is known by their names.
struct Bytes(Vec<u8>);

impl Bytes {
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.0.remove(0);
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.number()).unwrap();
        String::from_utf8(self.0.drain(..length).collect()).unwrap()
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.number()).map(|_| one(self)).collect()
    }

    fn rising(&mut self) -> Vec<u64> {
        let mut last = 0;
        self.list(|bytes| {
            last += bytes.number();
            last
        })
    }

    fn put(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap());
    }

    fn put_text(&mut self, text: &str) {
        self.put(text.len().try_into().unwrap());
        self.0.extend(text.bytes());
    }

    fn put_sets(&mut self, sets: &[Vec<u64>]) {
        self.put(sets.len().try_into().unwrap());
        for set in sets {
            self.put(set.len().try_into().unwrap());
            let mut last = 0;
            for number in set {
                self.put(number - last);
                last = *number;
            }
        }
    }
}

impl Parts {
    fn read(certificate: &[u8]) -> Self {
        let head = certificate[..21 + 32].to_vec();
        let mut bytes = Bytes(certificate[21 + 32..certificate.len() - 32].to_vec());
        let queries = bytes.list(|bytes| {
            let (kind, is_envelope) = (bytes.text(), bytes.number());
            let dimensions = bytes.list(|bytes| {
                let subject = bytes.text();
                let is_text = ["agent", "path", "host"].contains(&subject.as_str());
                let labels = is_text.then(|| Labels {
                    states: bytes.list(Bytes::rising),
                    nodes: bytes.list(|bytes| [0; 5].map(|_| bytes.number())),
                });
                (subject, labels)
            });
            let levels = dimensions.iter().map(|_| bytes.list(Bytes::rising)).collect();
            Question { kind, is_envelope, dimensions, levels }
        });
        assert!(bytes.0.is_empty());
        Self { head, queries }
    }

    /// Written again, with good digests.
    fn sealed(&self, claimed: &[u8]) -> Vec<u8> {
        let mut bytes = Bytes(self.head[..21].to_vec());
        bytes.0.extend(Sha256::digest(claimed));
        bytes.put(self.queries.len().try_into().unwrap());
        for query in &self.queries {
            bytes.put_text(&query.kind);
            bytes.put(query.is_envelope);
            bytes.put(query.dimensions.len().try_into().unwrap());
            for (subject, labels) in &query.dimensions {
                bytes.put_text(subject);
                if let Some(Labels { states, nodes }) = labels {
                    bytes.put_sets(states);
                    bytes.put(nodes.len().try_into().unwrap());
                    nodes.iter().flatten().for_each(|number| bytes.put(*number));
                }
            }
            query.levels.iter().for_each(|level| bytes.put_sets(level));
        }
        sealed(bytes.0)
    }
}

/// What the checker says of a lie about `keys` that is well sealed.
fn lie(tell: impl FnOnce(&mut Parts)) -> Result<(), Refused> {
    let (set, property) = (set(POLICY), properties().remove(0));
    let claimed = theorem(&set, &property);
    let certificate = certify(&set, &property).unwrap().unwrap();
    let mut parts = Parts::read(&certificate);
    assert_eq!(parts.sealed(&claimed), certificate);
    tell(&mut parts);
    check(&parts.sealed(&claimed), &claimed).map(|_| ())
}

/// The labels of a text of the first query.
fn labels<'a>(parts: &'a mut Parts, subject: &str) -> &'a mut Labels {
    let mut dimensions = parts.queries[0].dimensions.iter_mut();
    dimensions.find(|(of, _)| of == subject).unwrap().1.as_mut().unwrap()
}

#[test]
fn a_lie_with_a_good_digest_is_refused() {
    assert_eq!(lie(|_| ()), Ok(()));
    // a value comes to positions that are left out, with all its nodes
    for state in 0..6 {
        let refused = lie(|parts| {
            let labels = labels(parts, "path");
            labels.nodes.retain(|node| node[0] != state);
            labels.nodes.iter_mut().filter(|node| node[0] > state).for_each(|node| node[0] -= 1);
            labels.states.remove(usize::try_from(state).unwrap());
        });
        assert_eq!(refused, Err(Refused::Values), "{state}");
    }
    // a place in a path is left out
    let shorter = lie(|parts| labels(parts, "path").nodes.retain(|node| node[1] != 1));
    assert_eq!(shorter, Err(Refused::Values));
    // a value is longer than it is, as if the longest were too long
    let longer =
        lie(|parts| labels(parts, "path").nodes.iter_mut().for_each(|node| node[4] += 4_000));
    assert_eq!(longer, Err(Refused::Values));
    // positions are others
    let other = lie(|parts| *labels(parts, "agent").states.last_mut().unwrap() = vec![0, 1]);
    assert!(matches!(other, Err(Refused::Values | Refused::Form)), "{other:?}");
    // something is listed that nothing leads to
    let more = lie(|parts| labels(parts, "path").states.push(vec![1, 3]));
    assert_eq!(more, Err(Refused::Surplus));
    let more = lie(|parts| parts.queries[0].levels.last_mut().unwrap().push(vec![3]));
    assert_eq!(more, Err(Refused::Surplus));
    // rules cannot hold together
    for level in 0..3 {
        for set in 0..2 {
            let fewer = lie(|parts| drop(parts.queries[0].levels[level].remove(set)));
            assert_eq!(fewer, Err(Refused::Rules), "{level} {set}");
        }
    }
    // a rule does not ask about something
    let unasked = lie(|parts| {
        parts.queries[0].dimensions.remove(0);
        parts.queries[0].levels.remove(0);
    });
    assert!(unasked.is_err(), "{unasked:?}");
    // the property does not speak of a kind, or of what code may do
    assert_eq!(lie(|parts| drop(parts.queries.pop())), Err(Refused::Coverage));
    let another = lie(|parts| parts.queries[0].kind = "observe".to_owned());
    assert_eq!(another, Err(Refused::Coverage));
    assert_eq!(lie(|parts| parts.queries[1].is_envelope = 0), Err(Refused::Coverage));
}

#[test]
fn a_certificate_of_another_policy_shows_nothing_of_one_that_does_not_hold() {
    let (good, property) = (set(POLICY), properties().remove(0));
    let certificate = Parts::read(&certify(&good, &property).unwrap().unwrap());
    for (was, is, refused) in [
        ("decision: approval }", "decision: notify }", Refused::DoesNotHold),
        ("name: keys", "name: nokeys", Refused::AnotherTheorem),
        ("otherwise: blocked", "otherwise: approval", Refused::AnotherTheorem),
        ("/w/**.key\" } }", "/w/**.kez\" } }", Refused::Values),
        ("\"b-*\"", "\"b-x*\"", Refused::Values),
        ("files.read@1", "files.read@2", Refused::AnotherTheorem),
    ] {
        let other = set(&POLICY.replacen(was, is, 1));
        let claimed = theorem(&other, &property);
        assert_ne!(claimed, theorem(&good, &property), "{was}");
        let found = check(&certificate.sealed(&claimed), &claimed);
        if refused == Refused::AnotherTheorem {
            // what was shown is true of this one too, and the bytes are of the first
            assert!(found.is_ok(), "{was}: {found:?}");
            assert_eq!(
                check(&certificate.sealed(&theorem(&good, &property)), &claimed),
                Err(refused)
            );
        } else {
            assert_eq!(found, Err(refused), "{was}");
        }
    }
}

#[test]
fn a_large_certificate_is_accepted_and_a_sample_of_its_bytes_altered_is_not() {
    let mut text = "policy: box\nversion: 1\nrules:\n".to_owned();
    for rule in 0..120 {
        writeln!(text, "  - {{ name: r{rule}, agents: [any], effects: [write], where: {{ path: \"/w/p{rule}/**/*.rs\" }}, decision: autonomous }}").unwrap();
    }
    let set = set(&text);
    let only = "properties: [{ name: p, only: { agents: [any], effects: [write], decision: autonomous, within: { where: { path: { under: /w } } } } }]";
    let property = parse_properties(only).unwrap().remove(0);
    let claimed = theorem(&set, &property);
    let certificate = certify(&set, &property).unwrap().unwrap();
    assert!(check(&certificate, &claimed).is_ok());
    for number in 0..24 {
        let mut altered = certificate.clone();
        let at = (number * 7_919 + 53) % (certificate.len() - 32);
        altered[at] ^= 1;
        assert_eq!(check(&altered, &claimed), Err(Refused::Altered));
        let body = certificate.len() - 32;
        assert!(check(&sealed(altered[..body].to_vec()), &claimed).is_err(), "{at}");
    }
}

/// By hand, in release: `cargo test --release -p policy -- --ignored --nocapture`.
#[test]
#[ignore = "times, by hand"]
fn questions_about_thousands_of_patterns_are_answered_in_time() {
    let made = |globs: usize, more: &str, every: usize| {
        let mut text = "policy: box\nversion: 1\nrules:\n".to_owned();
        for rule in 0..globs {
            let decision = if rule % every == 1 { "approval" } else { "autonomous" };
            writeln!(text, "  - {{ name: r{rule}, agents: [any], effects: [write], where: {{ path: \"/workspace/p{rule}/**/*.rs\" }}, decision: {decision} }}").unwrap();
        }
        set(&(text + more))
    };
    let only = "properties: [{ name: p, only: { agents: [any], effects: [write], decision: autonomous, within: { where: { path: { under: /workspace } } } } }]";
    let property = parse_properties(only).unwrap().remove(0);
    let beyond = "  - { name: more, agents: [any], effects: [write], where: { path: \"/etc/**\" }, decision: autonomous }\n";
    for (globs, most_ms) in [(500, 500), (2_000, 2_000)] {
        let (inside, outside) = (made(globs, "", usize::MAX), made(globs, beyond, usize::MAX));
        let time = |what: &str, run: &mut dyn FnMut() -> usize| {
            let started = std::time::Instant::now();
            let found = run();
            let ms = started.elapsed().as_millis();
            println!("{what}-{globs}: {ms} ms ({found})");
            assert!(ms <= most_ms || what.starts_with("cert"), "{what}-{globs}: {ms} ms");
        };
        time("prove, holds", &mut || {
            usize::from(prove(&inside, &property).unwrap() == Verdict::Holds)
        });
        time("prove, fails", &mut || {
            usize::from(prove(&outside, &property).unwrap() == Verdict::Holds)
        });
        for every in [100, 2, usize::MAX] {
            let other = made(globs, beyond, every);
            time("diff", &mut || diff(&inside, &other).unwrap().changed().len());
        }
        let mut certificate = Vec::new();
        time("certify", &mut || {
            certificate = certify(&inside, &property).unwrap().unwrap();
            certificate.len()
        });
        let claimed = theorem(&inside, &property);
        time("certificate checked", &mut || check(&certificate, &claimed).unwrap().cases);
    }
}
