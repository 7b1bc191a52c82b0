//! Inputs of a capability, one of each sort that rules tell apart.

use anyhow::{Context, Result, bail, ensure};
use capabilities::programs::OPEN;
use capabilities::{Declaration, Parameter, Shape, Source};
use contract::effect::{Effect, Field, Kind, Value};
use policy::{Network, Set, Test, values_alike};
use serde_json::{Map, Value as Json, json};
use std::net::{IpAddr, SocketAddr};

/// Most inputs of one capability.
const INPUTS_MAX: usize = 1_000_000;
/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 64;
/// Addresses that are of no one machine, which no capability takes: rules do not tell them from others, so that this
/// does.
const NO_MACHINES: [&str; 5] = ["0.0.0.0", "224.0.0.0/3", "::", "::ffff:0.0.0.0/96", "ff00::/8"];

/// An input that its capability accepts.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) json: Json,
    pub(super) effects: Vec<Effect>,
    /// The machines that it connects to, in the words of rules.
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
        Shape::OneOf(words) => words.iter().map(|word| plain(json!(word))).collect(),
        // no rule can ask about arguments
        Shape::OpenCommand => {
            OPEN.iter().map(|program| plain(json!([program.name, "a.py"]))).collect()
        }
        Shape::Digest => digests(set).into_iter().map(|digest| plain(json!(digest))).collect(),
        Shape::Places => places(set)?,
        Shape::Text { bytes_max } => texts(set, declaration, parameter, bytes_max)?,
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

/// Places of every sort of address and port.
fn places(set: &Set) -> Result<Vec<Choice>> {
    let none: Option<Vec<Network>> = NO_MACHINES.iter().map(|text| Network::read(text)).collect();
    let none = none.context("a network that is none: a defect in this program")?;
    let apart: Vec<Test> = none.iter().map(|one| Test::Networks(vec![*one])).collect();
    let mut addresses: Vec<(IpAddr, String)> = Vec::new();
    for alike in values_alike(set, Kind::Connect, Field::Address, &apart)? {
        let Value::Text(ip) = &alike.value else { continue };
        let ip: IpAddr = ip.parse().context("an address that is none")?;
        if !none.iter().any(|network| network.contains(ip)) {
            addresses.push((ip, alike.said));
        }
    }
    let ports = values_alike(set, Kind::Connect, Field::Port, &[Test::Numbers(vec![(0, 0)])])?;
    let is_any = addresses.len() == 1;
    let mut choices = Vec::new();
    for (ip, said) in &addresses {
        let said = if is_any { "any address" } else { said };
        for port in &ports {
            if let Value::Number(number) = &port.value
                && let Ok(number) = u16::try_from(*number)
            {
                let place = json!([SocketAddr::new(*ip, number).to_string()]);
                let machine = Some(format!("machines at {said}"));
                choices.push(Choice { value: Some(place), machine });
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
