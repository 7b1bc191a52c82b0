//! Objects of a repository: blobs, trees, commits and tags, each named by the SHA-1 of what it is. A
//! collision that is known how to be made is found and refused.

use super::Answer;
use contract::digits::{hex, unhex_array};
use sha1_checked::{Digest as _, Sha1};
use std::fmt;

/// Longest object that is read or made.
pub(super) const OBJECT_BYTES_MAX: usize = 16 << 20;
/// Most parents of a commit.
const PARENTS_MAX: usize = 64;

/// An object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(pub(super) [u8; 20]);

impl Id {
    /// Reads 40 hexadecimal digits.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        unhex_array(std::str::from_utf8(text).ok()?).map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }

    fn read(name: &[u8]) -> Option<Self> {
        let all = [Self::Commit, Self::Tree, Self::Blob, Self::Tag];
        all.into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

/// An object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) data: Vec<u8>,
}

impl Object {
    /// Takes a loose object's content apart.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let end = content.iter().position(|byte| *byte == 0)?;
        let (kind, length) = split_once(content.get(..end)?, b' ')?;
        let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
        let data = content.get(end + 1..)?;
        (data.len() == length).then_some(())?;
        Some(Self { kind: Kind::read(kind)?, data: data.to_vec() })
    }

    /// What it is named.
    pub(super) fn id(&self) -> Answer<Id> {
        id(self.kind, &self.data)
    }
}

/// The name of an object.
pub(super) fn id(kind: Kind, data: &[u8]) -> Answer<Id> {
    let mut hash = Sha1::new();
    hash.update(header(kind, data));
    hash.update(data);
    let result = hash.try_finalize();
    if result.has_collision() { Err("damaged") } else { Ok(Id((*result.hash()).into())) }
}

/// SHA-1 over bytes that are no object.
pub(super) fn sha1(data: &[u8]) -> [u8; 20] {
    (*Sha1::try_digest(data).hash()).into()
}

/// What stands before an object's data where it is loose, and in what its name is taken over.
pub(super) fn header(kind: Kind, data: &[u8]) -> Vec<u8> {
    format!("{} {}\0", kind.name(), data.len()).into_bytes()
}

/// What an entry of a tree or of the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) mode: u32,
    pub(super) id: Id,
}

pub(super) const MODE_FILE: u32 = 0o100_644;
pub(super) const MODE_EXECUTABLE: u32 = 0o100_755;
pub(super) const MODE_LINK: u32 = 0o120_000;
pub(super) const MODE_TREE: u32 = 0o040_000;
pub(super) const MODE_REPOSITORY: u32 = 0o160_000;

/// Whether a name may stand in a tree: one segment, and none that means something to a file system or
/// to git itself.
pub(super) fn is_name(name: &[u8]) -> bool {
    let reserved = matches!(name, b"" | b"." | b"..") || name.eq_ignore_ascii_case(b".git");
    !reserved && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// The entries of a tree.
pub(super) fn tree(data: &[u8]) -> Answer<Vec<(Vec<u8>, Side)>> {
    let mut entries = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (name, side, after) = tree_entry(rest).ok_or("damaged")?;
        entries.push((name, side));
        rest = after;
    }
    Ok(entries)
}

fn tree_entry(data: &[u8]) -> Option<(Vec<u8>, Side, &[u8])> {
    let (mode, rest) = split_once(data, b' ')?;
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let (name, rest) = split_once(rest, 0)?;
    let (id, after) = rest.split_at_checked(20)?;
    is_name(name).then_some(())?;
    Some((name.to_vec(), Side { mode, id: Id(id.try_into().ok()?) }, after))
}

/// A commit, as far as it is shown.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) tree: Id,
    pub(super) parents: Vec<Id>,
    pub(super) author: Person,
    pub(super) committer: Person,
    pub(super) message: String,
}

/// Who, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) email: String,
    /// Seconds since 1970.
    pub(super) time: i64,
}

impl Person {
    fn read(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let (name, rest) = text.split_once('<')?;
        let (email, rest) = rest.split_once('>')?;
        let time = rest.split_whitespace().next().and_then(|time| time.parse().ok()).unwrap_or(0);
        Some(Self { name: name.trim().to_owned(), email: email.to_owned(), time })
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}> {} +0000", self.name, self.email, self.time)
    }
}

impl Commit {
    /// Takes a commit apart; a header that is not known is passed over.
    pub(super) fn read(data: &[u8]) -> Answer<Self> {
        Self::parse(data).ok_or("damaged")
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let (mut tree, mut parents) = (None, Vec::new());
        let (mut author, mut committer) = (Person::default(), Person::default());
        let mut rest = data;
        while let Some((line, after)) = split_once(rest, b'\n') {
            rest = after;
            match split_once(line, b' ') {
                _ if line.is_empty() => break,
                Some((b"tree", id)) if tree.is_none() => tree = Some(Id::read(id)?),
                Some((b"parent", id)) if parents.len() < PARENTS_MAX => {
                    parents.push(Id::read(id)?);
                }
                Some((b"parent", _)) => return None,
                Some((b"author", who)) => author = Person::read(who)?,
                Some((b"committer", who)) => committer = Person::read(who)?,
                _ => {}
            }
        }
        let message = String::from_utf8_lossy(rest).into_owned();
        Some(Self { tree: tree?, parents, author, committer, message })
    }

    /// The commit as an object's data.
    pub(super) fn write(&self) -> Vec<u8> {
        let parents: String = self.parents.iter().map(|id| format!("parent {id}\n")).collect();
        let Self { tree, author, committer, message, .. } = self;
        let text =
            format!("tree {tree}\n{parents}author {author}\ncommitter {committer}\n\n{message}");
        text.into_bytes()
    }
}

/// What a tag names.
pub(super) fn tagged(data: &[u8]) -> Answer<Id> {
    let line = data.strip_prefix(b"object ").and_then(|rest| rest.get(..40));
    line.and_then(Id::read).ok_or("damaged")
}

/// What stands before a byte and behind it.
pub(super) fn split_once(data: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = data.iter().position(|byte| *byte == at)?;
    Some((data.get(..place)?, data.get(place + 1..)?))
}
