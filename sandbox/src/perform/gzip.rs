//! The bytes of an archive on their way from and to a file, through gzip (RFC 1952) where it is
//! compressed. One member, whose checksum and length must fit; both ways have a bound.

use super::Answer;
use super::filesystem::code;
use super::tar::Source;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};

const CHUNK_BYTES: usize = 64 << 10;
/// Longest text in a header.
const HEADER_BYTES_MAX: usize = 4 << 10;
const LEVEL: i32 = 6;

/// CRC-32 as gzip has it, of all bytes that it was given.
#[derive(Debug, Clone, Copy)]
struct Crc(u32);

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at: u32 = 0;
    let mut rest: &mut [u32] = &mut table;
    while let Some((slot, after)) = rest.split_first_mut() {
        let mut value = at;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        *slot = value;
        at += 1;
        rest = after;
    }
    table
};

impl Crc {
    const fn new() -> Self {
        Self(u32::MAX)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let [low, ..] = self.0.to_le_bytes();
            let of = CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
            self.0 = of ^ (self.0 >> 8);
        }
    }

    const fn value(self) -> u32 {
        !self.0
    }
}

/// What stands before a member: no name, no time, so that the same bytes give the same archive.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An archive that is written.
pub(super) struct Sink {
    file: File,
    compressor: Option<Box<CompressorOxide>>,
    crc: Crc,
    /// How long it is, as gzip counts: modulo 2^32.
    length: u32,
    written: u64,
    bytes_max: u64,
    /// What comes out of the compressor.
    room: Vec<u8>,
}

