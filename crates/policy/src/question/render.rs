//! What classes have in common, in the words of a rule: of numbers, addresses and capabilities as they are, of
//! text as the fewest conditions of rules that tell these classes from the others.

use super::inhabited::{Inhabited, Sample};
use super::product::Product;
use super::space::{Space, at};
use crate::answer::{Because, Decided};
use crate::compiled::dimension::{Dimension, Lookup, Place, Subject};
use crate::compiled::predicate::Predicate;
use crate::glob::Glob;
use crate::test::Test;
use contract::effect::{Field, visible};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most conditions or values that are written of one thing.
const TOLD_MAX: usize = 8;
/// Units of bytes as policies write them, the greatest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// An answer with its reasons, in one line.
pub(super) struct Why<'a>(pub(super) &'a Decided);

impl Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.answer)?;
        for (number, because) in self.0.because.iter().enumerate() {
            f.write_str(if number == 0 { " by " } else { ", " })?;
            match because {
                Because::Rule { layer, name, exhausted, .. } => {
                    let over = if *exhausted { " (its limit is used up)" } else { "" };
                    write!(f, "{layer}/{name}{over}")?;
                }
                Because::Otherwise => f.write_str("otherwise")?,
                Because::NoEffect | Because::CouldNotDecide => f.write_str("the engine itself")?,
            }
        }
        Ok(())
    }
}

/// Sets of classes, one for each dimension, in words.
pub(super) fn product(
    space: &Space,
    predicates: &[Predicate<'_>],
    classes: &[BTreeSet<u32>],
) -> Product {
    let mut product = Product { agents: None, capabilities: None, fields: Vec::new() };
    for ((dimension, inhabited), classes) in
        space.dimensions.iter().zip(&space.all.inhabited).zip(classes)
    {
        let all = inhabited.classes();
        if all.iter().all(|class| classes.contains(class)) {
            continue;
        }
        let said = said(dimension, inhabited, predicates, classes);
        match dimension.subject {
            Subject::Agent => product.agents = Some(said),
            Subject::Capability => product.capabilities = Some(said),
            Subject::Field(field) => product.fields.push((field, said)),
        }
    }
    product
}

/// Some of the classes of a dimension.
pub(super) fn said(
    dimension: &Dimension,
    inhabited: &Inhabited,
    predicates: &[Predicate<'_>],
    classes: &BTreeSet<u32>,
) -> String {
    let is_absent = |class: &&u32| inhabited.sample(**class) == Some(&Sample::Absent);
    let of_present = |set: &mut dyn Iterator<Item = &u32>| -> BTreeSet<u32> {
        set.filter(|class| !is_absent(class)).copied().collect()
    };
    let present = of_present(&mut classes.iter());
    let all = of_present(&mut inhabited.classes().iter());
    let may_lack = classes.contains(&0) && dimension.subject.field().is_some();
    let can_lack = dimension.subject.field().is_some();
    let value = if present.is_empty() {
        return "absent".to_owned();
    } else if present == all {
        "present".to_owned()
    } else {
        match &dimension.lookup {
            Lookup::Numbers(cuts) => numbers(dimension.subject, cuts, &present),
            Lookup::Addresses(cuts, _) => addresses(cuts, &present),
            Lookup::Capabilities(by_name) => capabilities(by_name, &present),
            Lookup::Text(..) => text(dimension, predicates, &present, &all),
        }
    };
    if can_lack && may_lack { format!("{value} or absent") } else { value }
}

fn list(mut items: Vec<String>) -> String {
    if items.len() == 1 {
        return items.remove(0);
    }
    let more = items.len().saturating_sub(TOLD_MAX);
    items.truncate(TOLD_MAX);
    if more > 0 {
        items.push(format!("… {more} more"));
    }
    format!("[{}]", items.join(", "))
}

pub(super) fn number(subject: Subject, number: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| number >= *unit && number.is_multiple_of(*unit));
    match unit.filter(|_| subject == Subject::Field(Field::Bytes)) {
        Some((name, unit)) => format!("{}{name}", number / unit),
        None => number.to_string(),
    }
}

/// The ranges of these classes, neighbours as one.
fn ranges<T: Copy + Ord>(cuts: &[(T, u32)], classes: &BTreeSet<u32>) -> Vec<(T, Option<T>)> {
    let mut ranges: Vec<(T, Option<T>)> = Vec::new();
    for (index, (from, class)) in cuts.iter().enumerate() {
        let behind = cuts.get(index + 1).map(|(from, _)| *from);
        if !classes.contains(class) {
            continue;
        }
        match ranges.last_mut().filter(|(_, end)| *end == Some(*from)) {
            Some((_, end)) => *end = behind,
            None => ranges.push((*from, behind)),
        }
    }
    ranges
}

fn numbers(subject: Subject, cuts: &[(u64, u32)], classes: &BTreeSet<u32>) -> String {
    let each = ranges(cuts, classes).into_iter().map(|(low, behind)| {
        let low_is_least = low == 0;
        match behind.and_then(|behind| behind.checked_sub(1)) {
            Some(high) if high == low => number(subject, low),
            Some(high) if low_is_least => format!("{{ max: {} }}", number(subject, high)),
            Some(high) => {
                format!("{{ min: {}, max: {} }}", number(subject, low), number(subject, high))
            }
            None => format!("{{ min: {} }}", number(subject, low)),
        }
    });
    let each: Vec<String> = each.collect();
    each.join(" or ")
}

fn addresses(cuts: &[(Place, u32)], classes: &BTreeSet<u32>) -> String {
    let networks = |wanted: bool| {
        let all: BTreeSet<u32> = cuts.iter().map(|(_, class)| *class).collect();
        let chosen: BTreeSet<u32> =
            all.into_iter().filter(|class| classes.contains(class) == wanted).collect();
        let mut found = Vec::new();
        // the families are apart, however near their ends are
        for family in [false, true] {
            let of: Vec<(u128, u32)> = cuts
                .iter()
                .filter(|((is_v6, _), _)| *is_v6 == family)
                .map(|((_, number), class)| (*number, *class))
                .collect();
            for (low, behind) in ranges(&of, &chosen) {
                networks_of(family, low, behind, &mut found);
            }
        }
        found
    };
    let (chosen, others) = (networks(true), networks(false));
    if others.len() < chosen.len() { format!("{{ not: {} }}", list(others)) } else { list(chosen) }
}

/// The networks of a range, the largest that fit.
fn networks_of(is_v6: bool, mut low: u128, behind: Option<u128>, found: &mut Vec<String>) {
    let width: u32 = if is_v6 { 128 } else { 32 };
    loop {
        // how many low bits may be free: aligned, and not beyond the end
        let mut free = low.trailing_zeros().min(128);
        let fits = |free: u32| match (behind, 1_u128.checked_shl(free)) {
            (Some(behind), Some(size)) => behind - low >= size,
            (Some(_), None) => false,
            (None, Some(size)) => u128::MAX - low >= size - 1,
            (None, None) => low == 0,
        };
        while free > 0 && !fits(free) {
            free -= 1;
        }
        let address = if is_v6 {
            Some(IpAddr::V6(Ipv6Addr::from(low)))
        } else {
            u32::try_from(low >> 96).ok().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)))
        };
        let bits = 128 - free;
        found.extend(address.map(|address| {
            if bits >= width { address.to_string() } else { format!("{address}/{bits}") }
        }));
        let next = 1_u128.checked_shl(free).and_then(|size| low.checked_add(size));
        match next.filter(|next| behind.is_none_or(|behind| *next < behind)) {
            Some(next) => low = next,
            None => return,
        }
    }
}

