//! Calls on the network, of a booted box to a server of this machine: a secret reaches the host that it is bound to and
//! no other, no agent sees it, and it is written down nowhere.

use crate::approvals::{end, started_again};
use anyhow::{Context, Result, ensure};
use contract::base64;
use contract::digits::hex;
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use tests::outside::{ADDRESS, Authority, REPLY_BYTES_MAX, Server};
use tests::{Client, Disk, Image, Operated, Options, Reply};

/// The secret's value, and a text that is let into every place where the value is then looked for.
const CANARY: &str = "kx-canary-9d1c4a6be07f42d8a3f5c1e9";
const PLANTED: &str = "kx-planted-27b8e1f04c6d4b9f9a60d3e5";
const PASSPHRASE: &str = "correct horse battery staple";
const BEARER: &str = "Bearer ${secret:token}";
const POLICY: &str = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: files, agents: [any], effects: [observe, read], decision: autonomous }
  - { name: writes, agents: [any], effects: [write], decision: notify }
  - name: requests
    agents: [caller, other]
    capabilities: [network.http_request, network.tcp_check]
    effects: [connect]
    decision: notify
  - name: secrets-ask
    agents: [caller, other]
    capabilities: [network.http_request]
    effects: [secret]
    decision: approval
    approval: { decide_within: 30m, run_within: 5m, grants: bounded }
    reason: the host is told the secret
";

/// The policy of the box, with the rule on addresses of the limits that ship: the image of the tests is without it.
fn policy() -> Result<String> {
    let limits = std::fs::read_to_string(tests::root().join("policies/system.yaml"))?;
    let mut rules = limits.split("  - name: ");
    let rule = rules.find(|rule| rule.starts_with("metadata-and-private-addresses\n"));
    Ok(format!("{POLICY}  - name: {}", rule.context("rule")?))
}

/// A box, the machines outside, and all that its agents and its operator were told.
struct Scene {
    operated: Operated,
    server: Server,
    stranger: Server,
    told: RefCell<Vec<String>>,
    shown: RefCell<Vec<String>>,
}

impl Scene {
    /// A box whose operator trusts the server's authority and made a vault with one secret.
    fn set() -> Result<Self> {
        let disk = Disk::copy(&Image::test("smoke")?, "egress")?;
        let options = Options { outside: true, ..Options::new() };
        let mut operated = Operated::boot(Some(disk), "egress", options)?;
        operated.pair()?;
        let (ours, theirs) = (Authority::new()?, Authority::new()?);
        let (server, stranger) = (Server::start(&ours)?, Server::start(&theirs)?);
        let host = ADDRESS.to_string();
        operated.krux_on(&["network", "trust", "outside", "--host", &host], &ours.pem())?;
        let file = operated.config.join("policy.yaml");
        std::fs::write(&file, policy()?)?;
        operated.krux(&["policy", "apply", &file.display().to_string()])?;
        let code = operated.config.join("code.txt").display().to_string();
        operated.krux_on(&["vault", "unlock", "--recovery-file", &code], PASSPHRASE)?;
        let port = server.port.to_string();
        let bound = ["--agent", "caller", "--path", "/ok/**", "--uses", "3/hour"];
        let place = ["secret", "add", "token", "--host", &host, "--port", &port];
        operated.krux_on(&[place.as_slice(), &bound].concat(), CANARY)?;
        let (told, shown) = (RefCell::default(), RefCell::default());
        Ok(Self { operated, server, stranger, told, shown })
    }

    fn url(&self, path: &str) -> String {
        format!("https://{ADDRESS}:{}{path}", self.server.port)
    }

    fn told(&self, reply: Reply) -> Reply {
        self.told.borrow_mut().push(reply.json.to_string());
        reply
    }

    /// What a call waits for, as an operator sees it; its number.
    fn ask(&self, client: &Client, capability: &str, input: &Json) -> Result<(String, String)> {
        let asked = self.told(client.call(capability, input));
        ensure!(asked.status == 202, "{input}: {asked:?}");
        let call = asked.number().context("number")?.to_owned();
        let shown = self.operated.krux(&["approve", "list"])?.to_string();
        self.shown.borrow_mut().push(shown.clone());
        Ok((call, shown))
    }

    /// Performs a call with the operator's yes.
    fn perform(&self, client: &Client, capability: &str, input: &Json) -> Result<Reply> {
        let (call, _) = self.ask(client, capability, input)?;
        self.operated.krux(&["approve", "accept", &call])?;
        Ok(self.told(end(client, &call)?))
    }

