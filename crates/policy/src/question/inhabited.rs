//! Which classes of a dimension some canonical value is of, each with a value that reads well.

use super::defect::{Defect, has};
use super::text::{Form, Search};
use crate::compiled::classes::NONE;
use crate::compiled::dimension::{Dimension, Lookup, Place, Subject};
use contract::effect::{Field, Kind, Type, Value};
use contract::path::CanonicalPath;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Highest port (RFC 9293).
const PORT_MAX: u64 = 65_535;
/// What a field that is absent costs, beside the length of a value: an example has all that it can have.
const ABSENT: usize = 10_000;
/// Addresses in place of IPv4's, which are none of their own (RFC 4291): their canonical form is IPv4.
const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

/// A value of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sample {
    Agent(String),
    Capability(String, u32),
    Present(Value),
    /// The effect lacks the field.
    Absent,
}

/// Classes that are inhabited.
#[derive(Debug, Clone)]
pub(super) struct Inhabited {
    /// What each costs, and a value.
    samples: BTreeMap<u32, (usize, Sample)>,
    /// The cheapest first.
    order: Vec<u32>,
}

/// A value that a reader has seen before, for a field that nothing is asked of.
pub(super) fn usual(field: Field) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    match field {
        Field::Path => CanonicalPath::parse("a").map_or_else(|_error| text(""), Value::Path),
        Field::Bytes => Value::Number(1),
        Field::Port => Value::Number(443),
        Field::Argv => Value::List(Vec::new()),
        Field::Roots => Value::List(vec![contract::path::WORKSPACE.to_owned()]),
        Field::Host => text("host.example"),
        Field::Address => text("203.0.113.1"),
        Field::Method => text("GET"),
        Field::UrlPath => text("/"),
        Field::Ref => text("refs/heads/a"),
        Field::Program => text("python3"),
        Field::Digest | Field::Old | Field::New => text(&"0".repeat(64)),
        Field::Subject | Field::Name | Field::Repository | Field::To => text("a"),
    }
}

/// A capability that often has effects of this kind.
pub(super) const fn usual_capability(kind: Kind) -> &'static str {
    match kind {
        Kind::Observe => "agent.whoami",
        Kind::Read => "filesystem.read",
        Kind::Write => "filesystem.write",
        Kind::Delete => "filesystem.delete",
        Kind::Run => "process.run",
        Kind::Code => "process.run_code",
        Kind::Connect | Kind::Resolve => "network.http_request",
        Kind::Secret => "secrets.read",
        Kind::Push => "git.push",
        Kind::Fetch => "git.fetch",
        Kind::Setting => "system.configure",
        Kind::Message => "message.send",
    }
}

impl Inhabited {
    /// Of a dimension; of a field, `kind` being the effect's, which may have it or not.
    pub(super) fn of(dimension: &Dimension, kind: Option<Kind>) -> Self {
        let mut found = Self { samples: BTreeMap::new(), order: Vec::new() };
        let absent = |field: Field| kind.is_some_and(|kind| !kind.fields().contains(&field));
        match (dimension.subject, &dimension.lookup) {
            (Subject::Field(field), _) if absent(field) => {}
            (Subject::Field(field), Lookup::Numbers(cuts)) => found.numbers(field, cuts),
            (Subject::Field(_), Lookup::Addresses(cuts, _)) => found.addresses(cuts),
            (_, Lookup::Capabilities(by_name)) => found.capabilities(kind, by_name),
            (_, Lookup::Text(..)) => found.text(dimension),
            (Subject::Agent | Subject::Capability, Lookup::Numbers(_) | Lookup::Addresses(..)) => {}
        }
        if let (Subject::Field(field), Some(_)) = (dimension.subject, kind) {
            let usual = dimension.of_value(field, &usual(field));
            if let Some(sample) = usual.and_then(|class| found.samples.get_mut(&class)) {
                *sample = (sample.0, Sample::Present(self::usual(field)));
            }
            if !has(Defect::Absent) || absent(field) {
                found.add(NONE, ABSENT, || Sample::Absent);
            }
        }
        found.order = found.samples.keys().copied().collect();
        found.order.sort_by_key(|class| found.samples.get(class).map(|(cost, _)| *cost));
        found
    }

    /// This class alone, by this value.
    pub(super) fn only(class: u32, sample: Sample) -> Self {
        Self { samples: BTreeMap::from([(class, (0, sample))]), order: vec![class] }
    }

    /// The values of a field that is there.
    pub(super) fn present(mut self) -> Self {
        self.samples.retain(|_, (_, sample)| *sample != Sample::Absent);
        self.order.retain(|class| self.samples.contains_key(class));
        self
    }

    /// The first of a class stays.
    fn add(&mut self, class: u32, cost: usize, sample: impl FnOnce() -> Sample) {
        self.samples.entry(class).or_insert_with(|| (cost, sample()));
    }

    fn numbers(&mut self, field: Field, cuts: &[(u64, u32)]) {
        let most = if field == Field::Port { PORT_MAX } else { u64::MAX };
        for (from, class) in cuts.iter().filter(|(from, _)| *from <= most) {
            self.add(*class, from.to_string().len(), || Sample::Present(Value::Number(*from)));
        }
    }

    fn addresses(&mut self, cuts: &[(Place, u32)]) {
        for (index, (from, class)) in cuts.iter().enumerate() {
            let behind = cuts.get(index + 1).map(|(place, _)| *place);
            if let Some(address) = first_address(*from, behind) {
                let text = address.to_string();
                self.add(*class, text.len(), || Sample::Present(Value::Text(text)));
            }
        }
    }

