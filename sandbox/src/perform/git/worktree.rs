//! The files of a repository as they are now, beside what its index says of them. A link is not read,
//! and another repository is not entered.

use super::Answer;
use super::folder::{Folder, join};
use super::ignore::Patterns;
use super::index::{Entry, Index};
use super::object::{
    Id, Kind, MODE_EXECUTABLE, MODE_FILE, MODE_LINK, MODE_REPOSITORY, OBJECT_BYTES_MAX, Side, id,
};
use rustix::fs::{FileType, Stat};
use std::collections::{BTreeMap, BTreeSet};

/// Most names that are looked at, and how deep they may be.
const NAMES_MAX: usize = 50_000;
const LEVELS_MAX: usize = 64;
/// How much is read of files that may have changed, all together.
const READ_BYTES_MAX: u64 = 256 << 20;

/// What is there.
#[derive(Default)]
pub(super) struct Worktree {
    /// What the index knows.
    known: BTreeMap<Vec<u8>, Stat>,
    /// Files that it does not, and that no pattern leaves out; a directory ends with a slash.
    pub(super) unknown: Vec<(Vec<u8>, FileType)>,
}

/// A walk over it.
struct Walk<'a> {
    top: &'a Folder,
    index: &'a Index,
    /// Paths that are in the index in whatever stage.
    paths: BTreeSet<&'a [u8]>,
    /// Whether a directory of which nothing is known is named for all that lies in it.
    whole: bool,
    patterns: Patterns,
    room: usize,
    found: Worktree,
}

impl Worktree {
    /// Looks at everything beneath `top`.
    pub(super) fn read(top: &Folder, index: &Index, whole: bool) -> Answer<Self> {
        let paths = index.entries.iter().map(|entry| entry.path.as_slice()).collect();
        let (patterns, found) = (Patterns::default(), Self::default());
        let mut walk = Walk { top, index, paths, whole, patterns, room: NAMES_MAX, found };
        walk.patterns.enter(top, b".git/info/exclude", b"")?;
        walk.folder(b"", 0, false)?;
        walk.found.unknown.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(walk.found)
    }
}

impl Walk<'_> {
    fn folder(&mut self, folder: &[u8], level: usize, left_out: bool) -> Answer<()> {
        if level >= LEVELS_MAX {
            return Err("too_large");
        }
        let before = self.patterns.enter(self.top, b".gitignore", folder)?;
        for one in self.top.names(folder, &mut self.room)? {
            if one.name.eq_ignore_ascii_case(b".git") {
                continue;
            }
            let path = join(folder, &one.name);
            let is_folder = one.kind() == FileType::Directory;
            let out = left_out || self.patterns.leaves_out(&path, is_folder);
            let known = self.paths.contains(path.as_slice());
            let repository =
                self.index.find(&path).is_some_and(|it| it.side.mode == MODE_REPOSITORY);
            if known {
                self.found.known.insert(path.clone(), one.status);
            }
            if is_folder && !repository {
                self.beneath(path, level, out)?;
            } else if known {
                // said above
            } else if !out && matches!(one.kind(), FileType::RegularFile | FileType::Symlink) {
                self.found.unknown.push((path, one.kind()));
            }
        }
        self.patterns.leave(before);
        Ok(())
    }

    /// A directory that is no file of the index.
    fn beneath(&mut self, path: Vec<u8>, level: usize, out: bool) -> Answer<()> {
        let known = self.index.has_beneath(&path);
        if out && !known {
            return Ok(());
        }
        let slash = |mut path: Vec<u8>| {
            path.push(b'/');
            (path, FileType::Directory)
        };
        if !known && self.top.status(&join(&path, b".git"))?.is_some() {
            self.found.unknown.push(slash(path));
            return Ok(());
        }
        let before = self.found.unknown.len();
        self.folder(&path, level + 1, out)?;
        if self.whole && !known && self.found.unknown.len() > before {
            self.found.unknown.truncate(before);
            self.found.unknown.push(slash(path));
        }
        Ok(())
    }
}

/// What became of a file since it was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Modified,
    /// It is no file any more, or was none.
    Kind,
    Deleted,
}

impl Change {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Modified => "modified",
            Self::Kind => "kind",
            Self::Deleted => "deleted",
        }
    }
}

/// Compares the files that the index knows with what it says of them.
pub(super) fn changes<'a>(
    top: &Folder,
    index: &'a Index,
    worktree: &Worktree,
) -> Answer<Vec<(&'a Entry, Change)>> {
    let mut changes = Vec::new();
    let mut room = READ_BYTES_MAX;
    for entry in index.entries.iter().filter(|it| it.stage() == 0 && !it.is_passed_over()) {
        let change = match worktree.known.get(&entry.path) {
            None => Some(Change::Deleted),
            Some(status) => change(top, index, entry, status, &mut room)?,
        };
        changes.extend(change.map(|change| (entry, change)));
    }
    Ok(changes)
}

fn change(
    top: &Folder,
    index: &Index,
    entry: &Entry,
    status: &Stat,
    room: &mut u64,
) -> Answer<Option<Change>> {
    let mode = mode(status);
    let same_kind = match entry.side.mode {
        MODE_LINK | MODE_REPOSITORY => mode == Some(entry.side.mode),
        _ => matches!(mode, Some(MODE_FILE | MODE_EXECUTABLE)),
    };
    if !same_kind {
        return Ok(Some(Change::Kind));
    }
    if entry.side.mode == MODE_LINK {
        // where it leads is not read
        return Ok(None);
    }
    if mode != Some(entry.side.mode) || entry.is_intent() {
        return Ok(Some(Change::Modified));
    }
    if entry.is_as_taken(status, index) {
        return Ok(None);
    }
    let length = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    let other_length = entry.length() != 0 && u64::from(entry.length()) != length;
    if other_length || usize::try_from(length).map_or(true, |it| it > OBJECT_BYTES_MAX) {
        return Ok(Some(Change::Modified));
    }
    *room = room.checked_sub(length).ok_or("too_large")?;
    let Some(content) = top.read(&entry.path, OBJECT_BYTES_MAX)? else {
        return Ok(Some(Change::Deleted));
    };
    let same = id(Kind::Blob, &content)? == entry.side.id;
    Ok(if same { None } else { Some(Change::Modified) })
}

/// What the index would say that a file is; `None` for what is no file of a repository.
pub(super) fn mode(status: &Stat) -> Option<u32> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile if status.st_mode & 0o100 != 0 => Some(MODE_EXECUTABLE),
        FileType::RegularFile => Some(MODE_FILE),
        FileType::Symlink => Some(MODE_LINK),
        FileType::Directory => Some(MODE_REPOSITORY),
        _ => None,
    }
}

/// A file as it is now: its content, and what it is.
pub(super) fn content(top: &Folder, path: &[u8]) -> Answer<Option<(Vec<u8>, Stat)>> {
    let Some((_, status)) = top.file(path)? else { return Ok(None) };
    let Some(content) = top.read(path, OBJECT_BYTES_MAX)? else { return Ok(None) };
    Ok(Some((content, status)))
}

/// What the index would say of a file with this content.
pub(super) fn side(content: &[u8], status: &Stat) -> Answer<Side> {
    let new: Id = id(Kind::Blob, content)?;
    Ok(Side { mode: mode(status).ok_or("wrong_kind")?, id: new })
}
