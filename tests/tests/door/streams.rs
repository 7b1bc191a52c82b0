//! What a program writes, told while it runs: to who calls it, to who asks after a call that waited for a
//! person, over MCP and by `krux`. The call of a reader who goes away ends with its program.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use tests::{Client, Event, Image, Operated, Reply};

/// More than jq keeps before it writes, then nothing more and no end.
const GOES_ON: &str = "range(3000), (last(range(1e12)) | empty)";
const SCRIPT: &str = "import sys, time
print('first é', flush=True)
time.sleep(5)
print('oops', file=sys.stderr, flush=True)
print('last')
";

fn run(filter: &str) -> Json {
    json!({ "capability": "process.run", "input": { "command": ["jq", "-n", "-c", filter] } })
}

/// What pieces say of one output.
fn joined<'a>(pieces: impl IntoIterator<Item = &'a Json>, output: &str) -> String {
    let pieces = pieces.into_iter().filter(|piece| piece.get("output") == Some(&json!(output)));
    pieces.filter_map(|piece| piece.get("content").and_then(Json::as_str)).collect()
}

fn named(event: Option<Result<Event>>, name: &str) -> Result<Json> {
    let event = event.context("the stream is over")??;
    ensure!(event.0 == name, "not {name}: {event:?}");
    Ok(event.2)
}

fn text(json: &Json, at: &str) -> Result<String> {
    json.pointer(at).and_then(Json::as_str).map(str::to_owned).with_context(|| json.to_string())
}

#[test]
fn what_a_program_writes_comes_while_it_runs_and_its_call_ends_with_its_reader() -> Result<()> {
    let mut operated = Operated::start(&Image::test("smoke")?, "streams")?;
    operated.pair()?;
    let client = operated.agent("coder")?;
    whole(&client)?;
    cut_off(&client)?;
    over_mcp(&client)?;
    let shown = operated.try_krux(&[
        "call",
        "process.run",
        "{\"command\":[\"jq\",\"-n\",\"1\"]}",
        "--agent",
        "coder",
        "--follow",
    ])?;
    let (piece, answer) = (shown.1.first(), shown.1.get(1));
    ensure!(shown.0 == 0 && joined(piece, "stdout") == "1\n", "{shown:?}");
    ensure!(answer.is_some_and(|answer| answer.get("code") == Some(&json!("ok"))), "{shown:?}");
    followed(&operated, &client)?;
    operated.krux(&["shutdown"])?;
    operated.machine.wait_gone(60)
}

/// A call that streams has the answer of one that does not, after the pieces; a refusal comes alone.
fn whole(client: &Client) -> Result<()> {
    let call = run("\"é\", 1");
    let plain = client.post("/v1/calls", &[], call.to_string().as_bytes());
    let mut events = match client.events("/v1/calls", Some(&call))? {
        Ok(events) => events,
        Err(reply) => bail!("no stream: {reply:?}"),
    };
    let number = text(&named(events.next(), "begin")?, "/call")?;
    let mut pieces = Vec::new();
    let end = loop {
        match events.next().context("no end")?? {
            (name, None, piece) if name == "output" => pieces.push(piece),
            (name, None, end) if name == "end" => break end,
            other => bail!("{other:?}"),
        }
    };
    let (result, status) = (end.pointer("/answer/result"), end.get("status"));
    ensure!(result.is_some() && result == plain.json.get("result"), "{end} and {plain:?}");
    ensure!(status == Some(&json!(200)) && text(&end, "/answer/call")? == number, "{end}");
    ensure!(joined(&pieces, "stdout") == text(&end, "/answer/result/stdout")?, "{pieces:?}");
    ensure!(events.next().is_none(), "something after the end");
    let stranger = client.with_bearer("none").events("/v1/calls", Some(&call))?;
    ensure!(stranger.is_err_and(|reply| reply.status == 401), "a stranger has a stream");
    Ok(())
}

/// The first pieces are there while the program runs; then the client goes, and the call ends well before its
/// time is over: the forker says so once it has killed the cage.
fn cut_off(client: &Client) -> Result<()> {
    const CALLS: usize = 24;
    for count in 0..CALLS {
        let Ok(mut events) = client.events("/v1/calls", Some(&run(GOES_ON)))? else {
            bail!("no stream")
        };
        let call = text(&named(events.next(), "begin")?, "/call")?;
        let piece = named(events.next(), "output")?;
        ensure!(joined([&piece], "stdout").starts_with("0\n1\n"), "{piece}");
        let ended = || client.get(&format!("/v1/calls/{call}"));
        ensure!(ended().status == 202, "call {count} is over: {:?}", ended());
        drop(events);
        let ended = beyond(ended)?;
        ensure!(ended.code() == "unread", "call {count}: {ended:?}");
    }
    Ok(())
}

