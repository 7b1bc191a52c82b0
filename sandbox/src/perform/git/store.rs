//! Where a repository's objects are: each in a file of its own, or in packs. What `info/alternates` names
//! is not looked at.

use super::Answer;
use super::folder::Folder;
use super::object::{Id, Kind, OBJECT_BYTES_MAX, Object, header, id};
use super::pack::Pack;
use contract::digits::hex;
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use std::collections::VecDeque;

/// Most packs, and most that are open at once: each is two of the 32 open files of a cage.
const PACKS_MAX: usize = 256;
const OPEN_PACKS_MAX: usize = 8;
/// Most names in one directory of loose objects.
const LOOSE_MAX: usize = 100_000;
/// Longest header of a loose object, and by how much what is deflated may be longer than what it was.
const HEADER_BYTES_MAX: usize = 32;
const DEFLATED_MORE_BYTES_MAX: usize = OBJECT_BYTES_MAX / 64;
const LEVEL: u8 = 6;

/// The objects of a repository.
pub(super) struct Store {
    objects: Folder,
    /// Packs that are open, the one used last in front, and the names of the others.
    open: VecDeque<(Vec<u8>, Pack)>,
    closed: VecDeque<Vec<u8>>,
}

impl Store {
    /// That of a `.git` directory.
    pub(super) fn new(git: &Folder) -> Answer<Self> {
        let objects = git.folder(b"objects")?.ok_or("no_repository")?;
        let mut room = PACKS_MAX * 4;
        let names = objects.names(b"pack", &mut room)?;
        let stems = names.iter().filter_map(|it| it.name.strip_suffix(b".idx"));
        let closed: VecDeque<Vec<u8>> = stems.map(<[u8]>::to_vec).collect();
        if closed.len() > PACKS_MAX {
            return Err("too_large");
        }
        Ok(Self { objects, open: VecDeque::new(), closed })
    }

    /// An object, whose content is what its name says.
    pub(super) fn get(&mut self, wanted: &Id) -> Answer<Object> {
        let object = self.search(wanted)?;
        if object.id()? == *wanted { Ok(object) } else { Err("damaged") }
    }

    /// An object's data, where it is of this kind.
    pub(super) fn data(&mut self, wanted: &Id, kind: Kind) -> Answer<Vec<u8>> {
        let object = self.get(wanted)?;
        if object.kind == kind { Ok(object.data) } else { Err("damaged") }
    }

    fn search(&mut self, wanted: &Id) -> Answer<Object> {
        if let Some(object) = self.loose(wanted)? {
            return Ok(object);
        }
        for number in 0..self.open.len() + self.closed.len() {
            let pack = self.pack(number)?;
            if let Some(place) = pack.find(wanted)? {
                return pack.object(place);
            }
        }
        Err("missing")
    }

    fn loose(&self, wanted: &Id) -> Answer<Option<Object>> {
        let limit = OBJECT_BYTES_MAX + HEADER_BYTES_MAX;
        let there = self.objects.read(&path(wanted), limit + DEFLATED_MORE_BYTES_MAX)?;
        let Some(bytes) = there else { return Ok(None) };
        let content = decompress_to_vec_zlib_with_limit(&bytes, limit).map_err(|error| {
            if error.status == TINFLStatus::HasMoreOutput { "too_large" } else { "damaged" }
        })?;
        Object::read(&content).map(Some).ok_or("damaged")
    }

    /// The pack of this number, which becomes number 0.
    fn pack(&mut self, number: usize) -> Answer<&Pack> {
        let found = match self.open.remove(number) {
            Some(found) => found,
            None => {
                // numbers count what is open first; one more of those takes the place of the last
                let at = number.saturating_sub(self.open.len());
                let name = self.closed.remove(at).ok_or("damaged")?;
                if self.open.len() >= OPEN_PACKS_MAX {
                    let last = self.open.pop_back();
                    // in front: what was asked already is not asked again
                    last.into_iter().for_each(|(name, _)| self.closed.push_front(name));
                }
                let of = |end: &str| [b"pack/", name.as_slice(), end.as_bytes()].concat();
                let (index, _) = self.objects.file(&of(".idx"))?.ok_or("damaged")?;
                let (pack, _) = self.objects.file(&of(".pack"))?.ok_or("damaged")?;
                (name, Pack::new(index, pack)?)
            }
        };
        self.open.push_front(found);
        self.open.front().map(|(_, pack)| pack).ok_or("damaged")
    }

    /// Up to two objects whose names begin with these hexadecimal digits.
    pub(super) fn beginning(&mut self, digits: &str) -> Answer<Vec<Id>> {
        let Some((folder, rest)) = digits.split_at_checked(2) else { return Ok(Vec::new()) };
        let mut found: Vec<Id> = Vec::new();
        let mut room = LOOSE_MAX;
        for one in self.objects.names(folder.as_bytes(), &mut room)? {
            if one.name.starts_with(rest.as_bytes()) {
                found.extend(Id::read(&[folder.as_bytes(), &one.name].concat()));
            }
        }
        let padded = format!("{digits:0<40}");
        let first = Id::read(padded.as_bytes()).ok_or("unknown_revision")?;
        for number in 0..self.open.len() + self.closed.len() {
            let names = self.pack(number)?.names_from(&first, 2)?;
            found.extend(names.into_iter().filter(|id| hex(&id.0).starts_with(digits)));
        }
        found.sort();
        found.dedup();
        found.truncate(2);
        Ok(found)
    }

    /// Keeps an object, unless it is there; `call` names what is not whole yet.
    pub(super) fn put(&mut self, kind: Kind, data: &[u8], call: &str) -> Answer<Id> {
        if data.len() > OBJECT_BYTES_MAX {
            return Err("too_large");
        }
        let new = id(kind, data)?;
        if self.objects.status(&path(&new))?.is_some() {
            return Ok(new);
        }
        let bytes = compress_to_vec_zlib(&[&header(kind, data), data].concat(), LEVEL);
        let beside = format!("tmp_obj_{call}").into_bytes();
        self.objects.make_file(&beside, &bytes, 0o444)?;
        let place = path(&new);
        let kept =
            self.objects.make_above(&place).and_then(|()| self.objects.rename(&beside, &place));
        if kept.is_err() {
            self.objects.remove(&beside);
        }
        kept.map(|()| new)
    }
}

/// Where a loose object is.
fn path(id: &Id) -> Vec<u8> {
    let digits = id.to_string();
    let (folder, name) = digits.split_at_checked(2).unwrap_or_default();
    format!("{folder}/{name}").into_bytes()
}
