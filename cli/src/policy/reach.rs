//! `krux policy reach`: which agents get what one agent has to another agent, to a machine, or out as a message, by any
//! chain of calls that a set lets through. What calls have in common is `capabilities::Shared`; every combination of an agent and an
//! input that rules tell apart is asked, so that what is not found is not there (docs/decisions/0019).

mod graph;
mod inputs;
mod machines;

use super::{SetFiles, read_set};
use crate::render;
use anyhow::{Result, ensure};
use capabilities::{CATALOGUE, Declaration, Shared};
use clap::Args;
use contract::effect::{Kind, visible};
use graph::{Edge, Graph, Way};
use inputs::Input;
use policy::{AgentsAlike, Answer, Because, Call, Compiled, Facts, Set, agents_alike, decide};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Most questions that are asked of a set.
const ASKED_MAX: usize = 5_000_000;

/// Longest input that people are shown, in characters.
const INPUT_CHARS_MAX: usize = 300;

/// What is asked about.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  krux policy reach mine.yaml --limits policies/system.yaml
  krux policy reach mine.yaml --limits policies/system.yaml --with-approvals --from build-1
  krux policy reach mine.yaml --limits policies/system.yaml --with-approvals --dot | dot -Tsvg > reach.svg

Without --agent there is one agent of each sort that rules tell apart; where a sort has more than one, another of it
counts as another agent. What a machine does with what it got is not known here: whoever reaches a machine
reaches whatever that one speaks to.

Exit codes: 0 nobody reaches another agent, a machine or a person; 1 somebody does; 2 wrong words or an unreadable file.")]
pub(crate) struct Reach {
    #[command(flatten)]
    set: SetFiles,
    /// Also by calls that a person may say yes to.
    #[arg(long)]
    with_approvals: bool,
    /// Only what reaches out of this agent.
    #[arg(long, value_name = "AGENT")]
    from: Option<String>,
    /// An agent of the box; may be given more than once.
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<String>,
    /// A picture for Graphviz instead of lines.
    #[arg(long)]
    dot: bool,
}

/// A complete call that is let through.
#[derive(Debug, Clone)]
struct Witness {
    call: String,
    input: Json,
    effects: Vec<String>,
    answer: Answer,
    rules: Vec<String>,
}

/// True if nobody reaches anything.
pub(crate) fn run(words: &Reach, as_json: bool) -> Result<bool> {
    let set = read_set(&words.set)?;
    let agents = agents(&set, words)?;
    let most = if words.with_approvals { Answer::Approval } else { Answer::Notify };
    let graph = Graph { edges: edges(&set, &agents, most)?, agents };
    let ways: Vec<Way> =
        graph.ways().into_iter().filter(|way| is_asked(&graph, words, way)).collect();
    let idle = idle(&set, most);
    if as_json {
        render::object(&json(&graph, &ways, &idle));
    } else if words.dot {
        render::line(&graph.dot());
    } else {
        say(&graph, &ways, &idle);
    }
    Ok(ways.is_empty())
}

fn is_asked(graph: &Graph, words: &Reach, way: &Way) -> bool {
    let name = graph.agents.get(way.from).map(|agent| agent.name.as_str());
    words.from.is_none() || words.from.as_deref() == name
}

/// The agents that are asked about.
fn agents(set: &Set, words: &Reach) -> Result<Vec<AgentsAlike>> {
    let named =
        |name: &String| AgentsAlike { name: name.clone(), said: name.clone(), is_one: true };
    let mut agents: Vec<AgentsAlike> = if words.agents.is_empty() {
        agents_alike(set)?
    } else {
        words.agents.iter().map(named).collect()
    };
    if let Some(name) = &words.from
        && !agents.iter().any(|agent| agent.name == *name && agent.is_one)
    {
        agents.retain(|agent| agent.name != *name);
        agents.push(named(name));
    }
    agents.sort_by(|one, other| one.name.cmp(&other.name));
    agents.dedup();
    Ok(agents)
}

/// Every way between an agent and a place, each with the call that is answered most mildly.
fn edges(set: &Set, agents: &[AgentsAlike], most: Answer) -> Result<Vec<Edge>> {
    let compiled = Compiled::new(set.clone())?;
    let mut found: BTreeMap<(usize, String, bool), Witness> = BTreeMap::new();
    let mut asked = 0_usize;
    for declaration in CATALOGUE {
        let shared = declaration.shared();
        ensure!(shared.is_some(), "what {} shares is not known", declaration.name);
        let shared = shared.unwrap_or(Shared::Nothing);
        if shared == Shared::Nothing {
            continue;
        }
        let inputs = inputs::all(set, declaration)?;
        asked = asked.saturating_add(inputs.len().saturating_mul(agents.len()));
        ensure!(
            asked <= ASKED_MAX,
            "more than {ASKED_MAX} questions: name the agents with --agent"
        );
        for (number, agent) in agents.iter().enumerate() {
            for input in &inputs {
                let Some(witness) = witness(&compiled, &agent.name, declaration, input, most)?
                else {
                    continue;
                };
                for (place, is_told) in places(shared, input) {
                    let known =
                        found.entry((number, place, is_told)).or_insert_with(|| witness.clone());
                    if witness.answer < known.answer {
                        *known = witness.clone();
                    }
                }
            }
        }
    }
    let edges = found.into_iter();
    Ok(edges.map(|((agent, place, is_told), by)| Edge { agent, place, is_told, by }).collect())
}

