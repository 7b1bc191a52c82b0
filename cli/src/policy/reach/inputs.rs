//! Inputs of a capability, one of each sort that rules tell apart.

use super::machines::{self, Machine};
use anyhow::{Context, Result, bail, ensure};
use capabilities::programs::OPEN;
use capabilities::{Declaration, Parameter, Shape, Source};
use contract::effect::{Effect, Field, Kind, Value};
use contract::url::{Host, Url};
use policy::{Set, Test, values_alike};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Most inputs of one capability.
const INPUTS_MAX: usize = 1_000_000;
/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 64;
/// An input that its capability accepts.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) json: Json,
    pub(super) effects: Vec<Effect>,
    /// The machines that it connects to, or that answer for the name, in the words of rules.
    pub(super) machine: Option<String>,
}

/// One value of a parameter.
#[derive(Debug, Clone)]
struct Choice {
    /// Nothing where the call leaves it out.
    value: Option<Json>,
    machine: Option<String>,
}

/// Every input of a capability as far as rules tell them apart.
pub(super) fn all(set: &Set, declaration: &Declaration) -> Result<Vec<Input>> {
    let mut inputs: Vec<(Map<String, Json>, Option<String>)> = vec![(Map::new(), None)];
    for parameter in declaration.parameters {
        let choices = choices(set, declaration, parameter)
            .with_context(|| format!("`{}` of {}", parameter.name, declaration.name))?;
        ensure!(
            inputs.len().saturating_mul(choices.len()) <= INPUTS_MAX,
            "{} has more than {INPUTS_MAX} inputs that rules tell apart",
            declaration.name
        );
        let with = |(members, machine): &(Map<String, Json>, Option<String>), choice: &Choice| {
            let mut members = members.clone();
            if let Some(value) = &choice.value {
                members.insert(parameter.name.to_owned(), value.clone());
            }
            (members, choice.machine.clone().or_else(|| machine.clone()))
        };
        inputs = inputs
            .iter()
            .flat_map(|input| choices.iter().map(|choice| with(input, choice)).collect::<Vec<_>>())
            .collect();
    }
    let count = inputs.len();
    let accepted = inputs.into_iter().filter_map(|(members, machine)| {
        let json = Json::Object(members);
        let effects = declaration.lower(&declaration.accept(&json).ok()?)?;
        Some(Input { json, effects, machine })
    });
    let accepted: Vec<Input> = accepted.collect();
    ensure!(
        count == 0 || !accepted.is_empty(),
        "a defect in this program: {} accepts none of its inputs",
        declaration.name
    );
    Ok(accepted)
}

fn choices(set: &Set, declaration: &Declaration, parameter: &Parameter) -> Result<Vec<Choice>> {
    let plain = |value: Json| Choice { value: Some(value), machine: None };
    let mut choices: Vec<Choice> = match parameter.shape {
        Shape::OneOf(words) => {
            words_apart(set, declaration, parameter, words).into_iter().map(plain).collect()
        }
        // no rule can ask about arguments
        Shape::OpenCommand => {
            OPEN.iter().map(|program| plain(json!([program.name, "a.py"]))).collect()
        }
        Shape::Digest => digests(set).into_iter().map(|digest| plain(json!(digest))).collect(),
        Shape::Places => places(set)?,
        Shape::Text { bytes_max }
            if is_only(declaration, parameter, (Kind::Secret, Field::Name)) =>
        {
            secrets(set, bytes_max)?.into_iter().map(|name| plain(json!(name))).collect()
        }
        Shape::Text { bytes_max } => texts(set, declaration, parameter, bytes_max)?,
        Shape::Host => hosts(set, declaration, parameter)?,
        Shape::Url => urls(set)?,
        Shape::Number { max } if is_only(declaration, parameter, (Kind::Connect, Field::Port)) => {
            let ports = machines::ports(set)?.into_iter().filter(|port| u64::from(*port) <= max);
            ports.map(|port| plain(json!(port))).collect()
        }
        // a call with secrets has the effects of the one without, and more: what is let through with is let through
        // without, to the same machine
        Shape::Headers if !parameter.required => Vec::new(),
        // what comes into no effect no rule tells apart
        Shape::Flag if !parameter.required && sources(declaration, parameter).is_empty() => {
            Vec::new()
        }
        _ => bail!("no inputs are known of this shape: a defect in this program"),
    };
    if !parameter.required {
        choices.push(Choice { value: None, machine: None });
    }
    Ok(choices)
}

/// Texts of every length that rules tell apart; nothing else of a text comes into an effect.
fn texts(
    set: &Set,
    declaration: &Declaration,
    parameter: &Parameter,
    bytes_max: usize,
) -> Result<Vec<Choice>> {
    let mut lengths = vec![1];
    for template in declaration.effects {
        for (field, source) in template.fields {
            match source {
                Source::LengthOf(name) if *name == parameter.name => {
                    let alike = values_alike(set, template.kind, *field, &[])?;
                    lengths.extend(alike.into_iter().filter_map(|alike| match alike.value {
                        Value::Number(number) => usize::try_from(number).ok(),
                        Value::Path(_) | Value::Text(_) | Value::List(_) => None,
                    }));
                }
                source => ensure!(
                    source.parameter() != Some(parameter.name),
                    "its text comes into an effect, which is not known here: a defect in this program"
                ),
            }
        }
    }
    if !parameter.required && lengths.len() == 1 {
        return Ok(Vec::new());
    }
    lengths.retain(|length| *length <= bytes_max);
    lengths.sort_unstable();
    lengths.dedup();
    let text = |length: usize| Choice { value: Some(json!("a".repeat(length))), machine: None };
    Ok(lengths.into_iter().map(text).collect())
}

