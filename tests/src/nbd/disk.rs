//! What the disk holds: an image, and the journal of writes that no FLUSH followed.
//!
//! Begin reading at [`Disk`]. The journal keeps writes in order and whole, rather than as blocks:
//! reads lay it over the image, a cut can keep any part of any write, and zeroing 8 GiB costs
//! one entry. What is absent: holes are never punched, so an image only grows on its host.

use super::{broken, index};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;
const PENDING_BYTES_MAX: u64 = 256 << 20;
const PENDING_WRITES_MAX: usize = 1 << 16;
const RECORDS_MAX: usize = 1 << 20;
/// A write is scattered in at most this many pieces.
const PIECES_MAX: u64 = 64;
const ZEROES: &[u8] = &[0; 1 << 20];

/// What a [`Record`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `NBD_CMD_WRITE`, "Request types".
    Write,
    /// `NBD_CMD_WRITE_ZEROES`, "Request types".
    Zeroes,
    /// `NBD_CMD_TRIM`, "Request types": here it zeroes, and a cut loses it like a write.
    Trim,
    /// `NBD_CMD_FLUSH`, "Request types".
    Flush,
    /// The oldest unflushed write went to the image because the journal was full.
    Spill,
    /// The power was cut.
    Cut,
}

/// One thing that happened to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// How long after the server's start.
    pub at: Duration,
    /// What happened.
    pub kind: Kind,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// Whether `NBD_CMD_FLAG_FUA` was set, "Command flags".
    pub fua: bool,
}

/// A moment in the log: how many records lie before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// What a cut leaves of the writes that no FLUSH followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Everything: the machine loses its power, the disk keeps its own.
    Everything,
    /// Of each write all, nothing, its beginning, or scattered sectors; drawn from `seed`.
    Chance {
        /// The same seed leaves the same of the same writes.
        seed: u64,
    },
}

/// On which side of a request a cut falls. On neither is the request answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The request has no effect and no record.
    Before,
    /// The request has its effect: a FLUSH keeps what was written before it.
    After,
}

/// A cut that a request sets off.
pub struct Trigger {
    /// Whether this request is the one; asked of each, in their order, with what it will do.
    pub at: Box<dyn FnMut(&Record) -> bool + Send>,
    /// Whether that one still has its effect.
    pub side: Side,
    /// What is left of unflushed writes.
    pub survival: Survival,
}

impl std::fmt::Debug for Trigger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { side, survival, .. } = self;
        formatter.debug_struct("Trigger").field("side", side).field("survival", survival).finish()
    }
}

/// What a cut did to the writes that no FLUSH followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Writes that stayed whole.
    pub whole: usize,
    /// Writes of which a part stayed.
    pub torn: usize,
    /// Writes of which nothing stayed.
    pub lost: usize,
}

/// A write; without data it zeroes.
pub(super) struct Pending {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) data: Option<Vec<u8>>,
}

impl Pending {
    /// Bytes of memory.
    const fn weight(&self) -> u64 {
        if self.data.is_some() { self.end - self.start } else { 0 }
    }

    /// What of it lies between `start` and `end`.
    fn part(&self, start: u64, end: u64) -> Option<Self> {
        let (start, end) = (start.max(self.start), end.min(self.end));
        if start >= end {
            return None;
        }
        let data = match &self.data {
            Some(data) => {
                Some(data.get(index(start - self.start)?..index(end - self.start)?)?.to_vec())
            }
            None => None,
        };
        Some(Self { start, end, data })
    }

    /// Lays itself over `buffer`, which begins at byte `at` of the disk; `None` where it misses it.
    fn cover(&self, at: u64, buffer: &mut [u8]) -> Option<()> {
        let end = at.checked_add(u64::try_from(buffer.len()).ok()?)?;
        let (from, to) = (self.start.max(at), self.end.min(end));
        if from >= to {
            return None;
        }
        let target = buffer.get_mut(index(from - at)?..index(to - at)?)?;
        match &self.data {
            Some(data) => target
                .copy_from_slice(data.get(index(from - self.start)?..index(to - self.start)?)?),
            None => target.fill(0),
        }
        Some(())
    }

