//! The *residual address set* of a call: where the names that it connects to may lead. A name is looked up
//! after the decision, by another process, so what the rules say of addresses is worked out before: every
//! address for which the effect, with that address in it, is answered no more restrictively than the call was.
//!
//! It is exact. Rules name addresses by networks, so the addresses between two neighbouring bounds of all
//! networks are alike to all rules, and one of them stands for all. The bounds are found once for a set.
//!
//! Two things are stricter than the rules' words. A name leads to a [special](crate::special) address only
//! where a rule of the granting layer names its network, and never to one that stands for another. And a limit
//! that lasts across calls, of a rule about addresses, counts as used up: nothing counts it, as nobody knows yet
//! which address it will be.

use crate::answer::{Answer, Because, Call, Decided, Decision, Facts, LayerKind};
use crate::compiled::Compiled;
use crate::rule::{Approval, Grants, Rule};
use crate::set::{Layer, Set};
use crate::special::{SPECIAL, Special};
use crate::test::{Network, Test};
use contract::effect::{Effect, Field, Kind, Value};
use contract::perform::{AddressRange, RANGES_MAX};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most rules that an error names.
const NAMED_MAX: usize = 8;
/// How an error names what is left out though no rule says so.
const OF_ITSELF: &str = "private and other special addresses, which no rule names";

/// Why a call that the rules let through may connect to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReach {
    /// The rules leave no address.
    #[error("the name may lead to no address: {}", listed(rules))]
    Nothing {
        /// Some of the rules, as `layer/name` with what they are for.
        rules: Vec<String>,
    },
    /// They leave more ranges than a spec holds.
    #[error(
        "what rules say of addresses leaves more than {RANGES_MAX} ranges, which a call cannot carry; \
         name fewer and larger networks in: {}",
        listed(rules)
    )]
    TooMany {
        /// Some of the rules, as `layer/name` with what they are for.
        rules: Vec<String>,
    },
    /// An effect's address is none.
    #[error("`{0}`: expected an IP address")]
    NoAddress(String),
    /// The call was blocked, and reaches nothing.
    #[error("the call was blocked")]
    Blocked,
}

fn listed(rules: &[String]) -> String {
    rules.join(", ")
}

/// Addresses that are alike to all rules.
#[derive(Debug)]
struct Alike {
    range: AddressRange,
    /// The first, as effects have it.
    text: Value,
    /// Whether a rule must name it.
    special: bool,
}

impl Alike {
    fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let special = SPECIAL.iter().find(|(network, _)| network.contains(first));
        let special = special.map(|(_, special)| *special);
        let range = AddressRange { first, last };
        let text = Value::Text(first.to_string());
        (special != Some(Special::Never)).then(|| Self { range, text, special: special.is_some() })
    }
}

/// What is known of a set ahead of any call.
#[derive(Debug)]
pub(crate) struct Residual {
    /// All addresses to which a name may lead at all, in order.
    alike: Vec<Alike>,
    /// Rules whose limit nothing counts.
    uncounted: BTreeSet<(LayerKind, String)>,
}

/// The rules that speak of connections and of their address.
fn of_addresses(layer: &Layer) -> impl Iterator<Item = (&Rule, &Test)> {
    let speaks = |rule: &&Rule| rule.effects.iter().any(|kind| kind.0 == Kind::Connect);
    layer.rules.iter().filter(speaks).flat_map(|rule| {
        let tests = rule.conditions.0.iter().filter(|(field, _)| *field == Field::Address);
        tests.map(move |(_, test)| (rule, test))
    })
}

impl Residual {
    pub(crate) fn of(set: &Set) -> Self {
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let mut starts: BTreeSet<IpAddr> = BTreeSet::from([v4, v6]);
        let mut add = |network: &Network| {
            starts.insert(network.address());
            starts.extend(network.behind());
        };
        SPECIAL.iter().for_each(|(network, _)| add(network));
        let mut uncounted = BTreeSet::new();
        for layer in set.layers() {
            for (rule, test) in of_addresses(layer) {
                networks(test, &mut add);
                if rule.limits.is_some() && !rule.is_limited_by_time_alone() {
                    uncounted.insert((layer.kind.clone(), rule.name.clone()));
                }
            }
        }
        let named = |first: IpAddr| {
            of_addresses(set.granting()).any(|(_, test)| names_address(test, first))
        };
        let next = starts.iter().skip(1).map(Some).chain([None]);
        let alike = starts.iter().zip(next).filter_map(|(first, next)| {
            let alike = Alike::new(*first, last(*first, next.copied()))?;
            (!alike.special || named(*first)).then_some(alike)
        });
        Self { alike: alike.collect(), uncounted }
    }
}

/// Calls `each` with every network that a test names.
fn networks(test: &Test, each: &mut impl FnMut(&Network)) {
    match test {
        Test::Networks(networks) => networks.iter().for_each(each),
        Test::All(tests) => tests.iter().for_each(|test| networks(test, each)),
        Test::Not(test) => networks(test, each),
        Test::OneOf(_) | Test::Hosts(_) | Test::Under(_) | Test::Numbers(_) => {}
    }
}

