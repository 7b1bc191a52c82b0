//! The vault: it holds the secrets and the box's authority, and speaks to nobody but its edges. It
//! opens no socket, prints no value, and acts on tickets alone. Its memory is nobody else's: no core, nothing for a
//! debugger, and what was on its heap is zeros once it is given back.
#![forbid(unsafe_code)]

mod admits;
mod authority;
mod desk;
mod egress;
mod kept;
mod keys;
mod lending;
mod opening;
mod record;
mod seal;
mod secrets;
mod store;

use authority::Authority;
use channel::performer::Performer;
use channel::{ChannelError, Mailbox, Service, Wish, wait};
use contract::bytes::Bytes;
use contract::issue::{ADDRESSES_MAX, FromCertifier, ToCertifier, VERSION};
use desk::Desk;
use kept::Kept;
use linux::clock::boot_ms;
use linux::memory::Zeroing;
use secrets::Secrets;
use std::alloc::System;
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
/// The most memory that the vault has, as its description says; scrypt takes a quarter.
const MEMORY_BYTES_MAX: u64 = 128 << 20;

#[global_allocator]
static ALLOCATOR: Zeroing = Zeroing(System);

struct Vault {
    service: Service,
    desk: Desk,
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
    let egress = service.edge(FROM_EGRESS).map(Mailbox::new);
    let mut desk = Desk::new(performer, authority, secrets, egress);
    let said = match kept_by_init(&mut service) {
        Ok(kept) => desk.go_on(kept).then(|| "open again, as the one before was".to_owned()),
        Err(error) => Some(format!("a restart will lock it: {error}")),
    };
    if let Some(line) = said {
        service.log(&line).ok();
    }
    let mut vault = Vault { service, desk, peers, due_ms: 0 };
    match vault.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            vault.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

/// The memory that outlives this process: what init kept of an earlier one, or new memory, which init keeps.
fn kept_by_init(service: &mut Service) -> Result<Kept, String> {
    if let Some(file) = service.kept() {
        return Kept::of(&file);
    }
    let file = kept::make()?;
    service.keep(&file).map_err(|error| error.to_string())?;
    Kept::of(&file)
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

impl Vault {
    fn run(&mut self) -> Result<(), ChannelError> {
        self.service.ready()?;
        self.peers.iter_mut().for_each(|(name, peer)| introduce(&self.desk.authority, name, peer));
        loop {
            let now = boot_ms();
            if now >= self.due_ms {
                self.service.alive()?;
                self.due_ms = now + ALIVE_MS;
            }
            let ready = {
                let [pdp, audit] = self.desk.performer.edges();
                let mut files = vec![Some(self.service.as_fd()), pdp, audit];
                files.push(self.desk.egress.as_ref().map(AsFd::as_fd));
                files.extend(self.peers.iter().map(|(_, peer)| peer.as_ref().map(AsFd::as_fd)));
                let full = self.desk.egress.iter().filter(|peer| peer.is_full()).map(AsFd::as_fd);
                let full: Vec<_> = full.collect();
                wait(&files, &full, self.due_ms.saturating_sub(now))?
            };
            let of = |index: usize| ready.get(index).copied().unwrap_or(false);
            if of(0) && self.hear_init()? {
                return Ok(());
            }
            if of(1) {
                self.desk.performer.hear_pdp();
            }
            if of(2) {
                self.complain_of(Desk::hear_audit);
            }
            if self.desk.egress.as_mut().is_some_and(|peer| peer.push().is_err()) {
                self.desk.egress = None;
            }
            if of(3) {
                self.complain_of(Desk::hear_egress);
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
                    FROM_PDP => self.desk.performer.replace_pdp(edge),
                    TO_AUDIT => self.desk.performer.replace_audit(edge),
                    FROM_EGRESS => self.desk.egress = edge.map(Mailbox::new),
                    _ => {
                        for (known, peer) in &mut self.peers {
                            if *known == name {
                                *peer = service_edge(edge);
                                introduce(&self.desk.authority, known, peer);
                                break;
                            }
                        }
                    }
                }
            }
        }
        Ok(false)
    }

    /// Does it, and puts what went wrong into the machine's log.
    fn complain_of(&mut self, act: fn(&mut Desk) -> Option<String>) {
        if let Some(line) = act(&mut self.desk) {
            self.service.log(&line).ok();
        }
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
                self.desk.authority.certify(&key.0, &addresses, now_s)
            }
            Ok(((VERSION, ToCertifier::CertifyWriter { key }), _)) if name.starts_with("audit") => {
                <[u8; 32]>::try_from(key.0.as_slice())
                    .map_err(|_length| authority::AuthorityError::NotP256)
                    .and_then(|key| self.desk.authority.certify_writer(&key))
            }
            Ok(_) | Err(_) => return *slot = None,
        };
        let posted = answered.map_err(|error| error.to_string()).and_then(|certificate| {
            let authority = Bytes(self.desk.authority.certificate());
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
