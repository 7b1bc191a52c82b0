//! A door that was taken over: it stands in the place of the agents' door, with the same edges, and
//! says on them whatever could get it more than an agent's own credential is good for. Each finding is
//! a line on the console. What ends its channel ends its run; init starts it again with new edges.
#![forbid(unsafe_code)]

mod verdict;

use capabilities as _;
use channel::{Channel, ChannelError, Service, sealed};
use contract::bytes::Bytes;
use contract::door::{FromDoor, Status, ToDoor, VERSION};
use contract::issue::{self, FromCertifier, ToCertifier};
use ledger as _;
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json as _;
use sha2 as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;
use verdict::verdict;

const RUNS: &str = "/run/hostile-runs";
const TOKEN: &str = "/data/agents/victim/workspace/token";
const PATIENCE_MS: u64 = 5_000;

/// A frame that no door of its kind sends; the channel must end.
type Spoiled = (&'static str, fn(&Channel) -> Result<(), ChannelError>);

const SPOILED: &[Spoiled] = &[
    ("an act on the agents' edge", |channel| {
        let message = FromDoor::Act {
            number: 1,
            source: String::new(),
            statement: "{}".to_owned(),
            signature: Bytes(vec![0; 64]),
            body: false,
        };
        let (_read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        channel.send(&(VERSION, message), &[write.as_fd()])
    }),
    ("a pairing on the agents' edge", |channel| {
        channel.send(&(VERSION, FromDoor::Pair { number: 1, request: "{}".to_owned() }), &[])
    }),
    ("another version", |channel| channel.send(&(9_u16, FromDoor::Challenge { number: 1 }), &[])),
    ("no message at all", |channel| channel.send(&"hello", &[])),
    ("a descriptor too many", |channel| {
        let (token, source) = (Bytes(vec![1; 32]), String::new());
        let message = FromDoor::Tools { number: 1, token, source };
        channel.send(&(VERSION, message), &[channel.as_fd()])
    }),
    ("a call without its descriptors", |channel| {
        channel.send(&(VERSION, call(1, b"none", "system.time")), &[])
    }),
];

fn failed(errno: rustix::io::Errno) -> ChannelError {
    ChannelError::Kernel { operation: "pipe2", errno }
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let run = std::fs::read_to_string(RUNS).map_or(0, |runs| runs.len());
    if let Ok(mut runs) = File::options().create(true).append(true).open(RUNS) {
        runs.write_all(b"x").ok();
    }
    match act(&mut service, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            service.log(&format!("hostile: {error}")).ok();
            ExitCode::FAILURE
        }
    }
}

fn act(service: &mut Service, run: usize) -> Result<(), ChannelError> {
    let pdp = service.edge("agents-pdp").ok_or(ChannelError::Closed)?;
    let certifier = service.edge("agents-certifier").ok_or(ChannelError::Closed)?;
    service.ready()?;
    let token = wait_for_token(service)?;
    if let Some((name, spoil)) = SPOILED.get(run) {
        spoil(&pdp)?;
        say(service, name, is_closed(&pdp), &"the channel stays open")?;
        return Ok(());
    }
    if run == SPOILED.len() {
        certifier
            .send(&(issue::VERSION, ToCertifier::CertifyWriter { key: Bytes(vec![1; 32]) }), &[])?;
        return say(service, "certifying a writer's key", is_closed(&certifier), &"certified");
    }
    if run == SPOILED.len() + 1 {
        let key = Bytes(vec![7; 91]);
        certifier
            .send(&(issue::VERSION, ToCertifier::Certify { key, addresses: Vec::new() }), &[])?;
        return say(service, "certifying what is no key", is_closed(&certifier), &"certified");
    }
    credentials(service, &pdp, token.trim().as_bytes())?;
    let taken = certifier.receive_now().and_then(|f| f.open(|_: &(u16, FromCertifier)| 0));
    say(service, "nothing unasked from the vault", taken.is_err(), &"something came")?;
    service.log("hostile: all tried")?;
    loop {
        service.alive()?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What credentials get: a wrong one nothing, a right one what its policy allows.
fn credentials(service: &Service, pdp: &Channel, token: &[u8]) -> Result<(), ChannelError> {
    let mut number = 10;
    let mut ask = |token: &[u8], capability: &str, input: &str| {
        number += 1;
        let input = sealed::holding(input.as_bytes())?;
        let (mut read, write) = pipe_with(PipeFlags::CLOEXEC)
            .map(|(read, write)| (File::from(read), write))
            .map_err(failed)?;
        pdp.send(&(VERSION, call(number, token, capability)), &[input.as_fd(), write.as_fd()])?;
        drop(write);
        let (answer, _) = answer(service, pdp)?;
        let mut body = String::new();
        if matches!(answer, ToDoor::Ended { .. }) {
            read.read_to_string(&mut body).ok();
        }
        Ok::<_, ChannelError>((answer, body))
    };
    let status = |answer: &ToDoor| match answer {
        ToDoor::Said { status, .. } => Some(*status),
        _ => None,
    };
    let (seen, body) = ask(b"krux_0000", "filesystem.read", "{\"path\":\"token\"}")?;
    let refused = status(&seen) == Some(Status::Unauthenticated) && body.is_empty();
    say(service, "a call with a made-up token", refused, &format!("{seen:?}"))?;
    let (seen, _) = ask(token, "filesystem.read", "{\"path\":\"/etc/passwd\"}")?;
    let denied = status(&seen) == Some(Status::Denied);
    say(service, "a call beyond the agent's policy", denied, &format!("{seen:?}"))?;
    let (seen, _) = ask(token, "filesystem.delete", "{\"path\":\"token\"}")?;
    let waits = status(&seen) == Some(Status::Pending);
    say(service, "a call that waits for a person", waits, &format!("{seen:?}"))?;
    let (seen, body) = ask(token, "filesystem.read", "{\"path\":\"token\"}")?;
    let control = matches!(&seen, ToDoor::Ended { code, .. } if code == "ok");
    say(
        service,
        "a call within it, control",
        control && body.contains("krux_"),
        &format!("{seen:?}"),
    )?;
    let (seen, _) = ask(token, "vault.list", "{}")?;
    let unknown = status(&seen) == Some(Status::NotFound);
    say(service, "an operator's act as a capability", unknown, &format!("{seen:?}"))?;
    open_input(service, pdp, token)?;
    for (name, call) in [("another's call", [0x11; 16]), ("no call", [0; 16])] {
        let (token, source) = (Bytes(token.to_vec()), String::new());
        pdp.send(&(VERSION, FromDoor::Poll { number: 99, token, source, call, from: None }), &[])?;
        let (seen, _) = answer(service, pdp)?;
        let none = status(&seen) == Some(Status::NotFound);
        say(service, &format!("asking after {name}"), none, &format!("{seen:?}"))?;
    }
    Ok(())
}

/// An input that could still be changed after it was decided.
fn open_input(service: &Service, pdp: &Channel, token: &[u8]) -> Result<(), ChannelError> {
    let input = File::from(sealed::empty()?);
    std::os::unix::fs::FileExt::write_all_at(&input, b"{\"path\":\"token\"}", 0).ok();
    let (_read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let message = (VERSION, call(50, token, "filesystem.read"));
    pdp.send(&message, &[input.as_fd(), write.as_fd()])?;
    let (seen, _) = answer(service, pdp)?;
    let refused = matches!(seen, ToDoor::Said { status: Status::Bad, .. });
    say(service, "an input that is not sealed", refused, &format!("{seen:?}"))
}

fn call(number: u64, token: &[u8], capability: &str) -> FromDoor {
    let (token, source) = (Bytes(token.to_vec()), "192.0.2.66".to_owned());
    let capability = capability.to_owned();
    FromDoor::Call { number, token, source, capability, streams: false }
}

fn answer(service: &Service, pdp: &Channel) -> Result<(ToDoor, Vec<OwnedFd>), ChannelError> {
    service.alive()?;
    let ready = channel::wait(&[Some(pdp.as_fd())], &[], PATIENCE_MS)?;
    if ready.first() != Some(&true) {
        return Err(ChannelError::WouldBlock);
    }
    let ((_, message), fds) = pdp
        .receive()?
        .open(|(_, message): &(u16, ToDoor)| usize::from(matches!(message, ToDoor::File { .. })))?;
    Ok((message, fds))
}

/// Whether the other end ended the channel.
fn is_closed(channel: &Channel) -> bool {
    let ready = channel::wait(&[Some(channel.as_fd())], &[], PATIENCE_MS).unwrap_or_default();
    ready.first() == Some(&true) && matches!(channel.receive_now(), Err(ChannelError::Closed))
}

/// The token of the agent `victim`, once the operator has put it into that agent's workspace.
fn wait_for_token(service: &Service) -> Result<String, ChannelError> {
    loop {
        service.alive()?;
        if let Ok(token) = std::fs::read_to_string(TOKEN) {
            return Ok(token);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn say(
    service: &Service,
    name: &str,
    holds: bool,
    seen: &dyn std::fmt::Display,
) -> Result<(), ChannelError> {
    service.log(&format!("hostile {name}: {}", verdict(holds, seen)))
}
