//! `krux policy invariant`: what each text of a box's policy must have, beside what the image ships.

use super::{question, read};
use crate::remote::Desk;
use crate::render;
use anyhow::{Result, ensure};
use clap::Subcommand;
use contract::limits::INVARIANT_BYTES_MAX;
use contract::statement::Act;
use serde_json::Value as Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Invariants {
    /// Which are in force, who added them and when.
    List,
    /// Adds those of a file, written as for `krux policy prove`, all or none: if the policy in force has them, each
    /// text must have them that is applied from then on.
    #[command(after_help = "Example, a file that keeps every deletion asked for:
  properties:
    - name: deletes-ask
      reason: nothing goes unasked
      never: { agents: [any], effects: [delete], decision: [autonomous, notify] }

  krux policy invariant add deletes-ask.yaml")]
    Add {
        /// The properties.
        file: String,
    },
    /// Takes one back that an operator added; those that ship stay.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Sends it to a box.
pub(super) fn at_desk(desk: &Desk, command: &Invariants) -> Result<Json> {
    match command {
        Invariants::List => desk.act(Act::Invariants),
        Invariants::Add { file } => {
            let text = read(file)?;
            // a mistake has its place here, before anything is signed
            question::properties(file, &text)?;
            ensure!(
                text.len() <= INVARIANT_BYTES_MAX,
                "`{file}` is longer than {INVARIANT_BYTES_MAX} bytes; add its properties from several files"
            );
            desk.act(Act::InvariantAdd { text })
        }
        Invariants::Remove { name } => desk.act(Act::InvariantRemove { name: name.clone() }),
    }
}

/// Says what came of it.
pub(super) fn say(command: &Invariants, answer: &Json) {
    match command {
        Invariants::List => list(answer),
        Invariants::Add { .. } => render::line("in force"),
        Invariants::Remove { .. } => render::line("removed"),
    }
}

fn list(answer: &Json) {
    for one in answer.get("invariants").and_then(Json::as_array).into_iter().flatten() {
        let of = |name: &str| one.get(name).map(render::text).unwrap_or_default();
        let by = if one.get("shipped") == Some(&Json::Bool(true)) {
            "ships".to_owned()
        } else {
            let at = one.get("wall_us").and_then(Json::as_u64).unwrap_or(0);
            format!("by {}, {}", of("operator"), hours::written(at))
        };
        render::line(&format!("{} ({by}): {}", of("name"), of("reason")));
    }
}
