//! Properties as they are written: what must never, always or only be answered.
//!
//! ```yaml
//! properties:
//!   - name: secrets-ask
//!     never: { agents: [any], effects: [secret], decision: [autonomous, notify] }
//!   - name: code-asks
//!     always: { agents: [any], effects: [code], decision: [approval, blocked] }
//!   - name: writes-stay
//!     only:
//!       agents: [any]
//!       effects: [write, delete]
//!       decision: [autonomous, notify]
//!       within: { where: { path: { under: /workspace } } }
//! ```
//!
//! `agents`, `capabilities`, `effects` and `where` mean what they mean in a rule; a condition on a field that an
//! effect lacks leaves it out of the region, also with `not`. `within` says what it narrows and nothing else.

use super::inhabited::Inhabited;
use crate::answer::{Answer, Call, CapabilityName, LayerKind};
use crate::compiled::dimension::{Dimension, Subject};
use crate::compiled::predicate::{Predicate, of_agent};
use crate::parse::{ParseError, at_rule, is_name, located, plain};
use crate::rule::{AgentPattern, EffectKind, Where};
use crate::test::Test;
use contract::effect::{Effect, Field, Form, Kind};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Most properties of one text.
const PROPERTIES_MAX: usize = 1_000;
/// Kinds of which code does whatever it likes within its roots.
pub(super) const ENVELOPE: [Kind; 3] = [Kind::Read, Kind::Write, Kind::Delete];

/// Some of the four answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers(Vec<Answer>);

/// Effects of calls, said as a rule says them.
#[derive(Debug, Clone)]
pub struct Region {
    agents: Vec<AgentPattern>,
    capabilities: Option<Vec<CapabilityName>>,
    effects: Vec<EffectKind>,
    conditions: Where,
}

/// What is claimed of a set.
#[derive(Debug, Clone)]
pub enum Claim {
    /// No effect of the region gets one of these answers.
    Never(Region, Answers),
    /// Every effect of the region gets one of these answers.
    Always(Region, Answers),
    /// Of the first region, what gets one of these answers lies within the second.
    Only(Region, Answers, Region),
}

