//! `krux policy proposals` and `proposal`: texts that agents proposed, each with what it would change. What
//! applies one is `krux policy apply --proposal`.

use super::replay::{Replayed, Sets};
use super::{change, question};
use crate::audit::{self, PAGE_RECORDS};
use crate::ended::{Ended, failed};
use crate::remote::{Desk, sha256};
use crate::render;
use anyhow::{Context, Result, ensure};
use contract::effect::visible;
use contract::statement::Act;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// How many of a box's newest records are decided again.
const NEWEST: u64 = 10_000;

/// Which proposal, and what is done with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// The call that proposed it.
    call: String,
    /// Takes it off the list: no.
    #[arg(long)]
    refuse: bool,
    /// An export of a ledger whose decisions are decided again, instead of the box's newest 10,000 records.
    #[arg(long, conflicts_with = "refuse")]
    ledger: Option<PathBuf>,
}

/// A proposal, whose text is the one that the box's list names.
pub(super) struct Proposal {
    said: Json,
    why: String,
    pub(super) text: String,
}

/// What a call proposed.
pub(super) fn of(desk: &Desk, call: &str) -> Result<Proposal> {
    let list = desk.act(Act::PolicyProposals)?;
    let list = list.get("proposals").and_then(Json::as_array).into_iter().flatten();
    let mut found = list.filter(|one| one.get("call").and_then(Json::as_str) == Some(call));
    let said = found.next().cloned();
    let said = said.ok_or_else(|| failed(Ended::NotFound, "no proposal of this number"))?;
    let input = desk.send(Act::PolicyProposal { call: call.to_owned() }, None)?.json()?;
    read(said, &input)
}

/// The proposal that an entry of the list and a call's input are.
fn read(said: Json, input: &Json) -> Result<Proposal> {
    let of = |name: &str| input.get(name).and_then(Json::as_str).map(str::to_owned);
    let (text, why) = of("text").zip(of("why")).context("the box gave what is no proposal")?;
    ensure!(
        said.get("digest").and_then(Json::as_str) == Some(sha256(text.as_bytes()).as_str()),
        "the box gave another text than its list names"
    );
    Ok(Proposal { said, why, text })
}

/// Shows one, or refuses it.
pub(super) fn run(desk: &Desk, words: &Words, as_json: bool) -> Result<Ended> {
    let call = words.call.clone();
    if words.refuse {
        let answer = desk.act(Act::PolicyRefuse { call })?;
        if as_json {
            render::object(&answer);
        } else {
            render::line("refused");
        }
        return Ok(Ended::Done);
    }
    let Proposal { said, why, text } = of(desk, &call)?;
    let layer = change::parsed(&call, &text)?;
    let sets = Sets::against(layer.clone())?;
    let mut replayed = Replayed::default();
    match &words.ledger {
        Some(file) => replayed.export(&sets, file, as_json)?,
        None => newest(desk, &sets, &mut replayed, as_json)?,
    }
    let diff = change::from_now(desk, layer)?;
    if as_json {
        let changes = question::diff_json(&diff, None);
        render::object(&json!({ "proposal": said, "why": why, "text": text, "diff": changes,
            "replay": replayed.json() }));
        return Ok(Ended::Done);
    }
    render::line(&line(&said));
    render::line(&format!("why: {}\n\n{}", visible(&why), shown(&text)));
    question::diff_lines(&diff, None).iter().for_each(|line| render::line(line));
    render::line("\nthe newest decisions under it:");
    replayed.lines().iter().for_each(|line| render::line(line));
    render::line(&format!(
        "\nkrux policy apply --proposal {call}, or krux policy proposal {call} --refuse"
    ));
    Ok(Ended::Done)
}

/// Decides the box's newest decisions again.
fn newest(desk: &Desk, sets: &Sets, replayed: &mut Replayed, quiet: bool) -> Result<()> {
    let status = desk.act(Act::Status)?;
    let records = status.get("records").and_then(Json::as_u64).unwrap_or(0);
    let act = |from| Act::AuditQuery {
        from,
        agent: None,
        capability: None,
        call: None,
        record: Some("decision".to_owned()),
        max: PAGE_RECORDS,
    };
    let each = |content: &[u8]| replayed.frames(sets, content, quiet);
    audit::pages(desk, records.saturating_sub(NEWEST), act, each).map(drop)
}

/// The list for people.
pub(super) fn lines(answer: &Json) -> Vec<String> {
    let list = answer.get("proposals").and_then(Json::as_array).into_iter().flatten();
    let mut lines: Vec<String> = list.map(line).collect();
    if lines.is_empty() {
        lines.push("nothing is proposed".to_owned());
    }
    lines
}

fn line(one: &Json) -> String {
    let text = |name: &str| one.get(name).map(render::text).unwrap_or_default();
    let at = hours::written(one.get("wall_us").and_then(Json::as_u64).unwrap_or(0));
    let [call, agent, bytes, why] = ["call", "agent", "bytes", "why"].map(text);
    format!("{call} {agent} {at} {bytes} bytes: {why}")
}

/// A text as it is, but for what would deceive a terminal.
fn shown(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {}", visible(line))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_taken_only_with_the_text_that_the_list_names() {
        let said = json!({ "call": "aa", "digest": sha256(b"policy: box\n") });
        let input = |text: &str| json!({ "text": text, "why": "because" });
        let good = read(said.clone(), &input("policy: box\n")).unwrap();
        assert_eq!((good.text.as_str(), good.why.as_str()), ("policy: box\n", "because"));
        assert!(read(said.clone(), &input("policy: bax\n")).is_err(), "another text");
        assert!(read(said, &json!({ "text": "policy: box\n" })).is_err(), "no proposal");
    }

    #[test]
    fn proposals_are_listed_and_what_they_hold_deceives_no_terminal() {
        let one = json!({ "call": "aa", "agent": "admin-night", "why": "fewer\u{1b} questions",
            "bytes": 9, "wall_us": 0, "digest": "d" });
        let shown_lines = lines(&json!({ "proposals": [one] }));
        let wanted = "aa admin-night 1970-01-01T00:00:00Z 9 bytes: fewer\\u{1b} questions";
        assert_eq!(shown_lines, [wanted]);
        assert_eq!(lines(&json!({ "proposals": [] })), ["nothing is proposed"]);
        assert_eq!(shown("a\n\u{1b}[2J"), "  a\n  \\u{1b}[2J");
    }
}
