//! One pack: many objects in a file, some as what changed from another, and its index. Read in place,
//! part by part, so that neither its length nor what it says of itself sets how much memory is taken.

use super::Answer;
use super::object::{Id, Kind, OBJECT_BYTES_MAX, Object};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Most changes between an object and the one that is there whole (git itself makes at most 50), and
/// how long they are together.
const CHAIN_MAX: usize = 256;
const CHAIN_BYTES_MAX: usize = 16 << 20;
const CHUNK_BYTES: usize = 16 << 10;
const MAGIC: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// Where in an index the names begin.
const NAMES_AT: u64 = 8 + 256 * 4;
/// Longest header of an object: its kind and length, and what it changes.
const HEADER_BYTES_MAX: usize = 40;

/// An open pack.
pub(super) struct Pack {
    index: File,
    pack: File,
    /// How many names begin with a byte up to this one.
    fan: Vec<u32>,
}

/// How an object is kept.
enum Kept {
    Whole(Kind),
    ChangeOf(Id),
    /// Of the object at this place of the same pack.
    ChangeAt(u64),
}

impl Pack {
    /// A pack and its index, of version 2.
    pub(super) fn new(index: File, pack: File) -> Answer<Self> {
        let mut head = vec![0; 8 + 256 * 4];
        exact(&index, &mut head, 0)?;
        if !head.starts_with(&MAGIC) {
            return Err("unsupported");
        }
        let counts = head.get(8..).unwrap_or_default().chunks_exact(4);
        let fan: Vec<u32> =
            counts.filter_map(|four| Some(u32::from_be_bytes(four.try_into().ok()?))).collect();
        if fan.len() == 256 && fan.is_sorted() {
            Ok(Self { index, pack, fan })
        } else {
            Err("damaged")
        }
    }

    /// Where an object is, if it is here.
    pub(super) fn find(&self, id: &Id) -> Answer<Option<u64>> {
        let number = self.first_from(id)?;
        match self.name(number)? {
            Some(found) if found == *id => self.place(number).map(Some),
            _ => Ok(None),
        }
    }

    /// Names from this one on, in their order, as many as are asked for.
    pub(super) fn names_from(&self, id: &Id, count: u32) -> Answer<Vec<Id>> {
        let first = self.first_from(id)?;
        let mut names = Vec::new();
        for number in first..first.saturating_add(count) {
            names.extend(self.name(number)?);
        }
        Ok(names)
    }

    /// The number of the first name that is not less.
    fn first_from(&self, id: &Id) -> Answer<u32> {
        let byte = usize::from(id.0[0]);
        let at = |byte: usize| self.fan.get(byte).copied().unwrap_or(0);
        let mut low = byte.checked_sub(1).map_or(0, at);
        let mut high = at(byte);
        while low < high {
            let middle = low.midpoint(high);
            let name = self.name(middle)?.ok_or("damaged")?;
            if name < *id { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn count(&self) -> u32 {
        self.fan.last().copied().unwrap_or(0)
    }

    /// The name of this number; `None` beyond the last.
    fn name(&self, number: u32) -> Answer<Option<Id>> {
        if number >= self.count() {
            return Ok(None);
        }
        let mut name = [0; 20];
        exact(&self.index, &mut name, NAMES_AT + u64::from(number) * 20)?;
        Ok(Some(Id(name)))
    }

    /// Where the object of this number begins.
    fn place(&self, number: u32) -> Answer<u64> {
        const FAR: u32 = 1 << 31;
        let places = NAMES_AT + u64::from(self.count()) * 24;
        let mut four = [0; 4];
        exact(&self.index, &mut four, places + u64::from(number) * 4)?;
        let place = u32::from_be_bytes(four);
        if place & FAR == 0 {
            return Ok(place.into());
        }
        let mut eight = [0; 8];
        let far = places + u64::from(self.count()) * 4 + u64::from(place & !FAR) * 8;
        exact(&self.index, &mut eight, far)?;
        Ok(u64::from_be_bytes(eight))
    }

    /// The object at a place. What it is changed from is in the same pack: only packs on their way
    /// somewhere lack it.
    pub(super) fn object(&self, mut place: u64) -> Answer<Object> {
        let mut changes: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        loop {
            let (kept, length, data_at) = self.header(place)?;
            let data = self.inflate(data_at, length)?;
            if let Kept::Whole(kind) = kept {
                return apply(Object { kind, data }, &changes);
            }
            bytes += length;
            changes.push(data);
            if changes.len() > CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
                return Err("too_large");
            }
            place = match kept {
                Kept::ChangeAt(base) => base,
                Kept::ChangeOf(id) => self.find(&id)?.ok_or("damaged")?,
                Kept::Whole(_) => return Err("damaged"),
            };
        }
    }

    /// How the object at a place is kept, how long it is, where its data begins.
    fn header(&self, place: u64) -> Answer<(Kept, usize, u64)> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let there = some(&self.pack, &mut bytes, place)?;
        let bytes = bytes.get(..there).unwrap_or_default();
        let (kept, length, used) = header(bytes, place).ok_or("damaged")?;
        if length > OBJECT_BYTES_MAX {
            return Err("too_large");
        }
        Ok((kept, length, place + u64::try_from(used).unwrap_or(0)))
    }

    /// `length` bytes, from what is deflated at a place.
    fn inflate(&self, place: u64, length: usize) -> Answer<Vec<u8>> {
        let mut state = Box::<DecompressorOxide>::default();
        // one byte more, so that an end that comes later than it should is seen
        let mut data = vec![0; length + 1];
        let (mut written, mut read) = (0, 0);
        let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
            | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
            | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let there = some(&self.pack, &mut chunk, place + read)?;
            let input = chunk.get(..there).filter(|input| !input.is_empty()).ok_or("damaged")?;
            let (status, used, more) = decompress(&mut state, input, &mut data, written, flags);
            written += more;
            read += u64::try_from(used).unwrap_or(0);
            match status {
                TINFLStatus::Done if written == length => {
                    data.truncate(length);
                    return Ok(data);
                }
                TINFLStatus::NeedsMoreInput if used > 0 || more > 0 => {}
                _ => return Err("damaged"),
            }
        }
    }
}

