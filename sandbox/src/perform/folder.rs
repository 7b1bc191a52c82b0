//! An open directory. Whatever lies in it is opened beneath it, through no link of any kind and within its
//! mount: no name in it, and nothing that a file in it names, leads out of it.

use super::Answer;
use super::filesystem::{beneath_strictly, code};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fstat, mkdirat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An open directory.
pub(super) struct Folder(OwnedFd);

/// One name in a directory.
pub(super) struct Named {
    pub(super) name: Vec<u8>,
    pub(super) status: Stat,
}

impl Named {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.status.st_mode)
    }
}

impl Folder {
    pub(super) const fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// A directory beneath this one; `None` where nothing is there.
    pub(super) fn folder(&self, path: &[u8]) -> Answer<Option<Self>> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Some(Self(directory))),
            Err(Errno::NOENT) => Ok(None),
            // what the kernel says of a link, too, where a directory is asked for
            Err(Errno::NOTDIR) => {
                let mode = self.status(path)?.map_or(0, |status| status.st_mode);
                let link = FileType::from_raw_mode(mode) == FileType::Symlink;
                Err(if link { "link" } else { "wrong_kind" })
            }
            Err(errno) => Err(code(errno)),
        }
    }

    /// A file beneath it, to be read; `None` where nothing is there.
    pub(super) fn file(&self, path: &[u8]) -> Answer<Option<(File, Stat)>> {
        let file = match self.open(path, OFlags::RDONLY, Mode::empty()) {
            Ok(file) => File::from(file),
            // a name beneath what is no directory is a name of nothing
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(code(errno)),
        };
        let status = fstat(&file).map_err(code)?;
        let regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
        if regular { Ok(Some((file, status))) } else { Err("wrong_kind") }
    }

    /// The content of a file; `None` where nothing is there.
    pub(super) fn read(&self, path: &[u8], bytes_max: usize) -> Answer<Option<Vec<u8>>> {
        let Some((file, status)) = self.file(path)? else { return Ok(None) };
        let length = usize::try_from(status.st_size).unwrap_or(usize::MAX);
        if length > bytes_max {
            return Err("too_large");
        }
        let mut bytes = Vec::with_capacity(length);
        let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        file.take(most).read_to_end(&mut bytes).map_err(|_error| "failed")?;
        Ok(Some(bytes))
    }

    /// What is at a path, which may be a link; `None` where nothing is.
    pub(super) fn status(&self, path: &[u8]) -> Answer<Option<Stat>> {
        let (above, name) = match self.above(path) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(code(errno)),
        };
        match statat(above.as_ref().map_or(self.0.as_fd(), AsFd::as_fd), name, LINKS_THEMSELVES) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(code(errno)),
        }
    }

    /// What is in a directory beneath it, sorted; nothing where there is none. `room` is how many names
    /// may still come.
    pub(super) fn names(&self, path: &[u8], room: &mut usize) -> Answer<Vec<Named>> {
        let path = if path.is_empty() { b"." } else { path };
        let directory = match self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(code(errno)),
        };
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(&directory).map_err(code)? {
            let name = entry.map_err(code)?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                *room = room.checked_sub(1).ok_or("too_large")?;
                names.push(name);
            }
        }
        names.sort();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            match statat(&directory, &name, LINKS_THEMSELVES) {
                Ok(status) => found.push(Named { name: name.into_bytes(), status }),
                // it was removed meanwhile
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(code(errno)),
            }
        }
        Ok(found)
    }

    /// Makes a directory, unless there is one.
    pub(super) fn make_folder(&self, path: &[u8]) -> Answer<()> {
        match self.make_new_folder(path) {
            Ok(()) | Err("exists") => Ok(()),
            Err(code) => Err(code),
        }
    }

    /// Makes a directory; `exists` where something is.
    pub(super) fn make_new_folder(&self, path: &[u8]) -> Answer<()> {
        let (above, name) = self.above(path).map_err(code)?;
        let above = above.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
        mkdirat(above, name, Mode::from_raw_mode(0o755)).map_err(code)
    }

    /// Removes a directory that this call made, if it is empty.
    pub(super) fn remove_folder(&self, path: &[u8]) {
        if let Ok((above, name)) = self.above(path) {
            let above: BorrowedFd<'_> = above.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            unlinkat(above, name, AtFlags::REMOVEDIR).ok();
        }
    }

    /// Gives a name in this directory a place in another; `exists` where something is.
    pub(super) fn move_new(&self, name: &[u8], to: &Self, new_name: &[u8]) -> Answer<()> {
        renameat_with(&self.0, name, &to.0, new_name, RenameFlags::NOREPLACE).map_err(code)
    }

    /// Makes the directories above a path.
    pub(super) fn make_above(&self, path: &[u8]) -> Answer<()> {
        for (at, byte) in path.iter().enumerate() {
            if *byte == b'/' {
                self.make_folder(path.get(..at).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Makes an empty file; `exists` where something is.
    pub(super) fn make(&self, path: &[u8], mode: u32) -> Answer<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.open(path, flags, Mode::from_raw_mode(mode)).map(File::from).map_err(code)
    }

    /// Makes a file, whole on the disk; `exists` where something is.
    pub(super) fn make_file(&self, path: &[u8], content: &[u8], mode: u32) -> Answer<()> {
        let file = self.make(path, mode)?;
        let written = fill(file, content);
        if written.is_err() {
            self.remove(path);
        }
        written
    }

    /// Gives a file another name, in whose place whatever was there is gone.
    pub(super) fn rename(&self, from: &[u8], to: &[u8]) -> Answer<()> {
        let (above, name) = self.above(from).map_err(code)?;
        let (new_above, new_name) = self.above(to).map_err(code)?;
        let above = above.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
        let new_above = new_above.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
        renameat_with(above, name, new_above, new_name, RenameFlags::empty()).map_err(code)
    }

    /// Removes a file that this call made.
    pub(super) fn remove(&self, path: &[u8]) {
        if let Ok((above, name)) = self.above(path) {
            let above: BorrowedFd<'_> = above.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            unlinkat(above, name, AtFlags::empty()).ok();
        }
    }

    fn open(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        beneath_strictly(&self.0, path, flags, mode)
    }

    /// The directory that holds a path's last name, `None` for this one itself, and that name.
    fn above<'a>(&self, path: &'a [u8]) -> Result<(Option<OwnedFd>, &'a [u8]), Errno> {
        match split(path) {
            (b"", name) => Ok((None, name)),
            (above, name) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                Ok((Some(self.open(above, flags, Mode::empty())?), name))
            }
        }
    }
}

