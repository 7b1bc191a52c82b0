//! The vault: it holds the secrets and the box's authority, and speaks to nobody but its edges. It
//! opens no socket, prints no value, and acts on tickets alone. Its memory is nobody else's: no core, nothing for a
//! debugger, and what was on its heap is zeros once it is given back.
#![forbid(unsafe_code)]

mod admits;
mod authority;
mod egress;
mod keys;
mod lending;
mod opening;
mod record;
mod seal;
mod secrets;
mod store;

use authority::Authority;
use channel::performer::{Heard, Performer};
use channel::tickets::Released;
use channel::{ChannelError, Mailbox, Service, Wish, wait};
use contract::bytes::Bytes;
use contract::digits::hex;
use contract::issue::{ADDRESSES_MAX, FromCertifier, ToCertifier, VERSION};
use contract::lend::{self, Purpose};
use contract::perform::Outcome;
use contract::secret::{FOR_ATTEMPT, FOR_SECRETS};
use lending::Lending;
use linux::clock::boot_ms;
use linux::memory::Zeroing;
use secrets::{Now, Secrets};
use serde_json::{Value as Json, json};
use std::alloc::System;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const FOLDER: &str = "/state/vault";
const FROM_PDP: &str = "pdp-vault";
const TO_AUDIT: &str = "audit-vault";
const FROM_EGRESS: &str = "egress-vault";
/// Those for whom the authority certifies; pdp is told of it unasked.
const CERTIFIED: [&str; 4] =
    ["agents-certifier", "operators-certifier", "audit-certifier", "pdp-certifier"];
const ALIVE_MS: u64 = 1_000;
const INPUT_BYTES_MAX: u64 = 1 << 20;
/// The most memory that the vault has, as its description says; scrypt takes a quarter.
const MEMORY_BYTES_MAX: u64 = 128 << 20;
/// Most words of audit that are heard before one question of egress.
const WORDS_MAX: usize = 4_096;

#[global_allocator]
static ALLOCATOR: Zeroing = Zeroing(System);