/// Takes a header apart that stands at `place`.
fn header(bytes: &[u8], place: u64) -> Option<(Kept, usize, usize)> {
    let first = *bytes.first()?;
    let (mut length, mut shift, mut used) = (usize::from(first & 15), 4, 1);
    let mut byte = first;
    while byte & 0x80 != 0 {
        byte = *bytes.get(used)?;
        length |= usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 40)?;
        shift += 7;
        used += 1;
    }
    let kept = match (first >> 4) & 7 {
        1 => Kept::Whole(Kind::Commit),
        2 => Kept::Whole(Kind::Tree),
        3 => Kept::Whole(Kind::Blob),
        4 => Kept::Whole(Kind::Tag),
        6 => {
            let (back, more) = distance(bytes.get(used..)?)?;
            used += more;
            Kept::ChangeAt(place.checked_sub(back).filter(|_| back > 0)?)
        }
        7 => {
            let id = bytes.get(used..used + 20)?;
            used += 20;
            Kept::ChangeOf(Id(id.try_into().ok()?))
        }
        _ => return None,
    };
    Some((kept, length, used))
}

/// How far back something is, and how many bytes say so.
fn distance(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value: u64 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
        value = value.checked_add(1).filter(|value| *value < 1 << 48)?;
    }
    None
}

/// An object after changes, of which the last is the first that is made.
fn apply(base: Object, changes: &[Vec<u8>]) -> Answer<Object> {
    let Object { kind, mut data } = base;
    for change in changes.iter().rev() {
        let length = length_after(change).ok_or("damaged")?;
        if length > OBJECT_BYTES_MAX {
            return Err("too_large");
        }
        data = changed(&data, change).ok_or("damaged")?;
    }
    Ok(Object { kind, data })
}

fn length_after(change: &[u8]) -> Option<usize> {
    let (_, rest) = varint(change)?;
    Some(varint(rest)?.0)
}

/// What a change makes of its base: pieces of it, and pieces of its own.
fn changed(base: &[u8], change: &[u8]) -> Option<Vec<u8>> {
    let (before, rest) = varint(change)?;
    let (after, mut rest) = varint(rest)?;
    (before == base.len()).then_some(())?;
    let mut data = Vec::with_capacity(after);
    while let Some((&order, more)) = rest.split_first() {
        rest = more;
        let piece = if order & 0x80 != 0 {
            let mut number = |bits: std::ops::Range<u8>| {
                let mut value = 0_usize;
                for (place, bit) in bits.enumerate() {
                    if order & (1 << bit) != 0 {
                        let (&byte, more) = rest.split_first()?;
                        rest = more;
                        value |= usize::from(byte) << (8 * place);
                    }
                }
                Some(value)
            };
            let from = number(0..4)?;
            let length = number(4..7)?;
            let length = if length == 0 { 0x1_0000 } else { length };
            base.get(from..from.checked_add(length)?)?
        } else {
            let (piece, more) = rest.split_at_checked(usize::from(order)).filter(|_| order != 0)?;
            rest = more;
            piece
        };
        (data.len() + piece.len() <= after).then_some(())?;
        data.extend_from_slice(piece);
    }
    (data.len() == after).then_some(data)
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut value, mut shift) = (0_usize, 0);
    for (at, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 40)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

fn exact(file: &File, room: &mut [u8], place: u64) -> Answer<()> {
    if some(file, room, place)? == room.len() { Ok(()) } else { Err("damaged") }
}

/// Reads what is there, at most what there is room for.
fn some(file: &File, room: &mut [u8], place: u64) -> Answer<usize> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = place.checked_add(u64::try_from(filled).unwrap_or(0)).ok_or("damaged")?;
        if i64::try_from(at).is_err() {
            return Err("damaged");
        }
        match file.read_at(rest, at).map_err(|_error| "failed")? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
