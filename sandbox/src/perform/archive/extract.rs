//! `filesystem.extract`: the files and directories of a tar file, into an empty directory. The archive is
//! read twice: first all of it is judged, then it is written; what fails then is removed again.

use super::{CHUNK_BYTES, ENTRIES_MAX, PATHS_BYTES_MAX};
use crate::perform::filesystem::{code, number, place};
use crate::perform::folder::Folder;
use crate::perform::gzip::Stream;
use crate::perform::tar::{Entry, Reader};
use crate::perform::{Answer, Performed};
use capabilities::Accepted;
use capabilities::filesystem::regions::BYTES_DEFAULT;
use rustix::io::Errno;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::File;
use std::io::Write;

/// How much of an archive may be no content: headers, records, what fills blocks.
const OVERHEAD_BYTES_MAX: u64 = 32 << 20;

pub(in crate::perform) fn extract(input: &Accepted) -> Performed {
    let bytes_max = number(input, "bytes_max").unwrap_or(BYTES_DEFAULT);
    let (above, name) = place(input, "from")?.into_parts();
    let from = Folder::new(above);
    let (to_above, to_name) = place(input, "to")?.into_parts();
    let to = Folder::new(to_above).folder(to_name.as_bytes())?.ok_or("not_found")?;
    unpack((&from, name.as_bytes()), &to, bytes_max)
}

pub(super) fn unpack(from: (&Folder, &[u8]), to: &Folder, bytes_max: u64) -> Performed {
    let open = || from.0.file(from.1)?.ok_or("not_found").map(|(file, _)| file);
    match to.names(b"", &mut 0) {
        Ok(_nothing) => {}
        Err("too_large") => return Err("not_empty"),
        Err(code) => return Err(code),
    }
    let judged = Plan::of(open()?, bytes_max, &mut Nothing)?;
    let mut made = Made { to, paths: Vec::new(), file: None };
    match Plan::of(open()?, bytes_max, &mut made) {
        Ok(plan) if plan == judged => Ok(json!({
            "files": plan.files, "directories": plan.directories, "bytes": plan.bytes,
        })),
        written => {
            made.remove();
            // it was another archive the second time
            Err(written.err().unwrap_or("damaged"))
        }
    }
}

/// Writes an archive that was not judged before, looks at what is there, and removes it if it must.
#[cfg(test)]
pub(super) fn write_unjudged(
    archive: File,
    to: &Folder,
    bytes_max: u64,
    look: impl FnOnce(),
) -> Answer<()> {
    let mut made = Made { to, paths: Vec::new(), file: None };
    let written = Plan::of(archive, bytes_max, &mut made).map(drop);
    look();
    if written.is_err() {
        made.remove();
    }
    written
}

/// What is done with what an archive holds.
trait Place {
    fn directory(&mut self, path: &[u8]) -> Answer<()>;
    fn file(&mut self, entry: &Entry) -> Answer<()>;
    fn content(&mut self, bytes: &[u8]) -> Answer<()>;
}

/// The archive is judged alone.
struct Nothing;

impl Place for Nothing {
    fn directory(&mut self, _path: &[u8]) -> Answer<()> {
        Ok(())
    }

    fn file(&mut self, _entry: &Entry) -> Answer<()> {
        Ok(())
    }

    fn content(&mut self, _bytes: &[u8]) -> Answer<()> {
        Ok(())
    }
}

/// What was made, in that order, and whether each is a directory.
struct Made<'a> {
    to: &'a Folder,
    paths: Vec<(Vec<u8>, bool)>,
    file: Option<File>,
}

impl Made<'_> {
    fn remove(&mut self) {
        for (path, is_directory) in self.paths.iter().rev() {
            if *is_directory {
                self.to.remove_folder(path);
            } else {
                self.to.remove(path);
            }
        }
    }
}

impl Place for Made<'_> {
    fn directory(&mut self, path: &[u8]) -> Answer<()> {
        self.to.make_new_folder(path)?;
        self.paths.push((path.to_vec(), true));
        Ok(())
    }

    fn file(&mut self, entry: &Entry) -> Answer<()> {
        let mode = if entry.executable { 0o755 } else { 0o644 };
        self.file = Some(self.to.make(&entry.path, mode)?);
        self.paths.push((entry.path.clone(), false));
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Answer<()> {
        let file = self.file.as_mut().ok_or("failed")?;
        file.write_all(bytes)
            .map_err(|error| code(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

/// What a path of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File,
    Directory,
    /// A directory that no entry says to be one, yet.
    Implied,
}

/// What an archive holds, with each name once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    nodes: BTreeMap<Vec<u8>, Node>,
    paths: usize,
    files: u64,
    directories: u64,
    bytes: u64,
}

impl Plan {
    /// Reads an archive from its beginning to its end.
    fn of(archive: File, bytes_max: u64, place: &mut dyn Place) -> Answer<Self> {
        let most = bytes_max.saturating_add(OVERHEAD_BYTES_MAX);
        let mut stream = Stream::new(archive, most)?;
        let mut reader = Reader::new(&mut stream);
        let mut plan = Self::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Some(entry) = reader.next()? {
            plan.bytes = plan.bytes.saturating_add(entry.bytes);
            if plan.bytes > bytes_max {
                return Err("too_large");
            }
            plan.above(&entry.path, place)?;
            if entry.is_directory {
                plan.directory(&entry.path, Node::Directory, place)?;
                continue;
            }
            plan.file(&entry, place)?;
            loop {
                match reader.read(&mut chunk)? {
                    0 => break,
                    count => place.content(chunk.get(..count).unwrap_or_default())?,
                }
            }
        }
        Ok(plan)
    }

    /// The directories above a path.
    fn above(&mut self, path: &[u8], place: &mut dyn Place) -> Answer<()> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            let above = path.get(..at).unwrap_or_default();
            match self.nodes.get(above) {
                Some(Node::File) => return Err("twice"),
                Some(Node::Directory | Node::Implied) => {}
                None => self.directory(above, Node::Implied, place)?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8], node: Node, place: &mut dyn Place) -> Answer<()> {
        match self.nodes.entry(path.to_vec()) {
            Slot::Occupied(mut slot) if *slot.get() == Node::Implied => {
                slot.insert(node);
                Ok(())
            }
            Slot::Occupied(_) => Err("twice"),
            Slot::Vacant(slot) => {
                slot.insert(node);
                self.directories += 1;
                self.count(path)?;
                place.directory(path)
            }
        }
    }

    fn file(&mut self, entry: &Entry, place: &mut dyn Place) -> Answer<()> {
        if self.nodes.insert(entry.path.clone(), Node::File).is_some() {
            return Err("twice");
        }
        self.files += 1;
        self.count(&entry.path)?;
        place.file(entry)
    }

    fn count(&mut self, path: &[u8]) -> Answer<()> {
        self.paths += path.len();
        let much = self.nodes.len() > ENTRIES_MAX || self.paths > PATHS_BYTES_MAX;
        if much { Err("too_large") } else { Ok(()) }
    }
}