    fn request(&self, client: &Client, input: &Json) -> Result<Reply> {
        self.perform(client, "network.http_request", input)
    }

    /// The same with the secret, at this path of the server.
    fn with_secret(&self, client: &Client, path: &str) -> Result<Reply> {
        let headers = json!({ "authorization": BEARER });
        self.request(client, &json!({ "url": self.url(path), "headers": headers }))
    }

    /// A call that ends with this code and for which nobody connects to the server.
    fn refused(&self, client: &Client, input: &Json, code: &str) -> Result<()> {
        let before = self.server.connections();
        let reply = self.request(client, input)?;
        ensure!(reply.code() == code, "{input}: {reply:?}");
        ensure!(self.server.connections() == before, "{input}: somebody connected");
        Ok(())
    }

    /// What operators can read of the box: the ledger's export, the log, the notices.
    fn read(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let export = self.operated.config.join("export.bin");
        self.operated.krux(&["audit", "export", &export.display().to_string()])?;
        let (code, logs, errors) = self.operated.try_krux(&["logs"])?;
        ensure!(code == 0, "logs: {errors}");
        let text = |lines: &[Json]| lines.iter().map(Json::to_string).collect::<String>();
        Ok(vec![
            ("export", std::fs::read(export)?),
            ("log", text(&logs).into_bytes()),
            ("notices", self.operated.krux(&["notices"])?.to_string().into_bytes()),
            ("answers", self.told.borrow().concat().into_bytes()),
            ("approvals", self.shown.borrow().concat().into_bytes()),
            ("console", self.operated.machine.console().into_bytes()),
        ])
    }
}

/// A value as it is, in hexadecimal, and in base64 wherever it begins.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.as_bytes().to_vec(), hex(value.as_bytes()).into_bytes()];
    for offset in 0..3 {
        let encoded = base64::write(&[&vec![0; offset], value.as_bytes()].concat());
        let inner = encoded.trim_end_matches('=');
        // the first and the last digits depend on what is beside the value
        let known = inner.as_bytes().get(4..inner.len() - 1).unwrap_or_default();
        forms.push(known.to_vec());
    }
    forms
}

/// Whether a form of the value stands in what is read.
pub(crate) fn holds(mut bytes: impl Read, value: &str) -> Result<bool> {
    const BLOCK_BYTES: usize = 1 << 20;
    let forms = forms(value);
    let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
    let first = |byte: u8| forms.iter().any(|form| form.first() == Some(&byte));
    let first: Vec<bool> = (0..=u8::MAX).map(first).collect();
    let zeros = vec![0; BLOCK_BYTES];
    let (mut block, mut kept) = (vec![0; BLOCK_BYTES], Vec::new());
    loop {
        let length = bytes.read(&mut block)?;
        if length == 0 {
            return Ok(false);
        }
        let new = block.get(..length).unwrap_or_default();
        if zeros.starts_with(new) {
            kept.clear();
            continue;
        }
        // what is at a block's end may go on in the next
        kept.extend_from_slice(new);
        for (at, byte) in kept.iter().enumerate() {
            let rest = || kept.get(at..).unwrap_or_default();
            if first.get(usize::from(*byte)) == Some(&true)
                && forms.iter().any(|form| rest().starts_with(form))
            {
                return Ok(true);
            }
        }
        kept.drain(..kept.len().saturating_sub(longest));
    }
}

#[test]
fn what_is_searched_for_is_found_wherever_it_stands() -> Result<()> {
    let within = |before: usize, text: &str| {
        let bytes = [vec![0; before], text.as_bytes().to_vec(), vec![b'x'; 99]].concat();
        holds(bytes.as_slice(), CANARY)
    };
    for before in [0, 1, (1 << 20) - 10, 1 << 20, (3 << 20) - 1] {
        ensure!(within(before, CANARY)?, "{before}");
        ensure!(!within(before, PLANTED)?, "{before}: another");
    }
    ensure!(within(7, &hex(CANARY.as_bytes()))?, "hexadecimal");
    for text in ["", "a", "ab", "Bearer "] {
        let encoded = base64::write(format!("{text}{CANARY}!").as_bytes());
        ensure!(within(7, &encoded)?, "base64 after `{text}`");
    }
    Ok(())
}