impl Sink {
    /// Into a file that takes at most `bytes_max`.
    pub(super) fn new(file: File, gzip: bool, bytes_max: u64) -> Answer<Self> {
        let flags = create_comp_flags_from_zip_params(LEVEL, -15, 0);
        let compressor = gzip.then(|| Box::new(CompressorOxide::new(flags)));
        let (crc, length, written, room) = (Crc::new(), 0, 0, vec![0; CHUNK_BYTES]);
        let mut sink = Self { file, compressor, crc, length, written, bytes_max, room };
        if gzip {
            sink.put(&HEADER)?;
        }
        Ok(sink)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Answer<()> {
        if self.compressor.is_none() {
            return self.put(bytes);
        }
        self.crc.add(bytes);
        self.length = self.length.wrapping_add(u32::try_from(bytes.len()).unwrap_or_default());
        self.compress(bytes, MZFlush::None)
    }

    /// Its end, whole on the disk; how long the file is.
    pub(super) fn finish(mut self) -> Answer<u64> {
        if self.compressor.is_some() {
            self.compress(&[], MZFlush::Finish)?;
            let (crc, length) = (self.crc.value(), self.length);
            self.put(&[crc.to_le_bytes(), length.to_le_bytes()].concat())?;
        }
        self.file.sync_all().map_err(|error| of_io(&error))?;
        Ok(self.written)
    }

    fn compress(&mut self, mut bytes: &[u8], flush: MZFlush) -> Answer<()> {
        loop {
            let Some(compressor) = &mut self.compressor else { return Err("failed") };
            let done = deflate(compressor, bytes, &mut self.room, flush);
            bytes = bytes.get(done.bytes_consumed..).unwrap_or_default();
            let room = std::mem::take(&mut self.room);
            let put = self.put(room.get(..done.bytes_written).unwrap_or_default());
            self.room = room;
            put?;
            match done.status {
                Ok(MZStatus::StreamEnd) => return Ok(()),
                Ok(_) if flush == MZFlush::None && bytes.is_empty() => return Ok(()),
                Ok(_) => {}
                // nothing is left to do
                Err(MZError::Buf) if flush == MZFlush::None && bytes.is_empty() => return Ok(()),
                Err(_) => return Err("failed"),
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Answer<()> {
        self.written = self.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.written > self.bytes_max {
            return Err("too_large");
        }
        self.file.write_all(bytes).map_err(|error| of_io(&error))
    }
}

fn of_io(error: &std::io::Error) -> &'static str {
    code(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// An archive that is read.
pub(super) struct Stream<F: Read> {
    file: F,
    /// What was read of the file and not yet taken.
    ahead: Vec<u8>,
    at: usize,
    member: Option<Member>,
    /// How much more may come out.
    room: u64,
}

/// The compressed bytes of a gzip file.
struct Member {
    state: Box<InflateState>,
    crc: Crc,
    length: u32,
    ended: bool,
}

impl<F: Read> Stream<F> {
    /// Of a file that is an archive or a compressed one, of which at most `bytes_max` may come out.
    pub(super) fn new(file: F, bytes_max: u64) -> Answer<Self> {
        let mut stream = Self { file, ahead: Vec::new(), at: 0, member: None, room: bytes_max };
        stream.more()?;
        if stream.ahead.starts_with(&[0x1f, 0x8b]) {
            stream.header()?;
            let state = InflateState::new_boxed(DataFormat::Raw);
            stream.member = Some(Member { state, crc: Crc::new(), length: 0, ended: false });
        }
        Ok(stream)
    }

    /// Reads the next part of the file, where nothing of it is left; whether there is something now.
    fn more(&mut self) -> Answer<bool> {
        if self.at >= self.ahead.len() {
            self.ahead.resize(CHUNK_BYTES, 0);
            let count = self.file.read(&mut self.ahead).map_err(|error| of_io(&error))?;
            self.ahead.truncate(count);
            self.at = 0;
        }
        Ok(self.at < self.ahead.len())
    }

    fn byte(&mut self) -> Answer<u8> {
        self.more()?;
        let byte = self.ahead.get(self.at).copied().ok_or("damaged")?;
        self.at += 1;
        Ok(byte)
    }

    /// What stands before the compressed bytes.
    fn header(&mut self) -> Answer<()> {
        let mut fixed = [0; 10];
        for byte in &mut fixed {
            *byte = self.byte()?;
        }
        let [_, _, method, flags, ..] = fixed;
        if method != 8 || flags & 0xe0 != 0 {
            return Err("damaged");
        }
        if flags & 4 != 0 {
            let length = u16::from_le_bytes([self.byte()?, self.byte()?]);
            for _ in 0..length {
                self.byte()?;
            }
        }
        for text in [8, 16] {
            let mut length = 0;
            while flags & text != 0 && self.byte()? != 0 {
                length += 1;
                if length > HEADER_BYTES_MAX {
                    return Err("damaged");
                }
            }
        }
        if flags & 2 != 0 {
            self.byte()?;
            self.byte()?;
        }
        Ok(())
    }

    /// The checksum and the length of what came out, and the end of the file.
    fn trailer(&mut self, crc: u32, length: u32) -> Answer<()> {
        let mut found = [0; 8];
        for byte in &mut found {
            *byte = self.byte()?;
        }
        let fits = found.as_slice() == [crc.to_le_bytes(), length.to_le_bytes()].concat();
        if !fits || self.more()? { Err("damaged") } else { Ok(()) }
    }

    fn inflated(&mut self, room: &mut [u8]) -> Answer<usize> {
        loop {
            let there = self.more()?;
            let Some(member) = &mut self.member else { return Err("failed") };
            if member.ended {
                return Ok(0);
            }
            let ahead = self.ahead.get(self.at..).unwrap_or_default();
            let done = inflate(&mut member.state, ahead, room, MZFlush::None);
            self.at += done.bytes_consumed;
            let new = room.get(..done.bytes_written).unwrap_or_default();
            member.crc.add(new);
            let count = u32::try_from(new.len()).unwrap_or_default();
            member.length = member.length.wrapping_add(count);
            match done.status {
                Ok(MZStatus::StreamEnd) => {
                    member.ended = true;
                    let (crc, length) = (member.crc.value(), member.length);
                    self.trailer(crc, length)?;
                    return Ok(done.bytes_written);
                }
                Ok(_) | Err(MZError::Buf) if done.bytes_written > 0 => {
                    return Ok(done.bytes_written);
                }
                Ok(_) | Err(MZError::Buf) if there && done.bytes_consumed > 0 => {}
                _ => return Err("damaged"),
            }
        }
    }
}

impl<F: Read> Source for Stream<F> {
    fn some(&mut self, room: &mut [u8]) -> Answer<usize> {
        let count = if self.member.is_some() {
            self.inflated(room)?
        } else if self.more()? {
            let ahead = self.ahead.get(self.at..).unwrap_or_default();
            let count = ahead.len().min(room.len());
            let (Some(to), Some(from)) = (room.get_mut(..count), ahead.get(..count)) else {
                return Err("failed");
            };
            to.copy_from_slice(from);
            self.at += count;
            count
        } else {
            0
        };
        let length = u64::try_from(count).unwrap_or(u64::MAX);
        self.room = self.room.checked_sub(length).ok_or("too_large")?;
        Ok(count)
    }
}
