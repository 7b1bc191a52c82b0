//! What audit knows: the chain, the two rows of segments, and which calls were released and have not
//! ended. It speaks to nobody; `main` does, with what [`Writer::settle`] hands out.

use crate::store::{Segments, StoreError};
use channel::recent::Recent;
use contract::digits::hex;
use contract::perform::{CallId, Outcome};
use ledger::writer::{Body, Draft, NotAppended, Release, place_fact};
use ledger::{Chain, Kind, Record, RecordError, SaltedDigest};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Longest body that is stored though nobody will ask for it again.
const SMALL_BODY_BYTES_MAX: usize = 64 << 10;

/// How many released calls are remembered, so that none is released twice.
const RELEASED_MAX: usize = 4_096;
/// The fact that says who performs a call: audit's own.
pub(crate) const PERFORMER: &str = "performer";

/// What marks a ledger that was begun under `krux dev`.
const DEVELOPMENT: &str = "development";

/// Why the writer cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the ledger does not verify at record {0}; nothing is written to it")]
    Broken(u64),
    #[error("record: {0}")]
    Record(#[from] RecordError),
    #[error("this ledger was begun in development; a box does not go on with it")]
    Development,
    #[error("random numbers: {0}")]
    Random(rustix::io::Errno),
}

/// A call that was released and has not ended.
#[derive(Debug)]
pub(crate) struct Open {
    /// Who performs it.
    pub(crate) performer: String,
    /// The epoch of that performer in which it was released; 0 for one of an earlier life.
    pub(crate) epoch: u64,
    /// Whether its outcome must be durable before it is told.
    pub(crate) changes: bool,
    /// Where a deferred answer is written.
    pub(crate) answer: Option<OwnedFd>,
}

/// The ledger and what is open in it.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) chain: Chain,
    pub(crate) records: Segments,
    pub(crate) bodies: Segments,
    pub(crate) open: BTreeMap<CallId, Open>,
    released: Recent<CallId, RELEASED_MAX>,
    boot: [u8; 16],
    last_wall_us: u64,
    /// Some record is not durable.
    dirty: bool,
}

/// A body with its name.
pub(crate) struct Content {
    pub(crate) body: Body,
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// Opens the ledger, verifies it whole, and finds what was open when it was last written.
    pub(crate) fn open(folder: &Path, boot: [u8; 16]) -> Result<Self, WriterError> {
        let mut chain = Chain::default();
        let mut open = BTreeMap::new();
        let mut development = false;
        let (mut broken, mut last_boot, mut last_wall_us) = (None, None, 0);
        let records = Segments::open(&folder.join("records"), true, |bytes| {
            let at = chain.next();
            match Record::read(bytes).ok().filter(|record| chain.follow(record)) {
                Some(record) => {
                    note_open(&mut open, &record);
                    let mode = record.envelope().facts.get("mode").map(String::as_str);
                    development |= mode == Some(DEVELOPMENT);
                    last_boot = Some(record.envelope().boot);
                    last_wall_us = record.envelope().wall_us;
                }
                None => broken = broken.or(Some(at)),
            }
            Ok(())
        })?;
        if let Some(at) = broken {
            return Err(WriterError::Broken(at));
        }
        if development && !cfg!(feature = "development") {
            return Err(WriterError::Development);
        }
        let bodies = Segments::open(&folder.join("bodies"), false, |_| Ok(()))?;
        let (released, dirty) = (Recent::default(), false);
        let mut writer = Self { chain, records, bodies, open, released, boot, last_wall_us, dirty };
        let kind = if last_boot == Some(boot) { Kind::Restart } else { Kind::Boot };
        let version = env!("CARGO_PKG_VERSION");
        let mut draft = Draft::new(kind, &[("service", "audit"), ("version", version)]);
        if cfg!(feature = "development") {
            draft.facts.insert("mode".to_owned(), DEVELOPMENT.to_owned());
        }
        writer.append(draft, Vec::new(), true)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Appends a record and its bodies; returns the record's bytes.
    pub(crate) fn append(
        &mut self,
        mut draft: Draft,
        bodies: Vec<Content>,
        reserve: bool,
    ) -> Result<Vec<u8>, WriterError> {
        let mut digests = BTreeMap::new();
        for Content { body, bytes } in bodies {
            let mut salt = [0; 16];
            rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())
                .map_err(WriterError::Random)?;
            digests.insert(body.name.clone(), SaltedDigest::of(&salt, &bytes));
            if body.needed || bytes.len() <= SMALL_BODY_BYTES_MAX {
                let place = self.bodies.append(&[&salt, &bytes], reserve)?;
                if body.needed {
                    // before the record that names it is anywhere: a kernel writes as it likes
                    self.bodies.write()?;
                    self.bodies.flush()?;
                }
                draft.facts.insert(place_fact(&body.name), place);
            } else {
                draft.facts.insert(format!("salt.{}", body.name), hex(&salt));
            }
        }
        // wall time never goes back in the ledger, whatever a clock says
        self.last_wall_us = linux::clock::wall_us().max(self.last_wall_us);
        let envelope =
            draft.into_envelope(self.boot, linux::clock::boot_us(), self.last_wall_us, digests);
        let mut ahead = self.chain.clone();
        let appended = ahead.append(envelope)?;
        let bytes = appended.record().bytes().to_vec();
        self.records.append(&[&bytes], reserve)?;
        self.chain = ahead;
        self.dirty = true;
        Ok(bytes)
    }