/// Where a parameter comes into effects.
fn sources(declaration: &Declaration, parameter: &Parameter) -> Vec<(Kind, Field, Source)> {
    let each = declaration.effects.iter().flat_map(|template| {
        template.fields.iter().map(|(field, source)| (template.kind, *field, *source))
    });
    each.filter(|(.., source)| source.parameter() == Some(parameter.name)).collect()
}

/// Whether it comes into effects as this field and as nothing else.
fn is_only(declaration: &Declaration, parameter: &Parameter, of: (Kind, Field)) -> bool {
    let sources = sources(declaration, parameter);
    !sources.is_empty() && sources.iter().all(|(kind, field, _)| (*kind, *field) == of)
}

/// Names of secrets of every sort. That no secret may have one is no rule's.
fn secrets(set: &Set, bytes_max: usize) -> Result<Vec<String>> {
    let alike = values_alike(set, Kind::Secret, Field::Name, &[])?;
    let names = alike.into_iter().filter_map(|alike| match alike.value {
        Value::Text(name) if name.len() <= bytes_max => Some(name),
        Value::Text(_) | Value::Number(_) | Value::Path(_) | Value::List(_) => None,
    });
    Ok(names.collect())
}

/// Of words, one of each sort.
fn words_apart(
    set: &Set,
    declaration: &Declaration,
    parameter: &Parameter,
    words: &[&str],
) -> Vec<Json> {
    let sources = sources(declaration, parameter);
    let as_it_stands =
        |source: &Source| matches!(source, Source::TextOr(..) | Source::Parameter(_));
    if !sources.iter().all(|(.., source)| as_it_stands(source)) {
        return words.iter().map(|word| json!(word)).collect();
    }
    let tests = sources.iter().flat_map(|(kind, field, _)| machines::tests(set, &[*kind], *field));
    let tests: Vec<Test> = tests.collect();
    let mut seen = BTreeSet::new();
    let apart = words.iter().filter(|word| seen.insert(machines::holding(&tests, word)));
    apart.map(|word| json!(word)).collect()
}

/// Places of every sort of address and port.
fn places(set: &Set) -> Result<Vec<Choice>> {
    let ports = machines::ports(set)?;
    let mut choices = Vec::new();
    for Machine { host, place } in machines::addresses(set)? {
        let Host::Address(ip) = host else { continue };
        let at = |port: &u16| Choice {
            value: Some(json!([SocketAddr::new(ip, *port).to_string()])),
            machine: Some(place.clone()),
        };
        choices.extend(ports.iter().map(at));
    }
    Ok(choices)
}

/// Hosts of every sort. An address that is only looked up leads to itself, and nobody hears of it.
fn hosts(set: &Set, declaration: &Declaration, parameter: &Parameter) -> Result<Vec<Choice>> {
    let connects =
        sources(declaration, parameter).iter().any(|(.., s)| matches!(s, Source::AddressOf(_)));
    let mut machines = machines::names(set)?;
    if connects {
        machines.extend(machines::addresses(set)?);
    }
    let choice = |Machine { host, place }: Machine| Choice {
        value: Some(json!(host.to_string())),
        machine: Some(place),
    };
    Ok(machines.into_iter().map(choice).collect())
}

/// URLs of every sort of host, port and path. No effect has the scheme.
fn urls(set: &Set) -> Result<Vec<Choice>> {
    let mut machines = machines::names(set)?;
    machines.extend(machines::addresses(set)?);
    let (ports, paths) = (machines::ports(set)?, machines::url_paths(set)?);
    let count = machines.len().saturating_mul(ports.len()).saturating_mul(paths.len());
    ensure!(count <= INPUTS_MAX, "more than {INPUTS_MAX} URLs that rules tell apart");
    let mut choices = Vec::with_capacity(count);
    for Machine { host, place } in &machines {
        for port in &ports {
            for target in &paths {
                let (host, port, target) = (host.clone(), *port, target.clone());
                let url = Url { tls: true, host, port, target };
                let text = format!("https://{}{}", url.authority(), url.target);
                choices.push(Choice { value: Some(json!(text)), machine: Some(place.clone()) });
            }
        }
    }
    Ok(choices)
}

/// Digests that rules name, and one that they do not.
fn digests(set: &Set) -> Vec<String> {
    let rules = set.layers().flat_map(|layer| &layer.rules);
    let tests = rules.flat_map(|rule| &rule.conditions.0);
    let mut found = vec!["0".repeat(DIGEST_DIGITS)];
    for (_, test) in tests.filter(|(field, _)| *field == Field::Digest) {
        named(test, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn named(test: &Test, found: &mut Vec<String>) {
    match test {
        Test::OneOf(globs) => {
            for text in globs.iter().map(|glob| glob.as_str()) {
                let missing = DIGEST_DIGITS.saturating_sub(text.replace('*', "").len());
                let filled = text.replacen("**", "*", 1).replacen('*', &"0".repeat(missing), 1);
                found.push(filled.replace('*', ""));
                found.push("f".repeat(DIGEST_DIGITS));
            }
        }
        Test::All(tests) => tests.iter().for_each(|test| named(test, found)),
        Test::Not(test) => named(test, found),
        Test::Hosts(_) | Test::Under(_) | Test::Numbers(_) | Test::Networks(_) => {}
    }
}