/// Writes a file that was just made, so that it is whole on the disk.
pub(super) fn fill(mut file: File, content: &[u8]) -> Answer<()> {
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|error| code(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

const LINKS_THEMSELVES: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

/// A path's directory, which may be empty, and its last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// A path of a directory's path and a name in it.
pub(super) fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

/// A path as it is shown: what is no UTF-8 in it by a mark.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    static NEXT: AtomicU32 = AtomicU32::new(0);

    /// A directory of a test with one beneath it, gone with it.
    pub(in super::super) struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    impl Place {
        pub(in super::super) fn new() -> Self {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tree-{}-{number}", std::process::id()));
            std::fs::create_dir_all(path.join("d")).unwrap();
            Self(path)
        }

        pub(in super::super) fn top(&self) -> PathBuf {
            self.0.join("d")
        }

        pub(in super::super) fn outside(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        pub(in super::super) fn folder(&self) -> Folder {
            Self::open(&self.top())
        }

        pub(in super::super) fn open(path: &Path) -> Folder {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            Folder::new(rustix::fs::openat(CWD, path, flags, Mode::empty()).unwrap())
        }

        pub(in super::super) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
            let path = self.top().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        pub(in super::super) fn link(&self, target: impl AsRef<Path>, path: &str) {
            std::os::unix::fs::symlink(target, self.top().join(path)).unwrap();
        }
    }
}
