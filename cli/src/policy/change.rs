//! `krux policy apply`, `revert` and `history`: a box's policy, replaced as a whole and taken back.

use super::replay::SYSTEM;
use crate::remote::{Desk, sha256};
use crate::render;
use anyhow::{Context, Result, anyhow, ensure};
use contract::statement::Act;
use policy::{Diff, Layer, Set, parse};
use serde_json::Value as Json;

/// The text of a version, which is the one that the box's history names.
pub(super) fn text(desk: &Desk, version: u64) -> Result<String> {
    let answer = desk.send(Act::PolicyText { version }, None)?;
    // the error of an answer that is none
    answer.json()?;
    let bytes = answer.body;
    let history = desk.act(Act::PolicyHistory)?;
    let texts = history.get("texts").and_then(Json::as_array).into_iter().flatten();
    let of = |text: &&Json| text.get("version").and_then(Json::as_u64) == Some(version);
    let digest = texts.clone().find(of).and_then(|text| text.get("digest")).and_then(Json::as_str);
    ensure!(
        digest.is_none_or(|digest| digest == sha256(&bytes)),
        "the box gave another text than its history names"
    );
    String::from_utf8(bytes).context("the text is no UTF-8")
}

/// The layer that a text is; a mistake is shown with its place.
pub(super) fn parsed(file: &str, text: &str) -> Result<Layer> {
    parse(text).map_err(|error| anyhow!("{}", render::mistake(file, text, &error)))
}

/// What a layer would change of a box's policy.
pub(super) fn from_now(desk: &Desk, layer: Layer) -> Result<Diff> {
    let system = parse(SYSTEM)?;
    let shown = desk.act(Act::PolicyShow)?;
    let now = shown.get("text").and_then(Json::as_str).context("the box shows no policy")?;
    let now = Set::new(parse(now)?, vec![system.clone()])?;
    Ok(policy::diff(&now, &Set::new(layer, vec![system])?)?)
}

/// Applies a text, which a call may have proposed, after saying what changes; nothing where a gate kept it
/// from being applied.
pub(super) fn apply(
    desk: &Desk,
    (file, text): (&str, &str),
    proposal: Option<&str>,
    only_tightens: bool,
    as_json: bool,
) -> Result<Option<Json>> {
    let diff = from_now(desk, parsed(file, text)?)?;
    let milder = diff.changed().iter().filter(|changed| changed.loosens()).count();
    if !as_json {
        for changed in diff.changed().iter().filter(|changed| changed.loosens()) {
            for change in changed.changes.iter().take(1) {
                render::line(&format!("milder, {change}: such as {}", changed.example));
            }
        }
        let regions = diff.changed().len();
        render::line(&format!(
            "{regions} regions of calls change, {milder} are answered more mildly"
        ));
    }
    if only_tightens && milder > 0 {
        render::complain("not applied: it does not only tighten");
        return Ok(None);
    }
    let proposal = proposal.map(str::to_owned);
    let act = Act::PolicyApply { body: sha256(text.as_bytes()), proposal };
    desk.send(act, Some(text.as_bytes()))?.json().map(Some)
}

/// Applies an earlier text again.
pub(super) fn revert(desk: &Desk, to: Option<u64>, as_json: bool) -> Result<Option<Json>> {
    let shown = desk.act(Act::PolicyShow)?;
    let version = shown.get("version").and_then(Json::as_u64).unwrap_or(0);
    let before = version.checked_sub(1).context("no text was applied that could be taken back");
    let to = match to {
        Some(to) => to,
        None => before?,
    };
    apply(desk, (&format!("version {to}"), &text(desk, to)?), None, false, as_json)
}

/// Shows which texts were in force.
pub(super) fn history(answer: &Json) {
    for text in answer.get("texts").and_then(Json::as_array).into_iter().flatten() {
        let of = |name: &str| text.get(name).map(render::text).unwrap_or_default();
        let at = text.get("wall_us").and_then(Json::as_u64).unwrap_or(0);
        let (version, operator, digest) = (of("version"), of("operator"), of("digest"));
        render::line(&format!("{version} {} {operator} {digest}", hours::written(at)));
    }
}
