//! How a policy is changed safely: a candidate decides beside the one in force, also by a pdp that is started
//! again, and changes no answer; what an admin agent proposes waits for an operator, who applies it or refuses it.

use crate::approvals::{end, ready_again};
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use tests::{Client, Image, Operated};

const RESTRICTED: &str = include_str!("../../../policies/restricted.yaml");
const PERSONAL: &str = include_str!("../../../policies/personal.yaml");

/// A shipped policy's file.
fn shipped(name: &str) -> String {
    tests::root().join(format!("policies/{name}.yaml")).display().to_string()
}

fn writes(client: &Client, path: &str) -> Result<()> {
    let reply = client.call("filesystem.write", &json!({ "path": path, "content": "x" }));
    ensure!(reply.code() == "ok", "{path}: a candidate changed an answer: {reply:?}");
    Ok(())
}

/// What the candidate came to, and that the exit code says whether there is a difference.
fn shadow(operated: &Operated, other: u64) -> Result<Json> {
    let (code, lines, errors) = operated.try_krux(&["policy", "shadow", "show"])?;
    let said = lines.into_iter().next().with_context(|| format!("exit code {code}: {errors}"))?;
    ensure!(said.get("other") == Some(&json!(other)), "{said}");
    ensure!(said.get("decides") == Some(&json!(true)), "{said}");
    ensure!(code == i32::from(other > 0), "exit code {code}: {said}");
    Ok(said)
}

fn none_in_shadow(operated: &Operated) -> Result<()> {
    let (code, _, errors) = operated.try_krux(&["policy", "shadow", "show"])?;
    ensure!(code == 3, "exit code {code}: {errors}");
    Ok(())
}

/// Only its differences are counted, by a pdp that is started again as well; another policy ends it.
fn a_candidate_decides_beside(operated: &Operated, client: &Client) -> Result<()> {
    none_in_shadow(operated)?;
    let wrong = operated.config.join("wrong.yaml");
    std::fs::write(&wrong, RESTRICTED.replace("policy: box", "policy: bax"))?;
    let (code, _, errors) =
        operated.try_krux(&["policy", "shadow", "start", &wrong.display().to_string()])?;
    ensure!(code == 2 && errors.contains("policy: box"), "exit code {code}: {errors}");
    operated.krux(&["policy", "shadow", "start", &shipped("restricted")])?;
    ensure!(client.call("agent.whoami", &json!({})).status == 200, "whoami");
    shadow(operated, 0)?;
    writes(client, "a")?;
    writes(client, "b")?;
    let said = shadow(operated, 2)?;
    let kind = said.pointer("/kinds/0").context("a kind")?;
    let of = |name: &str| kind.get(name).and_then(Json::as_str).unwrap_or_default();
    let kind = [of("capability"), of("answer"), of("candidate")];
    ensure!(kind == ["filesystem.write@1", "autonomous", "approval"], "{said}");
    let last = said.pointer("/kinds/0/last").and_then(Json::as_str).context("the last call")?;
    let record = operated.krux(&["audit", "query", "--kind", "decision", "--call", last])?;
    ensure!(record.pointer("/facts/shadow") == Some(&json!("approval")), "{record}");
    let status = operated.krux(&["status"])?;
    ensure!(status.pointer("/shadow/other") == Some(&json!(2)), "{status}");
    operated.krux(&["service", "restart", "pdp"])?;
    ready_again(operated, 2)?;
    // its text may still be on its way, and nothing waits for it
    let here = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        shadow(operated, 2).is_ok()
    });
    ensure!(here, "a pdp that was started again lost the candidate");
    writes(client, "c")?;
    shadow(operated, 3)?;
    operated.krux(&["policy", "apply", &shipped("personal")])?;
    none_in_shadow(operated)?;
    writes(client, "d")?;
    operated.krux(&["policy", "shadow", "start", &shipped("personal")])?;
    writes(client, "e")?;
    let said = operated.krux(&["policy", "shadow", "end"])?;
    let counts = (said.get("decided"), said.get("other"));
    ensure!(counts == (Some(&json!(1)), Some(&json!(0))), "{said}");
    none_in_shadow(operated)
}

/// The proposals on the list, by their calls.
fn listed(operated: &Operated) -> Result<Vec<String>> {
    let said = operated.krux(&["policy", "proposals"])?;
    let list = said.get("proposals").and_then(Json::as_array).context("list")?;
    let call = |one: &Json| one.get("call").and_then(Json::as_str).map(str::to_owned);
    list.iter().map(call).collect::<Option<_>>().context("call")
}

