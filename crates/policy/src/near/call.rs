//! Changes of a call: one field of one effect, or who calls. Of numbers the nearest that a rule tells apart from
//! the one that is there; of text and addresses those that rules name, and those just beside what they name.

use super::{Asked, Change, What, distance, is, shown};
use crate::answer::{Call, Decision};
use crate::decide::decide;
use crate::test::Test;
use contract::effect::{Field, Form, Type, Value};
use contract::limits::AGENT_NAME_BYTES_MAX;
use contract::path::CanonicalPath;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Most values of one field that are tried.
const TRIED_MAX: usize = 2_000;
/// Highest port (RFC 9293).
const PORT_MAX: u64 = 65_535;

/// Changes of an exact effect; of a region who calls alone.
pub(super) fn changes(asked: &Asked<'_>, now: &Decision, number: usize) -> Vec<Change> {
    let Some(effect) = asked.effects.get(number) else { return Vec::new() };
    let rules = asked.rules(effect);
    let mut found = Vec::new();
    let mut try_one = |what: What, to: String, size, then: &Decision| {
        let (rule, from) = (None, is(asked.call, effect, what).unwrap_or_default());
        let (effect_answer, call_answer) = (then.answer, then.answer);
        let change =
            Change { effect: number, rule, what, from, to, effect_answer, call_answer, size };
        found.extend(asked.confirmed(now, then, change));
    };
    for (field, value) in effect.fields.iter().filter(|_| effect.form != Form::Region) {
        let tests = rules.iter().flat_map(|(_, rule)| &rule.conditions.0);
        let tests: Vec<&Test> = tests.filter(|(of, _)| of == field).map(|(_, test)| test).collect();
        for other in values(*field, value, &tests) {
            let mut effects = asked.effects.to_vec();
            if let Some(effect) = effects.get_mut(number) {
                effect.fields.insert(*field, other.clone());
            }
            let then = decide(asked.set, asked.call, &effects, asked.facts);
            try_one(What::Field(*field), shown(*field, &other), size(value, &other), &then);
        }
    }
    let patterns = rules.iter().flat_map(|(_, rule)| &rule.agents);
    let patterns: BTreeSet<&str> = patterns.map(|agent| agent.glob().as_str()).collect();
    for pattern in patterns {
        let agent = pattern.replace('*', "a");
        if is_agent(&agent) && pattern != "any" && agent != asked.call.agent {
            let call = Call { agent: &agent, ..*asked.call };
            let then = decide(asked.set, &call, asked.effects, asked.facts);
            let size = (2, distance(asked.call.agent, &agent));
            try_one(What::Agent, agent.clone(), size, &then);
        }
    }
    found
}

/// Whether an agent can have this name.
fn is_agent(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=AGENT_NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('-')
        && name.chars().all(plain)
}

/// How far it is from one value to another.
fn size(from: &Value, to: &Value) -> (u64, u64) {
    match (from, to) {
        (Value::Number(from), Value::Number(to)) => (0, from.abs_diff(*to)),
        (Value::Path(from), Value::Path(to)) => (1, distance(from.as_str(), to.as_str())),
        (Value::Text(from), Value::Text(to)) => (1, distance(from, to)),
        _ => (1, u64::MAX),
    }
}

/// Values that tests tell apart from this one, and perhaps more.
fn values(field: Field, now: &Value, tests: &[&Test]) -> BTreeSet<Value> {
    let mut found = BTreeSet::new();
    let text = match now {
        Value::Path(path) => path.as_str().to_owned(),
        Value::Text(text) => text.clone(),
        Value::Number(_) | Value::List(_) => String::new(),
    };
    for test in tests {
        beside(field, &text, test, &mut found);
    }
    found.remove(now);
    found.into_iter().take(TRIED_MAX).collect()
}

fn beside(field: Field, now: &str, test: &Test, found: &mut BTreeSet<Value>) {
    let mut put = |text: String| {
        let value = match field.ty() {
            Type::Path => CanonicalPath::parse(&text).ok().map(Value::Path),
            _ => Some(Value::Text(text)),
        };
        if found.len() < TRIED_MAX {
            found.extend(value);
        }
    };
    match test {
        Test::All(tests) => tests.iter().for_each(|test| beside(field, now, test, found)),
        Test::Not(test) => beside(field, now, test, found),
        Test::Numbers(ranges) => {
            let most = if field == Field::Port { PORT_MAX } else { u64::MAX };
            for (low, high) in ranges {
                let ends = [low.checked_sub(1), Some(*low), Some(*high), high.checked_add(1)];
                let ends = ends.into_iter().flatten().filter(|number| *number <= most);
                found.extend(ends.map(Value::Number));
            }
        }
        Test::Networks(networks) => {
            for network in networks {
                put(network.address().to_string());
                network.behind().into_iter().for_each(|address: IpAddr| put(address.to_string()));
            }
        }
        Test::Hosts(hosts) => {
            for host in hosts {
                put(host.replace('*', "a"));
                put(format!("a.{}", host.trim_start_matches("*.")));
                put(format!("{now}a"));
            }
        }
        Test::Under(roots) => {
            let name = now.rsplit('/').next().unwrap_or_default();
            for root in roots {
                put(root.as_str().to_owned());
                put(format!("{}/{name}", root.as_str()));
                put(format!("{}/a", root.as_str()));
                put(format!("{}/..{now}", root.as_str()));
                // just outside of it
                put(format!("{}/../a", root.as_str()));
            }
            put(format!("{now}a"));
        }
        Test::OneOf(globs) => {
            let stem = now.rsplit_once('.').map(|(stem, _)| stem.to_owned());
            let name = now.rsplit('/').next().unwrap_or_default();
            for glob in globs {
                for fill in ["a", name, ""] {
                    put(glob.as_str().replace("**", fill).replace('*', fill));
                }
            }
            put(format!("{now}a"));
            stem.into_iter().filter(|stem| !stem.ends_with('/')).for_each(put);
        }
    }
}
