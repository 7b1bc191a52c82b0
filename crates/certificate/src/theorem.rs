//! The theorem: a set of policy and a property in a plain form, and what both mean.

use crate::read::Reader;

const MAGIC: &[u8] = b"kruxos theorem 1\n";

/// Every kind of effect with its fields.
const KINDS: [(&str, &[&str]); 13] = [
    ("observe", &["subject"]),
    ("read", &["path"]),
    ("write", &["path", "bytes"]),
    ("delete", &["path"]),
    ("run", &["program", "argv"]),
    ("code", &["roots", "program", "argv", "digest"]),
    ("connect", &["host", "address", "port", "method", "url_path", "bytes"]),
    ("resolve", &["host"]),
    ("secret", &["name", "host", "port", "method", "url_path"]),
    ("push", &["host", "repository", "ref", "old", "new"]),
    ("fetch", &["host", "repository", "ref", "old", "new"]),
    ("setting", &["name"]),
    ("message", &["to", "bytes"]),
];

/// Kinds of which code does whatever it likes within its roots.
const ENVELOPE: [&str; 3] = ["read", "write", "delete"];

/// The most restrictive answer.
const BLOCKED: u8 = 3;

/// Whether effects of a kind may have a field.
pub(crate) fn has_field(kind: &str, field: &str) -> bool {
    KINDS.iter().any(|(of, fields)| *of == kind && fields.contains(&field))
}

/// A predicate on one value.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// One of these patterns.
    OneOf(Vec<String>),
    /// One of these hosts; `*.` is one or more labels.
    Hosts(Vec<String>),
    /// One of these paths, or beneath one.
    Under(Vec<String>),
    /// In one of these closed intervals.
    Numbers(Vec<(u64, u64)>),
    /// In one of these networks, as `ADDRESS/BITS`.
    Networks(Vec<String>),
    All(Vec<Self>),
    Not(Box<Self>),
}

/// A capability, of one version or all.
pub(crate) type Name = (String, Option<u32>);

/// What a rule, or a region of a property, asks.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The agent whose layer it is in, if it is one's.
    pub(crate) of_agent: Option<String>,
    pub(crate) agents: Vec<String>,
    pub(crate) capabilities: Option<Vec<Name>>,
    kinds: Vec<String>,
    pub(crate) conditions: Vec<(String, Test)>,
}

#[derive(Debug)]
struct Rule {
    layer: usize,
    asked: Asked,
    decision: u8,
    /// What it answers once its limit is used up, if it has one.
    over: Option<u8>,
}

/// A set and a property.
#[derive(Debug)]
pub(crate) struct Theorem {
    /// The answers of layers where none of their rules holds.
    otherwise: Vec<Option<u8>>,
    rules: Vec<Rule>,
    pub(crate) name: String,
    /// 0 never, 1 always, 2 only.
    claim: u8,
    region: Asked,
    answers: Vec<u8>,
    within: Option<Asked>,
}

/// One question of a property.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub(crate) kind: &'static str,
    /// Whether the effect is code that may do what the property speaks of.
    pub(crate) is_envelope: bool,
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    reader.text().map(str::to_owned)
}

fn answer(reader: &mut Reader<'_>) -> Option<u8> {
    reader.small().filter(|answer| *answer < 4)
}

fn test(reader: &mut Reader<'_>) -> Option<Test> {
    Some(match reader.number()? {
        0 => Test::OneOf(reader.list(text)?),
        1 => Test::Hosts(reader.list(text)?),
        2 => Test::Under(reader.list(text)?),
        3 => Test::Numbers(reader.list(|reader| Some((reader.number()?, reader.number()?)))?),
        4 => Test::Networks(reader.list(text)?),
        5 => Test::All(reader.list(test)?),
        6 => Test::Not(Box::new(test(reader)?)),
        _ => return None,
    })
}

fn asked(reader: &mut Reader<'_>, of_agent: Option<String>) -> Option<Asked> {
    let name = |reader: &mut Reader<'_>| Some((text(reader)?, reader.optional(Reader::small)?));
    Some(Asked {
        of_agent,
        agents: reader.list(text)?,
        capabilities: reader.optional(|reader| reader.list(name))?,
        kinds: reader.list(text)?,
        conditions: reader.list(|reader| Some((text(reader)?, test(reader)?)))?,
    })
}