/// Asks until a call is no longer under way.
fn beyond(ask: impl Fn() -> Reply) -> Result<Reply> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = ask();
        if reply.status != 202 {
            return Ok(reply);
        }
        ensure!(Instant::now() < deadline, "still {reply:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Over MCP pieces are progress, for who gave a token for it.
fn over_mcp(client: &Client) -> Result<()> {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-06-18"),
    ];
    let arguments = json!({ "command": ["jq", "-n", "1"] });
    for meta in [json!({ "progressToken": "t" }), json!({})] {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "process.run", "arguments": arguments, "_meta": meta } });
        let answer = client.text("/mcp", &headers, call.to_string().as_bytes())?;
        let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
        let messages: Vec<Json> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
        let streams = meta != json!({});
        ensure!(messages.len() == if streams { 2 } else { 0 }, "{meta}: {answer}");
        let last = messages.last().cloned().map_or_else(|| serde_json::from_str(&answer), Ok)?;
        ensure!(text(&last, "/result/structuredContent/result/stdout")? == "1\n", "{answer}");
        if let Some(progress) = messages.first() {
            let of = (text(progress, "/method")?, text(progress, "/params/progressToken")?);
            ensure!(of == ("notifications/progress".to_owned(), "t".to_owned()), "{progress}");
            ensure!(text(progress, "/params/message")? == "1\n", "{progress}");
        }
    }
    Ok(())
}

/// Asks for the script to be run: the call's number.
fn asked(client: &Client, streams: bool) -> Result<String> {
    let written = client.call("filesystem.write", &json!({ "path": "a.py", "content": SCRIPT }));
    ensure!(written.code() == "ok", "{written:?}");
    let input = json!({ "command": ["python3", "a.py"], "expect": client.digest()? });
    let call = json!({ "capability": "process.run_code", "input": input });
    let reply = match streams {
        false => client.call("process.run_code", &input),
        true => client.events("/v1/calls", Some(&call))?.err().context("a stream")?,
    };
    ensure!(reply.status == 202 && reply.code() == "pending", "{reply:?}");
    reply.number().map(str::to_owned).context("number")
}

/// A call that waited for a person is asked after, and followed; its answer is what it would be without.
fn followed(operated: &Operated, client: &Client) -> Result<()> {
    let call = asked(client, true)?;
    let path = format!("/v1/calls/{call}");
    let waits = client.get(&format!("{path}?from=0"));
    ensure!(waits.code() == "pending" && waits.json.get("pieces").is_none(), "{waits:?}");
    operated.krux(&["approve", "accept", &call])?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let first = loop {
        let reply = client.get(&format!("{path}?from=0"));
        ensure!(reply.code() == "running", "over before a piece: {reply:?}");
        let pieces = reply.json.get("pieces").and_then(Json::as_array).cloned();
        if !pieces.context("no pieces")?.is_empty() {
            break reply.json;
        }
        ensure!(Instant::now() < deadline, "no piece: {reply:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let pieces = first.get("pieces").and_then(Json::as_array).context("pieces")?;
    ensure!(joined(pieces, "stdout") == "first é\n", "{first}");
    let from = first.get("from").and_then(Json::as_u64).context("from")?;
    let again = client.get(&format!("{path}?from={from}"));
    ensure!(again.json.get("pieces") == Some(&json!([])), "told twice: {again:?}");
    ensure!(client.get(&format!("{path}?from=x")).code() == "bad_request", "from=x");
    let Ok(events) = client.events(&path, None)? else { bail!("no stream") };
    let events: Vec<Event> = events.collect::<Result<_>>()?;
    let told: Vec<&Json> = events.iter().filter(|e| e.0 == "output").map(|e| &e.2).collect();
    let end = &events.last().context("nothing")?.2;
    let output = text(end, "/answer/result/stdout")?;
    ensure!(output == "first é\nlast\n" && text(end, "/answer/code")? == "ok", "{events:?}");
    ensure!(output.starts_with(&joined(told, "stdout")), "{events:?}");
    ensure!(events.get(1).and_then(|event| event.1) == Some(from), "where to go on: {events:?}");
    // who did not ask for pieces has none, and the same answer
    let call = asked(client, false)?;
    operated.krux(&["approve", "accept", &call])?;
    let plain = beyond(|| {
        let reply = client.get(&format!("/v1/calls/{call}?from=0"));
        assert_eq!(reply.json.get("pieces"), None, "{reply:?}");
        reply
    })?;
    ensure!(plain.json.get("result") == end.pointer("/answer/result"), "{plain:?} and {end}");
    Ok(())
}
