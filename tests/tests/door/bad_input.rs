//! Bad input at both doors: every field of every kind of request is spoiled in many ways. Each answer
//! is a typed error, no service restarts, none grows.

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use tests::{Client, Image, Operated, Operator, Reply};

const PERSONAL: &str = include_str!("../../../policies/personal.yaml");

/// Statuses that a door may answer with; anything else is a surprise.
const STATUSES: &[u16] =
    &[200, 202, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 414, 415, 422, 429, 431, 503];

/// A small generator (xorshift64*): the same requests in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// A request that is right.
struct Request {
    path: &'static str,
    body: Json,
    mcp: bool,
}

fn requests() -> Vec<Request> {
    let call = |capability: &str, input: Json| Request {
        path: "/v1/calls",
        body: json!({ "capability": capability, "input": input }),
        mcp: false,
    };
    let mcp = |method: &str, params: Json| Request {
        path: "/mcp",
        body: json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }),
        mcp: true,
    };
    let client = json!({ "name": "x", "version": "1" });
    vec![
        call("filesystem.write@1", json!({ "path": "a", "content": "x", "base64": false })),
        call("filesystem.read", json!({ "path": "a", "offset": 0, "length": 10 })),
        call(
            "filesystem.restore",
            json!({ "path": "a", "call": "00112233445566778899aabbccddeeff" }),
        ),
        call("system.time", json!({})),
        mcp(
            "initialize",
            json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client }),
        ),
        mcp("tools/list", json!({})),
        mcp("tools/call", json!({ "name": "filesystem.stat", "arguments": { "path": "a" } })),
    ]
}

/// Values that a field may be spoiled with.
fn odd(random: &mut Random) -> Json {
    let long = "a/".repeat(4_000);
    let odd = [
        Json::Null,
        json!(true),
        json!(-1),
        json!(18_446_744_073_709_551_615_u64),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("../../../../etc/passwd"),
        json!("/etc/passwd"),
        json!("\u{202e}\u{1b}[2J"),
        json!(long),
        json!([]),
        json!({}),
        json!([[[[[[[[[[]]]]]]]]]]),
        json!({ "path": { "path": "a" } }),
    ];
    random.pick(&odd).cloned().unwrap_or_default()
}

/// Spoils one place of a value: exchanges, drops or adds a member, somewhere.
fn spoil(value: &mut Json, random: &mut Random) {
    match value {
        Json::Object(members) if !members.is_empty() && random.below(4) != 0 => {
            let names: Vec<String> = members.keys().cloned().collect();
            let Some(name) = random.pick(&names).cloned() else { return };
            match random.below(4) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(format!("{name}\u{0}x"), odd(random))),
                _ => {
                    if let Some(member) = members.get_mut(&name) {
                        spoil(member, random);
                    }
                }
            }
        }
        other => *other = odd(random),
    }
}

/// Spoils bytes: cuts, flips, repeats.
fn spoil_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(4) {
        0 => bytes.truncate(at),
        1 => bytes.extend_from_within(at..),
        2 => bytes.insert(at, 0xff),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

fn headers(request: &Request) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![("content-type", "application/json")];
    if request.mcp {
        headers.push(("accept", "application/json, text/event-stream"));
    }
    headers
}

/// One spoiled request to the agents' door.
fn agents(client: &Client, random: &mut Random) -> Reply {
    let requests = requests();
    let Some(request) = random.pick(&requests) else { return client.get("/v1/tools") };
    let mut body = request.body.clone();
    let mut headers = headers(request);
    match random.below(10) {
        0 => {
            let mut bytes = body.to_string().into_bytes();
            spoil_bytes(&mut bytes, random);
            client.post(request.path, &headers, &bytes)
        }
        1 => {
            let bearers = ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer \u{7f}"];
            let bearer = random.pick(&bearers).copied().unwrap_or_default();
            client.with_bearer(bearer).post(request.path, &headers, body.to_string().as_bytes())
        }
        2 => {
            let paths = ["/", "/v1", "/v1/calls/x", "/v1/calls/../../x", "/mcp/x", "/v1/calls/%00"];
            client.get(random.pick(&paths).copied().unwrap_or("/"))
        }
        3 => {
            headers.clear();
            client.post(request.path, &headers, body.to_string().as_bytes())
        }
        _ => {
            spoil(&mut body, random);
            client.post(request.path, &headers, body.to_string().as_bytes())
        }
    }
}

