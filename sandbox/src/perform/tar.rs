//! The form of a tar file (POSIX.1-2001): ustar headers, pax records of a path and a size, and GNU's long
//! names. What is no file and no directory is refused, and so is a name that does not lie beneath the
//! place where it is unpacked. Pure: bytes come from a [`Source`].

use super::Answer;
use super::tree::LEVELS_MAX;

/// A header is one block, and content is filled up to whole ones.
pub(super) const BLOCK_BYTES: usize = 512;
/// Longest path in an archive, and longest name in it.
const PATH_BYTES_MAX: usize = 4_095;
const NAME_BYTES_MAX: usize = 255;
/// Longest record before an entry, and how many of them one entry may have.
const RECORD_BYTES_MAX: u64 = 64 << 10;
const RECORDS_MAX: usize = 4;
/// How much may follow the end: programs fill up to a whole record of a tape.
const END_BYTES_MAX: usize = 1 << 20;

/// Where an archive's bytes come from.
pub(super) trait Source {
    /// Some of what comes next; 0 at the end alone, if there is room.
    fn some(&mut self, room: &mut [u8]) -> Answer<usize>;

    /// All of what is asked for.
    fn exactly(&mut self, mut room: &mut [u8]) -> Answer<()> {
        while !room.is_empty() {
            let count = self.some(room)?;
            room = match count {
                0 => return Err("damaged"),
                count => room.get_mut(count..).ok_or("failed")?,
            };
        }
        Ok(())
    }
}

/// One file or directory of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Beneath the place where it is unpacked.
    pub(super) path: Vec<u8>,
    pub(super) is_directory: bool,
    pub(super) executable: bool,
    pub(super) bytes: u64,
}

/// An archive that is read.
pub(super) struct Reader<'a> {
    source: &'a mut dyn Source,
    /// What has not been read of the entry's content, and of what fills its last block.
    content: u64,
    filling: u64,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(source: &'a mut dyn Source) -> Self {
        Self { source, content: 0, filling: 0 }
    }

    /// The next file or directory; what is left of the one before is passed over.
    pub(super) fn next(&mut self) -> Answer<Option<Entry>> {
        loop {
            self.pass_over()?;
            let (mut path, mut size) = (None, None);
            let mut records = 0;
            let header = loop {
                let header = match Header::read(&self.block()?)? {
                    Some(header) => header,
                    None if records == 0 => return self.end().map(|()| None),
                    None => return Err("damaged"),
                };
                match header.kind {
                    b'x' => (path, size) = of_records(&self.record(&header)?, path, size)?,
                    // of all entries: a comment, as git archive writes one, and nothing that has a meaning here
                    b'g' => match of_records(&self.record(&header)?, None, None)? {
                        (None, None) => {}
                        _ => return Err("unsupported"),
                    },
                    b'L' => path = Some(until_nul(&self.record(&header)?).to_vec()),
                    _ => break header,
                }
                records += 1;
                if records > RECORDS_MAX {
                    return Err("damaged");
                }
            };
            let path = path.unwrap_or(header.path);
            let is_directory = match header.kind {
                b'5' => true,
                b'0' | 0 | b'7' => path.ends_with(b"/"),
                _ => return Err("unsupported"),
            };
            let bytes = size.unwrap_or(header.bytes);
            if is_directory && bytes != 0 {
                return Err("damaged");
            }
            let block = u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
            (self.content, self.filling) = (bytes, (block - bytes % block) % block);
            if let Some(path) = beneath(&path, is_directory)? {
                return Ok(Some(Entry {
                    path,
                    is_directory,
                    executable: header.executable,
                    bytes,
                }));
            }
        }
    }

    /// Some of the content of the entry; 0 at its end.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Answer<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(room.len());
        let room = room.get_mut(..most).ok_or("failed")?;
        if room.is_empty() {
            return Ok(0);
        }
        match self.source.some(room)? {
            0 => Err("damaged"),
            count => {
                self.content =
                    self.content.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                Ok(count)
            }
        }
    }

    fn pass_over(&mut self) -> Answer<()> {
        let mut block = [0; BLOCK_BYTES];
        while self.content > 0 {
            self.read(&mut block)?;
        }
        let filling = usize::try_from(std::mem::take(&mut self.filling)).unwrap_or(usize::MAX);
        self.source.exactly(block.get_mut(..filling).ok_or("failed")?)
    }

    fn block(&mut self) -> Answer<[u8; BLOCK_BYTES]> {
        let mut block = [0; BLOCK_BYTES];
        self.source.exactly(&mut block)?;
        Ok(block)
    }

    /// The content of what stands before an entry and speaks of it.
    fn record(&mut self, header: &Header) -> Answer<Vec<u8>> {
        if header.bytes > RECORD_BYTES_MAX {
            return Err("too_large");
        }
        let length = usize::try_from(header.bytes).unwrap_or(0);
        let mut record = vec![0; length.next_multiple_of(BLOCK_BYTES)];
        self.source.exactly(&mut record)?;
        record.truncate(length);
        Ok(record)
    }

    /// A second empty block, and nothing behind it.
    fn end(&mut self) -> Answer<()> {
        let mut block = self.block()?;
        let mut length = BLOCK_BYTES;
        let mut all = 0;
        while length > 0 {
            let part = block.get(..length).unwrap_or_default();
            all += length;
            if part.iter().any(|byte| *byte != 0) || all > END_BYTES_MAX {
                return Err("damaged");
            }
            length = self.source.some(&mut block)?;
        }
        Ok(())
    }
}

