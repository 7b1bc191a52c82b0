//! `krux policy explain`: what one call would get, and why; for operators also which rules nearly spoke, and what
//! would have to be another. None of that is ever said to an agent.

use super::{AskedFor, name};
use crate::render;
use anyhow::{Context, Result, bail};
use capabilities::find;
use contract::effect::Effect;
use hours::Hours;
use policy::near::{Change, Near, changes, near};
use policy::{Answer, Because, Call, Decided, Decision, Facts, Set, decide};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

pub(super) const HELP: &str = "Examples:
  krux policy explain mine.yaml --limits policies/system.yaml --agent build-1 \\
    --capability filesystem.read --input '{\"path\":\"a.key\"}'

A rule nearly spoke if of its agents, its capabilities and the lines of its `where` exactly one did not fit. Of each
other answer that one change gives, the smallest change of the call and of a rule are said, each asked before it is
said: of numbers the nearest there is, of text the nearest that the rules' own words give. Do not pass them on to
whoever called.

Exit codes: 0 the call is not blocked; 1 it is; 2 wrong words.";

/// Most rules that people are shown that nearly spoke of one effect; programs get all.
const NEAR_MAX: usize = 8;

/// True unless the call would be blocked.
pub(super) fn run(
    set: &Set,
    (asked, at): (&AskedFor, Option<&str>),
    as_json: bool,
) -> Result<bool> {
    let AskedFor { agent, capability: name, input } = asked;
    let declaration = find(name)
        .with_context(|| format!("no capability `{name}`; `krux capability list` has them all"))?;
    let input: Json = serde_json::from_str(input).context("--input is no JSON")?;
    let accepted = declaration.accept(&input)?;
    let Some(effects) = declaration.lower(&accepted) else {
        bail!("the declaration of {name} cannot be lowered for this input");
    };
    let call = Call { agent, capability: declaration.name, version: declaration.version };
    let exhausted = match at {
        Some(at) => Hours::of(set)?.closed(set, &call, &effects, Some(moment(at)?)),
        None => BTreeSet::new(),
    };
    let facts = Facts { exhausted };
    let explained = Explained {
        decision: decide(set, &call, &effects, &facts),
        near: near(set, &call, &effects, &facts),
        changes: changes(set, &call, &effects, &facts),
        effects,
    };
    if as_json {
        render::object(&explained.json());
    } else {
        let answer = explained.decision.answer;
        render::line(&format!("{} calls {}: {answer}", agent, declaration.id()));
        explained.say();
    }
    Ok(explained.decision.answer != Answer::Blocked)
}

/// Reads a moment.
pub(super) fn moment(text: &str) -> Result<u64> {
    let at = hours::moment(text);
    at.with_context(|| format!("`{text}`: expected a moment such as 2026-03-29T01:00:00Z"))
}

/// A call with everything that is said of it.
struct Explained {
    effects: Vec<Effect>,
    decision: Decision,
    near: Vec<Near>,
    changes: Vec<Change>,
}

impl Explained {
    fn near(&self, effect: usize) -> impl Iterator<Item = &Near> {
        self.near.iter().filter(move |near| near.effect == effect)
    }

    fn changes(&self, effect: usize) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.effect == effect)
    }

    fn say(&self) {
        for (number, (effect, decided)) in
            self.effects.iter().zip(&self.decision.effects).enumerate()
        {
            let Decided { answer, because } = decided;
            render::line(&format!("  {effect}: {answer}"));
            because.iter().for_each(|because| render::line(&format!("    {}", why(because))));
            // first those that would have answered something else
            let mut near: Vec<&Near> = self.near(number).collect();
            near.sort_by_key(|near| near.decision == *answer);
            for Near { layer, rule, decision, what, is, wants, .. } in near.iter().take(NEAR_MAX) {
                let is = is.as_ref().map_or("absent".to_owned(), |is| format!("`{is}`"));
                let of = name(layer);
                render::line(&format!(
                    "    nearly rule `{rule}` of {of} ({decision}): {what} is {is}, and it wants {wants}"
                ));
            }
            if near.len() > NEAR_MAX {
                render::line(&format!("    and {} more, with --json", near.len() - NEAR_MAX));
            }
            for change in self.changes(number) {
                render::line(&format!("    {}", said(change)));
            }
        }
    }

    fn json(&self) -> Json {
        let each = self.effects.iter().zip(&self.decision.effects).enumerate();
        let each = each.map(|(number, (effect, decided))| {
            let because: Vec<String> = decided.because.iter().map(why).collect();
            let near: Vec<Json> = self.near(number).map(near_json).collect();
            let changes: Vec<Json> = self.changes(number).map(change_json).collect();
            json!({ "effect": effect.to_string(), "answer": decided.answer.to_string(),
                "because": because, "near": near, "changes": changes })
        });
        let each: Vec<Json> = each.collect();
        json!({ "answer": self.decision.answer.to_string(), "effects": each })
    }
}

/// A change in words.
fn said(change: &Change) -> String {
    let Change { rule, what, from, to, effect_answer, call_answer, .. } = change;
    let of = match rule {
        Some((layer, rule)) => format!("rule `{rule}` of {}", name(layer)),
        None => "this call".to_owned(),
    };
    let call = if effect_answer == call_answer {
        String::new()
    } else {
        format!(", the call {call_answer} still")
    };
    format!("{effect_answer} if in {of} {what} were {to} instead of {from}{call}")
}

fn near_json(near: &Near) -> Json {
    let Near { layer, rule, decision, what, is, wants, .. } = near;
    json!({ "layer": layer.to_string(), "rule": rule, "decision": decision.to_string(),
        "what": what.to_string(), "is": is, "wants": wants })
}

fn change_json(change: &Change) -> Json {
    let Change { rule, what, from, to, effect_answer, call_answer, .. } = change;
    let rule = rule.as_ref().map(|(layer, rule)| format!("{layer}/{rule}"));
    json!({ "rule": rule, "what": what.to_string(), "from": from, "to": to,
        "effect_answer": effect_answer.to_string(), "call_answer": call_answer.to_string() })
}

fn why(because: &Because) -> String {
    match because {
        Because::Rule { layer, name: rule, reason, exhausted } => {
            let used = if *exhausted { ", its limit used up" } else { "" };
            let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            format!("rule `{rule}` of {}{used}{reason}", name(layer))
        }
        Because::Otherwise => "no rule speaks of it: otherwise".to_owned(),
        Because::NoEffect => "a call without an effect is blocked".to_owned(),
        Because::CouldNotDecide => "it could not be decided, so it is blocked".to_owned(),
    }
}
