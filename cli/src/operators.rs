//! Operators of a box, and the groups whose votes policies ask for.

use crate::ended::Ended;
use crate::remote::Desk;
use crate::render;
use anyhow::Result;
use clap::Subcommand;
use contract::statement::Act;
use serde_json::Value as Json;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  krux operator add bob KEY RECIPIENT
  krux operator group add release-managers bob
  krux operator list")]
pub(crate) enum Command {
    /// Everybody, with their groups.
    List,
    /// One more: their name, key and recipient, as `krux whoami` says them on their machine.
    Add {
        /// Their name.
        name: String,
        /// Their signing key.
        key: String,
        /// Their age recipient.
        recipient: String,
    },
    /// One less: what they sign counts no more, nor their yes to what still waits. The last one stays.
    Remove {
        /// Their name.
        name: String,
    },
    /// Groups, which a policy may ask for votes of: `approval: { votes: 2, of: release-managers }`.
    #[command(subcommand)]
    Group(Group),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// An operator joins. Their yes counts for what is asked from then on.
    Add {
        /// The group; it is made with its first member.
        group: String,
        /// The operator.
        name: String,
    },
    /// An operator leaves. Their yes to what still waits counts no more.
    Remove {
        /// The group; it is gone with its last member.
        group: String,
        /// The operator.
        name: String,
    },
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let (act, said) = match command {
        Command::List => return list(desk, as_json),
        Command::Add { name, key, recipient } => {
            let (name, key, recipient) = (name.clone(), key.clone(), recipient.clone());
            let said = format!("{name} may sign in");
            (Act::OperatorAdd { name, key, recipient }, said)
        }
        Command::Remove { name } => {
            (Act::OperatorRemove { name: name.clone() }, format!("{name} is no operator any more"))
        }
        Command::Group(Group::Add { group, name }) => {
            let (group, name) = (group.clone(), name.clone());
            let said = format!("{name} is in {group}");
            (Act::GroupAdd { group, name }, said)
        }
        Command::Group(Group::Remove { group, name }) => {
            let (group, name) = (group.clone(), name.clone());
            let said = format!("{name} is in {group} no more");
            (Act::GroupRemove { group, name }, said)
        }
    };
    let answer = desk.act(act)?;
    if as_json {
        render::object(&answer);
    } else {
        render::line(&said);
    }
    Ok(Ended::Done)
}

fn list(desk: &Desk, as_json: bool) -> Result<Ended> {
    let answer = desk.act(Act::Operators)?;
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    let items = |name: &str| answer.get(name).and_then(Json::as_array).into_iter().flatten();
    for operator in items("operators") {
        let text = |name: &str| operator.get(name).map(render::text).unwrap_or_default();
        let name = operator.get("name");
        let is_in = |group: &&Json| {
            let members = group.get("members").and_then(Json::as_array);
            members.into_iter().flatten().any(|member| Some(member) == name)
        };
        let groups: Vec<String> = items("groups")
            .filter(is_in)
            .filter_map(|group| group.get("group").map(render::text))
            .collect();
        render::line(&format!("{} {} {}", text("name"), text("key"), groups.join(" ")));
    }
    Ok(Ended::Done)
}
