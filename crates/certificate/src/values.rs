//! Which rules can hold of one value together, for each thing that rules ask about.

use crate::Refused;
use crate::form::{Form, START, Spot};
use crate::pattern::{Formula, Patterns};
use crate::read::Reader;
use crate::theorem::{Asked, Name, Test, has_field};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Highest port.
const PORT_MAX: u64 = 65_535;
/// Bytes that a form treats as no other, and first bytes of what UTF-8 tells apart.
const SPECIAL: [u8; 5] = [0, b'/', b'.', b'-', b'_'];
const RANGES: [u8; 14] =
    [0, 0x80, 0x90, 0xa0, 0xc0, 0xc2, 0xe0, 0xe1, 0xed, 0xee, 0xf0, 0xf1, 0xf4, 0xf5];

/// What rules can hold of one value, of everything that one thing can be.
#[derive(Debug)]
pub(crate) struct Dimension {
    /// The rules that ask about it, by number.
    pub(crate) tested: BTreeSet<u32>,
    /// Of them those that hold together of some value.
    pub(crate) classes: BTreeSet<Vec<u32>>,
}

/// Of a subject of rules, for effects of a kind.
pub(crate) fn classes(
    subject: &str,
    kind: &str,
    rules: &[Asked],
    proof: &mut Reader<'_>,
) -> Result<Dimension, Refused> {
    let asks = |rule: &&Asked| rule.subjects().contains(&subject);
    let numbered = (0..).zip(rules).filter(|(_, rule)| asks(rule));
    let rules: Vec<(u32, &Asked)> = numbered.collect();
    let tested = rules.iter().map(|(number, _)| *number).collect();
    if subject == "capability" {
        return Ok(Dimension { tested, classes: capabilities(&rules) });
    }
    if subject == "agent" {
        let mut patterns = Patterns::default();
        let of = |(number, rule): &(u32, &Asked)| (*number, agent(&mut patterns, rule));
        let formulas: Vec<(u32, Formula)> = rules.iter().map(of).collect();
        let classes = text(Form::Agent, &patterns, &formulas, &[], proof)?;
        return Ok(Dimension { tested, classes });
    }
    let test =
        |rule: &Asked| rule.conditions.iter().find(|(of, _)| of == subject).map(|(_, t)| t.clone());
    let tests: Option<Vec<(u32, Test)>> =
        rules.iter().map(|(number, rule)| Some((*number, test(rule)?))).collect();
    let tests = tests.ok_or(Refused::Theorem)?;
    let mut classes = match subject {
        _ if !has_field(kind, subject) => BTreeSet::new(),
        "bytes" | "port" => numbers(subject, &tests).ok_or(Refused::Theorem)?,
        "address" => addresses(&tests).ok_or(Refused::Theorem)?,
        _ => {
            let form = match subject {
                "path" => Form::Path,
                "host" => Form::Host,
                _ => Form::Any,
            };
            let mut patterns = Patterns::default();
            let of = |(number, test): &(u32, Test)| Some((*number, patterns.formula(test)?));
            let formulas: Option<Vec<(u32, Formula)>> = tests.iter().map(of).collect();
            let formulas = formulas.ok_or(Refused::Theorem)?;
            let mut more = Vec::new();
            tests.iter().for_each(|(_, test)| hosts(test, &mut more));
            text(form, &patterns, &formulas, &more, proof)?
        }
    };
    // of a field that is absent no rule holds
    classes.insert(Vec::new());
    Ok(Dimension { tested, classes })
}

/// What a rule asks of the agent's name.
fn agent(patterns: &mut Patterns, rule: &Asked) -> Formula {
    let any = rule.agents.iter().any(|agent| agent == "any");
    let named = (!any).then(|| patterns.agents(&rule.agents));
    let of_layer = rule.of_agent.as_ref().map(|name| patterns.agent(name));
    Formula::All(named.into_iter().chain(of_layer).collect())
}

/// The rules that hold of a value.
fn holding<T>(rules: &[(u32, T)], holds: impl Fn(&T) -> bool) -> Vec<u32> {
    rules.iter().filter(|(_, of)| holds(of)).map(|(number, _)| *number).collect()
}

