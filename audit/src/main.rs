//! The audit writer: the only process that writes the ledger. It takes records from pdp, makes them
//! durable in groups, releases calls by tickets, records how they ended, and tells pdp of each record.
//! One thread, one loop; a write that fails ends it, since nothing may happen that is not recorded.
#![forbid(unsafe_code)]

mod page;
mod peers;
mod store;
mod writer;

use channel::{ChannelError, Service, Wish, wait};
use contract::bytes::Bytes;
use contract::perform::{CallId, FromAudit, Outcome, Ticket, ToAudit};
use ledger::Kind;
use ledger::writer::{Body, Draft, FromWriter, Release, ToWriter};
use linux::clock::boot_ms;
use page::Signer;
use peers::Peers;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use writer::{Content, Open, Writer, WriterError};

const FOLDER: &str = "/ledger";
const ALIVE_MS: u64 = 1_000;
/// Who lends secrets to performers.
const LENDER: &str = "vault";
/// Most frames of one peer that are taken into one group.
const GROUP_FRAMES_MAX: usize = 512;
/// Longest body of a record.
const BODY_BYTES_MAX: u64 = 100 << 20;

/// Why audit ends.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// What is done once the group is durable.
enum After {
    Tell(FromWriter, Vec<OwnedFd>),
    Ticket(String, Ticket),
    Acknowledge(String, CallId),
}

struct Audit {
    service: Service,
    writer: Writer,
    peers: Peers,
    signer: Signer,
    after: Vec<After>,
    /// Whether something of the group must be durable before it is told.
    flush: bool,
    /// Refusals of performers that no call belongs to, and when they are recorded.
    refused: BTreeMap<String, u64>,
    due_ms: u64,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let boot = linux::clock::boot_id().map_err(|error| format!("boot id: {error}"));
    let started = boot.and_then(|boot| {
        let writer = Writer::open(Path::new(FOLDER), boot).map_err(|error| error.to_string())?;
        let signer = Signer::open(Path::new(FOLDER)).map_err(|error| error.to_string())?;
        Ok((writer, signer))
    });
    let (writer, signer) = match started {
        Ok(started) => started,
        Err(error) => {
            service.log(&error).ok();
            return ExitCode::FAILURE;
        }
    };
    let peers = Peers::open(&mut service);
    let (after, refused) = (Vec::new(), BTreeMap::new());
    let mut audit =
        Audit { service, writer, peers, signer, after, flush: false, refused, due_ms: 0 };
    match audit.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            audit.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

impl Audit {
    fn run(&mut self) -> Result<(), Fatal> {
        self.service.ready()?;
        self.peers.greet_all();
        self.signer.ask(self.peers.vault());
        loop {
            let now = boot_ms();
            if now >= self.due_ms {
                self.service.alive()?;
                self.record_refused()?;
                self.writer.flush()?;
                self.due_ms = now + ALIVE_MS;
            }
            let ready = {
                let mut files = vec![Some(self.service.as_fd())];
                files.extend(self.peers.files());
                wait(&files, &self.peers.full(), self.due_ms.saturating_sub(now))?
            };
            let of = |index: usize| ready.get(index).copied().unwrap_or(false);
            if of(0) && self.hear_init()? {
                self.writer.flush()?;
                return Ok(());
            }
            self.peers.push();
            self.count_broken();
            if of(1) {
                self.hear_pdp()?;
            }
            if of(2) {
                self.peers.hear_vault(&mut self.signer);
            }
            self.hear_performers()?;
            self.finish()?;
        }
    }

    /// True when init wants this service to stop.
    fn hear_init(&mut self) -> Result<bool, Fatal> {
        match self.service.wish()? {
            Wish::Stop => return Ok(true),
            Wish::NewEdge(name) => match self.service.edge(&name) {
                Some(edge) if name == peers::PDP => self.peers.replace_pdp(edge),
                Some(edge) if name == peers::VAULT => {
                    self.peers.replace_vault(edge);
                    self.signer.ask(self.peers.vault());
                }
                Some(edge) => self.peers.replace_performer(&name, edge),
                None => {}
            },
        }
        Ok(false)
    }

