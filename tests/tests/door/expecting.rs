//! What a person is asked to let an agent delete, move or overwrite is shown as it is, and is what is
//! destroyed: while it is another thing, nothing is done.

use crate::approvals::end;
use anyhow::{Context, Result, ensure};
use ledger::{Kind, Record, frame};
use serde_json::{Value as Json, json};
use std::sync::atomic::{AtomicBool, Ordering};
use tests::{Client, Image, Operated};

const POLICY: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: knows, agents: [any], effects: [observe], decision: autonomous }
  - { name: looks, agents: [any], effects: [read], where: { path: { under: /workspace, not: { under: /workspace/hidden } } }, decision: autonomous }
  - name: adds
    agents: [any]
    capabilities: [filesystem.append, filesystem.archive, filesystem.mkdir, filesystem.restore]
    effects: [write]
    decision: autonomous
  - name: replaces
    agents: [any]
    capabilities: [filesystem.extract, filesystem.move, filesystem.move_directory, filesystem.write]
    effects: [write]
    decision: approval
  - { name: removes, agents: [any], effects: [delete], decision: approval }
";
/// How often a file is changed by its agent while a person says yes to its deletion.
const RACES: usize = 24;

fn append(client: &Client, path: &str, content: &str) -> Result<()> {
    let said = client.call("filesystem.append", &json!({ "path": path, "content": content }));
    ensure!(said.code() == "ok", "{path}: {said:?}");
    Ok(())
}

fn mkdir(client: &Client, path: &str) -> Result<()> {
    let said = client.call("filesystem.mkdir", &json!({ "path": path }));
    ensure!(said.code() == "ok", "{path}: {said:?}");
    Ok(())
}

/// The content of a file; nothing where there is none.
fn content(client: &Client, path: &str) -> Option<String> {
    let read = client.call("filesystem.read", &json!({ "path": path }));
    read.json.pointer("/result/content").and_then(Json::as_str).map(str::to_owned)
}

fn digest_of(client: &Client, path: &str) -> Result<String> {
    let said = client.call("filesystem.stat", &json!({ "path": path, "digest": true }));
    let digest = said.json.pointer("/result/digest").and_then(Json::as_str);
    digest.map(str::to_owned).with_context(|| format!("{said:?}"))
}

/// A call that waits: its number, and what a person sees of it.
fn ask(
    operated: &Operated,
    client: &Client,
    capability: &str,
    input: &Json,
) -> Result<(String, String)> {
    let asked = client.call(capability, input);
    ensure!(asked.status == 202, "{capability} {input}: {asked:?}");
    let call = asked.number().context("number")?.to_owned();
    let shown = operated.krux(&["approve", "show", &call])?;
    Ok((call, shown.get("effects").context("effects")?.to_string()))
}

/// Asks twice: what is shown must be in `shown`; what is changed `meanwhile` is not touched, and what is
/// as it was shown is.
fn changed_and_not(
    operated: &Operated,
    client: &Client,
    (capability, input): (&str, &Json),
    shown: &[&str],
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (call, seen) = ask(operated, client, capability, input)?;
    for part in shown {
        ensure!(seen.contains(part), "{capability}: {part} is not in {seen}");
    }
    meanwhile()?;
    operated.krux(&["approve", "accept", &call])?;
    let ended = end(client, &call)?;
    ensure!(ended.code() == "changed", "{capability} was not stale: {ended:?}");
    let (call, _) = ask(operated, client, capability, input)?;
    operated.krux(&["approve", "accept", &call])?;
    let ended = end(client, &call)?;
    ensure!(ended.code() == "ok", "{capability}: {ended:?}");
    Ok(())
}

fn each_verb(operated: &Operated, client: &Client) -> Result<()> {
    append(client, "kept", "as seen")?;
    let digest = digest_of(client, "kept")?;
    let file = format!("a file is there, bytes=7 sha256={digest}");
    let write = json!({ "path": "kept", "content": "new" });
    changed_and_not(operated, client, ("filesystem.write", &write), &[&file], || {
        append(client, "kept", ", and more")
    })?;
    ensure!(content(client, "kept").as_deref() == Some("new"), "it was not written");
    let made = json!({ "path": "made", "content": "over" });
    let (call, seen) = ask(operated, client, "filesystem.write", &made)?;
    ensure!(seen.contains("nothing is there"), "{seen}");
    append(client, "made", "first")?;
    operated.krux(&["approve", "accept", &call])?;
    ensure!(end(client, &call)?.code() == "changed", "a file that was not shown was overwritten");
    ensure!(content(client, "made").as_deref() == Some("first"), "it is another one");
    let delete = json!({ "path": "made" });
    let shown = ["delete /workspace/made", "a file is there, bytes=5 sha256="];
    changed_and_not(operated, client, ("filesystem.delete", &delete), &shown, || {
        append(client, "made", "more")
    })?;
    ensure!(content(client, "made").is_none(), "it was not deleted");
    append(client, "from", "x")?;
    let moves = json!({ "from": "from", "to": "to" });
    let shown = ["a file is there, bytes=1 sha256=", "nothing is there"];
    changed_and_not(operated, client, ("filesystem.move", &moves), &shown, || {
        append(client, "from", "y")
    })?;
    ensure!(content(client, "to").as_deref() == Some("xy"), "it was not moved");
    mkdir(client, "dir")?;
    append(client, "dir/f", "x")?;
    let moves = json!({ "from": "dir", "to": "other" });
    let shown = ["a directory is there, entries=1 bytes=1 sha256="];
    changed_and_not(operated, client, ("filesystem.move_directory", &moves), &shown, || {
        append(client, "dir/f", "y")
    })?;
    ensure!(content(client, "other/f").as_deref() == Some("xy"), "it was not moved");
    let packed = client.call("filesystem.archive", &json!({ "from": "other", "to": "a.tar" }));
    ensure!(packed.code() == "ok", "{packed:?}");
    for (place, changes, code) in [("one", false, "ok"), ("two", true, "changed")] {
        mkdir(client, place)?;
        let input = json!({ "from": "a.tar", "to": place });
        let (call, seen) = ask(operated, client, "filesystem.extract", &input)?;
        ensure!(seen.contains("an empty directory is there"), "{seen}");
        if changes {
            append(client, "a.tar", "x")?;
        }
        operated.krux(&["approve", "accept", &call])?;
        ensure!(end(client, &call)?.code() == code, "{place} is not {code}");
    }
    Ok(())
}

