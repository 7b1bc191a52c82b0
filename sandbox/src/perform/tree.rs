//! A walk over everything beneath a directory, in the order of names, a directory before what is in it.
//! No link is followed; what lies beyond a bound is said, and its visitor decides what that means.

use super::Answer;
use super::folder::{Folder, join};
use rustix::fs::{FileType, Stat};

/// How deep a walk goes.
pub(super) const LEVELS_MAX: usize = 64;
/// Longest path that the kernel takes, beneath the directory.
const PATH_BYTES_MAX: usize = 4_095;

/// What a walk does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beyond {
    /// More names than it may look at; it ends there.
    Names,
    /// What lies too deep, or has too long a path.
    Levels,
    /// A directory that cannot be read.
    Unreadable,
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    On,
    Stop,
}

/// Who is told of what a walk finds.
pub(super) trait Visitor {
    /// Something is at this path beneath the directory.
    fn found(&mut self, path: &[u8], status: &Stat) -> Answer<Next>;

    /// Something is not looked at.
    fn beyond(&mut self, what: Beyond) -> Answer<()>;
}

/// Tells `visitor` of at most `names_max` names beneath `top`. A directory of which not all names may be
/// looked at is not begun, so that what is found is the same each time.
pub(super) fn walk(top: &Folder, names_max: usize, visitor: &mut dyn Visitor) -> Answer<()> {
    let mut room = names_max;
    directory(top, b"", 0, &mut room, visitor).map(drop)
}

fn directory(
    top: &Folder,
    path: &[u8],
    level: usize,
    room: &mut usize,
    visitor: &mut dyn Visitor,
) -> Answer<Next> {
    if level >= LEVELS_MAX || path.len() > PATH_BYTES_MAX {
        visitor.beyond(Beyond::Levels)?;
        return Ok(Next::On);
    }
    let names = match top.names(path, room) {
        Ok(names) => names,
        Err("too_large") => {
            visitor.beyond(Beyond::Names)?;
            return Ok(Next::Stop);
        }
        // the directory that is asked for must be readable; of those beneath it the visitor decides
        Err("denied") if level > 0 => {
            visitor.beyond(Beyond::Unreadable)?;
            return Ok(Next::On);
        }
        // it became something else meanwhile
        Err("wrong_kind" | "link") if level > 0 => return Ok(Next::On),
        Err(code) => return Err(code),
    };
    for one in names {
        let path = join(path, &one.name);
        if visitor.found(&path, &one.status)? == Next::Stop {
            return Ok(Next::Stop);
        }
        let enters = one.kind() == FileType::Directory;
        if enters && directory(top, &path, level + 1, room, visitor)? == Next::Stop {
            return Ok(Next::Stop);
        }
    }
    Ok(Next::On)
}

/// How much is beneath a directory, or `too_large`.
#[derive(Debug, Default)]
pub(super) struct Measure {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    bytes_max: u64,
}

impl Measure {
    /// Measures a directory that may have so many names and its files so many bytes.
    pub(super) fn of(top: &Folder, names_max: usize, bytes_max: u64) -> Answer<Self> {
        let mut measure = Self { bytes_max, ..Self::default() };
        walk(top, names_max, &mut measure)?;
        Ok(measure)
    }
}

impl Visitor for Measure {
    fn found(&mut self, _path: &[u8], status: &Stat) -> Answer<Next> {
        self.entries += 1;
        if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
            self.bytes =
                self.bytes.saturating_add(u64::try_from(status.st_size).unwrap_or(u64::MAX));
        }
        if self.bytes > self.bytes_max { Err("too_large") } else { Ok(Next::On) }
    }

    fn beyond(&mut self, what: Beyond) -> Answer<()> {
        match what {
            Beyond::Names | Beyond::Levels => Err("too_large"),
            Beyond::Unreadable => Err("denied"),
        }
    }
}
