//! `krux policy shadow`: a candidate decides beside a box's policy, and what it would answer otherwise is
//! counted.

use super::change;
use crate::ended::Ended;
use crate::remote::{Desk, sha256};
use crate::render;
use anyhow::Result;
use clap::Subcommand;
use contract::statement::Act;
use serde_json::Value as Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lets a text decide beside the box's policy from now on, in place of a candidate that is there. No
    /// answer changes; a boot does not end it, another policy does.
    Start {
        /// The text.
        file: String,
    },
    /// What it would have answered otherwise so far. Exit code 1 if there is anything.
    Show,
    /// Ends it, and says what it came to. Exit code 1 as with `show`.
    End,
}

/// A candidate at a box.
pub(super) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Command::Start { file } => {
            let text = super::read(file)?;
            change::parsed(file, &text)?;
            let act = Act::PolicyShadow { body: sha256(text.as_bytes()) };
            desk.send(act, Some(text.as_bytes()))?.json()?
        }
        Command::Show => desk.act(Act::PolicyShadowShow)?,
        Command::End => desk.act(Act::PolicyShadowEnd)?,
    };
    if as_json {
        render::object(&answer);
    } else {
        lines(command, &answer).iter().for_each(|line| render::line(line));
    }
    Ok(ended(command, &answer))
}

/// What the exit code says: like `diff`, whether there is a difference.
fn ended(command: &Command, answer: &Json) -> Ended {
    match command {
        Command::Start { .. } => Ended::Done,
        // one that cannot be read says nothing, and so not that there is none
        Command::Show | Command::End if number(answer, "other") > 0 || !decides(answer) => {
            Ended::No
        }
        Command::Show | Command::End => Ended::Done,
    }
}

fn number(answer: &Json, name: &str) -> u64 {
    answer.get(name).and_then(Json::as_u64).unwrap_or(0)
}

fn decides(answer: &Json) -> bool {
    answer.get("decides") == Some(&Json::Bool(true))
}

fn lines(command: &Command, answer: &Json) -> Vec<String> {
    let text = |of: &Json, name: &str| of.get(name).map(render::text).unwrap_or_default();
    let digest = text(answer, "digest");
    if let Command::Start { .. } = command {
        return vec![
            format!("in shadow: {digest}"),
            "krux policy shadow show says what it would have answered otherwise".to_owned(),
        ];
    }
    let since = hours::written(number(answer, "wall_us"));
    let mut lines =
        vec![format!("candidate {digest}, by {} since {since}", text(answer, "operator"))];
    for kind in answer.get("kinds").and_then(Json::as_array).into_iter().flatten() {
        let of = |name: &str| text(kind, name);
        lines.push(format!(
            "{} of {} to {}: {}, would be {}; the last: krux audit query --call {}",
            number(kind, "calls"),
            of("agent"),
            of("capability"),
            of("answer"),
            of("candidate"),
            of("last")
        ));
    }
    if number(answer, "beyond") > 0 {
        lines.push(format!("{} of other kinds", number(answer, "beyond")));
    }
    let (decided, other) = (number(answer, "decided"), number(answer, "other"));
    lines.push(format!("{decided} calls decided beside it, {other} otherwise"));
    if !decides(answer) {
        lines.push("IT DECIDES NOTHING: its text is not read; see krux logs".to_owned());
    }
    lines
}

/// The same in a line of `krux status`.
pub(crate) fn brief(status: &Json) -> Option<String> {
    let shadow = status.get("shadow").filter(|shadow| !shadow.is_null())?;
    let digest = shadow.get("digest").map(render::text).unwrap_or_default();
    let (decided, other) = (number(shadow, "decided"), number(shadow, "other"));
    Some(format!("{digest}: {other} of {decided} calls otherwise"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(other: u64) -> Json {
        let kind = json!({ "agent": "a\u{1b}[2J", "capability": "filesystem.read@1",
            "answer": "notify", "candidate": "blocked", "calls": other, "last": "00ff" });
        let kinds = if other > 0 { vec![kind] } else { Vec::new() };
        json!({ "digest": "d1", "operator": "ann", "wall_us": 0, "decides": true, "decided": 9,
            "other": other, "kinds": kinds, "beyond": 0 })
    }

    #[test]
    fn what_a_candidate_would_answer_otherwise_is_shown_and_is_the_exit_code() {
        let shown = lines(&Command::Show, &answer(2)).join("\n");
        for part in [
            "candidate d1, by ann since 1970-01-01T00:00:00Z",
            "2 of a\\u{1b}[2J to filesystem.read@1: notify, would be blocked",
            "krux audit query --call 00ff",
            "9 calls decided beside it, 2 otherwise",
        ] {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
        for command in [Command::Show, Command::End] {
            assert_eq!(ended(&command, &answer(2)), Ended::No);
            assert_eq!(ended(&command, &answer(0)), Ended::Done);
            let mut lost = answer(0);
            lost["decides"] = json!(false);
            assert_eq!(ended(&command, &lost), Ended::No, "it says nothing");
            assert!(lines(&command, &lost).concat().contains("DECIDES NOTHING"));
        }
        assert_eq!(ended(&Command::Start { file: String::new() }, &answer(0)), Ended::Done);
    }

    #[test]
    fn a_status_says_that_a_candidate_is_there() {
        let status = json!({ "shadow": { "digest": "d1", "decided": 9, "other": 2 } });
        assert_eq!(brief(&status).as_deref(), Some("d1: 2 of 9 calls otherwise"));
        assert_eq!(brief(&json!({ "shadow": null })), None);
        assert_eq!(brief(&json!({})), None, "an older box");
    }
}
