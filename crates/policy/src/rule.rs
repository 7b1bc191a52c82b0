//! Rules as they are written, field by field, checked while they are read so that every mistake has
//! its line.

use crate::answer::{Answer, Call, CapabilityName};
use crate::glob::Glob;
use crate::quantity::{Bytes, Rate, Span};
use crate::test::{Network, Test};
use crate::window::{self, Windows};
use contract::effect::{Field, Kind, Type, is_hidden};
use contract::path::CanonicalPath;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Longest pattern or value, and most of them in one list.
pub(crate) const PATTERN_BYTES_MAX: usize = 4_096;
pub(crate) const VALUES_MAX: usize = 10_000;

/// One rule of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique in the layer.
    pub name: String,
    /// For which agents: patterns in which `*` is any characters; `any` is every agent.
    pub agents: Vec<AgentPattern>,
    /// For which capabilities; every one without the key.
    #[serde(default)]
    pub capabilities: Option<Vec<CapabilityName>>,
    /// Of which kinds of effect it speaks.
    pub effects: Vec<EffectKind>,
    /// What must hold of the effect.
    #[serde(default, rename = "where")]
    pub conditions: Where,
    /// What it answers.
    pub decision: Answer,
    /// How often or how much.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// How an approval works.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// What people and agents are told.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Rule {
    /// Whether windows of time are the only limit that it has.
    #[must_use]
    pub fn is_limited_by_time_alone(&self) -> bool {
        self.limits.as_ref().is_some_and(|limits| {
            let without = Limits { open: None, ..limits.clone() };
            limits.open.is_some() && !without.is_one()
        })
    }

    /// Whether it speaks of a call's effects of this kind at all, its conditions on fields apart.
    #[must_use]
    pub fn speaks_of(&self, call: &Call<'_>, kind: Kind) -> bool {
        self.effects.iter().any(|of| of.0 == kind)
            && self.agents.iter().any(|agent| agent.matches(call.agent))
            && self.capabilities.as_ref().is_none_or(|list| list.iter().any(|c| c.matches(call)))
    }
}

/// Limits that last across calls, or depend on when they are made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls in a time.
    #[serde(default)]
    pub calls: Option<Rate>,
    /// Bytes in a time.
    #[serde(default)]
    pub bytes: Option<Rate>,
    /// Seconds that calls took, in a time.
    #[serde(default)]
    pub seconds: Option<Rate>,
    /// Calls under way at once.
    #[serde(default)]
    pub concurrent: Option<u32>,
    /// The windows of time in which it lasts; outside of them it is used up.
    #[serde(default)]
    pub open: Option<Windows>,
    /// The answer once a limit is used up; blocked without the key.
    #[serde(default)]
    pub over: Option<Answer>,
}

impl Limits {
    /// Whether it limits anything.
    pub(crate) const fn is_one(&self) -> bool {
        self.calls.is_some()
            || self.bytes.is_some()
            || self.seconds.is_some()
            || self.concurrent.is_some()
            || self.open.is_some()
    }

    /// Whether it says the same but for the answer once it is used up.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Self { over: None, ..self.clone() } == Self { over: None, ..other.clone() }
    }

    /// Whether the other one is used up whenever this one is, after the same calls at the same moment.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        fn each<T>(one: Option<&T>, other: Option<&T>, implies: impl Fn(&T, &T) -> bool) -> bool {
            one.is_none_or(|one| other.is_some_and(|other| implies(one, other)))
        }
        let rate =
            |one: &Rate, other: &Rate| other.amount <= one.amount && other.seconds >= one.seconds;
        each(self.calls.as_ref(), other.calls.as_ref(), rate)
            && each(self.bytes.as_ref(), other.bytes.as_ref(), rate)
            && each(self.seconds.as_ref(), other.seconds.as_ref(), rate)
            && each(self.concurrent.as_ref(), other.concurrent.as_ref(), |one, other| other <= one)
            && each(self.open.as_ref(), other.open.as_ref(), |one, other| {
                window::cover(&one.0, &other.0)
            })
    }
}

/// How an approval works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// How many operators must say yes, each another one; 1 without the key.
    #[serde(default)]
    pub votes: Option<u32>,
    /// The group of operators that they must be of; any operators without the key.
    #[serde(default)]
    pub of: Option<String>,
    /// Denied when nobody decided in this time.
    #[serde(default)]
    pub decide_within: Option<Span>,
    /// Stale when it was not performed in this time after the yes.
    #[serde(default)]
    pub run_within: Option<Span>,
    /// Whether a standing grant may be made from it.
    #[serde(default)]
    pub grants: Option<Grants>,
}