struct Vault {
    service: Service,
    performer: Performer,
    authority: Authority,
    secrets: Secrets,
    lending: Lending,
    egress: Option<Mailbox>,
    peers: Vec<(&'static str, Option<Mailbox>)>,
    due_ms: u64,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let (authority, secrets) = match open() {
        Ok(opened) => opened,
        Err(error) => {
            service.log(&error).ok();
            return ExitCode::FAILURE;
        }
    };
    let performer = Performer::new(service.edge(FROM_PDP), service.edge(TO_AUDIT));
    let peers = CERTIFIED.map(|name| (name, service.edge(name).map(Mailbox::new))).into();
    let (egress, lending) = (service.edge(FROM_EGRESS).map(Mailbox::new), Lending::default());
    let mut vault =
        Vault { service, performer, authority, secrets, lending, egress, peers, due_ms: 0 };
    match vault.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            vault.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

/// Hides the process's memory, then opens what it holds.
fn open() -> Result<(Authority, Secrets), String> {
    linux::memory::hide().map_err(|error| error.to_string())?;
    // a box has no swap: what is not locked there stays in memory all the same
    linux::memory::lock(MEMORY_BYTES_MAX).map_err(|error| error.to_string())?;
    let authority = Authority::open(Path::new(FOLDER)).map_err(|error| error.to_string())?;
    let secrets = Secrets::open(PathBuf::from(FOLDER)).map_err(|error| error.to_string())?;
    Ok((authority, secrets))
}

fn now() -> Now {
    Now { boot_ms: boot_ms(), wall_s: linux::clock::wall_us() / 1_000_000 }
}

impl Vault {
    fn run(&mut self) -> Result<(), ChannelError> {
        self.service.ready()?;
        self.peers.iter_mut().for_each(|(name, peer)| introduce(&self.authority, name, peer));
        loop {
            let now = boot_ms();
            if now >= self.due_ms {
                self.service.alive()?;
                self.due_ms = now + ALIVE_MS;
            }
            let ready = {
                let [pdp, audit] = self.performer.edges();
                let mut files = vec![Some(self.service.as_fd()), pdp, audit];
                files.push(self.egress.as_ref().map(AsFd::as_fd));
                files.extend(self.peers.iter().map(|(_, peer)| peer.as_ref().map(AsFd::as_fd)));
                let full = self.egress.iter().filter(|peer| peer.is_full()).map(AsFd::as_fd);
                let full: Vec<_> = full.collect();
                wait(&files, &full, self.due_ms.saturating_sub(now))?
            };
            let of = |index: usize| ready.get(index).copied().unwrap_or(false);
            if of(0) && self.hear_init()? {
                return Ok(());
            }
            if of(1) {
                self.performer.hear_pdp();
            }
            if of(2) {
                self.hear_audit();
            }
            if self.egress.as_mut().is_some_and(|peer| peer.push().is_err()) {
                self.egress = None;
            }
            if of(3) {
                self.hear_egress();
            }
            for index in 0..self.peers.len() {
                if of(index + 4) {
                    self.hear(index);
                }
            }
        }
    }

    /// True when init wants this service to stop.
    fn hear_init(&mut self) -> Result<bool, ChannelError> {
        match self.service.wish()? {
            Wish::Stop => return Ok(true),
            Wish::NewEdge(name) => {
                let edge = self.service.edge(&name);
                match name.as_str() {
                    FROM_PDP => self.performer.replace_pdp(edge),
                    TO_AUDIT => self.performer.replace_audit(edge),
                    FROM_EGRESS => self.egress = edge.map(Mailbox::new),
                    _ => {
                        for (known, peer) in &mut self.peers {
                            if *known == name {
                                *peer = service_edge(edge);
                                introduce(&self.authority, known, peer);
                                break;
                            }
                        }
                    }
                }
            }
        }
        Ok(false)
    }

    fn hear_audit(&mut self) {
        match self.performer.hear_audit(boot_ms()) {
            Heard::Nothing => {}
            Heard::Perform(released) => self.perform(released),
            // each act is done before the next is heard: nothing is left to end, and nothing of before is lent for
            Heard::Epoch(epoch) => {
                self.lending.forget();
                self.performer.settled(epoch);
            }
        }
    }

    /// Answers one question of egress. Audit sent this vault its ticket before it sent egress its own: what it said is
    /// heard first.
    fn hear_egress(&mut self) {
        let Some(peer) = &self.egress else { return };
        let asked = match egress::take(peer) {
            Ok(Some(asked)) => asked,
            Ok(None) => return,
            Err(_broken) => return self.egress = None,
        };
        for _ in 0..WORDS_MAX {
            if !self.performer.audit_has_more() {
                break;
            }
            self.hear_audit();
        }
        let Some(peer) = &mut self.egress else { return };
        let answered = egress::answer(peer, &mut self.lending, &self.secrets, asked, now());
        if let Err(error) = answered {
            self.service.log(&format!("no answer for egress: {error}")).ok();
            self.egress = None;
        }
    }

    /// Notes a call that secrets may be lent for. Its end is egress's to say.
    fn release(&mut self, released: Released) {
        let (spec, [input, _answer]) = released.into_parts();
        let purpose = channel::sealed::read(&input, INPUT_BYTES_MAX)
            .map_err(|error| error.to_string())
            .and_then(|input| {
                serde_json::from_slice::<Purpose>(&input).map_err(|error| error.to_string())
            });
        match purpose {
            Ok(purpose) => self.lending.release(spec, purpose, boot_ms()),
            Err(error) => {
                self.service
                    .log(&format!("a call without a purpose is lent nothing: {error}"))
                    .ok();
            }
        }
    }

    /// Lets the authority stand for a recipient that an answer names.
    fn vouch(&self, act: &str, body: &mut Json) {
        let purpose = if act == "vault.attempt" { FOR_ATTEMPT } else { FOR_SECRETS };
        let recipient = body.get("recipient").and_then(Json::as_str);
        let signature = recipient.and_then(|text| self.authority.vouch(purpose, text).ok());
        if let (Some(signature), Some(body)) = (signature, body.as_object_mut()) {
            body.insert("vouched".to_owned(), json!(hex(&signature)));
        }
    }

    fn perform(&mut self, released: Released) {
        if released.capability() == lend::CAPABILITY {
            return self.release(released);
        }
        let (spec, [input, answer]) = released.into_parts();
        self.performer.started(spec.call);
        let done = channel::sealed::read(&input, INPUT_BYTES_MAX)
            .map_err(|error| ("bad_input", error.to_string()))
            .and_then(|input| self.secrets.act(&spec.capability, &input, now()))
            .map(|mut body| {
                self.vouch(&spec.capability, &mut body);
                body
            });
        let (code, body) = match done {
            Ok(body) => ("ok", body),
            Err((code, message)) => {
                (code, json!({ "error": { "code": code, "message": message } }))
            }
        };
        // the door reads while we write; one that does not is not waited for
        rustix::io::ioctl_fionbio(&answer, true).ok();
        let written = File::from(answer).write_all(body.to_string().as_bytes());
        let code = if written.is_ok() { code } else { "unread" };
        self.performer.ended(spec.call, Outcome::of(code));
    }

    /// Certifies a peer's key, or cuts off a peer that asks for anything else.
    fn hear(&mut self, index: usize) {
        let Some((name, slot)) = self.peers.get_mut(index) else { return };
        let Some(peer) = slot else { return };
        let asked = peer.take().and_then(|frame| frame.open(|_: &(u16, ToCertifier)| 0));
        let answered = match asked {
            Err(ChannelError::WouldBlock) => return,
            Ok(((VERSION, ToCertifier::Certify { key, addresses }), _))
                if name.starts_with("agents") || name.starts_with("operators") =>
            {
                let addresses = addresses.iter().take(ADDRESSES_MAX);
                let addresses: Vec<_> = addresses.filter_map(|text| text.parse().ok()).collect();
                let now_s = i64::try_from(linux::clock::wall_us() / 1_000_000).unwrap_or(0);
                self.authority.certify(&key.0, &addresses, now_s)
            }
            Ok(((VERSION, ToCertifier::CertifyWriter { key }), _)) if name.starts_with("audit") => {
                <[u8; 32]>::try_from(key.0.as_slice())
                    .map_err(|_length| authority::AuthorityError::NotP256)
                    .and_then(|key| self.authority.certify_writer(&key))
            }
            Ok(_) | Err(_) => return *slot = None,
        };
        let posted = answered.map_err(|error| error.to_string()).and_then(|certificate| {
            let authority = Bytes(self.authority.certificate());
            let message = FromCertifier::Certified { certificate: Bytes(certificate), authority };
            peer.post(&(VERSION, message), Vec::new()).map_err(|error| error.to_string())
        });
        if let Err(error) = posted {
            self.service.log(&format!("no certificate for {name}: {error}")).ok();
            *slot = None;
        }
    }
}

fn service_edge(edge: Option<channel::Channel>) -> Option<Mailbox> {
    edge.map(Mailbox::new)
}

/// Tells pdp which authority this box has.
fn introduce(authority: &Authority, name: &str, peer: &mut Option<Mailbox>) {
    let Some(mailbox) = peer else { return };
    if name == "pdp-certifier" {
        let message = FromCertifier::Authority {
            certificate: Bytes(authority.certificate()),
            key_digest: Bytes(authority.key_digest().to_vec()),
        };
        if mailbox.post(&(VERSION, message), Vec::new()).is_err() {
            *peer = None;
        }
    }
}
