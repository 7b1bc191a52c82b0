//! The vault's files. Everything that one identity opens lies in one directory, a *generation*, and the file `current`
//! names the one that counts: another identity is a whole new directory before that one file is replaced.
//!
//! `current`: a number. `generation-N/identity.age`, under the passphrase; `recipient`, in clear; `recovery.age`, the
//! identity again, for the recovery key; `recovery-key.age`, that key under the recovery code; `secrets/NAME.age`, one
//! secret; `secrets/NAME.json`, its copy without a value, for lists alone.

use linux::file;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    current: u64,
    /// After so many more changes of the disk nothing changes any more, as after a power cut.
    #[cfg(test)]
    pub(crate) changes_left: std::cell::Cell<Option<u32>>,
}

/// The files of one identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generation(u64);

impl Store {
    /// The files in `folder`. What a change that was cut off left behind is removed.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut store = Self {
            folder,
            current: 0,
            #[cfg(test)]
            changes_left: std::cell::Cell::new(None),
        };
        store.reload()?;
        if store.is_made() {
            store.clean()?;
        }
        Ok(store)
    }

    /// Reads again which generation counts.
    pub(crate) fn reload(&mut self) -> io::Result<()> {
        let text = file::read(&self.folder.join("current"))?;
        let number = text.map_or(Some(0), |text| {
            std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok())
        });
        let broken = || io::Error::other("`current` names no generation");
        self.current = number.ok_or_else(broken)?;
        Ok(())
    }

    /// Whether there is a vault yet.
    pub(crate) const fn is_made(&self) -> bool {
        self.current > 0
    }

    /// The one that counts.
    pub(crate) const fn generation(&self) -> Generation {
        Generation(self.current)
    }

    /// An empty one, which does not count yet.
    pub(crate) fn begin(&self) -> io::Result<Generation> {
        let next = Generation(self.current.saturating_add(1));
        let directory = self.directory(next);
        if directory.exists() {
            self.change()?;
            std::fs::remove_dir_all(&directory)?;
        }
        self.change()?;
        std::fs::create_dir_all(directory.join("secrets"))?;
        Ok(next)
    }

    /// From now on `generation` counts; the one before is removed.
    pub(crate) fn commit(&mut self, generation: Generation) -> io::Result<()> {
        // what was made counts only once all of it is there for good: one syncfs(2) for many files
        rustix::fs::syncfs(File::open(&self.folder)?)?;
        self.replace(&self.folder.join("current"), generation.0.to_string().as_bytes())?;
        self.current = generation.0;
        // an old one that stays is removed at the next start
        self.clean().ok();
        Ok(())
    }

    /// A file of a generation.
    pub(crate) fn read(&self, of: Generation, name: &str) -> io::Result<Option<Vec<u8>>> {
        file::read(&self.directory(of).join(name))
    }

    /// Makes a file of a generation that does not count yet.
    pub(crate) fn put(&self, of: Generation, name: &str, content: &[u8]) -> io::Result<()> {
        self.change()?;
        let path = self.directory(of).join(name);
        File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
    }

    /// Writes a file of a generation: the old content or the new.
    pub(crate) fn write(&self, of: Generation, name: &str, content: &[u8]) -> io::Result<()> {
        self.replace(&self.directory(of).join(name), content)
    }

    /// Removes a secret, the copy last: a copy without its secret is none.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let folder = self.directory(self.generation()).join("secrets");
        for kind in ["age", "json"] {
            self.change()?;
            match std::fs::remove_file(folder.join(format!("{name}.{kind}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => File::open(&folder)?.sync_all()?,
            }
        }
        Ok(())
    }

    /// The secrets' names, in order.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        if !self.is_made() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(self.directory(self.generation()).join("secrets"))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".age").map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn directory(&self, of: Generation) -> PathBuf {
        self.folder.join(format!("generation-{}", of.0))
    }

    /// Removes generations that do not count.
    fn clean(&self) -> io::Result<()> {
        let counts = format!("generation-{}", self.current);
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("generation-") && name != counts {
                self.change()?;
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.changes_left.get() == Some(0) {
            // cut off in the middle of the new file
            let half = content.split_at(content.len() / 2).0;
            std::fs::write(path.with_extension("new"), half).ok();
        }
        self.change()?;
        file::replace(path, content)
    }

    /// Before each change of the disk.
    fn change(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = self.changes_left.get() {
            let left = left.checked_sub(1).ok_or_else(|| io::Error::other("the power is cut"))?;
            self.changes_left.set(Some(left));
        }
        Ok(())
    }
}
