//! The ledger on its own partition: segments of frames, each with its room taken in advance, so that
//! an append changes no length and a flush writes little. A record is in `records/`, its bodies are
//! in `bodies/`, where one can be erased without a trace of it in the chain but its digest.

use ledger::frame::{self, Frame};
use rustix::fs::{FallocateFlags, fallocate, fdatasync, statvfs};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Length of a segment's file; a longer frame gets a segment of its own length.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Room that only operators' and recovery's records may use.
const RESERVE_BYTES: u64 = 48 << 20;

/// Why something is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No room but the reserve.
    #[error("the ledger is full but for its reserve")]
    Full,
    /// The file system's refusal.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// A segment that is not the last one ends torn.
    #[error("{0} is damaged before the ledger's end")]
    Damaged(String),
}

/// A row of segments, appended at its end.
#[derive(Debug)]
pub(crate) struct Segments {
    folder: PathBuf,
    /// Number of the last segment, its file, the next frame's place in it, its length.
    number: u64,
    file: File,
    at: u64,
    length: u64,
    /// What is not written yet, and where it belongs.
    waiting: Vec<u8>,
    /// Of each segment its number and that of its first frame, counted over all of them.
    starts: Vec<(u64, u64)>,
    frames: u64,
}

impl Segments {
    /// Opens the row in `folder`, making the first segment, and reads every frame, or those of the
    /// last segment alone. What is torn at the very end is cut off: nobody was ever told of it.
    pub(crate) fn open(
        folder: &Path,
        whole: bool,
        mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let failed = |path: &Path, error| StoreError::File(path.display().to_string(), error);
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let mut numbers = numbers(folder)?;
        if numbers.is_empty() {
            make(folder, 0, SEGMENT_BYTES)?;
            numbers.push(0);
        }
        let last = numbers.last().copied().unwrap_or(0);
        let (mut at, mut starts, mut count) = (0, Vec::new(), 0);
        for number in numbers.into_iter().filter(|number| whole || *number == last) {
            let path = path(folder, number);
            let content = std::fs::read(&path).map_err(|error| failed(&path, error))?;
            let (frames, ended) = frame::read_all(&content);
            if !ended && number != last {
                return Err(StoreError::Damaged(path.display().to_string()));
            }
            at = frames.iter().map(|content| frame::HEADER_BYTES + content.len()).sum();
            starts.push((number, count));
            count += u64::try_from(frames.len()).unwrap_or(u64::MAX);
            frames.into_iter().try_for_each(&mut each)?;
        }
        let path = path(folder, last);
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(|error| failed(&path, error))?;
        let length = file.metadata().map_err(|error| failed(&path, error))?.len();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let segments = Self {
            folder: folder.to_path_buf(),
            number: last,
            file,
            at,
            length,
            waiting: Vec::new(),
            starts,
            frames: count,
        };
        segments.clear_end()?;
        Ok(segments)
    }

    /// Makes the rest of the last segment empty room again.
    fn clear_end(&self) -> Result<(), StoreError> {
        let mut at = self.at;
        let mut chunk = vec![0; 1 << 20];
        while at < self.length {
            let count = self.file.read_at(&mut chunk, at).map_err(|error| self.failed(error))?;
            let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else { break };
            if read.iter().any(|byte| *byte != 0) {
                let zeros = vec![0; count];
                self.file.write_all_at(&zeros, at).map_err(|error| self.failed(error))?;
            }
            at += u64::try_from(count).unwrap_or(u64::MAX);
        }
        fdatasync(&self.file).map_err(|errno| self.failed(errno.into()))
    }

    /// Takes one frame's content, in parts, to be written by [`Segments::write`]; returns its place.
    pub(crate) fn append(&mut self, parts: &[&[u8]], reserve: bool) -> Result<String, StoreError> {
        let content: usize = parts.iter().map(|part| part.len()).sum();
        let length = u64::try_from(frame::HEADER_BYTES + content).unwrap_or(u64::MAX);
        let end = self.at + u64::try_from(self.waiting.len()).unwrap_or(0);
        if end.saturating_add(length) > self.length {
            self.next_segment(length, reserve)?;
        }
        let place = self.at + u64::try_from(self.waiting.len()).unwrap_or(0);
        frame::write(&mut self.waiting, parts);
        self.frames += 1;
        Ok(format!("{}:{place}", self.number))
    }

    /// How large the file system is on which the segments lie (statvfs(3)).
    pub(crate) fn capacity_bytes(&self) -> Result<u64, StoreError> {
        let status = statvfs(&self.folder).map_err(|errno| self.failed(errno.into()))?;
        Ok(status.f_blocks.saturating_mul(status.f_frsize))
    }