/// What the agent may not read is not looked at for it, and nobody is asked.
fn unseen(operated: &Operated, client: &Client) -> Result<()> {
    mkdir(client, "hidden")?;
    append(client, "hidden/x", "secret")?;
    let refused = client.call("filesystem.delete", &json!({ "path": "hidden/x" }));
    ensure!(refused.status == 403 && refused.code() == "unseen", "{refused:?}");
    ensure!(refused.json.to_string().contains("hidden/x"), "it does not say what: {refused:?}");
    let waiting = operated.krux(&["approve", "list"])?;
    ensure!(waiting.get("approvals") == Some(&json!([])), "somebody is asked: {waiting}");
    let call = refused.number().context("number")?;
    let told = client.get(&format!("/v1/calls/{call}"));
    ensure!(told.status == 403 && told.code() == "unseen", "{told:?}");
    // where it may look, somebody is
    append(client, "seen", "x")?;
    let (call, _) = ask(operated, client, "filesystem.delete", &json!({ "path": "seen" }))?;
    operated.krux(&["approve", "deny", &call])?;
    Ok(())
}

/// The agent writes to a file all the time while its deletion is let through: what was deleted, if
/// anything was, is what was shown, as its copy in the trash says.
fn races(operated: &Operated, client: &Client) -> Result<(usize, usize)> {
    mkdir(client, "back")?;
    let (mut gone, mut stale) = (0, 0);
    for number in 0..RACES {
        let path = format!("race{number}");
        append(client, &path, "as seen")?;
        let (call, seen) = ask(operated, client, "filesystem.delete", &json!({ "path": path }))?;
        ensure!(seen.contains("bytes=7"), "{seen}");
        let over = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let input = json!({ "path": path, "content": "!" });
                // sooner in some rounds and later in others
                let wait = u64::try_from(number * 15).unwrap_or(0);
                std::thread::sleep(std::time::Duration::from_millis(wait));
                while !over.load(Ordering::Relaxed) {
                    drop(client.call("filesystem.append", &input));
                }
            });
            let ended =
                operated.krux(&["approve", "accept", &call]).and_then(|_| end(client, &call));
            over.store(true, Ordering::Relaxed);
            writer.join().ok();
            ended
        })?;
        match ended.code() {
            "ok" => {
                let back = format!("back/{number}");
                let restore = json!({ "path": back, "call": call });
                let restored = client.call("filesystem.restore", &restore);
                ensure!(restored.code() == "ok", "{restored:?}");
                let deleted = content(client, &back);
                ensure!(deleted.as_deref() == Some("as seen"), "{number}: {deleted:?}");
                gone += 1;
            }
            "changed" => {
                let kept = content(client, &path).unwrap_or_default();
                ensure!(kept.starts_with("as seen!"), "{number}: {kept}");
                stale += 1;
            }
            _ => anyhow::bail!("{number}: {ended:?}"),
        }
    }
    Ok((gone, stale))
}

/// Each look is a call of its agent in the ledger, before the question that it is for.
fn recorded(operated: &Operated) -> Result<()> {
    let export = operated.config.join("export");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    let verified = operated.krux(&["audit", "verify", &export.display().to_string()])?;
    ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
    let (mut looked, mut asked) = (std::collections::BTreeSet::new(), 0);
    for bytes in frame::read_all(&std::fs::read(&export)?).0 {
        let Ok(record) = Record::read(bytes) else { continue };
        let envelope = record.envelope();
        let fact = |name: &str| envelope.facts.get(name).map(String::as_str).unwrap_or_default();
        if envelope.kind != Kind::Decision {
            continue;
        }
        if let Some(of) = envelope.facts.get("looks_for") {
            ensure!(fact("agent").starts_with("asker"), "a look of nobody: {envelope:?}");
            looked.insert(of.clone());
        } else if fact("answer") == "approval" {
            let call = contract::digits::hex(&envelope.call.context("call")?);
            ensure!(looked.contains(&call), "{call} was asked without a look");
            let seen = envelope.effects.iter().any(|effect| effect.expects.is_some());
            ensure!(seen || !fact("unseen").is_empty(), "{call} was asked without what is there");
            asked += 1;
        }
    }
    ensure!(asked > RACES, "{asked} calls were asked");
    let policy = operated.config.join("policy.yaml").display().to_string();
    let words = ["policy", "replay", &export.display().to_string(), "--policy", &policy];
    let (code, lines, errors) = operated.try_krux(&words)?;
    ensure!(code == 0, "a decision does not come out again: {lines:?} {errors}");
    Ok(())
}

#[test]
fn what_is_destroyed_is_what_a_person_was_shown_or_nothing_is() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "expecting")?;
    operated.pair()?;
    let (client, racer) = (operated.agent("asker")?, operated.agent("asker-too")?);
    let policy = operated.config.join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    each_verb(&operated, &client)?;
    unseen(&operated, &client)?;
    let ends = races(&operated, &racer)?;
    tests::report(&format!(
        "deletions of a file that was written meanwhile: ok, changed: {ends:?}"
    ));
    recorded(&operated)?;
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