    fn capabilities(
        &mut self,
        kind: Option<Kind>,
        by_name: &HashMap<String, (u32, HashMap<u32, u32>)>,
    ) {
        let usual = kind.map_or("any.capability", usual_capability);
        let mut free = usual.to_owned();
        while by_name.contains_key(&free) {
            free.push_str("_other");
        }
        self.add(NONE, 0, || Sample::Capability(free, 1));
        let mut names: Vec<_> = by_name.iter().collect();
        names.sort_by_key(|(name, _)| (*name != usual, *name));
        for (name, (others, versions)) in names {
            let mut unnamed = (1..=u32::MAX).filter(|version| !versions.contains_key(version));
            if let Some(version) = unnamed.next() {
                let cost = 1 + version.to_string().len();
                self.add(*others, cost, || Sample::Capability(name.clone(), version));
            }
            let mut versions: Vec<_> = versions.iter().collect();
            versions.sort_unstable();
            for (version, class) in versions {
                let cost = 1 + version.to_string().len();
                self.add(*class, cost, || Sample::Capability(name.clone(), *version));
            }
        }
    }

    fn text(&mut self, dimension: &Dimension) {
        let Lookup::Text(automaton, of_states) = &dimension.lookup else { return };
        let class = |state: u32| of_states.get(usize::try_from(state).ok()?).copied();
        let form = form(dimension.subject);
        let mut seen = vec![false; dimension.holding.len()];
        let mut missing = seen.len();
        let search = Search::new(automaton, form, |state| {
            let seen = class(state).and_then(|class| seen.get_mut(usize::try_from(class).ok()?));
            if let Some(seen) = seen.filter(|seen| !**seen) {
                *seen = true;
                missing -= 1;
            }
            missing == 0
        });
        let sample = |text: String| match (dimension.subject, form) {
            (Subject::Agent, _) => Some(Sample::Agent(text)),
            (_, Form::Path) => {
                CanonicalPath::parse(&text).ok().map(|p| Sample::Present(Value::Path(p)))
            }
            (_, Form::Host | Form::Agent | Form::Any) => Some(Sample::Present(Value::Text(text))),
        };
        let mut empty = None;
        for (index, node) in search.ends() {
            let Some(class) = class(node.state) else { continue };
            if index == 0 {
                empty = Some(class);
            } else if !self.samples.contains_key(&class)
                && let Some(sample) = sample(search.text(index))
            {
                let cost = cost(&sample);
                self.add(class, cost, || sample);
            }
        }
        if let Some(class) = empty {
            self.add(class, 1, || Sample::Present(Value::Text(String::new())));
        }
        if form == Form::Host {
            for host in dimension.exact.iter().filter(|host| is_ipv6(host)) {
                if let Some(class) = dimension.of_text_value(host) {
                    self.add(class, host.len(), || Sample::Present(Value::Text(host.clone())));
                }
            }
        }
    }

    /// The classes, the cheapest first.
    pub(super) fn classes(&self) -> &[u32] {
        &self.order
    }

    /// What a class costs, if it is inhabited.
    pub(super) fn cost(&self, class: u32) -> Option<usize> {
        self.samples.get(&class).map(|(cost, _)| *cost)
    }

    /// A value of a class.
    pub(super) fn sample(&self, class: u32) -> Option<&Sample> {
        self.samples.get(&class).map(|(_, sample)| sample)
    }

    /// Whether a rule holds of some value.
    pub(super) fn some_hold(&self, dimension: &Dimension, rule: u32) -> bool {
        let holds = |class: &u32| {
            let holding = usize::try_from(*class).ok().and_then(|at| dimension.holding.get(at));
            holding.is_some_and(|rules| rules.binary_search(&rule).is_ok())
        };
        self.samples.keys().any(holds)
    }
}

fn cost(sample: &Sample) -> usize {
    match sample {
        Sample::Agent(text) | Sample::Present(Value::Text(text)) => text.len(),
        Sample::Present(Value::Path(path)) => path.as_str().len(),
        Sample::Capability(..) | Sample::Present(Value::Number(_) | Value::List(_)) => 1,
        Sample::Absent => ABSENT,
    }
}

/// The form of a subject's text.
pub(super) fn form(subject: Subject) -> Form {
    match subject {
        Subject::Agent => Form::Agent,
        Subject::Field(field) => match field.ty() {
            Type::Path => Form::Path,
            Type::Host => Form::Host,
            Type::Address | Type::Number | Type::Text | Type::List => Form::Any,
        },
        Subject::Capability => Form::Any,
    }
}

/// Whether it is an IPv6 address in its canonical form.
fn is_ipv6(text: &str) -> bool {
    let address: Result<Ipv6Addr, _> = text.parse();
    address.is_ok_and(|address| address.to_string() == text && address.to_ipv4_mapped().is_none())
}

/// The first address from a place on that is one of its own, before another place.
fn first_address((is_v6, from): Place, behind: Option<Place>) -> Option<IpAddr> {
    let before = |at: u128| behind.is_none_or(|(family, number)| family != is_v6 || at < number);
    if !is_v6 {
        return u32::try_from(from >> 96).ok().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    }
    let (low, high) = MAPPED;
    let at = if (low..=high).contains(&from) { high + 1 } else { from };
    before(at).then_some(IpAddr::V6(Ipv6Addr::from(at)))
}
