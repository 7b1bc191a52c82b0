//! What waits for a person, and what a person is to know.

use crate::ended::Ended;
use crate::remote::Desk;
use crate::render;
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::statement::Act;
use serde_json::Value as Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything that waits.
    List,
    /// One call: who wants what, effect by effect.
    Show {
        /// The call's number.
        call: String,
    },
    /// Yes, to exactly what `show` says now: the box refuses when it is another thing by then.
    Accept {
        /// The call's number.
        call: String,
        /// The digest that you saw; without it the one that is shown now.
        #[arg(long)]
        digest: Option<String>,
        /// Why, for the ledger.
        #[arg(long)]
        reason: Option<String>,
    },
    /// No.
    Deny {
        /// The call's number.
        call: String,
        /// Why, for the ledger.
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Command::List => desk.act(Act::Approvals)?,
        Command::Show { call } => desk.act(Act::ApprovalShow { call: call.clone() })?,
        Command::Accept { call, digest, reason } => {
            let shown = desk.act(Act::ApprovalShow { call: call.clone() })?;
            if !as_json {
                one(&shown);
            }
            let now = shown.get("digest").and_then(Json::as_str).map(str::to_owned);
            let digest = digest.clone().or(now).context("this call waits for nobody any more")?;
            let (call, reason) = (call.clone(), reason.clone());
            desk.act(Act::Accept { call, digest, reason })?
        }
        Command::Deny { call, reason } => {
            desk.act(Act::Deny { call: call.clone(), reason: reason.clone() })?
        }
    };
    if as_json {
        render::object(&answer);
    } else if let Some(list) = answer.get("approvals").and_then(Json::as_array) {
        list.iter().for_each(one);
        if list.is_empty() {
            render::line("nothing waits");
        }
    } else if let Some(verdict) = answer.get("verdict") {
        render::line(&format!("recorded: {}", render::text(verdict)));
    } else {
        one(&answer);
    }
    Ok(Ended::Done)
}

fn one(approval: &Json) {
    let text = |name: &str| approval.get(name).map(render::text).unwrap_or_default();
    render::line(&format!("{} {} {}", text("call"), text("agent"), text("capability")));
    for effect in approval.get("effects").and_then(Json::as_array).into_iter().flatten() {
        render::line(&format!("  {}", render::text(effect)));
    }
    if approval.get("digest").is_some() {
        render::line(&format!("  why it asks: {}\n  digest {}", text("reason"), text("digest")));
    } else {
        render::line(&format!("  {}", text("status")));
    }
}

pub(crate) fn notices(desk: &Desk, acknowledge: Option<&str>, as_json: bool) -> Result<Ended> {
    let answer = match acknowledge {
        Some(call) => desk.act(Act::Acknowledge { call: call.to_owned() })?,
        None => desk.act(Act::Notices)?,
    };
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    for notice in answer.get("notices").and_then(Json::as_array).into_iter().flatten() {
        let text = |name: &str| notice.get(name).map(render::text).unwrap_or_default();
        let at = notice.get("wall_us").and_then(Json::as_u64).unwrap_or(0);
        render::line(&format!("{} {} {}", render::time(at), text("call"), text("text")));
    }
    if acknowledge.is_some() {
        render::line("acknowledged");
    }
    Ok(Ended::Done)
}