/// Most operators that a rule asks.
pub const VOTES_MAX: u32 = 16;
/// Longest name of a group.
pub(crate) const GROUP_BYTES_MAX: usize = 32;

impl Approval {
    /// Whether one yes of any operator is all that it asks for.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.votes.unwrap_or(1) == 1 && self.of.is_none()
    }

    /// What it must satisfy beside its grammar.
    pub(crate) fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_group = |name: &str| {
            let length = (1..=GROUP_BYTES_MAX).contains(&name.len());
            length && !name.starts_with('-') && name.bytes().all(plain)
        };
        if !(1..=VOTES_MAX).contains(&self.votes.unwrap_or(1)) {
            return Err(format!("`votes` is 1 to {VOTES_MAX}"));
        }
        if self.of.as_deref().is_some_and(|group| !is_group(group)) {
            let most = GROUP_BYTES_MAX;
            return Err(format!(
                "`of` is a group of operators: lower-case letters, digits and `-`, at most {most}"
            ));
        }
        if self.grants == Some(Grants::Bounded) && !self.is_one() {
            let why = "a grant is one operator's, and stands for no call that asks for more";
            return Err(format!("`grants: bounded` beside `votes` or `of`: {why}"));
        }
        Ok(())
    }
}

/// Whether a standing grant may be made from an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grants {
    /// Each call is asked for.
    Never,
    /// An operator may make one, bounded.
    Bounded,
}

/// A pattern over agents' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPattern(Glob);

impl AgentPattern {
    /// One name alone, if it is no pattern.
    pub(crate) fn exactly(name: &str) -> Option<Self> {
        let plain = !name.is_empty() && name != "any" && !name.contains('*');
        plain.then(|| Self(Glob::words(name)))
    }

    /// The pattern; `any` is every name.
    pub(crate) const fn glob(&self) -> &Glob {
        &self.0
    }

    /// Whether every agent's name matches.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        matches!(self.0.as_str(), "any" | "*" | "**")
    }

    /// Whether the agent's name matches.
    #[must_use]
    pub fn matches(&self, agent: &str) -> bool {
        self.0.as_str() == "any" || self.0.matches(agent)
    }
}

impl<'de> Deserialize<'de> for AgentPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX || text.chars().any(is_hidden) {
            Err(Error::custom("an agent's name is not empty, not long, and seen as it is"))
        } else {
            Ok(Self(Glob::words(&text)))
        }
    }
}

/// A kind of effect, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectKind(pub Kind);

impl<'de> Deserialize<'de> for EffectKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Kind::deserialize(deserializer).map(Self)
    }
}

/// What must hold of an effect: all of these, each about one field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Where(pub Vec<(Field, Test)>);

impl<'de> Deserialize<'de> for Where {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WhereVisitor)
    }
}

struct WhereVisitor;

impl<'de> Visitor<'de> for WhereVisitor {
    type Value = Where;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from fields of effects to what must hold of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Where, A::Error> {
        let mut tests: Vec<(Field, Test)> = Vec::new();
        while let Some(field) = map.next_key::<Field>()? {
            if tests.iter().any(|(known, _)| *known == field) {
                return Err(Error::custom(format!("duplicate field `{field}`")));
            }
            tests.push((field, map.next_value_seed(TestOf(field.ty()))?));
        }
        Ok(Where(tests))
    }
}

/// Reads a predicate on a field of this type.
#[derive(Clone, Copy)]
struct TestOf(Type);