/// A claim with its name.
#[derive(Debug, Clone)]
pub struct Property {
    /// Its name, unique in its text.
    pub name: String,
    /// What it is for.
    pub reason: Option<String>,
    /// What is claimed.
    pub claim: Claim,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    properties: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    never: Option<RawClaim>,
    #[serde(default)]
    always: Option<RawClaim>,
    #[serde(default)]
    only: Option<RawOnly>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaim {
    agents: Vec<AgentPattern>,
    #[serde(default)]
    capabilities: Option<Vec<CapabilityName>>,
    effects: Vec<EffectKind>,
    #[serde(default, rename = "where")]
    conditions: Where,
    decision: Answers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOnly {
    agents: Vec<AgentPattern>,
    #[serde(default)]
    capabilities: Option<Vec<CapabilityName>>,
    effects: Vec<EffectKind>,
    #[serde(default, rename = "where")]
    conditions: Where,
    decision: Answers,
    within: RawWithin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWithin {
    #[serde(default)]
    agents: Option<Vec<AgentPattern>>,
    #[serde(default)]
    capabilities: Option<Vec<CapabilityName>>,
    #[serde(default)]
    effects: Option<Vec<EffectKind>>,
    #[serde(default, rename = "where")]
    conditions: Where,
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnswersVisitor)
    }
}

struct AnswersVisitor;

impl<'de> Visitor<'de> for AnswersVisitor {
    type Value = Answers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("autonomous, notify, approval or blocked, or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Answers, E> {
        let word = serde::de::value::StrDeserializer::new(text);
        Answer::deserialize(word).map(|answer| Answers(vec![answer]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Answers, A::Error> {
        let mut answers = Vec::new();
        while let Some(answer) = list.next_element::<Answer>()? {
            if answers.contains(&answer) {
                return Err(Error::custom(format!("`{answer}` twice")));
            }
            answers.push(answer);
        }
        if answers.is_empty() {
            return Err(Error::custom("no decision at all"));
        }
        answers.sort_unstable();
        Ok(Answers(answers))
    }
}

impl Answers {
    /// Whether an answer is one of these.
    #[must_use]
    pub fn contains(&self, answer: Answer) -> bool {
        self.0.contains(&answer)
    }

    /// Every one, from the mildest on.
    pub(super) fn all(&self) -> &[Answer] {
        &self.0
    }
}

/// Reads properties.
///
/// # Errors
/// [`ParseError`], the first mistake; a property that says nothing is one.
pub fn parse_properties(text: &str) -> Result<Vec<Property>, ParseError> {
    let whole = |message: String| ParseError { message, line: 0, column: 0, suggestion: None };
    plain(text)?;
    let raw: RawFile = serde_norway::from_str(text).map_err(|error| located(&error))?;
    if raw.properties.is_empty() || raw.properties.len() > PROPERTIES_MAX {
        return Err(whole(format!("expected 1 to {PROPERTIES_MAX} properties")));
    }
    let mut properties: Vec<Property> = Vec::new();
    for raw in raw.properties {
        let name = raw.name.clone();
        if !is_name(&name) {
            let message = "a property's name is letters, digits, `-`, `_` and `.`, at most 64";
            return Err(at_rule(text, &name, message.to_owned()));
        }
        if properties.iter().any(|other| other.name == name) {
            let message = format!("there are two properties named `{name}`");
            return Err(at_rule(text, &name, message));
        }
        let property = property(raw)
            .map_err(|message| at_rule(text, &name, format!("property `{name}`: {message}")))?;
        properties.push(property);
    }
    Ok(properties)
}

fn property(raw: Raw) -> Result<Property, String> {
    let region = |raw: RawClaim| {
        let RawClaim { agents, capabilities, effects, conditions, decision } = raw;
        (Region { agents, capabilities, effects, conditions }, decision)
    };
    let claim = match (raw.never, raw.always, raw.only) {
        (Some(never), None, None) => {
            let (region, answers) = region(never);
            Claim::Never(region, answers)
        }
        (None, Some(always), None) => {
            let (region, answers) = region(always);
            Claim::Always(region, answers)
        }
        (None, None, Some(only)) => {
            let RawOnly { agents, capabilities, effects, conditions, decision, within } = only;
            let region = Region { agents, capabilities, effects, conditions };
            let within = within.region(&region)?;
            Claim::Only(region, decision, within)
        }
        _ => return Err("expected one of `never`, `always` and `only`".to_owned()),
    };
    let property = Property { name: raw.name, reason: raw.reason, claim };
    property.region().check()?;
    if let Claim::Only(region, _, within) = &property.claim {
        within.check().map_err(|message| format!("`within`: {message}"))?;
        if !within.conditions.0.is_empty() && region.is_inside(within)? {
            return Err("`within`: its `where` leaves nothing out; leave it away".to_owned());
        }
    }
    Ok(property)
}

impl RawWithin {
    /// What it does not narrow is as in the region.
    fn region(self, of: &Region) -> Result<Region, String> {
        let Self { agents, capabilities, effects, conditions } = self;
        let says_something = agents.is_some() || capabilities.is_some() || effects.is_some();
        if !says_something && conditions.0.is_empty() {
            return Err("`within` says nothing".to_owned());
        }
        let agents = agents.unwrap_or_else(|| of.agents.clone());
        let effects = effects.unwrap_or_else(|| of.effects.clone());
        if let Some(kind) = effects.iter().find(|kind| !of.effects.contains(kind)) {
            return Err(format!("`within`: `{}` is none of its effects", kind.0));
        }
        Ok(Region { agents, capabilities, effects, conditions })
    }
}

impl Property {
    /// What it speaks of.
    pub(super) const fn region(&self) -> &Region {
        match &self.claim {
            Claim::Never(region, _) | Claim::Always(region, _) | Claim::Only(region, ..) => region,
        }
    }

    /// Where it allows what it speaks of.
    pub(super) const fn within(&self) -> Option<&Region> {
        match &self.claim {
            Claim::Only(_, _, within) => Some(within),
            Claim::Never(..) | Claim::Always(..) => None,
        }
    }

    /// Whether this answer to an effect of the region, and of nothing that `within` allows, is against it.
    pub(super) fn forbids(&self, answer: Answer) -> bool {
        match &self.claim {
            Claim::Never(_, answers) | Claim::Only(_, answers, _) => answers.contains(answer),
            Claim::Always(_, answers) => !answers.contains(answer),
        }
    }

    /// Whether it still holds where an answer becomes more restrictive: nothing more restrictive than an
    /// answer that it allows is against it. What limits alone give of such a property, every set has above
    /// which these limits stand.
    #[must_use]
    pub fn survives_tightening(&self) -> bool {
        let answers = [Answer::Autonomous, Answer::Notify, Answer::Approval, Answer::Blocked];
        let against: Vec<bool> = answers.iter().map(|answer| self.forbids(*answer)).collect();
        against.is_sorted_by(|milder, stricter| milder >= stricter)
    }

    /// Whether an effect lies where some answer is against it.
    pub(super) fn concerns(&self, call: &Call<'_>, effect: &Effect) -> bool {
        self.region().holds(call, effect)
            && self.within().is_none_or(|within| !within.holds(call, effect))
    }
}

impl Region {
    /// Whose calls of what it speaks of, and what must hold of their fields.
    #[cfg(test)]
    pub(super) fn parts(&self) -> ((&[AgentPattern], Option<&[CapabilityName]>), &Where) {
        ((&self.agents, self.capabilities.as_deref()), &self.conditions)
    }

    /// The kinds of effect that it names.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.effects.iter().map(|kind| kind.0)
    }

    /// Whether an effect, exact, lies in it.
    #[must_use]
    pub fn holds(&self, call: &Call<'_>, effect: &Effect) -> bool {
        let conditions = &self.conditions.0;
        effect.form != Form::Region
            && self.kinds().any(|kind| kind == effect.kind)
            && self.agents.iter().any(|agent| agent.matches(call.agent))
            && self.capabilities.as_ref().is_none_or(|list| list.iter().any(|c| c.matches(call)))
            && conditions
                .iter()
                .all(|(field, test)| effect.get(*field).is_some_and(|value| test.holds(value)))
    }

    /// What it asks, as a rule asks it.
    pub(super) fn predicate(&self) -> Predicate<'_> {
        Predicate { conditions: &self.conditions.0, ..self.of_caller() }
    }

    /// What it asks of the agent and the capability alone.
    pub(super) fn of_caller(&self) -> Predicate<'_> {
        Predicate {
            agent: of_agent(&LayerKind::Box, &self.agents),
            capabilities: self.capabilities.as_deref(),
            conditions: &[],
        }
    }

