//! Agents: who may call, and their calls made by hand.

use crate::ended::{Ended, failed};
use crate::keep::random;
use crate::pair::pem;
use crate::remote::{Desk, Response, sha256};
use crate::render;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use contract::base64;
use contract::digits::{hex, unhex};
use contract::statement::Act;
use contract::uids::names_an_admin;
use serde_json::{Value as Json, json};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A new agent. Its token is made here, kept here and shown once; the box learns its digest alone.
    Add {
        /// Lower-case letters, digits and `-`.
        name: String,
        /// Only from this address or CIDR block.
        #[arg(long)]
        source: Option<String>,
        /// An agent that policies may let near the box itself; its name is `admin` or begins with `admin-`.
        #[arg(long)]
        admin: bool,
    },
    /// All agents.
    List,
    /// Refuses its calls until it is resumed.
    Pause {
        /// Which.
        name: String,
    },
    /// Ends a pause.
    Resume {
        /// Which.
        name: String,
    },
    /// Ends an agent for good; its files stay.
    Revoke {
        /// Which.
        name: String,
    },
    /// Gives it another token.
    Rotate {
        /// Which.
        name: String,
    },
    /// What may pass of what it sends over the network, and what was dropped.
    Net {
        /// Which.
        name: String,
    },
    /// What a client of this agent needs: address, authority, token, as files or for MCP clients.
    Connect {
        /// Which.
        name: String,
        /// Write the authority's certificate (PEM) here.
        #[arg(long)]
        ca: Option<PathBuf>,
    },
}

/// A call made by hand.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// `category.verb`, or with `@version`; `result` asks what became of a call.
    capability: String,
    /// The input, a JSON object; `-` reads it from standard input.
    #[arg(default_value = "{}")]
    input: String,
    /// As this agent.
    #[arg(long)]
    agent: String,
    /// The token, when it is not kept here.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Show what a program writes while it runs.
    #[arg(long)]
    follow: bool,
}

fn token() -> Result<String> {
    Ok(format!("krux_{}", hex(&random::<32>()?)))
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let mut shown = None;
    let (act, said) = match command {
        Command::List => return list(desk, as_json),
        Command::Net { name } => return net(desk, name, as_json),
        Command::Connect { name, ca } => return connect(desk, name, ca.as_deref(), as_json),
        Command::Add { name, source, admin } => {
            is_meant(name, *admin)?;
            let token = shown.insert(token()?);
            let digest = sha256(token.as_bytes());
            let act = Act::AgentAdd { name: name.clone(), token: digest, source: source.clone() };
            (act, format!("added {name}"))
        }
        Command::Rotate { name } => {
            let token = shown.insert(token()?);
            let digest = sha256(token.as_bytes());
            (
                Act::AgentRotate { name: name.clone(), token: digest },
                format!("{name} has another token"),
            )
        }
        Command::Pause { name } => {
            (Act::AgentPause { name: name.clone() }, format!("paused {name}"))
        }
        Command::Resume { name } => {
            (Act::AgentResume { name: name.clone() }, format!("resumed {name}"))
        }
        Command::Revoke { name } => {
            (Act::AgentRevoke { name: name.clone() }, format!("revoked {name}"))
        }
    };
    let answer = desk.act(act)?;
    if let (Some(token), Command::Add { name, .. } | Command::Rotate { name }) = (&shown, command) {
        desk.keep.save_token(&desk.name, name, token)?;
    }
    if as_json {
        render::object(&json!({ "token": shown, "call": answer.get("call") }));
    } else {
        render::line(&said);
        if let Some(token) = shown {
            render::line(&format!("token: {token}"));
        }
    }
    Ok(Ended::Done)
}

/// Refuses a name that makes an admin of an agent that was not to be one, and the other way round.
fn is_meant(name: &str, admin: bool) -> Result<()> {
    let message = match (names_an_admin(name), admin) {
        (true, false) => {
            format!("an agent `{name}` is an admin; say --admin, or choose another name")
        }
        (false, true) => {
            format!("an admin's name is `admin` or begins with `admin-`: admin-{name}")
        }
        (true, true) | (false, false) => return Ok(()),
    };
    Err(failed(Ended::Usage, message))
}