fn capabilities(rules: &[(u32, &Asked)]) -> BTreeSet<Vec<u32>> {
    let mut named: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (name, version) in rules.iter().flat_map(|(_, rule)| rule.capabilities.iter().flatten()) {
        named.entry(name).or_default().extend(version);
    }
    let matches = |(of, only): &Name, name: &str, version: u32| {
        of == name && only.is_none_or(|only| only == version)
    };
    let class = |name: &str, version: u32| {
        holding(rules, |rule| {
            rule.capabilities.iter().flatten().any(|of| matches(of, name, version))
        })
    };
    // one that nobody names
    let mut classes = BTreeSet::from([Vec::new()]);
    for (name, versions) in named {
        let other = (1..).find(|version| !versions.contains(version));
        classes.extend(versions.iter().copied().chain(other).map(|version| class(name, version)));
    }
    classes
}

/// The ends of every interval or network that a test names: what begins there or behind it.
fn cuts<T>(test: &Test, of: &mut impl FnMut(&Test) -> Option<Vec<T>>) -> Option<Vec<T>> {
    match test {
        Test::All(tests) => {
            let each: Option<Vec<Vec<T>>> = tests.iter().map(|test| cuts(test, of)).collect();
            Some(each?.into_iter().flatten().collect())
        }
        Test::Not(test) => cuts(test, of),
        leaf => of(leaf),
    }
}

/// Whether a test holds, `leaf` saying it of single values.
fn holds(test: &Test, leaf: &impl Fn(&Test) -> bool) -> bool {
    match test {
        Test::All(tests) => tests.iter().all(|test| holds(test, leaf)),
        Test::Not(test) => !holds(test, leaf),
        test => leaf(test),
    }
}

fn numbers(subject: &str, tests: &[(u32, Test)]) -> Option<BTreeSet<Vec<u32>>> {
    let most = if subject == "port" { PORT_MAX } else { u64::MAX };
    let mut points = BTreeSet::from([0]);
    for (_, test) in tests {
        points.extend(cuts(test, &mut |leaf| match leaf {
            Test::Numbers(ranges) => {
                let ends = |(low, high): &(u64, u64)| [Some(*low), high.checked_add(1)];
                Some(ranges.iter().flat_map(ends).flatten().collect())
            }
            _ => None,
        })?);
    }
    let class = |at: &u64| {
        let leaf = |leaf: &Test| match leaf {
            Test::Numbers(ranges) => ranges.iter().any(|(low, high)| low <= at && at <= high),
            _ => false,
        };
        holding(tests, |test| holds(test, &leaf))
    };
    Some(points.iter().filter(|at| **at <= most).map(class).collect())
}

/// A network: its family, the first and the last address as numbers.
fn network(text: &str) -> Option<(bool, u128, u128)> {
    let (address, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    let (is_v6, low, width) = match address.parse().ok()? {
        IpAddr::V4(address) => (false, u128::from(u32::from(address)), 32_u32),
        IpAddr::V6(address) => (true, u128::from(address), 128),
    };
    let free = width.checked_sub(bits)?;
    let size = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    Some((is_v6, low, low | size))
}

fn addresses(tests: &[(u32, Test)]) -> Option<BTreeSet<Vec<u32>>> {
    // an address in place of IPv4's is none of its own: its canonical form is IPv4
    let behind_mapped = u128::from(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff)) + 1;
    let is_own =
        |(is_v6, at): &(bool, u128)| !is_v6 || Ipv6Addr::from(*at).to_ipv4_mapped().is_none();
    let mut points = BTreeSet::from([(false, 0), (true, 0), (true, behind_mapped)]);
    for (_, test) in tests {
        points.extend(cuts(test, &mut |leaf| match leaf {
            Test::Networks(texts) => {
                let mut ends = Vec::new();
                for text in texts {
                    let (is_v6, low, high) = network(text)?;
                    let most =
                        if is_v6 { u128::MAX } else { u128::from(u32::from(Ipv4Addr::BROADCAST)) };
                    ends.push((is_v6, low));
                    ends.extend((high < most).then(|| (is_v6, high + 1)));
                }
                Some(ends)
            }
            _ => None,
        })?);
    }
    let class = |(is_v6, at): &(bool, u128)| {
        let leaf = |leaf: &Test| match leaf {
            Test::Networks(texts) => texts
                .iter()
                .filter_map(|text| network(text))
                .any(|(of_v6, low, high)| of_v6 == *is_v6 && low <= *at && *at <= high),
            _ => false,
        };
        holding(tests, |test| holds(test, &leaf))
    };
    Some(points.iter().filter(|point| is_own(point)).map(class).collect())
}