/// Whether a test names a network with this address; what it leaves out by `not` is not named.
fn names_address(test: &Test, address: IpAddr) -> bool {
    match test {
        Test::Networks(networks) => networks.iter().any(|network| network.contains(address)),
        Test::All(tests) => tests.iter().any(|test| names_address(test, address)),
        Test::Not(_) | Test::OneOf(_) | Test::Hosts(_) | Test::Under(_) | Test::Numbers(_) => false,
    }
}

/// The address before `next`, or the last one of the family.
fn last(first: IpAddr, next: Option<IpAddr>) -> IpAddr {
    match (first, next) {
        (IpAddr::V4(_), Some(IpAddr::V4(next))) => {
            IpAddr::V4(u32::from(next).saturating_sub(1).into())
        }
        (IpAddr::V4(_), _) => Ipv4Addr::BROADCAST.into(),
        (IpAddr::V6(_), Some(IpAddr::V6(next))) => {
            IpAddr::V6(u128::from(next).saturating_sub(1).into())
        }
        (IpAddr::V6(_), _) => IpAddr::V6(u128::MAX.into()),
    }
}

/// Whether two ranges, the first before the second, leave nothing between them.
fn adjoin(one: AddressRange, other: AddressRange) -> bool {
    match (one.last, other.first) {
        (IpAddr::V4(last), IpAddr::V4(first)) => {
            u32::from(last).checked_add(1) == Some(first.into())
        }
        (IpAddr::V6(last), IpAddr::V6(first)) => {
            u128::from(last).checked_add(1) == Some(first.into())
        }
        _ => false,
    }
}

/// A call that was let through.
struct Asked<'a> {
    engine: &'a Compiled,
    call: &'a Call<'a>,
    /// With limits that nothing counts used up.
    facts: Facts,
    decision: &'a Decision,
    granted: bool,
    /// What spoke against addresses, as an error says it.
    against: BTreeSet<String>,
}

impl Compiled {
    /// Where the connections of a call may lead: what egress checks the address against that a name led to.
    /// Sorted, without neighbours, at most [`RANGES_MAX`]; nothing for a call that does not connect; of an effect
    /// with an address that address. Of several effects, what all of them leave.
    ///
    /// `decision` is what let the call through under `facts`, a person's yes or a grant with it; `granted` says
    /// that it was a grant, which stands for no rule that does not say `grants: bounded`.
    ///
    /// # Errors
    /// [`NoReach`]: the call is to be blocked.
    pub fn reach(
        &self,
        call: &Call<'_>,
        effects: &[Effect],
        facts: &Facts,
        decision: &Decision,
        granted: bool,
    ) -> Result<Vec<AddressRange>, NoReach> {
        let connects = effects.iter().filter(|effect| effect.kind == Kind::Connect);
        let (literal, mut by_name): (Vec<&Effect>, Vec<&Effect>) =
            connects.partition(|effect| effect.get(Field::Address).is_some());
        if literal.is_empty() && by_name.is_empty() {
            return Ok(Vec::new());
        }
        if decision.answer == Answer::Blocked {
            return Err(NoReach::Blocked);
        }
        by_name.dedup();
        let mut facts = facts.clone();
        facts.exhausted.extend(self.residual.uncounted.iter().cloned());
        let against = BTreeSet::new();
        let mut asked = Asked { engine: self, call, facts, decision, granted, against };
        let mut literal = literal.into_iter().map(address);
        match literal.next().transpose()? {
            None => asked.ranges(&self.residual.alike, &by_name),
            Some(only) => {
                for other in literal {
                    if other? != only {
                        return Err(asked.nothing());
                    }
                }
                if by_name.is_empty() {
                    return Ok(vec![AddressRange { first: only, last: only }]);
                }
                asked.ranges(Alike::new(only, only).as_slice(), &by_name)
            }
        }
    }

