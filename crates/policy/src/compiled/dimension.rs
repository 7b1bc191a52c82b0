//! One thing that rules of a kind ask about: the agent, the capability, or a field of the effect. From its
//! value to its class.

use super::automaton::{Automaton, START, Step, TooMany};
use super::classes::{Classes, NONE};
use super::defect::{Defect, has};
use super::formula::Formula;
use crate::answer::{Call, CapabilityName};
use crate::glob::Glob;
use crate::region::under;
use crate::test::{Network, Test};
use contract::effect::{Effect, Field, Type, Value};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Capability,
    Agent,
    Field(Field),
}

impl Subject {
    /// The field, if it is one.
    pub(crate) const fn field(self) -> Option<Field> {
        match self {
            Self::Field(field) => Some(field),
            Self::Capability | Self::Agent => None,
        }
    }
}

/// A subject, its classes, and how a value's class is found.
#[derive(Debug)]
pub(crate) struct Dimension {
    pub(crate) subject: Subject,
    pub(crate) holding: Vec<Vec<u32>>,
    /// The rules that ask about it.
    pub(crate) tested: BTreeSet<u32>,
    pub(crate) lookup: Lookup,
    /// Of text: the patterns that rules name, each once.
    pub(crate) patterns: Vec<Vec<Step>>,
    /// Of a host: the addresses with colons that rules name, which are no labels.
    pub(crate) exact: Vec<String>,
}

/// How a value's class is found.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The class of each state.
    Text(Box<Automaton>, Vec<u32>),
    /// From each number on the class, the first from 0 on.
    Numbers(Vec<(u64, u32)>),
    /// From each address on the class, by family, and the class of what is no address.
    Addresses(Vec<(Place, u32)>, u32),
    /// By name: the class of versions that no rule names, and of those that one does.
    Capabilities(HashMap<String, (u32, HashMap<u32, u32>)>),
}

/// An address in the order of both families.
pub(crate) type Place = (bool, u128);

/// Atoms of one kind, numbered as they are first named.
struct Atoms<T> {
    numbers: HashMap<T, u32>,
    all: Vec<T>,
}

impl<T: Clone + Eq + Hash> Atoms<T> {
    fn new() -> Self {
        Self { numbers: HashMap::new(), all: Vec::new() }
    }

    fn number(&mut self, atom: T) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(atom.clone()).or_insert(next);
        if number == next {
            self.all.push(atom);
        }
        number
    }
}

/// The formula of a test, `any` being what it says of single values.
fn formula(test: &Test, any: &mut impl FnMut(&Test) -> Vec<u32>) -> Formula {
    match test {
        Test::All(tests) => Formula::All(tests.iter().map(|test| formula(test, any)).collect()),
        Test::Not(test) => Formula::Not(Box::new(formula(test, any))),
        Test::OneOf(_) | Test::Hosts(_) | Test::Under(_) | Test::Numbers(_) | Test::Networks(_) => {
            Formula::Any(any(test))
        }
    }
}

/// A host's name: one of those behind `*.` has one or more labels before the rest.
fn host(text: &str) -> Vec<Step> {
    let bytes = |text: &str| text.bytes().map(Step::Byte).collect::<Vec<Step>>();
    match text.strip_prefix("*.") {
        Some(rest) => [vec![Step::One, Step::Across, Step::Byte(b'.')], bytes(rest)].concat(),
        None => bytes(text),
    }
}

/// What a test on text names.
fn patterns(test: &Test) -> Vec<Vec<Step>> {
    match test {
        Test::OneOf(globs) => globs.iter().map(Glob::steps).collect(),
        Test::Under(roots) => roots.iter().flat_map(under).map(|glob| glob.steps()).collect(),
        Test::Hosts(hosts) => hosts.iter().map(|name| host(name)).collect(),
        Test::Numbers(_) | Test::Networks(_) | Test::All(_) | Test::Not(_) => Vec::new(),
    }
}

/// The addresses with colons that a test names as hosts.
fn addresses(test: &Test, found: &mut Vec<String>) {
    match test {
        Test::Hosts(hosts) => found.extend(hosts.iter().filter(|host| host.contains(':')).cloned()),
        Test::All(tests) => tests.iter().for_each(|test| addresses(test, found)),
        Test::Not(test) => addresses(test, found),
        Test::OneOf(_) | Test::Under(_) | Test::Numbers(_) | Test::Networks(_) => {}
    }
}