/// The secret on its way: seen by the operator without its value, by the server with it, by the agent not at all.
fn lent(scene: &Scene, caller: &Client) -> Result<()> {
    let url = scene.url("/ok/first");
    let input = json!({ "url": url, "headers": { "authorization": BEARER } });
    let (call, shown) = scene.ask(caller, "network.http_request", &input)?;
    for part in ["connect", "secret", "token", "10.0.2.2", "/ok/first"] {
        ensure!(shown.contains(part), "{part} is not in {shown}");
    }
    ensure!(scene.server.connections() == 0, "connected before the yes");
    scene.operated.krux(&["approve", "accept", &call])?;
    let reply = scene.told(end(caller, &call)?);
    ensure!(reply.code() == "ok", "{reply:?}");
    let result = |name: &str| reply.json.pointer(&format!("/result/{name}"));
    ensure!(result("status") == Some(&json!(200)), "{reply:?}");
    ensure!(result("body") == Some(&json!("from outside")), "{reply:?}");
    let came = scene.server.came();
    let wanted = format!("authorization: Bearer {CANARY}");
    let [only] = came.as_slice() else { anyhow::bail!("{came:?}") };
    ensure!(only.head.contains(&wanted), "{came:?}");
    Ok(())
}

/// A vault that starts again is as the one before was.
fn restart_vault(scene: &Scene, starts: u64, state: &str) -> Result<()> {
    scene.operated.krux(&["service", "restart", "vault"])?;
    started_again(&scene.operated, "vault", starts)?;
    let status = scene.operated.krux(&["vault", "status"])?;
    ensure!(status.get("state") == Some(&json!(state)), "not {state}: {status}");
    Ok(())
}

/// What no secret is lent for; each is refused before anybody connects.
fn not_lent(scene: &Scene, caller: &Client, other: &Client) -> Result<()> {
    let with =
        |url: String, value: &str| json!({ "url": url, "headers": { "authorization": value } });
    let input = |url: String| with(url, BEARER);
    scene.refused(caller, &input(scene.url("/no/first")), "secret_refused")?;
    scene.refused(other, &input(scene.url("/ok/first")), "secret_refused")?;
    let plain = scene.url("/ok/first").replace("https:", "http:");
    scene.refused(caller, &input(plain), "secret_refused")?;
    let unknown = with(scene.url("/ok/first"), "Bearer ${secret:another}");
    scene.refused(caller, &unknown, "secret_refused")?;
    scene.operated.krux(&["vault", "lock"])?;
    restart_vault(scene, 3, "locked")?;
    scene.refused(caller, &input(scene.url("/ok/first")), "vault_locked")?;
    scene.operated.krux_on(&["vault", "unlock"], PASSPHRASE)?;
    // a placeholder that is no header's is text
    let url = scene.url("/ok/body");
    let body = json!({ "url": url, "method": "POST", "body": BEARER });
    ensure!(scene.request(caller, &body)?.code() == "ok", "a body");
    let came = scene.server.came();
    let last = came.last().context("request")?;
    ensure!(last.body == BEARER, "{last:?}");
    let in_url = json!({ "url": scene.url("/ok/${secret:token}") });
    let reply = scene.told(caller.call("network.http_request", &in_url));
    ensure!(reply.status == 400, "a placeholder in a URL: {reply:?}");
    Ok(())
}

/// A reply with the secret in it is not given, and its agent waits for an operator.
fn echoed(scene: &Scene, caller: &Client) -> Result<()> {
    for path in ["/ok/plain", "/ok/base64"] {
        let before = scene.server.came().len();
        let reply = scene.with_secret(caller, path)?;
        ensure!(reply.code() == "secret_in_reply", "{path}: {reply:?}");
        let came = scene.server.came();
        ensure!(came.len() == before + 1, "{path}: the server was not asked once");
        let last = came.last().context("request")?;
        ensure!(last.head.contains(CANARY), "{path}: it had nothing to give back");
        let held = scene.told(caller.call("agent.whoami", &json!({})));
        ensure!(held.code() == "held", "{path}: the agent is not paused: {held:?}");
        let notices = scene.operated.krux(&["notices"])?.to_string();
        ensure!(notices.contains("caller is paused: a reply held a secret"), "{notices}");
        scene.operated.krux(&["agent", "resume", "caller"])?;
        let resumed = scene.told(caller.call("agent.whoami", &json!({})));
        ensure!(resumed.status == 200, "{path}: not resumed: {resumed:?}");
    }
    // three were lent: none is left within this hour
    let input = json!({ "url": scene.url("/ok/first"), "headers": { "authorization": BEARER } });
    scene.refused(caller, &input, "secret_refused")
}

