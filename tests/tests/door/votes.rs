//! Calls that more than one person must say yes to: different ones, of the group that the rule names, who
//! still are in it; and many asks, which hide nobody else's.

use crate::approvals::{end, ready_again};
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tests::{Client, Image, Operated};

const POLICY: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: all, agents: [any], effects: [observe, read, write, delete], decision: autonomous }
  - name: two-managers
    agents: [any]
    effects: [write]
    where: { path: { under: /workspace/release } }
    decision: approval
    approval: { votes: 2, of: release-managers, decide_within: 30m, run_within: 2m }
  - name: a-guard
    agents: [any]
    effects: [write]
    where: { path: { under: /workspace/release/guarded } }
    decision: approval
    approval: { of: guards }
  - { name: one, agents: [any], effects: [write], where: { path: { under: /workspace/one } }, decision: approval }
";

/// Three operators of a box, each with what their krux keeps.
struct Three<'a> {
    operated: &'a Operated,
    folders: BTreeMap<&'static str, PathBuf>,
}

impl<'a> Three<'a> {
    fn new(operated: &'a Operated) -> Result<Self> {
        let mut folders = BTreeMap::from([("ann", operated.config.clone())]);
        for name in ["bob", "cyd"] {
            let (folder, words) = operated.person(name)?;
            operated.krux(&words.each_ref().map(String::as_str))?;
            folders.insert(name, folder);
        }
        Ok(Self { operated, folders })
    }

    fn folder(&self, name: &str) -> Result<&Path> {
        self.folders.get(name).map(PathBuf::as_path).context("operator")
    }

    /// The verdict of an operator's yes, or the exit code.
    fn accepts(&self, name: &str, call: &str) -> Result<String> {
        let (code, lines, _) = tests::krux(self.folder(name)?, &["approve", "accept", call])?;
        let verdict = lines.first().and_then(|line| line.get("verdict")).and_then(Json::as_str);
        Ok(verdict.map_or_else(|| code.to_string(), str::to_owned))
    }

    fn group(&self, verb: &str, group: &str, name: &str) -> Result<()> {
        self.operated.krux(&["operator", "group", verb, group, name]).map(drop)
    }
}

fn ask(client: &Client, path: &str) -> Result<String> {
    let asked = client.call("filesystem.write", &json!({ "path": path, "content": "x" }));
    ensure!(asked.status == 202, "{asked:?}");
    asked.number().map(str::to_owned).context("number")
}

fn is_there(client: &Client, path: &str) -> bool {
    client.call("filesystem.stat", &json!({ "path": path })).code() == "ok"
}

fn two_of_a_group(three: &Three<'_>, client: &Client) -> Result<()> {
    let call = ask(client, "release/a")?;
    let accepts = |name: &str| three.accepts(name, &call);
    ensure!(accepts("cyd")? == "8", "who is not in the group was counted");
    ensure!(accepts("ann")? == "vote" && accepts("ann")? == "8", "one voted twice");
    let shown = three.operated.krux(&["approve", "show", &call])?;
    let votes = json!([{ "of": "release-managers", "votes": 2, "have": ["ann"], "may": ["bob"] }]);
    ensure!(shown.get("votes") == Some(&votes), "{shown}");
    ensure!(!is_there(client, "release/a"), "one yes was enough");
    // what was said is in the ledger, and a pdp that starts anew knows it
    three.operated.krux(&["service", "restart", "pdp"])?;
    ready_again(three.operated, 2)?;
    ensure!(accepts("bob")? == "accept", "two of the group are not enough");
    ensure!(end(client, &call)?.code() == "ok" && is_there(client, "release/a"), "not performed");
    // one no is enough
    let call = ask(client, "release/b")?;
    ensure!(three.accepts("ann", &call)? == "vote", "ann's yes");
    let (code, _, said) = tests::krux(three.folder("cyd")?, &["approve", "deny", &call])?;
    ensure!(code == 0 && end(client, &call)?.code() == "deny", "{said}");
    ensure!(three.accepts("bob", &call)? == "8", "a yes after a no");
    Ok(())
}