impl<'de> DeserializeSeed<'de> for TestOf {
    type Value = Test;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Test, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl TestOf {
    /// A list of values: any of them.
    fn any_of<E: Error>(self, texts: &[String]) -> Result<Test, E> {
        if texts.len() > VALUES_MAX {
            return Err(E::custom(format!("more than {VALUES_MAX} values in one list")));
        }
        if texts.iter().any(|text| text.len() > PATTERN_BYTES_MAX || text.chars().any(is_hidden)) {
            let most = format!("longer than {PATTERN_BYTES_MAX} bytes");
            return Err(E::custom(format!(
                "a value is {most}, or has a character that is not seen"
            )));
        }
        let wrong = |text: &str, what: &str| E::custom(format!("`{text}`: expected {what}"));
        if texts.is_empty() {
            return Err(E::custom("an empty list matches nothing; leave the rule out instead"));
        }
        let each = texts.iter();
        Ok(match self.0 {
            Type::Path => Test::OneOf(
                each.map(|text| path(text).map(|_| Glob::segments(text)))
                    .collect::<Result<_, E>>()?,
            ),
            Type::Text => Test::OneOf(each.map(|text| Glob::segments(text)).collect()),
            Type::List => return Err(E::custom("a list of words cannot be compared yet")),
            Type::Host => Test::Hosts(
                each.map(|text| {
                    host(text).ok_or_else(|| wrong(text, "a host in lower case, or `*.` and one"))
                })
                .collect::<Result<_, E>>()?,
            ),
            Type::Number => Test::Numbers(
                each.map(|text| {
                    Bytes::read(text).map(|n| (n.0, n.0)).ok_or_else(|| wrong(text, "a number"))
                })
                .collect::<Result<_, E>>()?,
            ),
            Type::Address => Test::Networks(
                each.map(|text| {
                    Network::read(text).ok_or_else(|| wrong(text, "a network such as 192.0.2.0/24"))
                })
                .collect::<Result<_, E>>()?,
            ),
        })
    }
}

/// A path or path pattern in canonical form.
fn path<E: Error>(text: &str) -> Result<CanonicalPath, E> {
    let parsed =
        CanonicalPath::parse(text).map_err(|error| E::custom(format!("`{text}`: {error}")))?;
    if parsed.as_str() == text {
        Ok(parsed)
    } else {
        Err(E::custom(format!("`{text}` is not canonical; write `{}`", parsed.as_str())))
    }
}

fn host(text: &str) -> Option<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let good = name.parse::<std::net::IpAddr>().is_ok() || name.split('.').all(label);
    good.then(|| text.to_owned())
}

impl<'de> Visitor<'de> for TestOf {
    type Value = Test;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list of values, or a map with `in`, `under`, `min`, `max` or `not`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Test, E> {
        self.any_of(&[text.to_owned()])
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Test, E> {
        self.any_of(&[number.to_string()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Test, A::Error> {
        let mut texts = Vec::new();
        while let Some(Word(text)) = list.next_element()? {
            texts.push(text);
        }
        self.any_of(&texts)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Test, A::Error> {
        let mut tests = Vec::new();
        let mut seen: Vec<Key> = Vec::new();
        let (mut low, mut high) = (None, None);
        while let Some(key) = map.next_key::<Key>()? {
            if seen.contains(&key) {
                return Err(Error::custom("the same key twice"));
            }
            seen.push(key);
            match key {
                Key::In => {
                    let Words(texts) = map.next_value()?;
                    tests.push(self.any_of(&texts)?);
                }
                Key::Under if self.0 == Type::Path => {
                    let Words(texts) = map.next_value()?;
                    self.any_of::<A::Error>(&texts)?;
                    let paths =
                        texts.iter().map(|text| path(text)).collect::<Result<_, A::Error>>()?;
                    tests.push(Test::Under(paths));
                }
                Key::Min if self.0 == Type::Number => low = Some(map.next_value::<Bytes>()?.0),
                Key::Max if self.0 == Type::Number => high = Some(map.next_value::<Bytes>()?.0),
                Key::Not => tests.push(Test::Not(Box::new(map.next_value_seed(self)?))),
                Key::Under => return Err(Error::custom("`under` is for paths alone")),
                Key::Min | Key::Max => {
                    return Err(Error::custom("`min` and `max` are for numbers alone"));
                }
            }
        }
        if low.is_some() || high.is_some() {
            let (low, high) = (low.unwrap_or(0), high.unwrap_or(u64::MAX));
            if low > high {
                return Err(Error::custom("`min` is greater than `max`"));
            }
            tests.push(Test::Numbers(vec![(low, high)]));
        }
        match (tests.pop(), tests.is_empty()) {
            (None, _) => Err(Error::custom("an empty map says nothing")),
            (Some(test), true) => Ok(test),
            (Some(test), false) => {
                tests.push(test);
                Ok(Test::All(tests))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    In,
    Under,
    Min,
    Max,
    Not,
}

/// Text or a number, as text.
struct Word(String);

/// One word or a list of them.
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl Visitor<'_> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Words, E> {
        Ok(Words(vec![text.to_owned()]))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Words, E> {
        Ok(Words(vec![number.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
        let mut texts = Vec::new();
        while let Some(Word(text)) = list.next_element()? {
            texts.push(text);
        }
        Ok(Words(texts))
    }
}