/// What an admin proposes changes nothing until an operator applies it; the call of one that is left.
fn a_proposal_waits_for_an_operator(operated: &Operated, other: &Client) -> Result<String> {
    operated.krux(&["agent", "add", "admin-night", "--admin"])?;
    let admin = operated.agent_with(&operated.token("admin-night")?)?;
    let propose = |client: &Client, text: &str| {
        client.call("system.propose_policy", &json!({ "text": text, "why": "it only reads" }))
    };
    let refused = propose(other, RESTRICTED);
    ensure!(refused.status == 403 && refused.code() == "denied", "{refused:?}");
    let wrong = propose(&admin, &PERSONAL.replace("otherwise:", "otherwize:"));
    ensure!(wrong.status == 400 && wrong.code() == "bad_policy", "{wrong:?}");
    let place = (wrong.json.pointer("/error/line"), wrong.json.pointer("/error/column"));
    ensure!(place == (Some(&json!(4)), Some(&json!(1))), "{wrong:?}");
    ensure!(listed(operated)?.is_empty(), "what was refused is on the list");
    let made = propose(&admin, RESTRICTED);
    ensure!(made.status == 200 && made.code() == "proposed", "{made:?}");
    let call = made.number().context("number")?;
    let before = operated.krux(&["policy", "show"])?;
    ensure!(before.get("text") == Some(&json!(PERSONAL)), "a proposal changed the policy");
    let said = operated.krux(&["policy", "proposal", call])?;
    ensure!(said.get("text") == Some(&json!(RESTRICTED)), "{said}");
    ensure!(said.pointer("/diff/only_tightens") == Some(&json!(true)), "{said}");
    let differ = said.pointer("/replay/differ").and_then(Json::as_u64);
    ensure!(differ.is_some_and(|differ| differ >= 5), "{said}");
    let second = propose(&admin, PERSONAL);
    let second = second.number().context("number")?;
    operated.krux(&["service", "restart", "pdp"])?;
    ready_again(operated, 3)?;
    ensure!(listed(operated)? == [call, second], "a pdp that was started again lost proposals");
    operated.krux(&["policy", "proposal", second, "--refuse"])?;
    let (code, _, _) = operated.try_krux(&["policy", "apply", "--proposal", second])?;
    ensure!(code == 3 && listed(operated)? == [call], "it was refused: exit code {code}");
    operated.krux(&["policy", "apply", "--proposal", call, "--only-tightens"])?;
    ensure!(listed(operated)?.is_empty(), "it is in force");
    let after = operated.krux(&["policy", "show"])?;
    ensure!(after.get("text") == Some(&json!(RESTRICTED)), "{after}");
    let (_, records, _) = operated.try_krux(&["audit", "query", "--kind", "policy"])?;
    let of = records.last().and_then(|record| record.pointer("/facts/proposal"));
    ensure!(of == Some(&json!(call)), "{records:?}");
    asked_about(operated, &admin)
}

/// Where a policy asks about proposals, one is on the list once a person has let it.
fn asked_about(operated: &Operated, admin: &Client) -> Result<String> {
    let text = PERSONAL.replace(
        "    where: { to: operators/policy }\n    decision: notify",
        "    where: { to: operators/policy }\n    decision: approval",
    );
    ensure!(text != PERSONAL, "the shipped rule is another");
    let file = operated.config.join("asks.yaml");
    std::fs::write(&file, text)?;
    operated.krux(&["policy", "apply", &file.display().to_string()])?;
    let input = json!({ "text": RESTRICTED, "why": "once more" });
    let asked = admin.call("system.propose_policy", &input);
    ensure!(asked.status == 202, "{asked:?}");
    let call = asked.number().context("number")?;
    ensure!(listed(operated)?.is_empty(), "on the list before a person let it");
    operated.krux(&["approve", "accept", call])?;
    ensure!(end(admin, call)?.json.get("code") == Some(&json!("ok")), "not ended");
    ensure!(listed(operated)? == [call], "not on the list");
    let said = operated.krux(&["policy", "proposal", call])?;
    ensure!(said.get("text") == Some(&json!(RESTRICTED)), "{said}");
    Ok(call.to_owned())
}

#[test]
fn a_candidate_decides_beside_and_a_proposal_waits_for_an_operator() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "changes")?;
    operated.pair()?;
    let client = operated.agent("worker")?;
    a_candidate_decides_beside(&operated, &client)?;
    let left = a_proposal_waits_for_an_operator(&operated, &client)?;
    let export = operated.config.join("export").display().to_string();
    operated.krux(&["audit", "export", &export])?;
    let verified = operated.krux(&["audit", "verify", &export])?;
    ensure!(verified.get("intact") == Some(&json!(true)), "{verified}");
    let asks = operated.config.join("asks.yaml").display().to_string();
    let replayed = operated.krux(&["policy", "replay", &export, "--policy", &asks])?;
    let said = operated.krux(&["policy", "proposal", &left, "--ledger", &export])?;
    let number = |json: &Json, of: &str| json.pointer(of).and_then(Json::as_u64).unwrap_or(0);
    let (same, differ) = (number(&said, "/replay/same"), number(&said, "/replay/differ"));
    ensure!(differ > 0 && same + differ == number(&replayed, "/same"), "{said}: {replayed}");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}