fn list(desk: &Desk, as_json: bool) -> Result<Ended> {
    let answer = desk.act(Act::Agents)?;
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    for agent in answer.get("agents").and_then(Json::as_array).into_iter().flatten() {
        let text = |name: &str| agent.get(name).map(render::text).unwrap_or_default();
        let is = |name: &str| agent.get(name) == Some(&Json::Bool(true));
        let state = match (is("revoked"), is("paused"), is("ready")) {
            (true, _, _) => "revoked",
            (_, true, _) => "paused",
            (_, _, true) => "ready",
            _ => "has no home",
        };
        render::line(&format!("{:32} {state}", text("name")));
    }
    Ok(Ended::Done)
}

fn net(desk: &Desk, name: &str, as_json: bool) -> Result<Ended> {
    let answer = desk.act(Act::AgentNet { name: name.to_owned() })?;
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    let list = |name: &str| answer.get(name).and_then(Json::as_array).cloned().unwrap_or_default();
    let text = |json: &Json, name: &str| json.get(name).map(render::text).unwrap_or_default();
    for rule in list("rules") {
        let (answer, layer) = (text(&rule, "answer"), text(&rule, "layer"));
        render::line(&format!("rule     {answer:10} {} ({layer})", text(&rule, "rule")));
    }
    if list("rules").is_empty() {
        render::line(
            "rule     none speaks of connections: whatever asks for one is not let through",
        );
    }
    for call in list("now") {
        for connect in call.get("connects").and_then(Json::as_array).into_iter().flatten() {
            render::line(&format!("now      {} {}", text(&call, "call"), render::text(connect)));
        }
    }
    render::line(&format!("dropped  {} packets", text(&answer, "dropped_packets")));
    for call in list("dropped") {
        render::line(&format!("dropped  {} {}", text(&call, "call"), text(&call, "packets")));
    }
    Ok(Ended::Done)
}

fn connect(desk: &Desk, name: &str, ca: Option<&Path>, as_json: bool) -> Result<Ended> {
    let authority = pem(&unhex(&desk.known.authority).context("the box's file is damaged")?);
    let token = desk.keep.token(&desk.name, name)?;
    let url = format!("https://{}/mcp", desk.known.agents);
    if let Some(ca) = ca {
        std::fs::write(ca, &authority).with_context(|| format!("cannot write {}", ca.display()))?;
    }
    if as_json {
        render::object(&json!({ "url": url, "token": token, "ca": authority }));
    } else {
        render::line(&format!(
            "MCP (Streamable HTTP): {url}\nheader: Authorization: Bearer {token}"
        ));
        render::line(&format!("or over standard input and output: krux mcp --agent {name}"));
        if ca.is_none() {
            render::line(&authority);
        }
    }
    Ok(Ended::Done)
}

fn bearer(desk: &Desk, agent: &str, file: Option<&Path>) -> Result<String> {
    let token = match file {
        Some(file) => std::fs::read_to_string(file).context("the token's file")?.trim().to_owned(),
        None => desk.keep.token(&desk.name, agent)?,
    };
    Ok(format!("Bearer {token}"))
}

pub(crate) fn call(desk: &Desk, words: &Call, as_json: bool) -> Result<Ended> {
    let bearer = bearer(desk, &words.agent, words.token_file.as_deref())?;
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let remote = desk.agents()?;
    let input = match words.input.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
        text => text.to_owned(),
    };
    let (path, body) = if words.capability == "result" {
        (format!("/v1/calls/{}", input.trim()), None)
    } else {
        let input: Json = serde_json::from_str(&input)
            .map_err(|error| failed(Ended::Usage, format!("the input is no JSON: {error}")))?;
        let body = json!({ "capability": words.capability, "input": input });
        ("/v1/calls".to_owned(), Some(body.to_string().into_bytes()))
    };
    let response = match body.as_deref() {
        body if words.follow => {
            remote.follow(&path, &headers, body, |piece| show_piece(&piece, as_json))?
        }
        Some(body) => remote.post(&path, &headers, body)?,
        None => remote.get(&path, &headers)?,
    };
    show(&response, as_json)
}