    /// Whether a draft is one that pdp makes: what was seen of a performer or of the machine it
    /// cannot say, and no call is released twice.
    pub(crate) fn may_say(&self, draft: &Draft, release: Option<&Release>) -> bool {
        let its_own = matches!(
            draft.kind,
            Kind::Act | Kind::Approval | Kind::Decision | Kind::Policy | Kind::Refused
        );
        let new = |call| !self.open.contains_key(&call) && !self.released.contains(&call);
        its_own
            && !draft.facts.contains_key(PERFORMER)
            && (release.is_none() || draft.call.is_some_and(new))
    }

    /// Notes that a call was released.
    pub(crate) fn release(&mut self, call: CallId, open: Open) {
        self.open.insert(call, open);
        self.released.note(call);
    }

    /// Records how a call ended. `None` for one that is not open: it was closed already.
    pub(crate) fn end(
        &mut self,
        call: CallId,
        outcome: &Outcome,
    ) -> Result<Option<(Vec<u8>, bool)>, WriterError> {
        let Some(open) = self.open.remove(&call) else { return Ok(None) };
        let numbers = outcome.used.facts().into_iter().chain([("built_us", outcome.built_us)]);
        let mut draft = Draft::new(Kind::Outcome, &[("code", &outcome.code)]);
        draft.call = Some(call);
        draft.facts.extend(numbers.map(|(name, number)| (name.to_owned(), number.to_string())));
        let answer = open.answer.and_then(|file| {
            channel::sealed::seal(&file).ok()?;
            channel::sealed::read(&file, 64 << 20).ok()
        });
        // pieces of what its program wrote are for those who ask while it runs
        let answer = answer.map(|bytes| contract::piece::answer(&bytes).to_vec());
        let body = Body { name: "result".to_owned(), needed: true };
        // one that wrote nothing has no result: its code says how it ended
        let answer = answer.filter(|bytes| !bytes.is_empty());
        let bodies = answer.map(|bytes| Content { body, bytes }).into_iter().collect();
        // what has begun must be closed, so its end may use the reserve, and goes without its result
        // where even that has no room for it
        let record = match self.append(draft.clone(), bodies, true) {
            Err(error) if error.refusal().is_some() => {
                draft.facts.insert("result".to_owned(), "no room".to_owned());
                self.append(draft, Vec::new(), true)?
            }
            other => other?,
        };
        Ok(Some((record, open.changes)))
    }

    /// Closes what `performer` was to do before `epoch` and never said: it may have happened or not.
    pub(crate) fn settle(
        &mut self,
        performer: &str,
        epoch: u64,
    ) -> Result<Vec<Vec<u8>>, WriterError> {
        let lost = |open: &Open| open.performer == performer && open.epoch < epoch;
        let calls: Vec<CallId> =
            self.open.iter().filter(|(_, open)| lost(open)).map(|(call, _)| *call).collect();
        let mut records = Vec::new();
        for call in calls {
            self.open.remove(&call);
            let mut draft = Draft::new(Kind::Recovery, &[("code", "unknown")]);
            draft.call = Some(call);
            records.push(self.append(draft, Vec::new(), true)?);
        }
        Ok(records)
    }

    /// Makes every record appended durable.
    pub(crate) fn flush(&mut self) -> Result<(), WriterError> {
        self.write()?;
        if std::mem::take(&mut self.dirty) {
            self.records.flush()?;
        }
        Ok(())
    }

    /// Writes everything appended, durable or not.
    pub(crate) fn write(&mut self) -> Result<(), WriterError> {
        self.bodies.write()?;
        Ok(self.records.write()?)
    }

    pub(crate) const fn is_dirty(&self) -> bool {
        self.dirty
    }
}

impl WriterError {
    /// What pdp is told, when the record is refused and the writer goes on.
    pub(crate) const fn refusal(&self) -> Option<NotAppended> {
        match self {
            Self::Store(StoreError::Full) => Some(NotAppended::Full),
            Self::Record(RecordError::TooLong(_)) => Some(NotAppended::TooLong),
            _ => None,
        }
    }
}

/// Follows which calls are open, from the facts that pdp writes with a release.
fn note_open(open: &mut BTreeMap<CallId, Open>, record: &Record) {
    let envelope = record.envelope();
    let Some(call) = envelope.call else { return };
    match envelope.kind {
        Kind::Outcome | Kind::Recovery => drop(open.remove(&call)),
        _ => {
            if let Some(performer) = envelope.facts.get(PERFORMER) {
                let performer = performer.clone();
                open.insert(call, Open { performer, epoch: 0, changes: true, answer: None });
            }
        }
    }
}
