//! `krux cage`: whether what runs on a box is held.

use crate::ended::Ended;
use crate::remote::Desk;
use crate::render;
use anyhow::Result;
use clap::Subcommand;
use contract::rings::RINGS;
use contract::statement::Act;
use serde_json::json;

/// Status of a call that was performed and failed (RFC 9110, section 15.5.21).
const FAILED: u16 = 422;

#[derive(Debug, Subcommand)]
pub(crate) enum Cages {
    /// Tries each of the five rings in a cage of its own: what was attempted, what stopped it. Exit code
    /// 0 only if all hold; each attempt is in the ledger.
    Diagnose,
}

pub(crate) fn run(desk: &Desk, command: &Cages, as_json: bool) -> Result<Ended> {
    let Cages::Diagnose = command;
    let mut all_hold = true;
    for ring in RINGS {
        let tried = desk.send(Act::CageTry { ring: ring.name.to_owned() }, None)?;
        let (holds, why) = match tried.json() {
            Ok(_) => (true, ring.stopped_by.to_owned()),
            Err(error) if tried.status == FAILED => {
                (false, format!("{error:#}").lines().next().unwrap_or_default().to_owned())
            }
            // it was not tried, which says nothing of the ring
            Err(error) => return Err(error),
        };
        all_hold &= holds;
        if as_json {
            render::object(&json!({ "ring": ring.name, "attempt": ring.attempt, "holds": holds,
                "stopped_by": holds.then_some(ring.stopped_by),
                "error": (!holds).then_some(&why) }));
        } else {
            let word = if holds { "holds" } else { "DOES NOT HOLD" };
            render::line(&format!("{:12} {word}", ring.name));
            render::line(&format!("  attempted   {}", ring.attempt));
            render::line(&format!("  {} {why}", if holds { "stopped by " } else { "because    " }));
        }
    }
    if !all_hold {
        render::complain("next: take the box out of service, and export its ledger");
    }
    Ok(if all_hold { Ended::Done } else { Ended::No })
}