fn capabilities(
    by_name: &HashMap<String, (u32, HashMap<u32, u32>)>,
    classes: &BTreeSet<u32>,
) -> String {
    let names: BTreeMap<_, _> = by_name.iter().collect();
    // where those that nobody names are among them, the others are told
    let wanted = !classes.contains(&0);
    let mut told = Vec::new();
    for (name, (others, versions)) in names {
        let versions: BTreeMap<_, _> = versions.iter().collect();
        let is = |class: &u32| classes.contains(class) == wanted;
        let same = versions.values().all(|class| is(class) == is(others));
        if is(others) && same {
            told.push(name.clone());
        } else if is(others) {
            let but = versions.iter().filter(|(_, class)| !is(class));
            let but: Vec<String> = but.map(|(version, _)| format!("@{version}")).collect();
            told.push(format!("{name} but {}", but.join(" and ")));
        } else {
            let some = versions.iter().filter(|(_, class)| is(class));
            told.extend(some.map(|(version, _)| format!("{name}@{version}")));
        }
    }
    if wanted { list(told) } else { format!("{{ not: {} }}", list(told)) }
}

/// Conditions of rules that hold together, and those that do not.
struct Term {
    holds: Vec<u32>,
    not: Vec<u32>,
}

/// The classes of text in the words of rules.
fn text(
    dimension: &Dimension,
    predicates: &[Predicate<'_>],
    classes: &BTreeSet<u32>,
    all: &BTreeSet<u32>,
) -> String {
    let others: BTreeSet<u32> = all.difference(classes).copied().collect();
    let is_rest = classes.contains(&0) && all.contains(&0);
    let (wanted, unwanted) = if is_rest { (&others, classes) } else { (classes, &others) };
    let terms = cover(dimension, wanted, unwanted);
    let test = |rule: &u32| -> Option<String> {
        let predicate = predicates.get(at(*rule))?;
        let test = match dimension.subject {
            Subject::Agent => predicate.agent.as_ref(),
            Subject::Field(field) => {
                predicate.conditions.iter().find(|(of, _)| *of == field).map(|(_, test)| test)
            }
            Subject::Capability => None,
        };
        test.map(|test| written(test, dimension.subject))
    };
    let distinct = |rules: &[u32]| -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for said in rules.iter().filter_map(test) {
            if !all.contains(&said) {
                all.push(said);
            }
        }
        all
    };
    let mut said: Vec<String> = terms
        .iter()
        .map(|term| {
            let not = distinct(&term.not);
            let not = (!not.is_empty()).then(|| format!("not {}", list(not)));
            let holds = distinct(&term.holds);
            holds.into_iter().chain(not).collect::<Vec<String>>().join(" and ")
        })
        .collect();
    said.dedup();
    let more = said.len().saturating_sub(TOLD_MAX);
    said.truncate(TOLD_MAX);
    if more > 0 {
        said.push(format!("… {more} more"));
    }
    let said = said.join(" or ");
    if is_rest { format!("{{ not: {said} }}") } else { said }
}