/// Rules that need too many states, of one subject.
#[derive(Debug)]
pub(crate) struct TooManyOf(pub(crate) Subject, pub(crate) Vec<u32>);

impl Dimension {
    /// Of a field, for the rules that test it.
    pub(crate) fn of_field(field: Field, tests: &[(u32, &Test)]) -> Result<Self, TooManyOf> {
        match field.ty() {
            Type::Number => Ok(Self::of_numbers(field, tests)),
            Type::Address => Ok(Self::of_addresses(field, tests)),
            Type::Path | Type::Text | Type::Host | Type::List => {
                Self::of_text(Subject::Field(field), tests)
            }
        }
    }

    /// Of text, for the rules that test it.
    pub(crate) fn of_text(subject: Subject, tests: &[(u32, &Test)]) -> Result<Self, TooManyOf> {
        let mut atoms = Atoms::new();
        let mut any = |test: &Test| -> Vec<u32> {
            patterns(test).into_iter().map(|pattern| atoms.number(pattern)).collect()
        };
        let tested: Vec<(u32, Formula)> =
            tests.iter().map(|(rule, test)| (*rule, formula(test, &mut any))).collect();
        let named = |TooMany(patterns): TooMany| {
            let names = |formula: &Formula| {
                formula.atoms().iter().any(|atom| patterns.binary_search(atom).is_ok())
            };
            let rules = tested.iter().filter(|(_, formula)| names(formula));
            TooManyOf(subject, rules.map(|(rule, _)| *rule).collect())
        };
        let automaton = Automaton::new(&atoms.all).map_err(named)?;
        let mut classes = Classes::new(tested, atoms.all.len());
        let of_states = automaton.matching().iter().map(|atoms| classes.class(atoms)).collect();
        let mut dimension =
            Self::new(subject, classes, Lookup::Text(Box::new(automaton), of_states));
        dimension.patterns = atoms.all;
        tests.iter().for_each(|(_, test)| addresses(test, &mut dimension.exact));
        Ok(dimension)
    }

    fn of_numbers(field: Field, tests: &[(u32, &Test)]) -> Self {
        let mut atoms: Atoms<(u64, u64)> = Atoms::new();
        let mut any = |test: &Test| match test {
            Test::Numbers(ranges) => ranges.iter().map(|range| atoms.number(*range)).collect(),
            _ => Vec::new(),
        };
        let tested = tests.iter().map(|(rule, test)| (*rule, formula(test, &mut any))).collect();
        let mut classes = Classes::new(tested, atoms.all.len());
        let ends = atoms.all.iter().flat_map(|(low, high)| [Some(*low), high.checked_add(1)]);
        let cuts: BTreeSet<u64> = ends.flatten().chain([0]).collect();
        let holds = |at: &u64, (low, high): &(u64, u64)| {
            (low..=high).contains(&at) && !(has(Defect::Ends) && low < high && at == low)
        };
        let within = |at: &u64| holding(&atoms.all, |range| holds(at, range));
        let lookup = cuts.iter().map(|at| (*at, classes.class(&within(at)))).collect();
        Self::new(Subject::Field(field), classes, Lookup::Numbers(lookup))
    }

    fn of_addresses(field: Field, tests: &[(u32, &Test)]) -> Self {
        let mut atoms: Atoms<(Place, Place)> = Atoms::new();
        let mut any = |test: &Test| match test {
            Test::Networks(networks) => {
                networks.iter().map(|network| atoms.number(ends(*network))).collect()
            }
            _ => Vec::new(),
        };
        let tested = tests.iter().map(|(rule, test)| (*rule, formula(test, &mut any))).collect();
        let mut classes = Classes::new(tested, atoms.all.len());
        let mut cuts: BTreeSet<Place> = BTreeSet::from([(false, 0), (true, 0)]);
        for ((family, low), (_, high)) in &atoms.all {
            cuts.insert((*family, *low));
            cuts.extend(high.checked_add(1).map(|behind| (*family, behind)));
        }
        let within = |at: &Place| holding(&atoms.all, |(low, high)| (low..=high).contains(&at));
        let lookup = cuts.iter().map(|at| (*at, classes.class(&within(at)))).collect();
        let no_address = classes.class(&[]);
        Self::new(Subject::Field(field), classes, Lookup::Addresses(lookup, no_address))
    }