fn who_left_or_came_does_not_count(three: &Three<'_>, client: &Client) -> Result<()> {
    let call = ask(client, "release/c")?;
    ensure!(three.accepts("ann", &call)? == "vote", "ann's yes");
    three.group("remove", "release-managers", "ann")?;
    ensure!(three.accepts("bob", &call)? == "vote", "who left still counts");
    three.group("add", "release-managers", "ann")?;
    three.group("add", "release-managers", "cyd")?;
    ensure!(three.accepts("cyd", &call)? == "8", "who came after it was asked counts");
    ensure!(!is_there(client, "release/c"), "performed without two");
    three.operated.krux(&["approve", "deny", &call])?;
    // what is asked from now on they are asked for; both rules must be satisfied
    let call = ask(client, "release/guarded/a")?;
    ensure!(three.accepts("ann", &call)? == "vote", "ann's yes");
    ensure!(three.accepts("cyd", &call)? == "vote", "two managers were enough without a guard");
    ensure!(three.accepts("bob", &call)? == "accept", "two managers and a guard are not enough");
    ensure!(end(client, &call)?.code() == "ok", "not performed");
    // a grant stands for none of it
    let call = ask(client, "release/d")?;
    let (code, _, said) = three.operated.try_krux(&["approve", "grant", &call])?;
    ensure!(code == 8, "a grant was made: {code} {said}");
    // who is no operator any more does not count either, and signs nothing
    ensure!(three.accepts("cyd", &call)? == "vote", "cyd's yes");
    three.operated.krux(&["operator", "remove", "cyd"])?;
    ensure!(three.accepts("ann", &call)? == "vote", "who was removed still counts");
    ensure!(three.accepts("cyd", &call)? == "4", "who was removed still signs");
    ensure!(three.accepts("bob", &call)? == "accept", "ann and bob are not enough");
    ensure!(end(client, &call)?.code() == "ok", "not performed");
    Ok(())
}

#[test]
fn two_of_a_group_must_say_yes_who_were_and_are_in_it() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "votes")?;
    operated.pair()?;
    let client = operated.agent("shipper")?;
    for path in ["release", "release/guarded", "one"] {
        let made = client.call("filesystem.mkdir", &json!({ "path": path }));
        ensure!(made.code() == "ok", "{made:?}");
    }
    let policy = operated.config.join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    let (code, _, _) = operated.try_krux(&["operator", "remove", "ann"])?;
    ensure!(code == 8, "the last operator was removed: exit code {code}");
    let three = Three::new(&operated)?;
    for (group, name) in
        [("release-managers", "ann"), ("release-managers", "bob"), ("guards", "bob")]
    {
        three.group("add", group, name)?;
    }
    let (code, _, _) = operated.try_krux(&["operator", "group", "add", "guards", "eve"])?;
    ensure!(code == 3, "a stranger is in a group: exit code {code}");
    let listed = operated.krux(&["operator", "list"])?;
    let groups = json!([{ "group": "guards", "members": ["bob"] },
        { "group": "release-managers", "members": ["ann", "bob"] }]);
    ensure!(listed.get("groups") == Some(&groups), "{listed}");
    two_of_a_group(&three, &client)?;
    who_left_or_came_does_not_count(&three, &client)?;
    let call = ask(&client, "one/a")?;
    ensure!(three.accepts("bob", &call)? == "accept", "one yes of anybody is not enough");
    let export = operated.config.join("export");
    operated.krux(&["audit", "export", &export.display().to_string()])?;
    let verified = operated.krux(&["audit", "verify", &export.display().to_string()])?;
    ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

#[test]
#[ignore = "ten thousand calls: the soak suite"]
fn ten_thousand_asks_through_the_door_hide_nobody_elses() -> Result<()> {
    const ASKS: usize = 10_000;
    let mut operated = Operated::start(&Image::test("smoke")?, "asks")?;
    operated.pair()?;
    let (loud, quiet) = (operated.agent("loud")?, operated.agent("quiet")?);
    let policy = operated.config.join("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..ASKS {
        let input = json!({ "path": format!("one/{number}"), "content": "" });
        let said = loud.call("filesystem.write", &input);
        *came.entry(said.code().to_owned()).or_default() += 1;
        if number == ASKS / 2 {
            ask(&quiet, "one/mine")?;
        }
    }
    tests::report(&format!("ten thousand asks of one agent: {came:?}"));
    let expected =
        BTreeMap::from([("pending".to_owned(), 32), ("too_many_pending".to_owned(), ASKS - 32)]);
    ensure!(came == expected, "{came:?}");
    let list = operated.krux(&["approve", "list"])?;
    let list = list.get("approvals").and_then(Json::as_array).context("list")?;
    let of = |name: &str| list.iter().filter(|it| it.get("agent") == Some(&json!(name))).count();
    ensure!((of("loud"), of("quiet")) == (32, 1), "{list:?}");
    ensure!(loud.call("agent.whoami", &json!({})).status == 200, "what asks nobody goes on");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
