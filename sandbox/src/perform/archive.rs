//! `filesystem.archive`: a directory with all that is beneath it, as one tar file. It is written beside its
//! place, which it takes when it is whole. `extract` is the way back.

pub(super) mod extract;

use super::filesystem::{number, place, text};
use super::folder::{Folder, shown};
use super::gzip::Sink;
use super::tar::{BLOCK_BYTES, Entry, header};
use super::tree::{Beyond, Next, Visitor, walk};
use super::{Answer, Performed};
use capabilities::Accepted;
use capabilities::filesystem::regions::{BYTES_DEFAULT, BYTES_MAX};
use contract::digits::hex;
use rustix::fs::{FileType, Stat};
use serde_json::json;
use std::io::Read;

/// Most files and directories in an archive, and how long their paths are together.
const ENTRIES_MAX: usize = 10_000;
const PATHS_BYTES_MAX: usize = 4 << 20;
const CHUNK_BYTES: usize = 64 << 10;

pub(super) fn archive(input: &Accepted, call: [u8; 16]) -> Performed {
    let gzip = matches!(text(input, "format"), Ok("tar.gz"));
    let bytes_max = number(input, "bytes_max").unwrap_or(BYTES_DEFAULT);
    let (above, name) = place(input, "from")?.into_parts();
    let from = Folder::new(above).folder(name.as_bytes())?.ok_or("not_found")?;
    let (above, name) = place(input, "to")?.into_parts();
    let to = Folder::new(above);
    pack(&from, (&to, name.as_bytes()), &hex(&call), gzip, bytes_max)
}

/// Packs `from` into a new file, which no list of what is beneath `from` can hold yet.
fn pack(
    from: &Folder,
    (above, name): (&Folder, &[u8]),
    call: &str,
    gzip: bool,
    bytes_max: u64,
) -> Performed {
    if above.status(name)?.is_some() {
        return Err("exists");
    }
    let mut list = List::default();
    walk(from, ENTRIES_MAX, &mut list)?;
    let beside = format!(".{call}.new").into_bytes();
    let file = above.make(&beside, 0o644)?;
    let packed = Sink::new(file, gzip, bytes_max)
        .and_then(|sink| fill(from, &list, sink))
        .and_then(|bytes| above.move_new(&beside, above, name).map(|()| bytes));
    if packed.is_err() {
        above.remove(&beside);
    }
    let entries = list.entries.len();
    Ok(json!({ "bytes": packed?, "entries": entries, "left_out": list.left_out }))
}

/// What is packed: each entry with the time of its last change.
#[derive(Default)]
struct List {
    entries: Vec<(Entry, i64)>,
    left_out: Vec<String>,
    paths: usize,
    bytes: u64,
}

impl Visitor for List {
    fn found(&mut self, path: &[u8], status: &Stat) -> Answer<Next> {
        self.paths += path.len();
        let kind = FileType::from_raw_mode(status.st_mode);
        let is_directory = kind == FileType::Directory;
        let is_file = kind == FileType::RegularFile;
        let bytes = if is_file { u64::try_from(status.st_size).unwrap_or(u64::MAX) } else { 0 };
        self.bytes = self.bytes.saturating_add(bytes);
        if self.paths > PATHS_BYTES_MAX || self.bytes > BYTES_MAX {
            return Err("too_large");
        }
        if is_directory || is_file {
            let executable = is_file && status.st_mode & 0o100 != 0;
            let entry = Entry { path: path.to_vec(), is_directory, executable, bytes };
            self.entries.push((entry, status.st_mtime));
        } else {
            self.left_out.push(shown(path));
        }
        Ok(Next::On)
    }

    fn beyond(&mut self, what: Beyond) -> Answer<()> {
        match what {
            Beyond::Names | Beyond::Levels => Err("too_large"),
            Beyond::Unreadable => Err("denied"),
        }
    }
}

/// Writes all entries and the end.
fn fill(from: &Folder, list: &List, mut sink: Sink) -> Answer<u64> {
    for (entry, time) in &list.entries {
        sink.write(&header(entry, *time))?;
        if !entry.is_directory {
            content(from, entry, &mut sink)?;
        }
    }
    sink.write(&[0; 2 * BLOCK_BYTES])?;
    sink.finish()
}

/// The content of a file, exactly as long as its header says.
fn content(from: &Folder, entry: &Entry, sink: &mut Sink) -> Answer<()> {
    let file = match from.file(&entry.path) {
        Ok(file) => file,
        // it became something else meanwhile
        Err("wrong_kind" | "link") => None,
        Err(code) => return Err(code),
    };
    let (mut file, _) = file.ok_or("changed")?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = entry.bytes;
    loop {
        let count = file.read(&mut chunk).map_err(|_error| "failed")?;
        if count == 0 {
            break;
        }
        left = left.checked_sub(u64::try_from(count).unwrap_or(u64::MAX)).ok_or("changed")?;
        sink.write(chunk.get(..count).unwrap_or_default())?;
    }
    if left > 0 {
        return Err("changed");
    }
    let length = usize::try_from(entry.bytes).unwrap_or(0);
    let filling = length.next_multiple_of(BLOCK_BYTES) - length;
    sink.write([0; BLOCK_BYTES].get(..filling).unwrap_or_default())
}

#[cfg(test)]
mod tests;
