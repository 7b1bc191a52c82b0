//! What waits for a person, and what a person is to know.

use crate::ended::{Ended, failed};
use crate::remote::Desk;
use crate::render;
use anyhow::Result;
use clap::Subcommand;
use contract::statement::Act;
use serde_json::Value as Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What waits, the oldest first, one agent's after another's.
    List {
        /// Of this agent alone.
        #[arg(long)]
        agent: Option<String>,
    },
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
    /// Yes to this and to more calls like it: a grant, bounded, which ends with the boot. The call itself
    /// is answered with yes as well.
    Grant {
        /// The call's number.
        call: String,
        /// The digest that you saw; without it the one that is shown now.
        #[arg(long)]
        digest: Option<String>,
        /// What must hold of the effects, as a JSON object in the policy's own grammar, such as
        /// '{"path":{"under":"/workspace/tmp"}}'; without it they must be exactly these.
        #[arg(long = "where", value_name = "JSON")]
        scope: Option<String>,
        /// How many calls, at most 1,000.
        #[arg(long, default_value_t = 20)]
        calls: u32,
        /// For how long, such as 30m, at most 1d.
        #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = seconds)]
        seconds: u64,
        /// Why, for the ledger.
        #[arg(long)]
        reason: Option<String>,
    },
    /// The grants in force, with what is left of each.
    Grants,
    /// Takes a grant back.
    Revoke {
        /// The grant's number.
        grant: String,
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

fn seconds(text: &str) -> Result<u64, String> {
    policy::Span::read(text)
        .map(|span| span.0)
        .ok_or_else(|| "a time such as 45s, 30m or 12h".to_owned())
}

/// Shows a call that waits, unless for a program; the digest that a yes is given to.
fn seen(desk: &Desk, call: &str, digest: Option<&String>, as_json: bool) -> Result<String> {
    let shown = desk.act(Act::ApprovalShow { call: call.to_owned() })?;
    if !as_json {
        one(&shown);
    }
    let now = shown.get("digest").and_then(Json::as_str).map(str::to_owned);
    digest
        .cloned()
        .or(now)
        .ok_or_else(|| failed(Ended::Conflict, "this call waits for nobody any more"))
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Command::List { agent } => desk.act(Act::Approvals { agent: agent.clone() })?,
        Command::Show { call } => desk.act(Act::ApprovalShow { call: call.clone() })?,
        Command::Accept { call, digest, reason } => {
            let digest = seen(desk, call, digest.as_ref(), as_json)?;
            let (call, reason) = (call.clone(), reason.clone());
            desk.act(Act::Accept { call, digest, reason })?
        }
        Command::Grant { call, digest, scope, calls, seconds, reason } => {
            let digest = seen(desk, call, digest.as_ref(), as_json)?;
            let (calls, seconds) = (*calls, *seconds);
            let (of, shown, scope, why) =
                (call.clone(), digest.clone(), scope.clone(), reason.clone());
            let grant = Act::Grant { call: of, digest: shown, scope, calls, seconds, reason: why };
            let granted = desk.act(grant)?;
            let (call, reason) = (call.clone(), reason.clone());
            let mut answer = desk.act(Act::Accept { call, digest, reason })?;
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("grant".to_owned(), granted.get("call").cloned().unwrap_or_default());
            }
            answer
        }
        Command::Grants => desk.act(Act::Grants)?,
        Command::Revoke { grant } => {
            desk.act(Act::GrantRevoke { grant: grant.clone() })?;
            serde_json::json!({ "verdict": "revoked" })
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
        left_out(&answer);
    } else if let Some(list) = answer.get("grants").and_then(Json::as_array) {
        list.iter().for_each(grant);
        if list.is_empty() {
            render::line("no grant is in force");
        }
    } else if let Some(verdict) = answer.get("verdict") {
        let grant = answer.get("grant").map(|grant| format!(", grant {}", render::text(grant)));
        render::line(&format!("recorded: {}{}", render::text(verdict), grant.unwrap_or_default()));
        votes(&answer);
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
        render::line(&format!("  why it asks: {}", text("reason")));
        votes(approval);
        render::line(&format!("  digest {}", text("digest")));
    } else {
        render::line(&format!("  {}", text("status")));
    }
}

/// What one answer had no room for.
fn left_out(answer: &Json) {
    let count = answer.get("left_out").and_then(Json::as_u64).unwrap_or(0);
    if count > 0 {
        let of = answer.get("left_out_of").and_then(Json::as_array).into_iter().flatten();
        let of: Vec<String> = of.map(render::text).collect();
        let of = of.join(", ");
        render::line(&format!("{count} more wait, of {of}: krux approve list --agent NAME"));
    }
}

/// How many yeses are there, of which group, and whose are missing.
fn votes(answer: &Json) {
    let parts = answer.get("votes").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let plain = |part: &Json| {
        part.get("of").is_none_or(Json::is_null) && part.get("votes") == Some(&Json::from(1))
    };
    for part in parts.iter().filter(|part| parts.len() > 1 || !plain(part)) {
        let names = |name: &str| {
            let names = part.get(name).and_then(Json::as_array).into_iter().flatten();
            names.map(render::text).collect::<Vec<String>>()
        };
        let (have, may) = (names("have"), names("may"));
        let of = part.get("of").and_then(Json::as_str).map(|of| format!(" of {of}"));
        let wanted = part.get("votes").map(render::text).unwrap_or_default();
        let said = if have.is_empty() { String::new() } else { format!(": {}", have.join(", ")) };
        let left = if may.is_empty() { "nobody".to_owned() } else { may.join(", ") };
        let of = of.unwrap_or_default();
        render::line(&format!("  votes{of} {} of {wanted}{said}; may yet: {left}", have.len()));
    }
}

fn grant(grant: &Json) {
    let text = |name: &str| grant.get(name).map(render::text).unwrap_or_default();
    render::line(&format!("{} {} {}", text("grant"), text("agent"), text("capability")));
    match grant.get("scope").filter(|scope| !scope.is_null()) {
        Some(scope) => render::line(&format!("  where {}", render::text(scope))),
        None => {
            for effect in grant.get("effects").and_then(Json::as_array).into_iter().flatten() {
                render::line(&format!("  {}", render::text(effect)));
            }
        }
    }
    let (left, calls, seconds) = (text("left"), text("calls"), text("seconds_left"));
    render::line(&format!("  {left} of {calls} calls, {seconds} s left, by {}", text("operator")));
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
        render::line(&format!("{} {} {}", hours::written(at), text("call"), text("text")));
    }
    if acknowledge.is_some() {
        render::line("acknowledged");
    }
    Ok(Ended::Done)
}
