//! The index: what the next commit will hold, with what each file was like when it was taken in.

use super::Answer;
use super::folder::Folder;
use super::object::{Id, MODE_REPOSITORY, Side, is_name, sha1};
use super::refs::Locked;
use rustix::fs::Stat;

/// Longest index, and most files in it.
const INDEX_BYTES_MAX: usize = 16 << 20;
pub(super) const FILES_MAX: usize = 50_000;
/// Longest path in it.
const PATH_BYTES_MAX: usize = 4_095;
const FIXED_BYTES: usize = 62;
const SUM_BYTES: usize = 20;

const EXTENDED: u16 = 0x4000;
const ASSUME_VALID: u16 = 0x8000;
const SKIP_WORKTREE: u16 = 0x4000;
const INTENT_TO_ADD: u16 = 0x2000;

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Change time, modification time (each seconds and nanoseconds), device, inode.
    times: [u32; 6],
    /// User, group, length.
    rest: [u32; 3],
    pub(super) side: Side,
    flags: u16,
    more: u16,
    pub(super) path: Vec<u8>,
}

impl Entry {
    /// A file as it is now.
    pub(super) fn new(path: &[u8], side: Side, status: &Stat) -> Self {
        let low = |number: i128| u32::try_from(number & 0xffff_ffff).unwrap_or(0);
        let times = [
            low(i128::from(status.st_ctime)),
            low(i128::from(status.st_ctime_nsec)),
            low(i128::from(status.st_mtime)),
            low(i128::from(status.st_mtime_nsec)),
            low(i128::from(status.st_dev)),
            low(i128::from(status.st_ino)),
        ];
        let rest = [
            low(i128::from(status.st_uid)),
            low(i128::from(status.st_gid)),
            low(i128::from(status.st_size)),
        ];
        Self { times, rest, side, flags: 0, more: 0, path: path.to_vec() }
    }

    /// 0, or in a merge that is not finished the number of whose it is.
    pub(super) const fn stage(&self) -> u16 {
        (self.flags >> 12) & 3
    }

    /// Whether nobody wants to know what it is like now, or there is no content of it yet.
    pub(super) const fn is_passed_over(&self) -> bool {
        self.flags & ASSUME_VALID != 0
            || self.more & SKIP_WORKTREE != 0
            || self.side.mode == MODE_REPOSITORY
    }

    /// Whether it only says that the file will be added.
    pub(super) const fn is_intent(&self) -> bool {
        self.more & INTENT_TO_ADD != 0
    }

    /// Its length when it was taken in, or 0 where that says nothing.
    pub(super) const fn length(&self) -> u32 {
        let [_, _, length] = self.rest;
        length
    }

    /// Whether the file has not been written since, which can only be said of one that had not just been
    /// written when the index was.
    pub(super) fn is_as_taken(&self, status: &Stat, index: &Index) -> bool {
        let now = Self::new(&self.path, self.side, status);
        let time = |entry: &Self| {
            let [_, _, seconds, nanoseconds, ..] = entry.times;
            (seconds, nanoseconds)
        };
        time(&now) == time(self) && now.length() == self.length() && time(self) < index.written
    }

    fn key(&self) -> (&[u8], u16) {
        (&self.path, self.stage())
    }
}

/// The whole of it, sorted by path.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) entries: Vec<Entry>,
    /// When it was written: seconds and nanoseconds.
    written: (u32, u32),
}

impl Index {
    /// That of a repository; empty where there is none.
    pub(super) fn open(git: &Folder) -> Answer<Self> {
        let Some((_, status)) = git.file(b"index")? else { return Ok(Self::default()) };
        let bytes = git.read(b"index", INDEX_BYTES_MAX)?.ok_or("damaged")?;
        let none = Side { mode: 0, id: Id([0; 20]) };
        let [_, _, seconds, nanoseconds, ..] = Entry::new(b"", none, &status).times;
        Ok(Self { entries: parse(&bytes)?, written: (seconds, nanoseconds) })
    }

    /// The entry of a path that is in no unfinished merge.
    pub(super) fn find(&self, path: &[u8]) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.key().cmp(&(path, 0))).ok()?;
        self.entries.get(at)
    }

    /// Whether some file is beneath a directory.
    pub(super) fn has_beneath(&self, folder: &[u8]) -> bool {
        let beginning = [folder, b"/"].concat();
        let at = self.entries.partition_point(|entry| entry.path < beginning);
        self.entries.get(at).is_some_and(|entry| entry.path.starts_with(&beginning))
    }

    /// Takes a file in, in the place of whatever has its path or is in the way of it.
    pub(super) fn put(&mut self, new: Entry) {
        self.remove(&new.path);
        let beneath = [new.path.as_slice(), b"/"].concat();
        let path = new.path.clone();
        self.entries.retain(|it| {
            let is_above =
                path.strip_prefix(it.path.as_slice()).is_some_and(|r| r.starts_with(b"/"));
            !it.path.starts_with(&beneath) && !is_above
        });
        let at = self.entries.partition_point(|entry| entry.key() < new.key());
        self.entries.insert(at, new);
    }

    /// Leaves a path out, in all stages.
    pub(super) fn remove(&mut self, path: &[u8]) {
        let from = self.entries.partition_point(|entry| entry.path.as_slice() < path);
        let to = self.entries.partition_point(|entry| entry.path.as_slice() <= path);
        self.entries.drain(from..to);
    }

    /// Writes it in the place of the one that `lock` keeps.
    pub(super) fn write(&self, lock: Locked<'_>) -> Answer<()> {
        let more = self.entries.iter().any(|entry| entry.more != 0);
        let version: u32 = if more { 3 } else { 2 };
        let count = u32::try_from(self.entries.len()).map_err(|_many| "too_large")?;
        let mut bytes = b"DIRC".to_vec();
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        for entry in &self.entries {
            entry.write(&mut bytes);
        }
        let sum = sha1(&bytes);
        bytes.extend_from_slice(&sum);
        if bytes.len() > INDEX_BYTES_MAX || self.entries.len() > FILES_MAX {
            return Err("too_large");
        }
        lock.set(&bytes)
    }
}