/// One spoiled request to the operators' door, which only strangers and broken clients send.
fn operators(client: &Client, random: &mut Random) -> Reply {
    let mut statement = json!({ "box": "0".repeat(64), "nonce": "0".repeat(32), "operator": "ann",
        "act": { "kind": "agent-add", "name": "x", "token": "0".repeat(64), "source": null } });
    let mut pair =
        json!({ "name": "eve", "key": "0".repeat(64), "recipient": "age1", "mac": "0".repeat(64) });
    let signature = "0".repeat(128);
    match random.below(6) {
        0 => {
            spoil(&mut pair, random);
            client.post("/v1/pair", &[], pair.to_string().as_bytes())
        }
        1 => client.post("/v1/act", &[], statement.to_string().as_bytes()),
        2 => client.post("/v1/act", &[("kruxos-signature", "zz")], b"{}"),
        3 => {
            let statement = ("kruxos-statement", "7b7d");
            client.post("/v1/act", &[("kruxos-signature", &signature), statement], b"body")
        }
        4 => client.get("/v1/prove"),
        _ => {
            spoil(&mut statement, random);
            let text = statement.to_string();
            client.post("/v1/act", &[("kruxos-signature", &signature)], text.as_bytes())
        }
    }
}

/// Acts that move nothing, or nothing that the test looks at.
fn acts() -> Vec<Json> {
    let call = "00112233445566778899aabbccddeeff";
    vec![
        json!({ "kind": "agent-pause", "name": "nobody" }),
        json!({ "kind": "agent-rotate", "name": "nobody", "token": "0".repeat(64) }),
        json!({ "kind": "approval-show", "call": call }),
        json!({ "kind": "accept", "call": call, "digest": "0".repeat(64), "reason": null }),
        json!({ "kind": "policy-explain", "agent": "fuzz", "capability": "filesystem.read",
            "input": "{\"path\":\"a\"}" }),
        json!({ "kind": "audit-query", "from": 0, "agent": "fuzz", "capability": null,
            "call": null, "record": null, "max": 3 }),
        json!({ "kind": "file-get", "agent": "fuzz", "path": "a" }),
        json!({ "kind": "perform", "name": "vault.add", "input": "{\"name\":1}", "body": null }),
    ]
}

/// One signed act, spoiled before it was signed: an operator's typo, or a broken client.
fn signed(ann: &Operator, random: &mut Random) -> Result<Reply> {
    let number = ann.number()?;
    if random.below(4) == 0 {
        let mut policy = PERSONAL.as_bytes().to_vec();
        spoil_bytes(&mut policy, random);
        let digest = ledger::Digest::of(&policy).to_string();
        let act = json!({ "kind": "policy-apply", "body": digest });
        let (text, signature) = ann.sign(&ann.statement(&number, &act));
        return Ok(ann.send((&text, &signature), Some(&policy)));
    }
    let acts = acts();
    let mut act = random.pick(&acts).cloned().unwrap_or_default();
    spoil(&mut act, random);
    let (text, signature) = ann.sign(&ann.statement(&number, &act));
    Ok(ann.send((&text, &signature), None))
}

/// An answer is typed: a known status, and with a refusal a code and what to do; MCP has its own form.
fn typed(reply: &Reply) -> bool {
    let error = reply.json.get("error");
    let says = |name: &str| error.and_then(|e| e.get(name)).is_some();
    let mcp = reply.json.get("jsonrpc").is_some();
    STATUSES.contains(&reply.status)
        && (reply.status < 400 || mcp || says("code") && says("message") && says("next"))
}