    /// Of the capability, for the rules that name some.
    pub(crate) fn of_capabilities(tests: &[(u32, &[CapabilityName])]) -> Self {
        let mut atoms: Atoms<CapabilityName> = Atoms::new();
        let mut any = |names: &[CapabilityName]| -> Vec<u32> {
            names.iter().map(|name| atoms.number(name.clone())).collect()
        };
        let tested: Vec<(u32, Formula)> =
            tests.iter().map(|(rule, names)| (*rule, Formula::Any(any(names)))).collect();
        let mut classes = Classes::new(tested, atoms.all.len());
        let mut by_name: HashMap<String, Vec<(u32, Option<u32>)>> = HashMap::new();
        for (atom, name) in (0..).zip(&atoms.all) {
            by_name.entry(name.name().to_owned()).or_default().push((atom, name.version()));
        }
        let mut lookup = HashMap::new();
        for (name, atoms) in by_name {
            let mut of = |version: Option<u32>| {
                let matching = |(_, of): &&(u32, Option<u32>)| of.is_none() || *of == version;
                let matching = atoms.iter().filter(matching).map(|(atom, _)| *atom);
                classes.class(&matching.collect::<Vec<u32>>())
            };
            let others = of(None);
            let versions = atoms.iter().filter_map(|(_, version)| *version);
            let versions = versions.map(|version| (version, of(Some(version)))).collect();
            lookup.insert(name, (others, versions));
        }
        Self::new(Subject::Capability, classes, Lookup::Capabilities(lookup))
    }

    fn new(subject: Subject, classes: Classes, lookup: Lookup) -> Self {
        let tested = classes.tested().collect();
        Self {
            subject,
            holding: classes.holding,
            tested,
            lookup,
            patterns: Vec::new(),
            exact: Vec::new(),
        }
    }

    /// The class of what a call and its effect have; `None` where the value is not of its field's type.
    pub(crate) fn class(&self, call: &Call<'_>, effect: &Effect) -> Option<u32> {
        match self.subject {
            Subject::Agent => self.of_text_value(call.agent),
            Subject::Capability => self.of_capability(call.capability, call.version),
            Subject::Field(field) => match effect.get(field) {
                None => Some(NONE),
                Some(value) => self.of_value(field, value),
            },
        }
    }

    /// The class of a capability.
    pub(crate) fn of_capability(&self, name: &str, version: u32) -> Option<u32> {
        let Lookup::Capabilities(by_name) = &self.lookup else { return None };
        Some(by_name.get(name).map_or(NONE, |(others, versions)| {
            let version = versions.get(&version).filter(|_| !has(Defect::Versions));
            *version.unwrap_or(others)
        }))
    }

    /// The class of a value of a field.
    pub(crate) fn of_value(&self, field: Field, value: &Value) -> Option<u32> {
        match (field.ty(), &self.lookup, value) {
            (Type::Path, Lookup::Text(..), Value::Path(path)) => self.of_text_value(path.as_str()),
            (Type::Text | Type::Host, Lookup::Text(..), Value::Text(text)) => {
                self.of_text_value(text)
            }
            (_, Lookup::Numbers(cuts), Value::Number(number)) => {
                let behind = cuts.partition_point(|(from, _)| from <= number);
                cuts.get(behind.checked_sub(1)?).map(|(_, class)| *class)
            }
            (_, Lookup::Addresses(cuts, no_address), Value::Text(text)) => {
                let Ok(address) = text.parse() else { return Some(*no_address) };
                let place = place(address);
                let behind = cuts.partition_point(|(from, _)| *from <= place);
                cuts.get(behind.checked_sub(1)?).map(|(_, class)| *class)
            }
            _ => None,
        }
    }

    /// The class of text.
    pub(crate) fn of_text_value(&self, text: &str) -> Option<u32> {
        let Lookup::Text(automaton, classes) = &self.lookup else { return None };
        classes.get(usize::try_from(automaton.after(START, text)).ok()?).copied()
    }
}

/// The numbers of the atoms that hold.
fn holding<T>(atoms: &[T], holds: impl Fn(&T) -> bool) -> Vec<u32> {
    (0..).zip(atoms).filter(|(_, atom)| holds(atom)).map(|(number, _)| number).collect()
}

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => (false, u128::from(u32::from(address)) << 96),
        IpAddr::V6(address) => (true, u128::from(address)),
    }
}

/// The first and the last address of a network.
fn ends(network: Network) -> (Place, Place) {
    let (family, low) = place(network.address());
    ((family, low), (family, low | !network.mask()))
}