/// IPv6 addresses that are named as hosts, in their canonical form: what no label spells.
fn hosts(test: &Test, found: &mut Vec<String>) {
    match test {
        Test::Hosts(names) => {
            found.extend(
                names
                    .iter()
                    .filter(|name| {
                        let address: Result<Ipv6Addr, _> = name.parse();
                        address.is_ok_and(|of| {
                            of.to_string() == **name && of.to_ipv4_mapped().is_none()
                        })
                    })
                    .cloned(),
            );
        }
        Test::All(tests) => tests.iter().for_each(|test| hosts(test, found)),
        Test::Not(test) => hosts(test, found),
        Test::OneOf(_) | Test::Under(_) | Test::Numbers(_) | Test::Networks(_) => {}
    }
}

/// Bytes that stand for all: those that a pattern or form names, and of each range one that neither does.
fn alphabet(patterns: &Patterns) -> Vec<u8> {
    let named: Vec<bool> =
        (0..=255).map(|byte| SPECIAL.contains(&byte) || patterns.names(byte)).collect();
    let is_named = |byte: u8| named.get(usize::from(byte)).is_some_and(|named| *named);
    let range = |byte: u8| RANGES.partition_point(|first| *first <= byte);
    // within ASCII a form may admit some bytes and not others
    let sort = |byte: u8| (range(byte), matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let mut seen = BTreeSet::new();
    (0..=255).filter(|byte| is_named(*byte) || seen.insert(sort(*byte))).collect()
}

/// Checks that the listed nodes are closed under every byte, and gives the rules that hold where a text may end.
fn text(
    form: Form,
    patterns: &Patterns,
    rules: &[(u32, Formula)],
    more: &[String],
    proof: &mut Reader<'_>,
) -> Result<BTreeSet<Vec<u32>>, Refused> {
    let states = proof.list(Reader::rising).ok_or(Refused::Form)?;
    let by_label: HashMap<&[u32], usize> =
        states.iter().enumerate().map(|(number, label)| (label.as_slice(), number)).collect();
    let node = |reader: &mut Reader<'_>| {
        let state: usize = reader.small()?;
        let spot: Spot = (reader.small()?, reader.small()?, reader.small()?, reader.small()?);
        Some((state, spot))
    };
    let nodes = proof.list(node).ok_or(Refused::Form)?;
    if by_label.len() != states.len() || !nodes.is_sorted_by(|one, next| one < next) {
        return Err(Refused::Form);
    }
    let mut is_led_to = vec![false; nodes.len()];
    let mut find = |state: usize, spot: Spot| {
        let (part, character, run, total) = spot;
        if let Ok(exactly) = nodes.binary_search(&(state, spot)) {
            is_led_to.get_mut(exactly).into_iter().for_each(|it| *it = true);
            return true;
        }
        let from = nodes.partition_point(|node| *node < (state, (part, character, 0, 0)));
        let same = nodes
            .iter()
            .skip(from)
            .take_while(|(of, at)| *of == state && (at.0, at.1) == (part, character));
        let mut fewer = same.filter(|(_, at)| at.2 <= run && at.3 <= total);
        fewer.next().is_some()
    };
    let start = by_label.get(patterns.start().as_slice()).ok_or(Refused::Values)?;
    if !find(*start, START) {
        return Err(Refused::Values);
    }
    let alphabet = alphabet(patterns);
    let mut matched: BTreeSet<Vec<usize>> = BTreeSet::new();
    // nodes of one state are neighbours: what follows a byte is found once
    let mut behind: (Option<usize>, HashMap<u8, usize>) = (None, HashMap::new());
    for (state, spot) in &nodes {
        let label = states.get(*state).ok_or(Refused::Form)?;
        if form.ends(*spot) {
            matched.insert(patterns.matching(label));
        }
        if behind.0 != Some(*state) {
            behind = (Some(*state), HashMap::new());
        }
        for byte in &alphabet {
            let Some(after) = form.step(*spot, *byte) else { continue };
            let next = match behind.1.get(byte) {
                Some(next) => *next,
                None => {
                    *by_label.get(patterns.step(label, *byte).as_slice()).ok_or(Refused::Values)?
                }
            };
            behind.1.insert(*byte, next);
            if !find(next, after) {
                return Err(Refused::Values);
            }
        }
    }
    let used: BTreeSet<usize> = nodes.iter().map(|(state, _)| *state).collect();
    if is_led_to.contains(&false) || used.len() != states.len() {
        return Err(Refused::Surplus);
    }
    if form == Form::Host {
        matched.extend(more.iter().map(|name| {
            let at = name.bytes().fold(patterns.start(), |at, byte| patterns.step(&at, byte));
            patterns.matching(&at)
        }));
    }
    Ok(matched.iter().map(|matching| holding(rules, |formula| formula.holds(matching))).collect())
}