    fn hear_pdp(&mut self) -> Result<(), Fatal> {
        for _ in 0..GROUP_FRAMES_MAX {
            let Some((message, fds)) = self.peers.hear_pdp() else { break };
            match message {
                ToWriter::Append { draft, release, .. }
                    if !self.writer.may_say(&draft, release.as_ref()) =>
                {
                    self.peers.lose_pdp();
                }
                ToWriter::Append { draft, bodies, release, reserve } => {
                    let mut fds = fds.into_iter();
                    match contents(bodies, &mut fds) {
                        Ok(contents) => {
                            self.append(draft, contents, reserve, release, fds.next())?;
                        }
                        Err(_not_sealed) => self.peers.lose_pdp(),
                    }
                }
                ToWriter::Fetch { number, place } => {
                    let found = self.writer.bodies.read(&place);
                    let body = found.as_ref().and_then(|content| content.get(16..));
                    let file = body.map(channel::sealed::holding).transpose()?;
                    let message = FromWriter::Fetched { number, found: file.is_some() };
                    self.after.push(After::Tell(message, file.into_iter().collect()));
                }
                ToWriter::Page { number, from, filter } => {
                    self.writer.flush()?;
                    let page = page::page(&self.writer, &self.signer, from, &filter)
                        .map_err(WriterError::from)?;
                    let file = channel::sealed::holding(&page.bytes)?;
                    let capacity_bytes =
                        self.writer.records.capacity_bytes().map_err(WriterError::from)?;
                    let (next, last) = (page.next, page.last);
                    let message = FromWriter::Page { number, next, last, capacity_bytes };
                    self.after.push(After::Tell(message, vec![file]));
                }
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        mut draft: Draft,
        contents: Vec<Content>,
        reserve: bool,
        release: Option<Release>,
        answer: Option<OwnedFd>,
    ) -> Result<(), Fatal> {
        let call = draft.call;
        if let Some(release) = &release {
            draft.facts.insert(writer::PERFORMER.to_owned(), release.performer.clone());
        }
        let bytes = match self.writer.append(draft, contents, reserve) {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = error.refusal().ok_or(error)?;
                self.after.push(After::Tell(FromWriter::NotAppended { call, why }, Vec::new()));
                return Ok(());
            }
        };
        let sequence = self.writer.chain.next() - 1;
        self.flush = true;
        self.tell(bytes);
        if let (Some(Release { performer, spec, deadline_ms, changes, lends, .. }), Some(call)) =
            (release, call)
        {
            if let Some(spec) = lends {
                // first: who is to be lent something asks for it as soon as it is released
                let epoch = self.peers.epoch(LENDER);
                let ticket = Ticket { call, sequence, spec, deadline_ms, epoch };
                self.after.push(After::Ticket(LENDER.to_owned(), ticket));
            }
            let epoch = self.peers.epoch(&performer);
            let open = Open { performer: performer.clone(), epoch, changes, answer };
            self.writer.release(call, open);
            let ticket = Ticket { call, sequence, spec, deadline_ms, epoch };
            self.after.push(After::Ticket(performer, ticket));
        }
        Ok(())
    }

    /// Tells pdp of a record, with its group.
    fn tell(&mut self, record: Vec<u8>) {
        self.after.push(After::Tell(FromWriter::Appended(Bytes(record)), Vec::new()));
    }

    fn hear_performers(&mut self) -> Result<(), Fatal> {
        for (performer, message) in self.peers.hear_performers(GROUP_FRAMES_MAX) {
            match message {
                ToAudit::Started { .. } => {}
                ToAudit::Ended { call, outcome } => {
                    self.end(&performer, call, &outcome)?;
                    self.after.push(After::Acknowledge(performer, call));
                }
                ToAudit::Refused { call, why } => {
                    let code = format!("refused-{why:?}").to_lowercase();
                    if !self.end(&performer, call, &Outcome::of(&code))? {
                        *self.refused.entry(format!("{performer} {code}")).or_default() += 1;
                    }
                }
                ToAudit::Settled { epoch } => {
                    for record in self.writer.settle(&performer, epoch)? {
                        self.flush = true;
                        self.tell(record);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the call was open.
    fn end(&mut self, performer: &str, call: CallId, outcome: &Outcome) -> Result<bool, Fatal> {
        // a performer ends its own calls and no other's
        if self.writer.open.get(&call).is_some_and(|open| open.performer != performer) {
            *self.refused.entry(format!("{performer} another's call")).or_default() += 1;
            return Ok(true);
        }
        let Some((record, changes)) = self.writer.end(call, outcome)? else { return Ok(false) };
        self.flush |= changes;
        self.tell(record);
        Ok(true)
    }

    /// Peers whose channels ended for what they sent.
    fn count_broken(&mut self) {
        for name in self.peers.take_broken() {
            *self.refused.entry(format!("{name} no such message")).or_default() += 1;
        }
    }

    /// What performers refused without a call of ours: one record a reason and second. Where there is
    /// no room but the reserve, which is not for these, they are counted on.
    fn record_refused(&mut self) -> Result<(), Fatal> {
        for (reason, count) in std::mem::take(&mut self.refused) {
            let facts = [("reason", reason.as_str()), ("count", &count.to_string())];
            match self.writer.append(Draft::new(Kind::Refused, &facts), Vec::new(), false) {
                Ok(record) => self.tell(record),
                Err(error) if error.refusal().is_some() => {
                    *self.refused.entry(reason).or_default() += count;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes the group durable where it must be, then says and releases what it holds.
    fn finish(&mut self) -> Result<(), Fatal> {
        if std::mem::take(&mut self.flush) {
            self.writer.flush()?;
        } else if self.writer.is_dirty() {
            self.writer.write()?;
        }
        for after in std::mem::take(&mut self.after) {
            match after {
                After::Tell(message, fds) => self.peers.tell_pdp(&message, fds),
                After::Ticket(performer, ticket) => {
                    self.peers.tell_performer(&performer, &FromAudit::Ticket(ticket));
                }
                After::Acknowledge(performer, call) => {
                    self.peers.tell_performer(&performer, &FromAudit::Acknowledged(call));
                }
            }
        }
        Ok(())
    }
}

/// The bodies that come with a record.
fn contents(
    bodies: Vec<Body>,
    files: &mut impl Iterator<Item = OwnedFd>,
) -> Result<Vec<Content>, ChannelError> {
    let read = |(body, file): (Body, OwnedFd)| {
        let bytes = channel::sealed::read(&file, BODY_BYTES_MAX)?;
        Ok(Content { body, bytes })
    };
    bodies.into_iter().zip(files).map(read).collect()
}