    /// Writes itself to the image. Zeroes over zeroes are not written: a sparse image stays so.
    fn persist(&self, image: &File) -> io::Result<()> {
        if let Some(data) = &self.data {
            return image.write_all_at(data, self.start);
        }
        let mut buffer = ZEROES.to_vec();
        let mut at = self.start;
        while at < self.end {
            let length = index(self.end - at).unwrap_or(usize::MAX).min(ZEROES.len());
            let (Some(found), Some(zeroes)) = (buffer.get_mut(..length), ZEROES.get(..length))
            else {
                return Err(broken("a chunk is longer than its buffer"));
            };
            image.read_exact_at(found, at)?;
            if found != zeroes {
                image.write_all_at(zeroes, at)?;
            }
            at += u64::try_from(length).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// What of it a disk without power keeps.
    fn pieces(self, survival: Survival, dice: &mut Dice) -> Vec<Self> {
        match survival {
            Survival::Nothing => return Vec::new(),
            Survival::Everything => return vec![self],
            Survival::Chance { .. } => {}
        }
        let length = self.end - self.start;
        let sectors = length / SECTOR_BYTES;
        let step = sectors.div_ceil(PIECES_MAX) * SECTOR_BYTES;
        match dice.below(4) {
            0 => Vec::new(),
            1 => vec![self],
            2 => {
                let end = self.start + dice.below(sectors + 1) * SECTOR_BYTES;
                self.part(self.start, end).into_iter().collect()
            }
            _ => (0..length.div_ceil(step))
                .map(|piece| self.start + piece * step)
                .filter_map(|start| self.part(start, start + step).filter(|_| dice.below(2) == 1))
                .collect(),
        }
    }
}

/// `SplitMix64`: chance that a seed repeats.
struct Dice(u64);

impl Dice {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

/// The image, its journal, its log. The server keeps it behind one lock, so that each request and
/// each cut happens at one moment.
pub(super) struct Disk {
    image: File,
    size: u64,
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    records: VecDeque<Record>,
    /// How many records the bound on the log took from its beginning.
    forgotten: u64,
    started: Instant,
    pub(super) trigger: Option<Trigger>,
    outcome: Option<Outcome>,
}

impl Disk {
    pub(super) fn new(image: File) -> io::Result<Self> {
        let size = image.metadata()?.len();
        if size == 0 || !size.is_multiple_of(SECTOR_BYTES) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an image is whole sectors"));
        }
        Ok(Self {
            image,
            size,
            pending: VecDeque::new(),
            pending_bytes: 0,
            records: VecDeque::new(),
            forgotten: 0,
            started: Instant::now(),
            trigger: None,
            outcome: None,
        })
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// What the cut did, once there was one.
    pub(super) const fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    pub(super) fn record(&mut self, kind: Kind, offset: u64, length: u64, fua: bool) {
        if self.records.len() >= RECORDS_MAX {
            self.records.pop_front();
            self.forgotten += 1;
        }
        let at = self.started.elapsed();
        self.records.push_back(Record { at, kind, offset, length, fua });
    }

    pub(super) fn mark(&self) -> io::Result<Mark> {
        let kept = u64::try_from(self.records.len()).map_err(io::Error::other)?;
        Ok(Mark(self.forgotten + kept))
    }

    pub(super) fn since(&self, mark: Mark) -> io::Result<impl Iterator<Item = &Record>> {
        let skipped = mark.0.checked_sub(self.forgotten).and_then(index);
        let skipped =
            skipped.ok_or_else(|| broken("the log no longer reaches back to the mark"))?;
        Ok(self.records.iter().skip(skipped))
    }

    /// Shows a request to the trigger, which is taken when it is the one.
    pub(super) fn due(
        &mut self,
        kind: Kind,
        offset: u64,
        length: u64,
        fua: bool,
    ) -> Option<Trigger> {
        let at = self.started.elapsed();
        let trigger = self.trigger.as_mut()?;
        if (trigger.at)(&Record { at, kind, offset, length, fua }) {
            self.trigger.take()
        } else {
            None
        }
    }

    pub(super) fn read(&self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.image.read_exact_at(&mut data, offset)?;
        for write in &self.pending {
            write.cover(offset, &mut data);
        }
        Ok(data)
    }

    /// A write with FUA is safe itself, and nothing else is; older writes beneath it are over.
    pub(super) fn write(&mut self, write: Pending, fua: bool) -> io::Result<()> {
        if !fua {
            self.pending_bytes += write.weight();
            self.pending.push_back(write);
            return self.spill();
        }
        write.persist(&self.image)?;
        for old in std::mem::take(&mut self.pending) {
            if old.end <= write.start || write.end <= old.start {
                self.pending.push_back(old);
                continue;
            }
            self.pending_bytes -= old.weight();
            for rest in [old.part(0, write.start), old.part(write.end, u64::MAX)] {
                self.pending_bytes += rest.as_ref().map_or(0, Pending::weight);
                self.pending.extend(rest);
            }
        }
        Ok(())
    }

    /// "Ordering of messages and writes": what was answered before a FLUSH is safe after it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.settle()?.is_some() {}
        Ok(())
    }

    /// Keeps the journal in its bounds, as a disk whose cache is full does.
    fn spill(&mut self) -> io::Result<()> {
        while self.pending_bytes > PENDING_BYTES_MAX || self.pending.len() > PENDING_WRITES_MAX {
            let Some((start, end)) = self.settle()? else { break };
            self.record(Kind::Spill, start, end - start, false);
        }
        Ok(())
    }

    /// Writes the oldest write to the image; where it was.
    fn settle(&mut self) -> io::Result<Option<(u64, u64)>> {
        let Some(oldest) = self.pending.front() else { return Ok(None) };
        oldest.persist(&self.image)?;
        let place = (oldest.start, oldest.end);
        self.pending_bytes -= oldest.weight();
        self.pending.pop_front();
        Ok(Some(place))
    }

    /// Ends it; a second cut changes nothing.
    pub(super) fn cut(&mut self, survival: Survival) -> io::Result<Outcome> {
        if let Some(outcome) = self.outcome {
            return Ok(outcome);
        }
        self.record(Kind::Cut, 0, 0, false);
        self.outcome = Some(Outcome::default());
        let mut dice = Dice(if let Survival::Chance { seed } = survival { seed } else { 0 });
        let mut outcome = Outcome::default();
        for write in std::mem::take(&mut self.pending) {
            let length = write.end - write.start;
            let pieces = write.pieces(survival, &mut dice);
            match pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>() {
                0 => outcome.lost += 1,
                kept if kept == length => outcome.whole += 1,
                _ => outcome.torn += 1,
            }
            for piece in pieces {
                piece.persist(&self.image)?;
            }
        }
        self.pending_bytes = 0;
        self.outcome = Some(outcome);
        self.image.unlock()?;
        Ok(outcome)
    }
}
