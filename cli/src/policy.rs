//! `krux policy`: check, test, explain, prove, diff, replay.

mod change;
mod invariant;
mod lint;
mod question;
mod replay;

use crate::ended::Ended;
use crate::remote::Desk;
use crate::render;
use anyhow::{Context, Result, bail};
use capabilities::find;
use clap::{Args, Subcommand};
use contract::effect::Effect;
use contract::statement::Act;
use hours::Hours;
use policy::{
    Answer, Because, Call, Compiled, Decided, Facts, Layer, LayerKind, Set, cases, decide, parse,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reads texts of policy strictly; each mistake with its place and a suggestion.
    Check {
        /// Texts of policy.
        #[arg(required = true)]
        files: Vec<String>,
    },
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
        file: String,
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
    /// What each text of a box's policy must have.
    #[command(subcommand)]
    Invariant(invariant::Invariants),
    /// Says what a box's agent would get, limits used up included.
    ExplainBox {
        #[command(flatten)]
        asked: AskedFor,
    },
    /// Says what a call would get, effect by effect, and which rules say so. The call is made up: no
    /// box is asked, and no limit counts as used up but windows of time, if it is said when.
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
                | Self::Test { .. }
                | Self::Explain { .. }
                | Self::Lint { .. }
                | Self::Prove(_)
                | Self::Diff(_)
                | Self::Replay(_)
        )
    }
}

/// Commands at a box.
pub(crate) fn at_desk(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
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
        Command::Apply { file, only_tightens } => {
            match change::apply(desk, file, &read(file)?, *only_tightens, as_json)? {
                Some(answer) => answer,
                None => return Ok(Ended::No),
            }
        }
        Command::Invariant(command) => invariant::at_desk(desk, command)?,
        Command::Check { .. }
        | Command::Test { .. }
        | Command::Explain { .. }
        | Command::Lint { .. }
        | Command::Prove(_)
        | Command::Diff(_)
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
        Command::Test { set, cases } => test(set, cases, as_json),
        Command::Lint { set } => lint::run(set, as_json),
        Command::Prove(words) => question::prove(words, as_json),
        Command::Diff(words) => question::diff(words, as_json),
        Command::Replay(words) => replay::run(words, as_json),
        Command::Explain { set, asked, at } => {
            explain(&read_set(set)?, (asked, at.as_deref()), as_json)
        }
        Command::Show { .. }
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
        let at = moment(at).map_err(|error| error.to_string())?;
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

/// True unless the call would be blocked.
fn explain(set: &Set, (asked, at): (&AskedFor, Option<&str>), as_json: bool) -> Result<bool> {
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
    let decision = decide(set, &call, &effects, &Facts { exhausted });
    if as_json {
        let decided: Vec<Json> = effects
            .iter()
            .zip(&decision.effects)
            .map(|(effect, decided)| {
                let because: Vec<String> = decided.because.iter().map(why).collect();
                let answer = decided.answer.to_string();
                json!({ "effect": effect.to_string(), "answer": answer, "because": because })
            })
            .collect();
        render::object(&json!({ "answer": decision.answer.to_string(), "effects": decided }));
    } else {
        render::line(&format!("{} calls {}: {}", agent, declaration.id(), decision.answer));
        for (effect, Decided { answer, because }) in effects.iter().zip(&decision.effects) {
            render::line(&format!("  {effect}: {answer}"));
            because.iter().for_each(|because| render::line(&format!("    {}", why(because))));
        }
    }
    Ok(decision.answer != Answer::Blocked)
}

/// Reads a moment.
fn moment(text: &str) -> Result<u64> {
    let at = hours::moment(text);
    at.with_context(|| format!("`{text}`: expected a moment such as 2026-03-29T01:00:00Z"))
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
    let text = read(file)?;
    parse(&text).map_err(|error| anyhow::anyhow!("{}", render::mistake(file, &text, &error)))
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"))
}
