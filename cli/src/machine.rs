//! The box as a machine: its state, its boot, its services, its log, its end.

use crate::ended::Ended;
use crate::remote::Desk;
use crate::render;
use anyhow::Result;
use clap::Subcommand;
use contract::effect::visible;
use contract::statement::Act;
use serde_json::Value as Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Every service: its state, how often it was started.
    List,
    /// Kills a service; init starts it again.
    Restart {
        /// Its name.
        name: String,
    },
}

pub(crate) fn status(desk: &Desk, as_json: bool) -> Result<Ended> {
    let status = desk.act(Act::Status)?;
    if as_json {
        render::object(&status);
        return Ok(Ended::Done);
    }
    let number = |name: &str| status.get(name).and_then(Json::as_u64).unwrap_or(0);
    let text = |path: &str| status.pointer(path).map(render::text).unwrap_or_default();
    let up = number("boot_us") / 1_000_000;
    let rows = [
        ("box", format!("{} ({})", desk.name, desk.known.address)),
        ("authority", text("/box")),
        ("version", text("/version")),
        ("up", format!("{} h {} min {} s", up / 3_600, up / 60 % 60, up % 60)),
        (
            "agents",
            format!(
                "{}{}",
                number("agents"),
                if status.get("stopped") == Some(&Json::Bool(true)) { ", ALL STOPPED" } else { "" }
            ),
        ),
        ("waiting", format!("{} for a person, {} notices", number("pending"), number("notices"))),
        ("policy", format!("version {} {}", text("/policy/version"), text("/policy/digest"))),
        ("clock", clock(&status)),
        ("rings", rings(&status)),
        ("ledger", format!("{} records", number("records"))),
    ];
    let shadow = crate::policy::shadow::brief(&status).map(|said| ("in shadow", said));
    let proposed = number("proposals");
    let proposed = (proposed > 0).then(|| ("proposed", format!("{proposed} policies")));
    let rows = rows.iter().chain(&shadow).chain(&proposed);
    rows.for_each(|(name, value)| render::line(&format!("{name:10} {value}")));
    Ok(Ended::Done)
}

/// What the box knows of the time.
fn clock(status: &Json) -> String {
    let wall_us = status.get("wall_us").and_then(Json::as_u64).unwrap_or(0);
    let said = if status.get("clock_known") == Some(&Json::Bool(false)) {
        ", which cannot be right: windows of time are closed"
    } else {
        ""
    };
    format!("{}{said}", hours::written(wall_us))
}

/// How each ring was when it was last tried.
fn rings(status: &Json) -> String {
    let of = |ring: &contract::rings::Ring| {
        let code = status.pointer(&format!("/rings/{}", ring.name)).map(render::text);
        match code.as_deref() {
            Some("ok") => format!("{} holds", ring.name),
            Some(code) => format!("{} DOES NOT HOLD ({code})", ring.name),
            None => format!("{} not tried", ring.name),
        }
    };
    contract::rings::RINGS.iter().map(of).collect::<Vec<_>>().join(", ")
}

pub(crate) fn boot(desk: &Desk, as_json: bool) -> Result<Ended> {
    let boot = desk.perform("box.boot", "")?;
    if as_json {
        render::object(&boot);
        return Ok(Ended::Done);
    }
    let number = |json: &Json, name: &str| json.get(name).and_then(Json::as_u64).unwrap_or(0);
    let stages = boot.get("stages").and_then(Json::as_array).cloned().unwrap_or_default();
    let longest = stages.iter().map(|stage| number(stage, "took_us")).max().unwrap_or(1).max(1);
    for stage in &stages {
        let took = number(stage, "took_us");
        let bar = "#".repeat(usize::try_from(took * 40 / longest).unwrap_or(0));
        let name = stage.get("name").map(render::text).unwrap_or_default();
        render::line(&format!(
            "{:>9.1} ms  {name:14} {:>9.1} ms {bar}",
            ms(number(stage, "at_us")),
            ms(took)
        ));
    }
    render::line(&format!("ready after {:.1} ms", ms(number(&boot, "ready_us"))));
    Ok(Ended::Done)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "milliseconds for a reader")]
fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

pub(crate) fn services(desk: &Desk, command: &Services, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Services::List => desk.perform("box.services", "")?,
        Services::Restart { name } => desk.perform("box.restart-service", name)?,
    };
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    for service in answer.get("services").and_then(Json::as_array).into_iter().flatten() {
        let text = |name: &str| service.get(name).map(render::text).unwrap_or_default();
        render::line(&format!(
            "{:12} {:9} {:>7} KiB  started {} times",
            text("name"),
            text("state"),
            service.get("memory_bytes").and_then(Json::as_u64).unwrap_or(0) / 1_024,
            text("starts")
        ));
    }
    if let Services::Restart { name } = command {
        render::line(&format!("restarted {name}"));
    }
    Ok(Ended::Done)
}

pub(crate) fn logs(desk: &Desk, as_json: bool) -> Result<Ended> {
    let logs = desk.perform("box.logs", "")?;
    if as_json {
        render::object(&logs);
        return Ok(Ended::Done);
    }
    for line in logs.get("lines").and_then(Json::as_array).into_iter().flatten() {
        render::line(&visible(line.as_str().unwrap_or_default()));
    }
    Ok(Ended::Done)
}

/// Shutdown or reboot.
pub(crate) fn end(desk: &Desk, act: &str, as_json: bool) -> Result<Ended> {
    let answer = desk.perform(act, "")?;
    if as_json {
        render::object(&answer);
    } else {
        let what = answer.get("ending").map(render::text).unwrap_or_default();
        render::line(&format!("the box will {what}"));
    }
    Ok(Ended::Done)
}