    /// The answer to a call that a service performs, no person and no grant having said anything: as
    /// [`Compiled::decide`] has it, and blocked where the names that it connects to may lead to no address.
    #[must_use]
    pub fn decide_reaching(&self, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Decision {
        let decision = self.decide(call, effects, facts);
        match self.reach(call, effects, facts, &decision, false) {
            Ok(_) => decision,
            Err(_) => Decision { answer: Answer::Blocked, ..decision },
        }
    }
}

/// The address of an effect that has one.
fn address(effect: &Effect) -> Result<IpAddr, NoReach> {
    let Some(Value::Text(text)) = effect.get(Field::Address) else {
        return Err(NoReach::NoAddress(effect.to_string()));
    };
    text.parse().map_err(|_error| NoReach::NoAddress(text.clone()))
}

impl Asked<'_> {
    /// Those of `all` that every effect leaves, neighbours merged.
    fn ranges(&mut self, all: &[Alike], effects: &[&Effect]) -> Result<Vec<AddressRange>, NoReach> {
        let mut effects: Vec<Effect> = effects.iter().map(|effect| (*effect).clone()).collect();
        let mut ranges: Vec<AddressRange> = Vec::new();
        for alike in all {
            for effect in &mut effects {
                effect.fields.insert(Field::Address, alike.text.clone());
            }
            if !effects.iter().all(|effect| self.leaves(effect, alike)) {
                continue;
            }
            match ranges.last_mut().filter(|before| adjoin(**before, alike.range)) {
                Some(before) => before.last = alike.range.last,
                None => ranges.push(alike.range),
            }
            if ranges.len() > RANGES_MAX {
                return Err(NoReach::TooMany { rules: self.of_addresses() });
            }
        }
        if ranges.is_empty() { Err(self.nothing()) } else { Ok(ranges) }
    }

    /// Whether an effect, with its address, is let through as the call was.
    fn leaves(&mut self, effect: &Effect, alike: &Alike) -> bool {
        let decided = self.engine.decide_one(self.call, effect, &self.facts);
        let mild = decided.answer <= self.decision.answer;
        let good = mild && (decided.answer < Answer::Approval || self.asks_no_more(&decided));
        if !good && self.against.len() < NAMED_MAX {
            let told: Vec<String> = decided.because.iter().map(told).collect();
            self.against.extend(told);
        }
        good && (!alike.special || self.is_named(effect, alike.range.first))
    }

    /// Whether whoever let the call through has also answered these rules: they asked then, or any one person's
    /// yes is all that they ask; and a grant stands for them, if it was one.
    fn asks_no_more(&self, decided: &Decided) -> bool {
        decided.because.iter().all(|because| match because {
            Because::Rule { layer, name, .. } => {
                let rule = self.rule(layer, name).and_then(|rule| rule.approval.as_ref());
                let bounded = rule.is_some_and(|it| it.grants == Some(Grants::Bounded));
                let one = rule.is_none_or(Approval::is_one);
                (one || self.spoke(because)) && (bounded || !self.granted)
            }
            Because::Otherwise => !self.granted,
            Because::NoEffect | Because::CouldNotDecide => false,
        })
    }

    /// Whether this asked for a yes when the call was decided.
    fn spoke(&self, because: &Because) -> bool {
        let asked =
            self.decision.effects.iter().filter(|decided| decided.answer == Answer::Approval);
        asked.flat_map(|decided| &decided.because).any(|spoke| spoke == because)
    }

    fn rule(&self, layer: &LayerKind, name: &str) -> Option<&Rule> {
        let layer = self.engine.set().layers().find(|of| of.kind == *layer)?;
        layer.rules.iter().find(|rule| rule.name == name)
    }

    /// Whether a rule of the granting layer names the address, fits the effect, and does not block it.
    fn is_named(&self, effect: &Effect, first: IpAddr) -> bool {
        let granting = self.engine.set().granting();
        let blocks = |rule: &Rule| {
            let exhausted =
                self.facts.exhausted.contains(&(granting.kind.clone(), rule.name.clone()));
            match &rule.limits {
                Some(limits) if exhausted => limits.over.unwrap_or(Answer::Blocked),
                _ => rule.decision,
            }
        };
        of_addresses(granting).any(|(rule, test)| {
            let mut fields = rule.conditions.0.iter();
            names_address(test, first)
                && rule.speaks_of(self.call, Kind::Connect)
                && blocks(rule) != Answer::Blocked
                && fields.all(|(of, test)| effect.get(*of).is_some_and(|it| test.holds(it)))
        })
    }

    fn nothing(&self) -> NoReach {
        let rules = self.against.iter().take(NAMED_MAX).cloned();
        NoReach::Nothing { rules: rules.chain([OF_ITSELF.to_owned()]).collect() }
    }

    /// Some of the rules about addresses that this call is asked about.
    fn of_addresses(&self) -> Vec<String> {
        let rules = self.engine.set().layers_for(self.call.agent).flat_map(|layer| {
            let speaks = |rule: &&Rule| rule.speaks_of(self.call, Kind::Connect);
            let rules = of_addresses(layer).map(|(rule, _)| rule).filter(speaks);
            rules.map(|rule| layer.rule_name(&rule.name))
        });
        rules.take(NAMED_MAX).collect()
    }
}

/// What spoke, with what it is for.
fn told(because: &Because) -> String {
    match because {
        Because::Rule { layer, name, reason: Some(reason), .. } => {
            format!("{layer}/{name} ({reason})")
        }
        Because::Rule { layer, name, .. } => format!("{layer}/{name}"),
        Because::Otherwise => "no rule allows it".to_owned(),
        Because::NoEffect | Because::CouldNotDecide => because.name().to_owned(),
    }
}

#[cfg(test)]
mod tests;