/// What a server may answer, and which server it may be.
fn replies(scene: &Scene, caller: &Client) -> Result<()> {
    let get = |url: String| scene.request(caller, &json!({ "url": url }));
    let (targets, moved) = (scene.server.came().len(), get(scene.url("/moved"))?);
    ensure!(moved.code() == "ok", "{moved:?}");
    ensure!(moved.json.pointer("/result/status") == Some(&json!(302)), "{moved:?}");
    ensure!(scene.server.came().len() == targets + 1, "a redirect was followed");
    let longest = get(scene.url("/longest"))?;
    let body = longest.json.pointer("/result/body").and_then(Json::as_str).unwrap_or_default();
    ensure!(longest.code() == "ok" && body.len() == REPLY_BYTES_MAX, "{} bytes", body.len());
    let too_long = get(scene.url("/too-long"))?;
    ensure!(too_long.code() == "too_large", "{}", too_long.code());
    let stranger = get(format!("https://{ADDRESS}:{}/ok/first", scene.stranger.port))?;
    ensure!(stranger.code() == "not_trusted", "{stranger:?}");
    ensure!(scene.stranger.connections() == 1, "the stranger was not reached");
    ensure!(scene.stranger.came().is_empty(), "the stranger was asked");
    Ok(())
}

/// The box itself and its neighbourhood.
fn places(scene: &Scene, caller: &Client) -> Result<()> {
    let check = |host: &str, port: u16| json!({ "host": host, "port": port });
    let tcp = |input: &Json| scene.perform(caller, "network.tcp_check", input);
    let there = tcp(&check("10.0.2.2", scene.server.port))?;
    ensure!(there.code() == "ok", "{there:?}");
    for (host, port) in [("10.0.2.15", 7700), ("127.0.0.1", 7700)] {
        let reply = tcp(&check(host, port))?;
        ensure!(reply.code() == "address_refused", "{host}: {reply:?}");
        let reply = scene.request(caller, &json!({ "url": format!("https://{host}:{port}/") }))?;
        ensure!(reply.code() == "address_refused", "{host}: {reply:?}");
    }
    let metadata = json!({ "url": "http://169.254.169.254/latest/meta-data/" });
    let (call, _) = scene.ask(caller, "network.http_request", &metadata)?;
    scene.operated.krux(&["approve", "deny", &call])?;
    let denied = scene.told(end(caller, &call)?);
    ensure!(denied.code() == "deny", "{denied:?}");
    Ok(())
}

#[test]
fn a_secret_reaches_the_host_that_it_is_bound_to_and_is_written_down_nowhere() -> Result<()> {
    let mut scene = Scene::set()?;
    let (caller, other) = (scene.operated.agent("caller")?, scene.operated.agent("other")?);
    lent(&scene, &caller)?;
    restart_vault(&scene, 2, "unlocked")?;
    not_lent(&scene, &caller, &other)?;
    echoed(&scene, &caller)?;
    replies(&scene, &caller)?;
    places(&scene, &caller)?;
    // a text that an agent itself lets in, in the places that hold what agents say
    let planted = scene.request(&caller, &json!({ "url": scene.url(&format!("/{PLANTED}")) }))?;
    ensure!(planted.code() == "ok", "{planted:?}");
    let write = json!({ "path": PLANTED, "content": PLANTED });
    ensure!(caller.call("filesystem.write", &write).code() == "ok", "write");
    let read = caller.call("filesystem.read", &json!({ "path": PLANTED }));
    ensure!(scene.told(read).code() == "ok", "read");
    for (name, bytes) in scene.read()? {
        ensure!(!bytes.is_empty(), "{name} is empty");
        ensure!(!holds(bytes.as_slice(), CANARY)?, "the secret is in {name}");
        let may = ["export", "notices", "answers", "approvals"].contains(&name);
        ensure!(holds(bytes.as_slice(), PLANTED)? == may, "{name}: what was planted");
    }
    scene.operated.machine.no_alarm()?;
    scene.operated.krux(&["shutdown"])?;
    scene.operated.machine.wait_gone(60)?;
    let disk = scene.operated.disk.as_ref().context("disk")?;
    ensure!(holds(File::open(&disk.path)?, PLANTED)?, "what was planted is not on the disk");
    ensure!(!holds(File::open(&disk.path)?, CANARY)?, "the secret is on the disk");
    Ok(())
}
