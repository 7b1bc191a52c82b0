//! An admin agent: it looks at the box, and what it would change a person is asked about.

use crate::approvals::end;
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use tests::{Client, Operated};

/// How often a service was started, as an admin sees it.
fn starts(client: &Client, service: &str) -> Result<u64> {
    let reply = client.call("system.services", &json!({}));
    let services = reply.json.pointer("/result/services").and_then(Json::as_array);
    let services = services.with_context(|| format!("{reply:?}"))?;
    let found = services.iter().find(|one| one.get("name") == Some(&json!(service)));
    found.and_then(|one| one.get("starts")).and_then(Json::as_u64).context("starts")
}

/// On a box whose policy is the one that it offers.
pub(crate) fn looks_after_the_box_as_far_as_it_may(operated: &Operated) -> Result<()> {
    // its name makes it one, so it must be meant
    let (code, _, said) = operated.try_krux(&["agent", "add", "admin-night"])?;
    ensure!(code == 2 && said.contains("--admin"), "exit code {code}: {said}");
    let (code, _, said) = operated.try_krux(&["agent", "add", "night", "--admin"])?;
    ensure!(code == 2 && said.contains("admin-night"), "exit code {code}: {said}");
    operated.krux(&["agent", "add", "admin-night", "--admin"])?;
    let admin = operated.agent_with(&operated.token("admin-night")?)?;
    let other = operated.agent("plain")?;
    for name in ["system.services", "system.logs", "system.boot"] {
        let (seen, refused) = (admin.call(name, &json!({})), other.call(name, &json!({})));
        ensure!(seen.code() == "ok", "{name}: {seen:?}");
        ensure!(refused.status == 403, "{name} of another agent: {refused:?}");
    }
    let restart = json!({ "service": "net" });
    let refused = other.call("system.restart_service", &restart);
    ensure!(refused.status == 403, "{refused:?}");
    let before = starts(&admin, "net")?;
    let asked = admin.call("system.restart_service", &restart);
    ensure!(asked.status == 202, "{asked:?}");
    ensure!(starts(&admin, "net")? == before, "done before a person said yes");
    let call = asked.number().context("number")?;
    operated.krux(&["approve", "accept", call])?;
    let done = end(&admin, call)?;
    ensure!(done.json.pointer("/result/restarted") == Some(&json!("net")), "{done:?}");
    let later = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        starts(&admin, "net").is_ok_and(|starts| starts == before + 1)
    });
    ensure!(later, "the service was not started again");
    // a no is a no, and its files are like any agent's
    let asked = admin.call("system.shutdown", &json!({}));
    operated.krux(&["approve", "deny", asked.number().context("number")?])?;
    for (name, input) in [
        ("filesystem.write", json!({ "path": "notes", "content": "x" })),
        ("filesystem.read", json!({ "path": "notes" })),
        ("process.run", json!({ "command": ["wc", "notes"] })),
    ] {
        let reply = admin.call(name, &input);
        ensure!(reply.code() == "ok", "{name}: {reply:?}");
    }
    let outside = admin.call("filesystem.read", &json!({ "path": "/etc/passwd" }));
    ensure!(outside.status == 403, "{outside:?}");
    Ok(())
}