    /// What it asks of fields alone.
    pub(super) fn of_fields(&self) -> Predicate<'_> {
        Predicate { agent: None, capabilities: None, conditions: &self.conditions.0 }
    }

    /// For which agents.
    pub(super) fn agents(&self) -> &[AgentPattern] {
        &self.agents
    }

    /// For which capabilities, if not for all.
    pub(super) fn capabilities(&self) -> Option<&[CapabilityName]> {
        self.capabilities.as_deref()
    }

    /// What must hold of fields.
    pub(super) fn conditions(&self) -> &[(Field, Test)] {
        &self.conditions.0
    }

    /// Kinds of which it has an effect that code may do within its roots.
    pub(super) fn envelope(&self) -> impl Iterator<Item = Kind> + '_ {
        ENVELOPE.into_iter().filter(|kind| {
            let has = |field| kind.fields().contains(field);
            self.kinds().any(|of| of == *kind)
                && self.conditions.0.iter().all(|(field, _)| has(field))
        })
    }

    /// What it must satisfy beside its grammar: some effect lies in it.
    fn check(&self) -> Result<(), String> {
        if self.agents.is_empty() || self.effects.is_empty() {
            return Err("it names no agent or no effect".to_owned());
        }
        if self.capabilities.as_ref().is_some_and(Vec::is_empty) {
            return Err("an empty list of capabilities matches nothing".to_owned());
        }
        for (field, test) in &self.conditions.0 {
            if !test.suits(field.ty()) {
                return Err(format!("this cannot be said of `{field}`"));
            }
            let dimension = Dimension::of_field(*field, &[(0, test)])
                .map_err(|_too_many| format!("`{field}`: too many combinations of its patterns"))?;
            if !Inhabited::of(&dimension, None).some_hold(&dimension, 0) {
                return Err(format!("nothing lies in it: no `{field}` is so"));
            }
        }
        if let Some(agents) = of_agent(&LayerKind::Box, &self.agents) {
            let dimension = Dimension::of_text(Subject::Agent, &[(0, &agents)])
                .map_err(|_too_many| "too many combinations of agents' patterns".to_owned())?;
            if !Inhabited::of(&dimension, None).some_hold(&dimension, 0) {
                return Err("nothing lies in it: no agent's name is so".to_owned());
            }
        }
        let mut fields = self.conditions.0.iter().map(|(field, _)| *field);
        let fits = |kind: Kind| fields.clone().all(|field| kind.fields().contains(&field));
        if self.kinds().any(fits) {
            return Ok(());
        }
        match fields.find(|field| !self.kinds().any(|kind| kind.fields().contains(field))) {
            Some(field) => Err(format!("none of its effects has a field `{field}`")),
            None => Err("nothing lies in it: none of its effects has all these fields".to_owned()),
        }
    }

    /// Whether every value of this one's `where` is one of the other's, for each kind that code may do.
    fn is_inside(&self, other: &Self) -> Result<bool, String> {
        let mut is_any = false;
        for kind in self.envelope() {
            let outside = super::prove::inner(self, Some(other), kind, None);
            if outside.map_err(|_too_many| "too many combinations of its patterns")?.is_some() {
                return Ok(false);
            }
            is_any = true;
        }
        Ok(is_any)
    }
}