/// Terms of which one holds of each wanted class and none of an unwanted one.
fn cover(dimension: &Dimension, wanted: &BTreeSet<u32>, unwanted: &BTreeSet<u32>) -> Vec<Term> {
    let holding = |class: u32| dimension.holding.get(at(class)).map_or(&[][..], Vec::as_slice);
    let mut uncovered = wanted.clone();
    let mut terms = Vec::new();
    while let Some(seed) = uncovered.first().copied() {
        let mut term = Term { holds: Vec::new(), not: Vec::new() };
        let (mut extra, mut kept) = (unwanted.clone(), uncovered.clone());
        while !extra.is_empty() {
            // what each rule would leave of both if it must hold, and if it must not
            let mut counts: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
            for class in &extra {
                holding(*class).iter().for_each(|rule| counts.entry(*rule).or_default().0 += 1);
            }
            for class in &kept {
                holding(*class).iter().for_each(|rule| counts.entry(*rule).or_default().1 += 1);
            }
            let count = |set: &BTreeSet<u32>| i64::try_from(set.len()).unwrap_or(i64::MAX);
            let (all_extra, all_kept) = (count(&extra), count(&kept));
            let of_seed = holding(seed);
            let best = counts.iter().map(|(rule, (of_extra, of_kept))| {
                let must_hold = of_seed.binary_search(rule).is_ok();
                let (removed, lost) = if must_hold {
                    (all_extra - of_extra, all_kept - of_kept)
                } else {
                    (*of_extra, *of_kept)
                };
                (removed - lost, removed, must_hold, *rule)
            });
            let best = best.filter(|(_, removed, ..)| *removed > 0).max();
            let Some((_, _, must_hold, rule)) = best else { break };
            let keeps = |class: &u32| holding(*class).binary_search(&rule).is_ok() == must_hold;
            extra.retain(keeps);
            kept.retain(keeps);
            if must_hold { term.holds.push(rule) } else { term.not.push(rule) }
        }
        uncovered.retain(|class| *class != seed && !kept.contains(class));
        terms.push(term);
    }
    terms
}

/// A word as YAML takes it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("\"{}\"", visible(text).replace('"', "\\\""))
    }
}

fn words<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    list(texts.map(word).collect())
}

/// A test as a rule writes it.
pub(super) fn written(test: &Test, of: Subject) -> String {
    let pairs = pairs(test, of);
    match pairs.as_slice() {
        [(None, said)] => said.clone(),
        _ => {
            let each = pairs.iter().map(|(key, said)| match key {
                Some(key) => format!("{key}: {said}"),
                None => format!("in: {said}"),
            });
            format!("{{ {} }}", each.collect::<Vec<String>>().join(", "))
        }
    }
}

/// The keys of a test's map; of a plain value there is none.
fn pairs(test: &Test, of: Subject) -> Vec<(Option<&'static str>, String)> {
    let one = |key, said| vec![(key, said)];
    match test {
        Test::OneOf(globs) => one(None, words(globs.iter().map(Glob::as_str))),
        Test::Hosts(hosts) => one(None, words(hosts.iter().map(String::as_str))),
        Test::Under(roots) => one(Some("under"), words(roots.iter().map(|root| root.as_str()))),
        Test::Numbers(ranges) => match ranges.as_slice() {
            [(low, high)] if low < high => {
                let min = (*low > 0).then(|| (Some("min"), number(of, *low)));
                let max = (*high < u64::MAX).then(|| (Some("max"), number(of, *high)));
                let said: Vec<_> = min.into_iter().chain(max).collect();
                if said.is_empty() { one(Some("min"), "0".to_owned()) } else { said }
            }
            ranges => {
                let each = ranges.iter().map(|(low, high)| {
                    let (from, to) = (number(of, *low), number(of, *high));
                    if low == high { from } else { format!("{from}..={to}") }
                });
                one(None, list(each.collect()))
            }
        },
        Test::Networks(networks) => {
            one(None, list(networks.iter().map(ToString::to_string).collect()))
        }
        Test::All(tests) => tests.iter().flat_map(|test| pairs(test, of)).collect(),
        Test::Not(test) => one(Some("not"), written(test, of)),
    }
}
