//! `krux policy`: check, fmt, schema, test, explain, prove, diff, reach, replay; show, apply, revert, shadow.

mod change;
mod explain;
mod invariant;
mod lint;
mod proposals;
mod question;
mod reach;
mod replay;
pub(crate) mod shadow;
mod words;

use crate::ended::Ended;
use crate::remote::Desk;
use crate::render;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use contract::effect::Effect;
use contract::statement::Act;
use hours::Hours;
use policy::{Answer, Call, Compiled, Layer, LayerKind, Set, cases, parse};
use serde_json::{Value as Json, json};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reads texts of policy strictly; each mistake with its place and a suggestion.
    Check {
        /// Texts of policy.
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Writes texts of policy in their one form; comments stay. Exit code 1 with `--check` if one would change.
    Fmt(words::Format),
    /// The grammar of policies as a JSON Schema (draft 2020-12), for editors.
    Schema,
    /// Holds a policy against a table of expected answers.
    Test {
        #[command(flatten)]
        set: SetFiles,
        /// The table.
        #[arg(long)]
        cases: String,
    },
    /// What a text allows and hardly means: rules that change nothing, that name what no box has, that ask
    /// without a reason, that allow everybody anything. Exit code 1 when anything is found.
    Lint {
        #[command(flatten)]
        set: SetFiles,
    },
    /// Whether properties hold of every call: never, always, only. Exact; a call that shows it where one
    /// does not. Exit code 1 then.
    Prove(question::Prove),
    /// The regions of calls whose answer changes from one text to another, the milder ones first, each
    /// with a call.
    Diff(question::Compare),
    /// Which agents get what one agent has to another, to a machine, or out as a message, by any chain of calls
    /// that is let through: each step with a call. Exit code 1 if one does.
    Reach(reach::Reach),
    /// Decides again what a ledger's export says was decided: each must come out as it was recorded, or,
    /// with `--against`, says what another text would change. Exit code 1 when anything differs.
    Replay(replay::Words),
    /// The text of a box's policy.
    Show {
        /// One that was in force before; 0 is the one that the image offers.
        #[arg(long)]
        version: Option<u64>,
    },
    /// Which texts were in force, since when and by whom.
    History,
    /// Replaces a box's policy as a whole, after it was checked here and what changes was said.
    Apply {
        /// The text.
        #[arg(required_unless_present = "proposal")]
        file: Option<String>,
        /// Instead of a text here, the one that this call proposed.
        #[arg(long, value_name = "CALL", conflicts_with = "file")]
        proposal: Option<String>,
        /// Does not, if any call would be answered more mildly.
        #[arg(long)]
        only_tightens: bool,
    },
    /// Takes the last change back: the text before it is applied again.
    Revert {
        /// Another text that was in force; 0 is the one that the image offers.
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
    },
    /// Texts that agents proposed and nobody answered.
    Proposals,
    /// One of them: who proposed it and why, what it would change, and which recorded decisions.
    Proposal(proposals::Words),
    /// A candidate that decides beside a box's policy: begun, looked at, ended.
    #[command(subcommand)]
    Shadow(shadow::Command),
    /// What each text of a box's policy must have.
    #[command(subcommand)]
    Invariant(invariant::Invariants),
    /// Says what a box's agent would get, limits used up included.
    ExplainBox {
        #[command(flatten)]
        asked: AskedFor,
    },
    /// Says what a call would get, effect by effect, which rules say so, which nearly spoke, and the smallest
    /// changes under which the answer would be another. The call is made up: no box is asked, and no limit
    /// counts as used up.
    #[command(after_help = explain::HELP)]
    Explain {
        #[command(flatten)]
        set: SetFiles,
        #[command(flatten)]
        asked: AskedFor,
        /// When the call is made, such as 2026-03-29T01:00:00Z; without it every window of time is open.
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
}

/// A call that is asked about.
#[derive(Debug, Args)]
pub(crate) struct AskedFor {
    /// The calling agent's name.
    #[arg(long)]
    agent: String,
    /// `category.verb`, or with `@version`.
    #[arg(long)]
    capability: String,
    /// The input, a JSON object.
    #[arg(long, default_value = "{}")]
    input: String,
}

/// The layers that decide together.
#[derive(Debug, Args)]
pub(crate) struct SetFiles {
    /// The granting layer.
    policy: String,
    /// A layer of limits; may be given more than once.
    #[arg(long)]
    limits: Vec<String>,
}

impl Command {
    /// Whether it needs no box.
    pub(crate) const fn is_local(&self) -> bool {
        matches!(
            self,
            Self::Check { .. }
                | Self::Fmt(_)
                | Self::Schema
                | Self::Test { .. }
                | Self::Explain { .. }
                | Self::Lint { .. }
                | Self::Prove(_)
                | Self::Diff(_)
                | Self::Reach(_)
                | Self::Replay(_)
        )
    }
}

/// Commands at a box.
pub(crate) fn at_desk(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Command::Shadow(command) => return shadow::run(desk, command, as_json),
        Command::Show { version: None } => desk.act(Act::PolicyShow)?,
        Command::Show { version: Some(version) } => {
            json!({ "version": version, "text": change::text(desk, *version)? })
        }
        Command::History => desk.act(Act::PolicyHistory)?,
        Command::Revert { to } => match change::revert(desk, *to, as_json)? {
            Some(answer) => answer,
            None => return Ok(Ended::No),
        },
        Command::ExplainBox { asked: AskedFor { agent, capability, input } } => {
            let (agent, capability) = (agent.clone(), capability.clone());
            desk.act(Act::PolicyExplain { agent, capability, input: input.clone() })?
        }
        Command::Proposals => desk.act(Act::PolicyProposals)?,
        Command::Proposal(words) => return proposals::run(desk, words, as_json),
        Command::Apply { file, proposal, only_tightens } => {
            let text = match (file, proposal) {
                (Some(file), _) => read(file)?,
                (None, Some(call)) => proposals::of(desk, call)?.text,
                (None, None) => return Ok(Ended::Usage),
            };
            let named = file.as_deref().or(proposal.as_deref()).unwrap_or_default();
            let proposal = proposal.as_deref();
            match change::apply(desk, (named, &text), proposal, *only_tightens, as_json)? {
                Some(answer) => answer,
                None => return Ok(Ended::No),
            }
        }
        Command::Invariant(command) => invariant::at_desk(desk, command)?,
        Command::Check { .. }
        | Command::Fmt(_)
        | Command::Schema
        | Command::Test { .. }
        | Command::Explain { .. }
        | Command::Lint { .. }
        | Command::Prove(_)
        | Command::Diff(_)
        | Command::Reach(_)
        | Command::Replay(_) => {
            return Ok(Ended::Usage);
        }
    };
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    match command {
        Command::Show { .. } => {
            render::line(answer.get("text").and_then(Json::as_str).unwrap_or_default());
        }
        Command::History => change::history(&answer),
        Command::Proposals => proposals::lines(&answer).iter().for_each(|line| render::line(line)),
        Command::Invariant(command) => invariant::say(command, &answer),
        Command::Apply { .. } | Command::Revert { .. } => {
            let version = answer.get("version").map(render::text).unwrap_or_default();
            render::line(&format!("in force, as version {version}"));
        }
        _ => render::line(&serde_json::to_string_pretty(&answer)?),
    }
    Ok(Ended::Done)
}

