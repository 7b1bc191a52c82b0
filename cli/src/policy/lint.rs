//! `krux policy lint`: what is allowed in a text and hardly meant.

use super::{SetFiles, read_set};
use crate::render;
use anyhow::{Result, ensure};
use capabilities::{Declaration, find};
use contract::effect::Kind;
use policy::{Answer, Layer, Rule, Set};
use serde_json::{Value as Json, json};

/// Most rules of a text that is linted: each is left out once, and both sets are compared.
const RULES_MAX: usize = 500;
/// Kinds of effect that leave the workspace or cannot be looked at and forgotten.
const WEIGHTY: [Kind; 6] =
    [Kind::Delete, Kind::Code, Kind::Connect, Kind::Secret, Kind::Push, Kind::Setting];

/// What was found of a rule.
#[derive(Debug)]
struct Finding {
    rule: String,
    code: &'static str,
    says: String,
}

/// Lints the granting layer; true if nothing was found.
pub(crate) fn run(files: &SetFiles, as_json: bool) -> Result<bool> {
    let set = read_set(files)?;
    let rules = &set.granting().rules;
    ensure!(rules.len() <= RULES_MAX, "more than {RULES_MAX} rules are not linted");
    let mut found = Vec::new();
    for rule in rules {
        let mut say =
            |code, says: String| found.push(Finding { rule: rule.name.clone(), code, says });
        of_words(rule, &mut say);
        if policy::diff(&set, &without(&set, rule)?)?.changed().is_empty() {
            say("changes-nothing", "without it every answer is the same".to_owned());
        }
    }
    if as_json {
        let each = found.iter().map(
            |Finding { rule, code, says }| json!({ "rule": rule, "code": code, "message": says }),
        );
        let each: Vec<Json> = each.collect();
        render::object(&json!({ "rules": rules.len(), "findings": each }));
    } else {
        for Finding { rule, code, says } in &found {
            render::line(&format!("rule `{rule}`: {says} ({code})"));
        }
        render::line(&format!("{} rules, {} findings", rules.len(), found.len()));
    }
    Ok(found.is_empty())
}

/// What one rule's words say by themselves.
fn of_words(rule: &Rule, say: &mut impl FnMut(&'static str, String)) {
    let named = rule.capabilities.as_deref().unwrap_or_default();
    let mut known: Vec<&Declaration> = Vec::new();
    for capability in named {
        match find(capability.name()) {
            Some(declaration) if capability.version().is_none_or(|v| v == declaration.version) => {
                known.push(declaration);
            }
            _ => say("unknown-capability", format!("no box has {capability}")),
        }
    }
    for kind in rule.effects.iter().map(|kind| kind.0) {
        let lowers = |of: &&Declaration| of.effects.iter().any(|template| template.kind == kind);
        if !known.is_empty() && known.len() == named.len() && !known.iter().any(lowers) {
            say("never-lowered", format!("none of its capabilities has the effect `{kind}`"));
        }
    }
    if rule.decision >= Answer::Approval && rule.reason.is_none() {
        say("no-reason", "it asks or blocks, and does not say why".to_owned());
    }
    let weighty = rule.effects.iter().find(|kind| WEIGHTY.contains(&kind.0));
    let everybody = rule.agents.iter().any(|agent| agent.matches_all());
    if let Some(kind) = weighty
        && rule.decision < Answer::Approval
        && rule.conditions.0.is_empty()
        && everybody
    {
        say("wide", format!("every agent may `{}` anything without being asked", kind.0));
    }
}

/// The set without this rule of its granting layer.
fn without(set: &Set, rule: &Rule) -> Result<Set> {
    let granting = set.granting();
    let rules = granting.rules.iter().filter(|other| other.name != rule.name).cloned().collect();
    let granting = Layer { rules, ..granting.clone() };
    Ok(Set::new(granting, set.layers().skip(1).cloned().collect())?)
}