    fn next_segment(&mut self, least: u64, reserve: bool) -> Result<(), StoreError> {
        let length = least.max(SEGMENT_BYTES);
        let status = statvfs(&self.folder).map_err(|errno| self.failed(errno.into()))?;
        let free = status.f_bavail.saturating_mul(status.f_frsize);
        let keep = if reserve { 0 } else { RESERVE_BYTES };
        if free < length.saturating_add(keep) {
            return Err(StoreError::Full);
        }
        self.write()?;
        self.flush()?;
        let file = make(&self.folder, self.number + 1, length)?;
        (self.number, self.file, self.at, self.length) = (self.number + 1, file, 0, length);
        self.starts.push((self.number, self.frames));
        Ok(())
    }

    /// Writes what was appended; it is durable after [`Segments::flush`].
    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        if !self.waiting.is_empty() {
            self.file.write_all_at(&self.waiting, self.at).map_err(|error| self.failed(error))?;
            self.at += u64::try_from(self.waiting.len()).unwrap_or(0);
            self.waiting.clear();
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        fdatasync(&self.file).map_err(|errno| self.failed(errno.into()))
    }

    /// What lies at a place that [`Segments::append`] gave.
    pub(crate) fn read(&self, place: &str) -> Option<Vec<u8>> {
        let (number, at) = place.split_once(':')?;
        let (number, at): (u64, u64) = (number.parse().ok()?, at.parse().ok()?);
        let file = File::open(path(&self.folder, number)).ok()?;
        let mut header = [0; frame::HEADER_BYTES];
        file.read_exact_at(&mut header, at).ok()?;
        let length = u32::from_le_bytes(*header.first_chunk()?);
        let whole = u64::from(length) + u64::try_from(frame::HEADER_BYTES).ok()?;
        if at.checked_add(whole)? > file.metadata().ok()?.len() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(whole).ok()?];
        file.read_exact_at(&mut bytes, at).ok()?;
        match frame::read(&bytes) {
            Frame::Whole { content, .. } => Some(content.to_vec()),
            Frame::End | Frame::Torn => None,
        }
    }

    /// Every frame that is written, from number `from` on, until `each` says that it is enough.
    pub(crate) fn each_from(
        &self,
        from: u64,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let before = self.starts.partition_point(|(_, first)| *first <= from).saturating_sub(1);
        for (number, first) in self.starts.iter().skip(before) {
            let path = path(&self.folder, *number);
            let failed = |error| StoreError::File(path.display().to_string(), error);
            let content = std::fs::read(&path).map_err(failed)?;
            let skip = usize::try_from(from.saturating_sub(*first)).unwrap_or(usize::MAX);
            if !frame::read_all(&content).0.into_iter().skip(skip).all(&mut each) {
                break;
            }
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> StoreError {
        StoreError::File(format!("segment {} of {}", self.number, self.folder.display()), error)
    }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}"))
}

fn numbers(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| StoreError::File(folder.display().to_string(), error))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a segment with its room; it is there for good when this returns.
fn make(folder: &Path, number: u64, length: u64) -> Result<File, StoreError> {
    let path = path(folder, number);
    let failed = |error: io::Error| StoreError::File(path.display().to_string(), error);
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    fallocate(&file, FallocateFlags::empty(), 0, length).map_err(|errno| failed(errno.into()))?;
    file.sync_all().map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("audit-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        folder
    }

    fn all(folder: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        Segments::open(folder, true, |content| {
            found.push(content.to_vec());
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn a_torn_end_is_cut_off_and_written_over() {
        let folder = folder("torn");
        let mut segments = Segments::open(&folder, true, |_| Ok(())).unwrap();
        segments.append(&[b"one"], false).unwrap();
        let place = segments.append(&[b"t", b"wo"], false).unwrap();
        segments.write().unwrap();
        assert_eq!(segments.read(&place).unwrap(), b"two");
        // the second frame's checksum no longer fits, and something lies behind it
        segments.file.write_all_at(b"x", 11 + 9).unwrap();
        segments.file.write_all_at(b"junk", 60).unwrap();
        drop(segments);
        assert_eq!(all(&folder), [b"one".to_vec()]);
        let mut segments = Segments::open(&folder, true, |_| Ok(())).unwrap();
        segments.append(&[b"three"], false).unwrap();
        segments.write().unwrap();
        drop(segments);
        assert_eq!(all(&folder), [b"one".to_vec(), b"three".to_vec()]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_segment_is_followed_by_another() {
        let folder = folder("roll");
        let mut segments = Segments::open(&folder, true, |_| Ok(())).unwrap();
        let big = vec![7; 6 << 20];
        let places: Vec<String> = (0..5).map(|_| segments.append(&[&big], true).unwrap()).collect();
        segments.write().unwrap();
        assert!(places.last().unwrap().starts_with("2:"));
        assert!(places.iter().all(|place| segments.read(place).as_deref() == Some(&big[..])));
        for from in 0..6 {
            let mut seen = 0;
            let count = |_: &[u8]| {
                seen += 1;
                true
            };
            segments.each_from(from, count).unwrap();
            assert_eq!(seen, 5_u64.saturating_sub(from), "from {from}");
        }
        assert_eq!(segments.read("9:0"), None);
        assert_eq!(segments.read("0:99999999999"), None);
        drop(segments);
        assert_eq!(all(&folder).len(), 5);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
