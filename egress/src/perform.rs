//! One released call, from its input to its answer.

use crate::reach::Reach;
use crate::shared::Shared;
use crate::{connection, names, request, webhook};
use capabilities::{Accepted, Argument};
use channel::sealed;
use channel::tickets::Released;
use contract::perform::{Outcome, Spec};
use contract::url::Host;
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// How long a call may take, and how long its reader may take to read.
const CALL: Duration = Duration::from_secs(30);
const READER: Duration = Duration::from_secs(30);
const INPUT_BYTES_MAX: u64 = 8 << 20;

/// Performs it; its outcome.
pub(crate) async fn perform(shared: &Shared, released: Released) -> Outcome {
    let (spec, [input, answer]) = released.into_parts();
    let done = match sealed::read(&input, INPUT_BYTES_MAX) {
        Ok(bytes) => {
            timeout(CALL, dispatch(shared, &spec, &bytes)).await.unwrap_or(Err("timed_out".into()))
        }
        Err(_unreadable) => Err("bad_input".into()),
    };
    let (code, body) = match done {
        Ok(body) => ("ok", body),
        Err(Failed { code, message: None }) => (code, json!({ "error": code })),
        Err(Failed { code, message: Some(message) }) => {
            (code, json!({ "error": { "code": code, "message": message } }))
        }
    };
    match timeout(READER, write(answer, body.to_string().as_bytes())).await {
        Ok(Ok(())) => Outcome::of(code),
        Ok(Err(_)) | Err(_) => Outcome::of("unread"),
    }
}

/// Why a call failed; with words where an operator reads them.
struct Failed {
    code: &'static str,
    message: Option<String>,
}

impl From<&'static str> for Failed {
    fn from(code: &'static str) -> Self {
        Self { code, message: None }
    }
}

async fn dispatch(shared: &Shared, spec: &Spec, bytes: &[u8]) -> Result<Json, Failed> {
    if spec.capability.starts_with("egress.") {
        let done = shared.settings.borrow_mut().act(&spec.capability, bytes);
        return done.map_err(|(code, message)| Failed { code, message: Some(message) });
    }
    let input: Json = serde_json::from_slice(bytes).map_err(|_no_json| "bad_input")?;
    let declaration = capabilities::find(&spec.capability).ok_or("unknown_capability")?;
    let input = declaration.accept(&input).map_err(|_refused| "bad_input")?;
    // what is done is what was decided, by the same lowering
    if declaration.lower(&input).as_ref() != Some(&spec.effects) {
        return Err("bad_input".into());
    }
    let done = match spec.capability.as_str() {
        "network.http_request@1" => request::perform(shared, spec, &input).await,
        "network.webhook@1" => webhook::perform(shared, spec, &input).await,
        "network.dns_lookup@1" => look_up(shared, &input).await,
        "network.tcp_check@1" => check(shared, spec, &input).await,
        _ => Err("unknown_capability"),
    };
    done.map_err(Failed::from)
}

fn host(input: &Accepted) -> Result<&Host, &'static str> {
    match input.get("host") {
        Some(Argument::Host(host)) => Ok(host),
        _ => Err("bad_input"),
    }
}

async fn look_up(shared: &Shared, input: &Accepted) -> Result<Json, &'static str> {
    let found = match host(input)? {
        Host::Name(name) => names::look_up(&shared.servers(), name).await?,
        Host::Address(address) => {
            names::Found { name: address.to_string(), addresses: vec![*address] }
        }
    };
    Ok(json!({ "name": found.name, "addresses": found.addresses }))
}

async fn check(shared: &Shared, spec: &Spec, input: &Accepted) -> Result<Json, &'static str> {
    let port = match input.get("port") {
        Some(Argument::Number(port)) => u16::try_from(*port).map_err(|_large| "bad_input")?,
        _ => return Err("bad_input"),
    };
    let own = shared.own();
    let reach = Reach { decided: &spec.reach, own: &own };
    let addresses = connection::addresses(&shared.servers(), host(input)?, reach).await?;
    let began = Instant::now();
    let (_stream, address) = connection::tcp(&addresses, port).await?;
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(json!({ "address": address, "took_us": took_us }))
}

/// Writes an answer to a pipe whose reader reads meanwhile, or to the file of a deferred call.
async fn write(answer: OwnedFd, bytes: &[u8]) -> std::io::Result<()> {
    if rustix::fs::fstat(&answer).map(|it| rustix::fs::FileType::from_raw_mode(it.st_mode))
        == Ok(rustix::fs::FileType::RegularFile)
    {
        return File::from(answer).write_all(bytes);
    }
    rustix::io::ioctl_fionbio(&answer, true)?;
    let pipe = crate::watched::watch_for(answer, Interest::WRITABLE)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut guard = AsyncFd::writable(&pipe).await?;
        match rustix::io::write(pipe.get_ref(), rest).map_err(std::io::Error::from) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => guard.clear_ready(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
