//! What a checker that shares no code with this crate needs to see for itself that a property holds (crate
//! `certificate`, which also describes both forms): the *theorem*, which is the set and the property in a plain
//! form of bytes, and the *certificate*, which is a labelling that is closed under every step. Of each automaton the
//! sets of positions of patterns that a value can be at; of each diagram the sets of rules that can still hold.

use super::QuestionError;
use super::inhabited::form;
use super::property::{Claim, Property, Region};
use super::prove::{Query, Verdict, prove, queries, rules_of};
use super::space::Space;
use super::text::Search;
use crate::answer::{Answer, CapabilityName, LayerKind};
use crate::compiled::automaton::Automaton;
use crate::compiled::dimension::{Dimension, Lookup, Subject};
use crate::rule::AgentPattern;
use crate::set::{Layer, Set};
use crate::test::Test;
use contract::effect::{Field, Kind};
use sha2::{Digest, Sha256};

const THEOREM: &[u8] = b"kruxos theorem 1\n";
const CERTIFICATE: &[u8] = b"kruxos certificate 1\n";

/// Bytes, in a form that has one spelling for each meaning.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while let Some(rest) = Some(number >> 7).filter(|rest| *rest > 0) {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
            number = rest;
        }
        self.0.push(u8::try_from(number).unwrap_or(0x7f));
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut one: impl FnMut(&mut Self, T),
    ) {
        self.count(items.len());
        items.for_each(|item| one(self, item));
    }

    fn optional<T>(&mut self, item: Option<T>, one: impl FnOnce(&mut Self, T)) {
        self.count(usize::from(item.is_some()));
        if let Some(item) = item {
            one(self, item);
        }
    }

    /// Rising numbers, each as what it is more than the one before.
    fn rising(&mut self, numbers: &[u32]) {
        let mut last = 0;
        self.list(numbers.iter(), |out, number| {
            out.number(u64::from(number - last));
            last = *number;
        });
    }
}

/// The set and the property in a plain form: what a certificate is about. Whoever checks one makes this anew, from
/// the texts that they mean.
#[must_use]
pub fn theorem(set: &Set, property: &Property) -> Vec<u8> {
    let mut out = Bytes(THEOREM.to_vec());
    let layers: Vec<&Layer> = set.layers().collect();
    out.list(layers.iter(), |out, layer| {
        let (kind, name) = match &layer.kind {
            LayerKind::Box => (0, ""),
            LayerKind::System => (1, ""),
            LayerKind::Organisation(name) => (2, name.as_str()),
            LayerKind::Agent(name) => (3, name.as_str()),
        };
        out.count(kind);
        out.text(name);
        out.optional(layer.otherwise, answer);
        out.list(layer.rules.iter(), |out, rule| {
            out.text(&rule.name);
            let kinds: Vec<Kind> = rule.effects.iter().map(|kind| kind.0).collect();
            let capabilities = rule.capabilities.as_deref();
            asked(out, &rule.agents, capabilities, &kinds, &rule.conditions.0);
            answer(out, rule.decision);
            let over = rule.limits.as_ref().map(|limits| limits.over.unwrap_or(Answer::Blocked));
            out.optional(over, answer);
        });
    });
    out.text(&property.name);
    let (number, answers, within) = match &property.claim {
        Claim::Never(_, answers) => (0, answers, None),
        Claim::Always(_, answers) => (1, answers, None),
        Claim::Only(_, answers, within) => (2, answers, Some(within)),
    };
    out.count(number);
    region(&mut out, property.region());
    out.list(answers.all().iter(), |out, one| answer(out, *one));
    out.optional(within, region);
    out.0
}

fn answer(out: &mut Bytes, answer: Answer) {
    out.count(match answer {
        Answer::Autonomous => 0,
        Answer::Notify => 1,
        Answer::Approval => 2,
        Answer::Blocked => 3,
    });
}

fn region(out: &mut Bytes, region: &Region) {
    let kinds: Vec<Kind> = region.kinds().collect();
    asked(out, region.agents(), region.capabilities(), &kinds, region.conditions());
}

fn asked(
    out: &mut Bytes,
    agents: &[AgentPattern],
    capabilities: Option<&[CapabilityName]>,
    kinds: &[Kind],
    conditions: &[(Field, Test)],
) {
    out.list(agents.iter(), |out, agent| out.text(agent.glob().as_str()));
    out.optional(capabilities, |out, names| {
        out.list(names.iter(), |out, name| {
            out.text(name.name());
            out.optional(name.version(), |out, version| out.number(u64::from(version)));
        });
    });
    out.list(kinds.iter(), |out, kind| out.text(kind.name()));
    out.list(conditions.iter(), |out, (field, of)| {
        out.text(field.name());
        test(out, of);
    });
}