/// What a call has in common with others: the place, and whether the place is told something by it.
fn places(shared: Shared, input: &Input) -> Vec<(String, bool)> {
    let each = |places: &[capabilities::Place], is_told: bool| {
        places.iter().map(|place| (place.name().to_owned(), is_told)).collect()
    };
    match shared {
        Shared::Nothing => Vec::new(),
        Shared::Changes(places) => each(places, true),
        Shared::Tells(places) => each(places, false),
        // a connection goes both ways
        Shared::Machines => {
            let machine = input.machine.iter();
            machine
                .flat_map(|machine| [(machine.clone(), true), (machine.clone(), false)])
                .collect()
        }
    }
}

/// The call, if it is let through: by the engine, and by the interpreter.
fn witness(
    compiled: &Compiled,
    agent: &str,
    declaration: &Declaration,
    input: &Input,
    most: Answer,
) -> Result<Option<Witness>> {
    let call = Call { agent, capability: declaration.name, version: declaration.version };
    let facts = Facts::default();
    let by_engine = compiled.decide(&call, &input.effects, &facts);
    // a call whose name may lead to no address is blocked (docs/decisions/0024)
    if by_engine.answer > most
        || compiled.reach(&call, &input.effects, &facts, &by_engine, false).is_err()
    {
        return Ok(None);
    }
    let decision = decide(compiled.set(), &call, &input.effects, &facts);
    ensure!(
        decision.answer <= most,
        "a defect in this program: {} of {agent} is not confirmed",
        declaration.name
    );
    let because = decision.effects.iter().flat_map(|decided| &decided.because);
    let mut rules: Vec<String> = because
        .map(|because| match because {
            Because::Rule { layer, name, .. } => format!("{layer}/{name}"),
            Because::Otherwise | Because::NoEffect | Because::CouldNotDecide => {
                because.name().to_owned()
            }
        })
        .collect();
    rules.sort();
    rules.dedup();
    Ok(Some(Witness {
        call: format!("{agent} calls {}", declaration.id()),
        input: input.json.clone(),
        effects: input.effects.iter().map(ToString::to_string).collect(),
        answer: decision.answer,
        rules,
    }))
}

/// Kinds of effect that rules let through and no capability has.
fn idle(set: &Set, most: Answer) -> Vec<Kind> {
    let has = |kind: Kind| {
        CATALOGUE.iter().any(|declaration| declaration.effects.iter().any(|e| e.kind == kind))
    };
    let rules = set.granting().rules.iter().filter(|rule| rule.decision <= most);
    let lets = rules.flat_map(|rule| rule.effects.iter().map(|kind| kind.0));
    let mut idle: Vec<Kind> = lets.filter(|kind| !has(*kind)).collect();
    idle.sort_unstable();
    idle.dedup();
    idle
}

fn say(graph: &Graph, ways: &[Way], idle: &[Kind]) {
    let used = |edge: &&Edge| ways.iter().any(|way| graph.uses(way, edge));
    for edge in graph.edges.iter().filter(used) {
        let Witness { call, input, answer, rules, .. } = &edge.by;
        let (from, to) = graph.ends(edge);
        render::line(&visible(&format!("{from} -> {to}")));
        let input = short(input);
        render::line(&visible(&format!("  {call} {input}: {answer} by {}", rules.join(", "))));
    }
    for way in ways {
        render::line(&visible(&graph.told(way)));
    }
    for kind in idle {
        render::line(&format!(
            "rules let `{kind}` through, and no capability of this version has it"
        ));
    }
    let outside = ways.iter().filter(|way| way.to.is_none()).count();
    let agents = ways.len() - outside;
    render::line(&format!(
        "{} sorts of agent: {agents} ways to another agent, {outside} to machines and persons",
        graph.agents.len()
    ));
}

/// An input as people are shown it; programs get all of it.
fn short(input: &Json) -> String {
    let text = input.to_string();
    match text.char_indices().nth(INPUT_CHARS_MAX).and_then(|(at, _)| text.get(..at)) {
        Some(begins) => format!("{begins}… (of {} bytes)", text.len()),
        None => text,
    }
}

fn json(graph: &Graph, ways: &[Way], idle: &[Kind]) -> Json {
    let agents = graph
        .agents
        .iter()
        .map(|agent| json!({ "name": agent.name, "said": agent.said, "is_one": agent.is_one }));
    let edges = graph.edges.iter().map(|edge| {
        let Witness { call, input, effects, answer, rules } = &edge.by;
        let (from, to) = graph.ends(edge);
        json!({ "from": from, "to": to, "call": call, "input": input, "effects": effects,
            "answer": answer.to_string(), "rules": rules })
    });
    let reaches = ways.iter().map(|way| {
        let (from, to, by) = graph.names(way);
        json!({ "from": from, "to": to, "by": by, "is_outside": way.to.is_none() })
    });
    json!({
        "agents": agents.collect::<Vec<Json>>(),
        "edges": edges.collect::<Vec<Json>>(),
        "reaches": reaches.collect::<Vec<Json>>(),
        "without_capability": idle,
    })
}

#[cfg(test)]
mod tests;