/// Whether the answer is yes.
pub(crate) fn run(command: &Command, as_json: bool) -> Result<bool> {
    match command {
        Command::Check { files } => check(files, as_json),
        Command::Fmt(words) => words::format(words, as_json),
        Command::Schema => words::schema(as_json),
        Command::Test { set, cases } => test(set, cases, as_json),
        Command::Lint { set } => lint::run(set, as_json),
        Command::Prove(words) => question::prove(words, as_json),
        Command::Diff(words) => question::diff(words, as_json),
        Command::Reach(words) => reach::run(words, as_json),
        Command::Replay(words) => replay::run(words, as_json),
        Command::Explain { set, asked, at } => {
            explain::run(&read_set(set)?, (asked, at.as_deref()), as_json)
        }
        Command::Show { .. }
        | Command::Shadow(_)
        | Command::Proposals
        | Command::Proposal(_)
        | Command::History
        | Command::Apply { .. }
        | Command::Revert { .. }
        | Command::Invariant(_)
        | Command::ExplainBox { .. } => Ok(false),
    }
}

fn check(files: &[String], as_json: bool) -> Result<bool> {
    let mut wrong = Vec::new();
    for file in files {
        let text = read(file)?;
        match parse(&text) {
            Ok(layer) => {
                let (kind, version, count) = (name(&layer.kind), layer.version, layer.rules.len());
                if let Err(error) = compile(layer) {
                    if !as_json {
                        render::complain(&format!("{file}: {error:#}"));
                    }
                    wrong.push(json!({ "file": file, "message": format!("{error:#}") }));
                } else if !as_json {
                    render::line(&format!("{file}: {kind} version {version}, {count} rules"));
                }
            }
            Err(error) => {
                if !as_json {
                    render::complain(&render::mistake(file, &text, &error));
                }
                wrong.push(render::mistake_json(file, &error));
            }
        }
    }
    if as_json {
        render::object(&json!({ "files": files.len(), "mistakes": wrong }));
    }
    Ok(wrong.is_empty())
}

/// Whether a layer can be compiled, alone: a box refuses what cannot.
fn compile(layer: Layer) -> Result<()> {
    let set = if layer.kind == LayerKind::Box {
        Set::new(layer, Vec::new())
    } else {
        let otherwise = Some(Answer::Blocked);
        let granting = Layer { kind: LayerKind::Box, version: 1, otherwise, rules: Vec::new() };
        Set::new(granting, vec![layer])
    };
    Compiled::new(set?)?;
    Ok(())
}

fn test(files: &SetFiles, table: &str, as_json: bool) -> Result<bool> {
    let set = read_set(files)?;
    let cases = cases::read(&read(table)?)?;
    let hours = Hours::of(&set)?;
    let closed = |call: &Call<'_>, effects: &[Effect], at: &str| {
        let at = explain::moment(at).map_err(|error| error.to_string())?;
        Ok(hours.closed(&set, call, effects, Some(at)))
    };
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| cases::check(&set, case, closed).err())
        .map(|error| error.to_string())
        .collect();
    let passed = cases.len().saturating_sub(failures.len());
    if as_json {
        render::object(&json!({ "passed": passed, "failures": failures }));
    } else {
        failures.iter().for_each(|failure| render::complain(failure));
        render::line(&format!("{passed} passed, {} failed", failures.len()));
    }
    Ok(failures.is_empty())
}

fn name(kind: &LayerKind) -> String {
    match kind {
        LayerKind::Box => "the box's policy".to_owned(),
        LayerKind::System => "the system's limits".to_owned(),
        LayerKind::Organisation(name) => format!("the limits of organisation {name}"),
        LayerKind::Agent(name) => format!("the limits of agent {name}"),
    }
}

fn read_set(files: &SetFiles) -> Result<Set> {
    let limits = files.limits.iter().map(|file| read_layer(file)).collect::<Result<_>>()?;
    Ok(Set::new(read_layer(&files.policy)?, limits)?)
}

fn read_layer(file: &str) -> Result<Layer> {
    change::parsed(file, &read(file)?)
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"))
}