fn test(out: &mut Bytes, of: &Test) {
    match of {
        Test::OneOf(globs) => {
            out.count(0);
            out.list(globs.iter(), |out, glob| out.text(glob.as_str()));
        }
        Test::Hosts(hosts) => {
            out.count(1);
            out.list(hosts.iter(), |out, host| out.text(host));
        }
        Test::Under(roots) => {
            out.count(2);
            out.list(roots.iter(), |out, root| out.text(root.as_str()));
        }
        Test::Numbers(ranges) => {
            out.count(3);
            out.list(ranges.iter(), |out, (low, high)| {
                out.number(*low);
                out.number(*high);
            });
        }
        Test::Networks(networks) => {
            out.count(4);
            out.list(networks.iter(), |out, network| out.text(&network.to_string()));
        }
        Test::All(tests) => {
            out.count(5);
            out.list(tests.iter(), test);
        }
        Test::Not(one) => {
            out.count(6);
            test(out, one);
        }
    }
}

/// A certificate that the property holds of the set, for the checker; nothing if it does not hold.
///
/// # Errors
/// [`QuestionError`].
pub fn certify(set: &Set, property: &Property) -> Result<Option<Vec<u8>>, QuestionError> {
    if prove(set, property)? != Verdict::Holds {
        return Ok(None);
    }
    let mut out = Bytes(CERTIFICATE.to_vec());
    out.0.extend(Sha256::digest(theorem(set, property)));
    let layers: Vec<&Layer> = set.layers().collect();
    let queries = queries(property);
    out.count(queries.len());
    for query in queries {
        certify_query(&mut out, &layers, property, query)?;
    }
    let digest = Sha256::digest(&out.0);
    out.0.extend(digest);
    Ok(Some(out.0))
}

fn certify_query(
    out: &mut Bytes,
    layers: &[&Layer],
    property: &Property,
    query: Query,
) -> Result<(), QuestionError> {
    let (mut predicates, _) = rules_of(layers, query.kind, 0);
    predicates.extend(query.predicates(property));
    let named = |number: u32| Some(format!("rule {number} of `{}`", query.kind));
    let space = Space::new(query.kind, &predicates)
        .map_err(|too_many| too_many.named(query.kind, named))?;
    out.text(query.kind.name());
    out.count(usize::from(query.is_envelope));
    out.count(space.dimensions.len());
    for dimension in &space.dimensions {
        match dimension.subject {
            Subject::Capability => out.text("capability"),
            Subject::Agent => out.text("agent"),
            Subject::Field(field) => out.text(field.name()),
        }
        let is_here = |field: Field| query.kind.fields().contains(&field);
        if let Lookup::Text(..) = &dimension.lookup
            && dimension.subject.field().is_none_or(is_here)
        {
            let labelled = Automaton::labelled(&dimension.patterns);
            let too_many = |_again| QuestionError::Unconfirmed(property.name.clone());
            let (automaton, labels) = labelled.map_err(too_many)?;
            text(out, dimension, &automaton, &labels);
        }
    }
    for level in 1..=space.dimensions.len() {
        let mut states = space.states(level);
        states.sort_unstable();
        out.list(states.iter(), |out, rules| out.rising(rules));
    }
    Ok(())
}

/// The sets of positions that canonical values come to, and where in their form.
fn text(out: &mut Bytes, dimension: &Dimension, automaton: &Automaton, labels: &[Vec<u32>]) {
    let search = Search::new(automaton, form(dimension.subject), |_state| false);
    let mut used: Vec<u32> = search.nodes.iter().map(|node| node.state).collect();
    used.sort_unstable();
    used.dedup();
    out.list(used.iter(), |out, state| {
        out.rising(labels.get(super::space::at(*state)).map_or(&[], Vec::as_slice));
    });
    let place = |state: u32| used.binary_search(&state).unwrap_or(usize::MAX);
    let mut nodes: Vec<(usize, u8, u8, u16, u16)> = search
        .nodes
        .iter()
        .map(|node| {
            let spot = node.spot;
            (place(node.state), spot.part, spot.unicode, spot.run, spot.total)
        })
        .collect();
    nodes.sort_unstable();
    out.list(nodes.iter(), |out, (state, part, unicode, run, total)| {
        out.count(*state);
        for number in [u64::from(*part), u64::from(*unicode), u64::from(*run), u64::from(*total)] {
            out.number(number);
        }
    });
}