impl Entry {
    fn write(&self, bytes: &mut Vec<u8>) {
        let [user, group, length] = self.rest;
        for number in self.times.into_iter().chain([self.side.mode, user, group, length]) {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.side.id.0);
        let length = u16::try_from(self.path.len()).unwrap_or(u16::MAX).min(0xfff);
        let extended = if self.more == 0 { 0 } else { EXTENDED };
        let flags = (self.flags & !0x4fff) | extended | length;
        bytes.extend_from_slice(&flags.to_be_bytes());
        let mut fixed = FIXED_BYTES;
        if self.more != 0 {
            bytes.extend_from_slice(&self.more.to_be_bytes());
            fixed += 2;
        }
        bytes.extend_from_slice(&self.path);
        let end = 8 - (fixed + self.path.len()) % 8;
        bytes.resize(bytes.len() + end, 0);
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn parse(bytes: &[u8]) -> Answer<Vec<Entry>> {
    let (body, sum) = bytes
        .len()
        .checked_sub(SUM_BYTES)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or("damaged")?;
    // some write no sum
    if sum != sha1(body) && sum.iter().any(|byte| *byte != 0) {
        return Err("damaged");
    }
    let version = number(body, 4).ok_or("damaged")?;
    if !body.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return Err("unsupported");
    }
    let count = number(body, 8).and_then(|count| usize::try_from(count).ok()).ok_or("damaged")?;
    if count > FILES_MAX {
        return Err("too_large");
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 12;
    for _ in 0..count {
        let last = entries.last().map(|entry| entry.path.as_slice()).unwrap_or_default();
        let (entry, next) = entry(body, at, version, last).ok_or("damaged")?;
        if entries.last().is_some_and(|last| last.key() >= entry.key()) {
            return Err("damaged");
        }
        entries.push(entry);
        at = next;
    }
    extensions(body.get(at..).unwrap_or_default())?;
    Ok(entries)
}

/// What stands behind the entries: of what must be understood nothing is.
fn extensions(mut rest: &[u8]) -> Answer<()> {
    while !rest.is_empty() {
        let length = number(rest, 4).and_then(|it| usize::try_from(it).ok()).ok_or("damaged")?;
        if !rest.first().is_some_and(u8::is_ascii_uppercase) {
            return Err("unsupported");
        }
        rest = rest.get(8..).and_then(|rest| rest.get(length..)).ok_or("damaged")?;
    }
    Ok(())
}

fn entry(body: &[u8], at: usize, version: u32, last: &[u8]) -> Option<(Entry, usize)> {
    let mut numbers = [0; 10];
    for (place, into) in numbers.iter_mut().enumerate() {
        *into = number(body, at + place * 4)?;
    }
    let [a, b, c, d, e, f, mode, user, group, length] = numbers;
    let id = Id(body.get(at + 40..at + 60)?.try_into().ok()?);
    let flags = u16::from_be_bytes(body.get(at + 60..at + FIXED_BYTES)?.try_into().ok()?);
    let mut fixed = FIXED_BYTES;
    let mut more = 0;
    if flags & EXTENDED != 0 {
        (version > 2).then_some(())?;
        more = u16::from_be_bytes(body.get(at + fixed..at + fixed + 2)?.try_into().ok()?);
        fixed += 2;
    }
    let rest = body.get(at + fixed..)?;
    let (path, next) = if version == 4 {
        let (cut, used) = shorter_by(rest)?;
        let kept = last.get(..last.len().checked_sub(cut)?)?;
        let new = until_nul(rest.get(used..)?)?;
        ([kept, new].concat(), at + fixed + used + new.len() + 1)
    } else {
        let path = until_nul(rest)?;
        let end = 8 - (fixed + path.len()) % 8;
        (path.to_vec(), at + fixed + path.len() + end)
    };
    let sound = path.len() <= PATH_BYTES_MAX && path.split(|byte| *byte == b'/').all(is_name);
    let side = Side { mode, id };
    let (times, rest) = ([a, b, c, d, e, f], [user, group, length]);
    sound.then_some((Entry { times, rest, side, flags, more, path }, next))
}

fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().position(|byte| *byte == 0)?)
}

/// By how much a path is shorter than the one before it, and how many bytes say so.
fn shorter_by(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value = (value << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
        value += 1;
    }
    None
}