/// Starts and memory of each service.
fn services(operated: &Operated) -> Result<BTreeMap<String, (u64, u64)>> {
    let listed = operated.krux(&["service", "list"])?;
    let services = listed.get("services").and_then(Json::as_array).cloned().unwrap_or_default();
    let each = services.iter().filter_map(|service| {
        let number = |name: &str| service.get(name).and_then(Json::as_u64);
        let name = service.get("name").and_then(Json::as_str)?;
        Some((name.to_owned(), (number("starts")?, number("memory_bytes")?)))
    });
    Ok(each.collect())
}

/// Makes so many calls: what a service remembers of the last ones, up to a bound, is no growth.
fn fill(operated: &Operated, calls: usize) -> Result<()> {
    let client = operated.agent("filler")?;
    for _ in 0..calls {
        let reply = client.call("agent.whoami", &json!({}));
        ensure!(reply.status == 200, "{reply:?}");
    }
    Ok(())
}

/// `count` spoiled requests to a box of which `remembered` calls were made before.
fn bad_input(name: &str, count: usize, remembered: usize) -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, name)?;
    operated.pair()?;
    let (agent, stranger) = (operated.agent("fuzz")?, operated.stranger()?);
    let ann = Operator::of(&operated)?;
    fill(&operated, remembered)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut codes: BTreeSet<String> = BTreeSet::new();
    let mut warm = BTreeMap::new();
    for number in 0..count {
        if number == count / 4 {
            warm = services(&operated)?;
        }
        let reply = match number % 6 {
            2 => operators(&stranger, &mut random),
            5 => signed(&ann, &mut random)?,
            _ => agents(&agent, &mut random),
        };
        // a header that is none never leaves the client
        ensure!(reply.status != 0 || reply.json.to_string().contains("http"), "{reply:?}");
        ensure!(reply.status == 0 || typed(&reply), "not typed: {reply:?}");
        codes.insert(reply.code().to_owned());
    }
    let after = services(&operated)?;
    for (name, (starts, memory)) in &warm {
        let (starts_after, memory_after) = after.get(name).context("a service is gone")?;
        ensure!(starts == starts_after, "{name} was started again");
        // five in a hundred, and a page or two for what is small
        let most = memory + memory / 20 + 65_536;
        ensure!(*memory_after <= most, "{name} grew from {memory} to {memory_after} bytes");
    }
    // a spoiled policy may still have been one
    let policy = tests::root().join("policies/personal.yaml");
    operated.krux(&["policy", "apply", &policy.display().to_string()])?;
    codes
        .insert(agent.call("filesystem.read", &json!({ "path": "/etc/passwd" })).code().to_owned());
    let reply = agent.call("system.time", &json!({}));
    ensure!(reply.code() == "ok", "after it all: {reply:?}");
    for code in [
        "unauthenticated",
        "bad_request",
        "bad_input",
        "unknown_capability",
        "no_such_path",
        "denied",
        "conflict",
        "bad_signature",
        "not_found",
    ] {
        ensure!(codes.contains(code), "`{code}` did not come up: {codes:?}");
    }
    tests::report(&format!("{count} spoiled requests, codes: {codes:?}"));
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

#[test]
fn bad_input_gets_typed_errors_and_moves_nothing() -> Result<()> {
    bad_input("bad-input", 600, 0)
}

/// A body of blanks, one each second.
struct Slow {
    left: u32,
}

impl std::io::Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_secs(1));
        self.left = self.left.saturating_sub(1);
        match buffer.first_mut() {
            Some(first) if self.left > 0 => {
                *first = b' ';
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}

/// The door waits for 150 s; run by `ci/test soak`.
#[test]
#[ignore = "takes minutes: ./ci/test soak"]
fn a_request_that_does_not_arrive_is_timed_out() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "slow")?;
    operated.pair()?;
    let agent = operated.agent("slow")?;
    let reply = agent.post_slowly("/v1/calls", &mut Slow { left: 156 });
    ensure!(reply.status == 408 && reply.code() == "timed_out", "{reply:?}");
    ensure!(typed(&reply), "not typed: {reply:?}");
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

/// Ten thousand requests; run by `ci/test soak`.
#[test]
#[ignore = "takes minutes: ./ci/test soak"]
fn ten_thousand_spoiled_requests() -> Result<()> {
    bad_input("bad-input-soak", 10_000, 5_000)
}