/// A piece of what a program wrote, as text that cannot deceive a terminal.
fn show_piece(piece: &Json, as_json: bool) {
    if as_json {
        return render::object(piece);
    }
    let content = piece.get("content").and_then(Json::as_str).unwrap_or_default();
    let bytes = match piece.get("base64") {
        Some(Json::Bool(true)) => base64::read(content).unwrap_or_default(),
        _ => content.as_bytes().to_vec(),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.split('\n').map(contract::effect::visible).collect();
    render::output(&lines.join("\n"), piece.get("output") == Some(&json!("stderr")));
}

fn show(response: &Response, as_json: bool) -> Result<Ended> {
    let json = match response.json() {
        Ok(json) => json,
        Err(error) if !as_json => return Err(error),
        Err(error) => {
            let ended = error
                .downcast_ref()
                .map_or(Ended::No, |failed: &crate::ended::Failed| failed.ended);
            render::object(&serde_json::from_slice(&response.body).unwrap_or_default());
            return Ok(ended);
        }
    };
    if as_json {
        render::object(&json);
    } else {
        let shown = json.get("result").unwrap_or(&json);
        render::line(&serde_json::to_string_pretty(shown)?);
    }
    Ok(if response.status == 202 { Ended::Pending } else { Ended::Done })
}

/// `krux mcp`: a bridge between a client that speaks over standard input and output, and the box.
pub(crate) fn bridge(desk: &Desk, agent: &str, token_file: Option<&Path>) -> Result<Ended> {
    const LINE_BYTES_MAX: u64 = 40 << 20;
    let bearer = bearer(desk, agent, token_file)?;
    let remote = desk.agents()?;
    let mut version: Option<String> = None;
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        if (&mut input).take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(Ended::Done);
        }
        if line.trim().is_empty() {
            continue;
        }
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        headers.extend(version.as_deref().map(|version| ("mcp-protocol-version", version)));
        let asked: Json = serde_json::from_str(&line).unwrap_or_default();
        let answers = match remote.post("/mcp", &headers, line.trim().as_bytes()) {
            Ok(response) => messages(&response, &asked),
            Err(error) => vec![problem(&asked, &format!("{error:#}"))],
        };
        for answer in answers {
            let said = answer.pointer("/result/protocolVersion").and_then(Json::as_str);
            version = said.map(str::to_owned).or(version);
            render::object(&answer);
        }
    }
}

/// The messages of a response: one JSON value, or events (HTML standard, server-sent events).
fn messages(response: &Response, asked: &Json) -> Vec<Json> {
    let text = String::from_utf8_lossy(&response.body);
    if response.media_type.starts_with("text/event-stream") {
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        return data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect();
    }
    match serde_json::from_str(&text) {
        Ok(json) => vec![json],
        Err(_empty) if response.status < 300 => Vec::new(),
        Err(_error) => vec![problem(asked, &format!("status {}: {text}", response.status))],
    }
}

fn problem(asked: &Json, message: &str) -> Json {
    let id = asked.get("id").cloned().unwrap_or_default();
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32_000, "message": message } })
}

/// Files of an agent's workspace.
#[derive(Debug, Subcommand)]
pub(crate) enum Files {
    /// A file of this machine into the workspace.
    Put {
        /// The agent.
        agent: String,
        /// The file here.
        from: PathBuf,
        /// Its path in the workspace.
        to: String,
    },
    /// A file of the workspace to standard output, or into a file here.
    Get {
        /// The agent.
        agent: String,
        /// Its path in the workspace.
        from: String,
        /// The file here.
        to: Option<PathBuf>,
    },
}

pub(crate) fn files(desk: &Desk, command: &Files, as_json: bool) -> Result<Ended> {
    match command {
        Files::Put { agent, from, to } => {
            let content =
                std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            let input = match String::from_utf8(content) {
                Ok(text) => json!({ "path": to, "content": text }),
                Err(bytes) => {
                    json!({ "path": to, "content": base64::write(bytes.as_bytes()), "base64": true })
                }
            };
            let input = input.to_string();
            let body = sha256(input.as_bytes());
            let act = Act::FilePut { agent: agent.clone(), path: to.clone(), body };
            let answer = desk.send(act, Some(input.as_bytes()))?.json()?;
            if as_json {
                render::object(&answer);
            } else {
                render::line(&format!("{to} is in the workspace of {agent}"));
            }
        }
        Files::Get { agent, from, to } => {
            let act = Act::FileGet { agent: agent.clone(), path: from.clone() };
            let answer = desk.act(act)?;
            let content =
                answer.pointer("/result/content").and_then(Json::as_str).unwrap_or_default();
            let is_base64 = answer.pointer("/result/base64") == Some(&Json::Bool(true));
            let bytes = if is_base64 {
                base64::read(content).context("the box sent no base 64")?
            } else {
                content.as_bytes().to_vec()
            };
            match to {
                Some(to) => std::fs::write(to, bytes)?,
                None if as_json => render::object(&answer),
                None => render::bytes(&bytes),
            }
        }
    }
    Ok(Ended::Done)
}
