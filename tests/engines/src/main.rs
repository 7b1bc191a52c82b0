//! How long Cedar and regorus take to decide what `./ci/bench policy` asks of ours: sets of as many rules, each
//! about the paths beneath one directory, and a request that none of them allows. Each engine gets its request
//! ready-made and its set loaded.
//!
//!     engines RULES...       for each count a line of JSON: engine, rules, the median and the 99th percentile in us
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result, ensure};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

/// The path that is asked about, and that no rule allows.
const PATH: &str = "/workspace/src/deep/file.rs";
/// How often at most an engine is asked, and for how many rules in all.
const ASKED_MAX: usize = 2_000;
const RULES_ASKED_MAX: usize = 400_000;

fn main() -> Result<()> {
    for word in std::env::args().skip(1) {
        let rules: usize =
            word.parse().with_context(|| format!("`{word}` is no number of rules"))?;
        let asked = (RULES_ASKED_MAX / rules.max(1)).clamp(20, ASKED_MAX);
        say("cedar-policy", rules, cedar(rules, asked)?);
        say("regorus", rules, rego(rules, asked)?);
    }
    Ok(())
}

fn say(engine: &str, rules: usize, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took.get(took.len() * part / 1_000).copied().unwrap_or(f64::NAN);
    println!(
        "{}",
        serde_json::json!({ "engine": engine, "rules": rules, "p50": at(500), "p99": at(990) })
    );
}

/// Times each of `count` decisions, after a few that do not count; in microseconds.
fn time(count: usize, mut decide: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    for _ in 0..count / 10 + 1 {
        decide()?;
    }
    (0..count)
        .map(|_| {
            let began = Instant::now();
            decide()?;
            Ok(began.elapsed().as_secs_f64() * 1e6)
        })
        .collect()
}

fn cedar(rules: usize, asked: usize) -> Result<Vec<f64>> {
    let mut text = String::new();
    for rule in 0..rules {
        writeln!(
            text,
            "permit(principal, action == Action::\"read\", resource) when {{ context.path like \"/w/{rule}/*\" }};"
        )?;
    }
    let policies: PolicySet = text.parse()?;
    let name = |text: &str| -> Result<EntityUid> { Ok(text.parse()?) };
    let context = Context::from_json_value(serde_json::json!({ "path": PATH }), None)?;
    let request = Request::new(
        name("Agent::\"build-1\"")?,
        name("Action::\"read\"")?,
        name("File::\"file\"")?,
        context,
        None,
    )?;
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    time(asked, || {
        let answer = black_box(authorizer.is_authorized(&request, &policies, &entities));
        ensure!(answer.decision() == Decision::Deny, "Cedar allows");
        Ok(())
    })
}

fn rego(rules: usize, asked: usize) -> Result<Vec<f64>> {
    let mut text = "package box\nimport rego.v1\ndefault allow := false\n".to_owned();
    for rule in 0..rules {
        writeln!(
            text,
            "allow if {{ input.effect == \"read\"; startswith(input.path, \"/w/{rule}/\") }}"
        )?;
    }
    let mut engine = regorus::Engine::new();
    engine.add_policy("box.rego".to_owned(), text)?;
    let input = serde_json::json!({ "agent": "build-1", "effect": "read", "path": PATH });
    engine.set_input(regorus::Value::from_json_str(&input.to_string())?);
    time(asked, || {
        let answer = black_box(engine.eval_rule("data.box.allow".to_owned())?);
        ensure!(answer == regorus::Value::from(false), "regorus allows");
        Ok(())
    })
}
