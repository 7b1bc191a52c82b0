//! Standing answers: a grant lets through what was signed for, so often, also by a pdp that is started
//! again, until it is taken back; an agent that is told no again and again is paused; and what was decided
//! is decided so again from the ledger alone.

use crate::approvals::{end, ready_again};
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use tests::{Client, Image, Operated, Reply};

fn delete(client: &Client, path: &str) -> Result<Reply> {
    let written = client.call("filesystem.write", &json!({ "path": path, "content": "x" }));
    ensure!(written.code() == "ok", "{written:?}");
    Ok(client.call("filesystem.delete", &json!({ "path": path })))
}

/// A deletion that waits: its number.
fn asked(client: &Client, path: &str) -> Result<String> {
    let reply = delete(client, path)?;
    ensure!(reply.status == 202, "{path} was not asked for: {reply:?}");
    reply.number().map(str::to_owned).context("number")
}

fn lets_through(client: &Client, path: &str) -> Result<()> {
    let reply = delete(client, path)?;
    ensure!(reply.status == 200, "{path} was not let through: {reply:?}");
    Ok(())
}

/// A grant of three deletions beneath `t`, made of one that waits, which is performed.
fn grant(operated: &Operated, client: &Client) -> Result<String> {
    let call = asked(client, "t/first")?;
    let scope = json!({ "path": { "under": "/workspace/t" } }).to_string();
    let words = ["approve", "grant", &call, "--where", &scope, "--calls", "3", "--for", "10m"];
    let said = operated.krux(&words)?;
    ensure!(end(client, &call)?.code() == "ok", "the call itself was not answered");
    said.get("grant").and_then(Json::as_str).map(str::to_owned).context("grant")
}

/// An invariant of an operator's is proved of the text in force before it is taken, refuses a text that breaks it, also
/// by a pdp that is started again, and only until it is removed.
fn an_invariant_is_kept(operated: &Operated) -> Result<()> {
    let file = |name: &str, text: &str| -> Result<String> {
        let path = operated.config.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let property = |effects: &str| {
        let claim = format!("agents: [any], effects: [{effects}], decision: [autonomous, notify]");
        format!("properties:\n  - name: {effects}-asks\n    never: {{ {claim} }}\n")
    };
    let holds = file("holds.yaml", &property("delete"))?;
    let fails = file("fails.yaml", &property("read"))?;
    let (code, _, errors) = operated.try_krux(&["policy", "invariant", "add", &fails])?;
    ensure!(code == 1 && errors.contains("read-asks"), "exit code {code}: {errors}");
    ensure!(errors.contains(" calls ") && errors.contains("read /"), "no call: {errors}");
    operated.krux(&["policy", "invariant", "add", &holds])?;
    let twice = operated.try_krux(&["policy", "invariant", "add", &holds])?.0;
    ensure!(twice == 8, "taken twice: exit code {twice}");
    operated.krux(&["service", "restart", "pdp"])?;
    ready_again(operated, 3)?;
    let list = operated.krux(&["policy", "invariant", "list"])?;
    let names = list.get("invariants").and_then(Json::as_array).into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|one| one.get("name")?.as_str()).collect();
    ensure!(names.contains(&"delete-asks") && names.contains(&"settings-ask"), "{list}");
    let shown = operated.krux(&["policy", "show"])?;
    let text = shown.get("text").and_then(Json::as_str).context("text")?;
    let rule = "  - { name: deletes, agents: [any], effects: [delete], where: { path: { under: /workspace } }, \
                decision: notify }\n";
    let milder = "policy: box\nversion: 1\nrules:\n".to_owned() + rule;
    let (text, milder) = (file("as-it-is.yaml", text)?, file("milder.yaml", &milder)?);
    let (code, _, errors) = operated.try_krux(&["policy", "apply", &milder])?;
    ensure!(code == 1 && errors.contains("delete-asks"), "exit code {code}: {errors}");
    operated.krux(&["policy", "apply", &text])?;
    let shipped = operated.try_krux(&["policy", "invariant", "remove", "settings-ask"])?.0;
    ensure!(shipped == 8, "one that ships is removed: exit code {shipped}");
    operated.krux(&["policy", "invariant", "remove", "delete-asks"])?;
    let gone = operated.try_krux(&["policy", "invariant", "remove", "delete-asks"])?.0;
    ensure!(gone == 3, "removed twice: exit code {gone}");
    operated.krux(&["policy", "apply", &milder])?;
    operated.krux(&["policy", "apply", &text]).map(drop)
}

