//! A door that was taken over, beside the real services: without an agent's credential it gets nothing,
//! with one what that agent's policy allows, and never a record or an operator's act.

use anyhow::{Result, ensure};
use serde_json::{Value as Json, json};
use tests::{Image, Operated};

#[test]
fn a_door_that_was_taken_over_gets_nothing_but_what_its_agents_may() -> Result<()> {
    let mut operated = Operated::start(&Image::test("hostile")?, "hostile")?;
    operated.pair()?;
    operated.krux(&["agent", "add", "victim"])?;
    let token = operated.config.join("tokens/box/victim").display().to_string();
    operated.krux(&["file", "put", "victim", &token, "token"])?;
    operated.machine.wait_for("hostile: all tried", 120)?;
    let console = operated.machine.console();
    let wrong: Vec<&str> = console.lines().filter(|line| line.contains("DOES NOT HOLD")).collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let held = console.lines().filter(|line| line.contains("hostile ") && line.contains(": holds"));
    ensure!(held.count() >= 17, "fewer findings than attacks:\n{console}");
    // what it tried is counted, what it did with a credential is recorded, and nothing else is there
    let mut counted = 0;
    for _ in 0..50 {
        let (_, refused, _) = operated.try_krux(&["audit", "query", "--kind", "refused"])?;
        let counts =
            refused.iter().filter_map(|r| r.pointer("/facts/count").and_then(Json::as_str));
        counted = counts.filter_map(|count| count.parse::<u64>().ok()).sum();
        if counted >= 9 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    // six frames that are none of this door's; a made-up token, an operator's act, an open input
    ensure!(counted >= 9, "only {counted} refused requests were counted");
    let (_, decisions, _) =
        operated.try_krux(&["audit", "query", "--agent", "victim", "--kind", "decision"])?;
    // one of the three asks a person, and is looked at first
    let looks = decisions.iter().filter(|one| one.pointer("/facts/looks_for").is_some()).count();
    ensure!(looks == 1 && decisions.len() == 4, "{decisions:?}");
    let export = operated.config.join("export").display().to_string();
    operated.krux(&["audit", "export", &export])?;
    let verified = operated.krux(&["audit", "verify", &export])?;
    ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
    let (_, acts, _) = operated.try_krux(&["audit", "query", "--kind", "act"])?;
    let unsigned = acts.iter().filter(|act| act.pointer("/facts/statement").is_none());
    ensure!(unsigned.count() == 1, "an act but the pairing has no statement: {acts:?}");
    Ok(())
}