/// One header.
struct Header {
    path: Vec<u8>,
    kind: u8,
    bytes: u64,
    executable: bool,
}

impl Header {
    /// `None` of an empty block.
    fn read(block: &[u8; BLOCK_BYTES]) -> Answer<Option<Self>> {
        let field = |begin: usize, end: usize| block.get(begin..end).unwrap_or_default();
        let sum = |range: &[u8]| range.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // the sum is taken with spaces in its own place
        let found = sum(field(0, 148)) + 8 * u64::from(b' ') + sum(field(156, BLOCK_BYTES));
        if number(field(148, 156)) != Some(found) {
            return Err("damaged");
        }
        let mut path = until_nul(field(0, 100)).to_vec();
        let prefix = until_nul(field(345, 500));
        if field(257, 263) == b"ustar\0" && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let mode = number(field(100, 108)).unwrap_or(0);
        let kind = field(156, 157).first().copied().unwrap_or_default();
        let bytes = number(field(124, 136)).ok_or("damaged")?;
        Ok(Some(Self { path, kind, bytes, executable: mode & 0o100 != 0 }))
    }
}

/// A number in octal digits, or in GNU's form for large ones.
fn number(field: &[u8]) -> Option<u64> {
    if let [first @ 0x80..=0xbf, rest @ ..] = field {
        return rest.iter().try_fold(u64::from(first & 0x3f), |sum, byte| {
            sum.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_start_matches(' ').trim_end_matches(['\0', ' ']);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    u64::from_str_radix(digits, 8).ok().filter(|_| plain)
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

type Said = (Option<Vec<u8>>, Option<u64>);

/// What pax records say of an entry: each is its length, a space, a name, `=`, a value, a line feed.
fn of_records(mut record: &[u8], mut path: Option<Vec<u8>>, mut size: Option<u64>) -> Answer<Said> {
    while !record.is_empty() {
        let space = record.iter().position(|byte| *byte == b' ').ok_or("damaged")?;
        let length = std::str::from_utf8(record.get(..space).unwrap_or_default());
        let length: usize = length.ok().and_then(|it| it.parse().ok()).ok_or("damaged")?;
        let one = record.get(space + 1..length).ok_or("damaged")?;
        record = record.get(length..).ok_or("damaged")?;
        let one = one.strip_suffix(b"\n").ok_or("damaged")?;
        let equals = one.iter().position(|byte| *byte == b'=').ok_or("damaged")?;
        let (name, value) = (one.get(..equals), one.get(equals + 1..).unwrap_or_default());
        match name.unwrap_or_default() {
            b"path" => path = Some(value.to_vec()),
            b"size" => {
                let text = std::str::from_utf8(value).ok().filter(|it| !it.starts_with('+'));
                size = Some(text.and_then(|it| it.parse().ok()).ok_or("damaged")?);
            }
            b"linkpath" => return Err("unsupported"),
            name if name.starts_with(b"GNU.sparse.") => return Err("unsupported"),
            _ => {}
        }
    }
    Ok((path, size))
}

/// A path as it is unpacked; `None` for the place itself.
fn beneath(path: &[u8], is_directory: bool) -> Answer<Option<Vec<u8>>> {
    let mut rest = path;
    while let Some(after) = rest.strip_prefix(b"./") {
        rest = after;
    }
    if is_directory {
        rest = rest.strip_suffix(b"/").unwrap_or(rest);
        if !path.is_empty() && matches!(rest, b"" | b".") && !path.starts_with(b"/") {
            return Ok(None);
        }
    }
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_BYTES_MAX;
    let names = rest.split(|byte| *byte == b'/');
    if rest.contains(&0) || rest.len() > PATH_BYTES_MAX || !names.clone().all(is_name) {
        return Err("bad_name");
    }
    if names.count() > LEVELS_MAX { Err("too_large") } else { Ok(Some(rest.to_vec())) }
}

/// What stands before the content of a file or directory of this path and time (seconds since 1970).
pub(super) fn header(entry: &Entry, time: i64) -> Vec<u8> {
    let mut path = entry.path.clone();
    if entry.is_directory {
        path.push(b'/');
    }
    let mut bytes = Vec::new();
    let (prefix, name) = match split(&path) {
        Some(parts) => parts,
        None => {
            let record = record(b"path", &path);
            let name = b"././@PaxHeader";
            bytes.extend(block(b"", name, b'x', 0o644, length(&record), 0));
            let filled = record.len().next_multiple_of(BLOCK_BYTES);
            bytes.extend(&record);
            bytes.resize(BLOCK_BYTES + filled, 0);
            (&b""[..], path.get(..100).unwrap_or_default())
        }
    };
    let mode = if entry.is_directory || entry.executable { 0o755 } else { 0o644 };
    let kind = if entry.is_directory { b'5' } else { b'0' };
    let time = u64::try_from(time).unwrap_or(0);
    bytes.extend(block(prefix, name, kind, mode, entry.bytes, time));
    bytes
}

/// A path in the two fields that a header has for it, if it fits them.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes
        .filter_map(|at| Some((path.get(..at)?, path.get(at + 1..)?)))
        .find(|(prefix, name)| (1..=155).contains(&prefix.len()) && (1..=100).contains(&name.len()))
}

/// A pax record, whose length counts its own digits.
fn record(name: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = name.len() + value.len() + 3;
    let fits = |digits: &usize| (rest + digits).to_string().len() == *digits;
    let digits = (1..20).find(fits).unwrap_or_default();
    [(rest + digits).to_string().as_bytes(), b" ", name, b"=", value, b"\n"].concat()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn block(prefix: &[u8], name: &[u8], kind: u8, mode: u64, bytes: u64, time: u64) -> Vec<u8> {
    let octal = |number: u64, width: usize| format!("{number:0width$o}\0").into_bytes();
    let padded = |text: &[u8], width: usize| {
        let mut text = text.to_vec();
        text.resize(width, 0);
        text
    };
    // eleven digits are more than any time and any length that is written here
    let (bytes, time) = (octal(bytes, 11), octal(time.min((1 << 33) - 1), 11));
    let before =
        [padded(name, 100), octal(mode, 7), octal(0, 7), octal(0, 7), bytes, time].concat();
    let numbers = [octal(0, 7), octal(0, 7)].concat();
    let behind = [
        &[kind][..],
        &[0; 100],
        b"ustar\x0000",
        &[0; 64],
        &numbers,
        &padded(prefix, 155),
        &[0; 12],
    ]
    .concat();
    let sum: u64 = before.iter().chain(&behind).map(|byte| u64::from(*byte)).sum();
    let sum = format!("{:06o}\0 ", sum + 8 * u64::from(b' ')).into_bytes();
    [before, sum, behind].concat()
}

#[cfg(test)]
mod tests;
