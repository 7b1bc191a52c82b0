//! The digest of a directory: SHA-256 over every entry beneath it, in the order of names, each as its
//! kind, the length of its name and the name, and for a file the length of its content and the content.
//! An end of a directory is written too, so that no two trees are written alike.

use super::Performed;
use super::filesystem::{code, open, place};
use capabilities::Accepted;
use contract::digits::hex;
use contract::path::WORKSPACE;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::read;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::os::fd::{AsFd, OwnedFd};

/// Most names beneath a directory, and most bytes of all files together or of one.
pub(super) const ENTRIES_MAX: usize = 10_000;
pub(super) const BYTES_MAX: u64 = 256 << 20;
/// Each level takes a descriptor, of which a worker has 32.
const LEVELS_MAX: usize = 16;
const CHUNK_BYTES: usize = 64 << 10;

/// A directory that was read whole.
pub(super) struct Tree {
    hash: Sha256,
    pub(super) entries: usize,
    pub(super) bytes: u64,
}

/// `filesystem.digest`.
pub(super) fn digest(input: &Accepted) -> Performed {
    let place = place(input, "path")?;
    let top = open(&place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let tree = Tree::read(&top)?;
    let (entries, bytes) = (tree.entries, tree.bytes);
    Ok(json!({ "digest": tree.digest(), "entries": entries, "bytes": bytes }))
}

/// Of all that the agent has.
pub(super) fn of_workspace() -> Result<Tree, &'static str> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Tree::read(&openat(CWD, WORKSPACE, flags, Mode::empty()).map_err(code)?)
}

impl Tree {
    pub(super) fn read(top: &OwnedFd) -> Result<Self, &'static str> {
        let mut tree = Self { hash: Sha256::new(), entries: 0, bytes: 0 };
        tree.directory(top, 0)?;
        Ok(tree)
    }

    /// 64 hexadecimal digits.
    pub(super) fn digest(self) -> String {
        hex(&self.hash.finalize())
    }

    fn directory(&mut self, directory: &OwnedFd, level: usize) -> Result<(), &'static str> {
        if level >= LEVELS_MAX {
            return Err("too_large");
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(code)? {
            let name = entry.map_err(code)?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
            if self.entries + names.len() > ENTRIES_MAX {
                return Err("too_large");
            }
        }
        names.sort();
        self.entries += names.len();
        for name in names {
            self.entry(directory, &name, level)?;
        }
        self.hash.update(b"/");
        Ok(())
    }

    fn entry(
        &mut self,
        above: &OwnedFd,
        name: &std::ffi::CStr,
        level: usize,
    ) -> Result<(), &'static str> {
        let status = statat(above, name, AtFlags::SYMLINK_NOFOLLOW).map_err(code)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        let mark: &[u8] = match kind {
            FileType::RegularFile => b"f",
            FileType::Directory => b"d",
            FileType::Symlink => b"l",
            _ => b"o",
        };
        self.hash.update(mark);
        self.number(name.to_bytes().len());
        self.hash.update(name.to_bytes());
        let opened = |flags| {
            let flags =
                flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(above, name, flags, Mode::empty()).map_err(code)
        };
        match kind {
            FileType::RegularFile => self.file(&opened(OFlags::empty())?),
            FileType::Directory => self.directory(&opened(OFlags::DIRECTORY)?, level + 1),
            _ => Ok(()),
        }
    }

    fn file(&mut self, file: &OwnedFd) -> Result<(), &'static str> {
        let status = fstat(file).map_err(code)?;
        let length = u64::try_from(status.st_size).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > BYTES_MAX {
            return Err("too_large");
        }
        self.hash.update(length.to_be_bytes());
        content(file, length, &mut self.hash)
    }

    fn number(&mut self, number: usize) {
        self.hash.update(u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
    }
}

/// Takes the content of a file, which is so long.
pub(super) fn content(file: &OwnedFd, length: u64, hash: &mut Sha256) -> Result<(), &'static str> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = length;
    loop {
        let count = read(file.as_fd(), &mut chunk).map_err(code)?;
        let part = chunk.get(..count).unwrap_or_default();
        hash.update(part);
        left = left.wrapping_sub(u64::try_from(count).unwrap_or(0));
        match (count, left) {
            (0, 0) => return Ok(()),
            // it was written meanwhile: no digest says what it is
            (0, _) => return Err("changed"),
            _ if left > length => return Err("changed"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What is read of a directory that `make` has filled.
    fn read(make: impl FnOnce(&std::path::Path)) -> Result<(String, usize, u64), &'static str> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("digest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        make(&folder);
        let read = Tree::read(&std::fs::File::open(&folder).unwrap().into());
        std::fs::remove_dir_all(&folder).unwrap();
        let tree = read?;
        let (entries, bytes) = (tree.entries, tree.bytes);
        Ok((tree.digest(), entries, bytes))
    }

    fn digest_of(make: impl FnOnce(&std::path::Path)) -> (String, usize, u64) {
        read(make).unwrap()
    }

    #[test]
    fn trees_that_differ_have_digests_that_differ() {
        let write = |at: &std::path::Path, name: &str, content: &str| {
            let file = at.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        };
        let trees = [
            digest_of(|_| {}),
            digest_of(|at| write(at, "a", "")),
            digest_of(|at| write(at, "a", "b")),
            digest_of(|at| write(at, "ab", "")),
            digest_of(|at| write(at, "a/b", "")),
            digest_of(|at| std::fs::create_dir(at.join("a")).unwrap()),
            digest_of(|at| std::os::unix::fs::symlink("b", at.join("a")).unwrap()),
            digest_of(|at| {
                write(at, "a/b", "");
                write(at, "c", "");
            }),
            digest_of(|at| {
                write(at, "a/b", "");
                write(at, "a/c", "");
            }),
        ];
        let different: std::collections::BTreeSet<&String> =
            trees.iter().map(|(digest, ..)| digest).collect();
        assert_eq!(different.len(), trees.len());
        let same = || digest_of(|at| write(at, "a/b", "content"));
        assert_eq!(same(), same());
        assert_eq!((same().1, same().2), (2, 7));
    }

    #[test]
    fn a_tree_beyond_its_bounds_is_refused() {
        let deep = |at: &std::path::Path| {
            let deepest = (0..=LEVELS_MAX).fold(at.to_owned(), |at, _| at.join("d"));
            std::fs::create_dir_all(deepest).unwrap();
        };
        assert_eq!(read(deep).unwrap_err(), "too_large");
        let many = |at: &std::path::Path| {
            for number in 0..=ENTRIES_MAX {
                std::fs::write(at.join(number.to_string()), "").unwrap();
            }
        };
        assert_eq!(read(many).unwrap_err(), "too_large");
    }
}