impl Asked {
    /// What it asks about.
    pub(crate) fn subjects(&self) -> Vec<&str> {
        let agent = self.of_agent.is_some() || !self.agents.iter().any(|agent| agent == "any");
        let agent = agent.then_some("agent");
        let capability = self.capabilities.as_ref().map(|_| "capability");
        let fields = self.conditions.iter().map(|(field, _)| field.as_str());
        agent.into_iter().chain(capability).chain(fields).collect()
    }

    fn is_of(&self, kind: &str) -> bool {
        self.kinds.iter().any(|of| of == kind)
    }

    /// Kinds of which it has an effect that code may do.
    fn envelope(&self) -> impl Iterator<Item = &'static str> {
        ENVELOPE.into_iter().filter(|kind| {
            self.is_of(kind) && self.conditions.iter().all(|(field, _)| has_field(kind, field))
        })
    }
}

impl Theorem {
    /// Reads one to its end.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        let (mut otherwise, mut rules) = (Vec::new(), Vec::new());
        for layer in 0..reader.count()? {
            let (kind, name) = (reader.number()?, text(&mut reader)?);
            otherwise.push(reader.optional(answer)?);
            let of_agent = (kind == 3).then_some(name);
            rules.extend(reader.list(|reader| {
                text(reader)?;
                let asked = asked(reader, of_agent.clone())?;
                let (decision, over) = (answer(reader)?, reader.optional(answer)?);
                Some(Rule { layer, asked, decision, over })
            })?);
        }
        let theorem = Self {
            otherwise,
            rules,
            name: text(&mut reader)?,
            claim: reader.small().filter(|claim| *claim < 3)?,
            region: asked(&mut reader, None)?,
            answers: reader.list(answer)?,
            within: reader.optional(|reader| asked(reader, None))?,
        };
        (reader.is_empty() && theorem.within.is_some() == (theorem.claim == 2)).then_some(theorem)
    }

    /// Every question of the property.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let direct = KINDS.iter().filter(|(kind, _)| self.region.is_of(kind));
        let direct = direct.map(|(kind, _)| Query { kind, is_envelope: false });
        let code = self.region.envelope().next().map(|_| Query { kind: "code", is_envelope: true });
        direct.chain(code).collect()
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.asked.is_of(kind))
    }

    /// What is asked in a question: by the rules of its kind, then by the property's region, then by `within`.
    pub(crate) fn rules_of(&self, query: Query) -> Vec<Asked> {
        let rules = self.of_kind(query.kind).map(|rule| rule.asked.clone());
        let regions = std::iter::once(&self.region).chain(&self.within).map(|region| {
            let mut region = region.clone();
            if query.is_envelope {
                region.conditions.clear();
            }
            region
        });
        rules.chain(regions).collect()
    }

    /// Whether something can be forbidden where exactly these rules hold.
    pub(crate) fn is_against(&self, query: Query, holding: &[u32]) -> bool {
        let holds = |number: usize| {
            u32::try_from(number).is_ok_and(|number| holding.binary_search(&number).is_ok())
        };
        let rules: Vec<&Rule> = self.of_kind(query.kind).collect();
        let excepted = self.within.as_ref().is_some_and(|within| {
            let excepts = if query.is_envelope {
                let all = self.region.envelope().all(|kind| within.is_of(kind));
                all && within.conditions.is_empty()
            } else {
                within.is_of(query.kind)
            };
            excepts && holds(rules.len() + 1)
        });
        if !holds(rules.len()) || excepted {
            return false;
        }
        let live =
            || rules.iter().enumerate().filter(|(number, _)| holds(*number)).map(|(_, rule)| rule);
        let silent = self
            .otherwise
            .iter()
            .enumerate()
            .filter(|(layer, _)| !live().any(|rule| rule.layer == *layer));
        let fixed = live().filter(|rule| rule.over.is_none()).map(|rule| rule.decision);
        let fixed = fixed.chain(silent.filter_map(|(_, otherwise)| *otherwise)).max().unwrap_or(0);
        let limited: Vec<[u8; 2]> =
            live().filter_map(|rule| Some([rule.decision, rule.over?])).collect();
        (0..4).any(|answer| {
            let is_listed = self.answers.contains(&answer);
            // code that is blocked does nothing
            let happens = !query.is_envelope || answer != BLOCKED;
            let is_forbidden = happens && is_listed != (self.claim == 1);
            let is_given = fixed == answer || limited.iter().flatten().any(|one| *one == answer);
            let is_worst =
                fixed <= answer && limited.iter().all(|two| two.iter().any(|one| *one <= answer));
            is_forbidden && is_given && is_worst
        })
    }
}
