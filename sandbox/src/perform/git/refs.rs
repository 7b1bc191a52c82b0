//! Names of commits: `HEAD`, and files beneath `refs`, or lines of `packed-refs`.

use super::Answer;
use super::folder::{Folder, fill, join};
use super::object::Id;
use std::collections::BTreeMap;
use std::fs::File;

/// Longest file of a ref, and of packed ones.
const REF_BYTES_MAX: usize = 4 << 10;
const PACKED_BYTES_MAX: usize = 16 << 20;
/// Most refs that are listed, and how deep their directories may be.
const REFS_MAX: usize = 10_000;
const LEVELS_MAX: usize = 16;
/// Most refs that each name the next.
const HOPS_MAX: usize = 5;
/// Longest name of a ref.
const NAME_BYTES_MAX: usize = 250;

/// Where branches are.
pub(super) const BRANCHES: &str = "refs/heads/";

/// What `HEAD` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// A branch, which may have no commit yet.
    Branch(String),
    /// A commit that no branch needs to have.
    Detached(Id),
}

/// What a file of a ref says.
enum Said {
    Id(Id),
    Other(String),
}

fn said(content: &[u8]) -> Answer<Said> {
    let content = content.trim_ascii_end();
    if let Some(id) = Id::read(content) {
        return Ok(Said::Id(id));
    }
    let name = content.strip_prefix(b"ref:").map(<[u8]>::trim_ascii_start);
    let name = name.and_then(|name| std::str::from_utf8(name).ok()).filter(|name| is_name(name));
    // a repository with longer names of objects says so here too
    name.map(|name| Said::Other(name.to_owned())).ok_or("unsupported")
}

/// Whether a ref may have this name: git-check-ref-format(1), and one that is beneath `refs`.
pub(super) fn is_name(name: &str) -> bool {
    let segment = |it: &str| !it.is_empty() && !it.starts_with('.') && !it.ends_with(".lock");
    let odd = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.starts_with("refs/")
        && name.len() <= NAME_BYTES_MAX
        && name.split('/').all(segment)
        && !name.contains(odd)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
}

/// What `HEAD` says.
pub(super) fn head(git: &Folder) -> Answer<Head> {
    let content = git.read(b"HEAD", REF_BYTES_MAX)?.ok_or("no_repository")?;
    Ok(match said(&content)? {
        Said::Id(id) => Head::Detached(id),
        Said::Other(name) => Head::Branch(name),
    })
}

/// The commit of `HEAD`, if there is one yet.
pub(super) fn head_id(git: &Folder) -> Answer<Option<Id>> {
    match head(git)? {
        Head::Detached(id) => Ok(Some(id)),
        Head::Branch(name) => find(git, &name),
    }
}

/// What a ref names, by its whole name.
pub(super) fn find(git: &Folder, name: &str) -> Answer<Option<Id>> {
    let mut name = name.to_owned();
    for _ in 0..HOPS_MAX {
        if !is_name(&name) {
            return Ok(None);
        }
        let content = match git.read(name.as_bytes(), REF_BYTES_MAX) {
            // a directory of refs
            Err("wrong_kind") => None,
            content => content?,
        };
        match content.map(|content| said(&content)).transpose()? {
            Some(Said::Id(id)) => return Ok(Some(id)),
            Some(Said::Other(other)) => name = other,
            None => return Ok(packed(git)?.get(&name).copied()),
        }
    }
    Err("damaged")
}

/// All branches, each by its name beneath `refs/heads`.
pub(super) fn branches(git: &Folder) -> Answer<BTreeMap<String, Id>> {
    let mut found = packed(git)?;
    let mut room = REFS_MAX;
    let mut folders = vec![(b"refs/heads".to_vec(), 0)];
    while let Some((folder, level)) = folders.pop() {
        for one in git.names(&folder, &mut room)? {
            let path = join(&folder, &one.name);
            if one.kind().is_dir() {
                if level >= LEVELS_MAX {
                    return Err("too_large");
                }
                folders.push((path, level + 1));
            } else if let Ok(name) = String::from_utf8(path) {
                let id = find(git, &name)?;
                found.extend(id.map(|id| (name, id)));
            }
        }
    }
    let branch = |(name, id): (String, Id)| Some((name.strip_prefix(BRANCHES)?.to_owned(), id));
    let found: BTreeMap<String, Id> = found.into_iter().filter_map(branch).collect();
    if found.len() > REFS_MAX { Err("too_large") } else { Ok(found) }
}

/// The refs that are lines of one file.
fn packed(git: &Folder) -> Answer<BTreeMap<String, Id>> {
    let content = git.read(b"packed-refs", PACKED_BYTES_MAX)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines = text.lines().filter(|line| !line.starts_with(['#', '^']));
    let read = |line: &str| {
        let (id, name) = line.split_once(' ')?;
        Some((name.to_owned(), Id::read(id.as_bytes())?)).filter(|(name, _)| is_name(name))
    };
    lines.map(read).collect::<Option<_>>().ok_or("damaged")
}

/// A file of a repository that nobody else changes meanwhile: it is written under another name, which
/// only one can have.
pub(super) struct Locked<'a> {
    git: &'a Folder,
    name: Vec<u8>,
    lock: Vec<u8>,
    file: Option<File>,
}

impl<'a> Locked<'a> {
    /// Takes a ref by its whole name, `HEAD` or the index.
    pub(super) fn take(git: &'a Folder, name: &str) -> Answer<Self> {
        let lock = format!("{name}.lock").into_bytes();
        git.make_above(&lock)?;
        match git.make(&lock, 0o644) {
            Ok(file) => {
                let file = Some(file);
                Ok(Self { git, name: name.as_bytes().to_vec(), lock, file })
            }
            Err("exists") => Err("locked"),
            Err(other) => Err(other),
        }
    }

    /// Writes it anew, whole on the disk before it has its name.
    pub(super) fn set(mut self, content: &[u8]) -> Answer<()> {
        let Some(file) = self.file.take() else { return Err("failed") };
        let set = fill(file, content).and_then(|()| self.git.rename(&self.lock, &self.name));
        if set.is_err() {
            self.git.remove(&self.lock);
        }
        set
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.git.remove(&self.lock);
        }
    }
}