/// A text that only tightens passes the gate, the way back does not, and is taken by one command.
fn a_change_is_taken_back(operated: &Operated) -> Result<()> {
    let of = |name: &str| tests::root().join(format!("policies/{name}.yaml")).display().to_string();
    let version = |said: &Json| said.get("version").and_then(Json::as_u64);
    let (personal, restricted) = (of("personal"), of("restricted"));
    let before = operated.krux(&["policy", "show"])?;
    operated.krux(&["policy", "apply", &restricted, "--only-tightens"])?;
    let (code, _, errors) =
        operated.try_krux(&["policy", "apply", &personal, "--only-tightens"])?;
    ensure!(code == 1 && errors.contains("not applied"), "exit code {code}: {errors}");
    let reverted = operated.krux(&["policy", "revert"])?;
    ensure!(version(&reverted) == version(&before).map(|version| version + 2), "{reverted}");
    let after = operated.krux(&["policy", "show"])?;
    ensure!(after.get("text") == before.get("text"), "another text: {after}");
    let history = operated.krux(&["policy", "history"])?;
    let texts = history.get("texts").and_then(Json::as_array).map(Vec::len);
    ensure!(texts == Some(3), "{history}");
    let first = operated.krux(&["policy", "show", "--version", "0"])?;
    ensure!(first.get("text") == before.get("text"), "the first text: {first}");
    ensure!(operated.try_krux(&["policy", "show", "--version", "9"])?.0 == 3, "no version 9");
    Ok(())
}

#[test]
fn a_grant_lets_through_what_was_signed_for_and_is_taken_back() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "grants")?;
    operated.pair()?;
    let (client, other) = (operated.agent("asker")?, operated.agent("other")?);
    for client in [&client, &other] {
        let made = client.call("filesystem.mkdir", &json!({ "path": "t" }));
        ensure!(made.code() == "ok", "{made:?}");
    }
    let given = grant(&operated, &client)?;
    lets_through(&client, "t/one")?;
    asked(&client, "beside")?;
    asked(&other, "t/one")?;
    operated.krux(&["service", "restart", "pdp"])?;
    ready_again(&operated, 2)?;
    lets_through(&client, "t/two")?;
    let list = operated.krux(&["approve", "grants"])?;
    ensure!(list.pointer("/grants/0/left") == Some(&json!(1)), "{list}");
    lets_through(&client, "t/three")?;
    asked(&client, "t/four")?;
    let taken = grant(&operated, &client)?;
    lets_through(&client, "t/five")?;
    operated.krux(&["approve", "revoke", &taken])?;
    asked(&client, "t/six")?;
    ensure!(operated.try_krux(&["approve", "revoke", &taken])?.0 == 3, "revoked twice");
    // another policy asks anew, though it says the same
    grant(&operated, &client)?;
    let policy = operated.krux(&["policy", "show"])?;
    let text = operated.config.join("policy.yaml");
    std::fs::write(&text, policy.get("text").and_then(Json::as_str).context("text")?)?;
    operated.krux(&["policy", "apply", &text.display().to_string()])?;
    asked(&client, "t/seven")?;
    a_change_is_taken_back(&operated)?;
    // each use names its grant, and all of it verifies
    let export = operated.config.join("export");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    let verified = operated.krux(&["audit", "verify", &export.display().to_string()])?;
    ensure!(verified.get("intact") == Some(&Json::Bool(true)), "{verified}");
    let (_, records, _) = operated.try_krux(&["audit", "query", "--agent", "asker"])?;
    let uses = records.iter().filter(|record| record.to_string().contains(&given)).count();
    ensure!(uses >= 3, "{uses} records name the grant {given}");
    // and comes out again as it was decided, but not under another policy
    let (code, lines, _) =
        operated.try_krux(&["policy", "replay", &export.display().to_string()])?;
    let same = lines.first().and_then(|said| said.get("same")).and_then(Json::as_u64);
    ensure!(code == 0 && same.is_some_and(|same| same > 20), "exit code {code}: {lines:?}");
    let restricted = tests::root().join("policies/restricted.yaml").display().to_string();
    let words = ["policy", "replay", &export.display().to_string(), "--against", &restricted];
    ensure!(operated.try_krux(&words)?.0 == 1, "nothing would differ under `restricted`");
    an_invariant_is_kept(&operated)?;
    // three times no: paused, until somebody has looked
    for path in ["a", "b", "c"] {
        let call = asked(&other, path)?;
        operated.krux(&["approve", "deny", &call])?;
    }
    ensure!(other.call("agent.whoami", &json!({})).code() == "held", "it is not paused");
    operated.krux(&["agent", "resume", "other"])?;
    ensure!(other.call("agent.whoami", &json!({})).status == 200, "it is not resumed");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
