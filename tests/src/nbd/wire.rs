//! The NBD protocol's words on a connection: the fixed newstyle handshake, then simple replies.
//!
//! Begin reading at [`converse`]. Names in quotes are headings of `doc/proto.md`. What this server
//! does not know it refuses (`NBD_REP_ERR_UNSUP`, `NBD_EINVAL`); what breaks the protocol ends the
//! connection ("Termination of the session during option haggling").

use super::disk::{Kind, SECTOR_BYTES};
use super::{broken, index};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// "Newstyle negotiation": `NBDMAGIC`, then `IHAVEOPT`, which each option repeats.
const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// "Fixed newstyle negotiation".
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// "Request message" and "Simple reply message".
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// "Handshake flags" and "Client flags": `FIXED_NEWSTYLE` and `NO_ZEROES`, the same two bits.
const HANDSHAKE_FLAGS: u16 = 0b11;
const CLIENT_FLAG_NO_ZEROES: u32 = 0b10;
/// "Transmission flags": `HAS_FLAGS`, `SEND_FLUSH`, `SEND_FUA`, `SEND_TRIM`, `SEND_WRITE_ZEROES`.
const TRANSMISSION_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;

/// "Option types".
const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_LIST: u32 = 3;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;

/// "Option reply types".
const REP_ACK: u32 = 1;
const REP_SERVER: u32 = 2;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = (1 << 31) + 1;
const REP_ERR_INVALID: u32 = (1 << 31) + 3;
const REP_ERR_UNKNOWN: u32 = (1 << 31) + 6;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// "Request types".
const CMD_READ: u16 = 0;
const CMD_WRITE: u16 = 1;
const CMD_DISC: u16 = 2;
const CMD_FLUSH: u16 = 3;
const CMD_TRIM: u16 = 4;
const CMD_WRITE_ZEROES: u16 = 6;

/// "Command flags".
const FLAG_FUA: u16 = 1;
const FLAG_NO_HOLE: u16 = 1 << 1;

/// "Error values".
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

/// "Block size constraints": the longest READ or WRITE; less is no denial of service.
const REQUEST_BYTES_MAX: u32 = 1 << 25;
const BLOCK_BYTES: u32 = 4096;
const OPTION_BYTES_MAX: u32 = 16 << 10;
const BUFFER_BYTES: usize = 64 << 10;

/// A "Request message" without its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    flags: u16,
    command: u16,
    cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    /// The next request; `None` where the client hung up or disconnected.
    fn read(source: &mut impl Read) -> io::Result<Option<Self>> {
        let header: [u8; 28] = match take(source) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            header => header?,
        };
        let mut header = header.as_slice();
        if u32::from_be_bytes(take(&mut header)?) != REQUEST_MAGIC {
            return Err(broken("a request begins with another magic"));
        }
        let request = Self {
            flags: u16::from_be_bytes(take(&mut header)?),
            command: u16::from_be_bytes(take(&mut header)?),
            cookie: u64::from_be_bytes(take(&mut header)?),
            offset: u64::from_be_bytes(take(&mut header)?),
            length: u32::from_be_bytes(take(&mut header)?),
        };
        Ok((request.command != CMD_DISC).then_some(request))
    }

    /// What it does to a disk of `size` bytes, `None` being a read; or its "Error values".
    pub(super) fn check(&self, size: u64) -> Result<Option<Kind>, u32> {
        let kind = match self.command {
            CMD_READ => None,
            CMD_WRITE => Some(Kind::Write),
            CMD_FLUSH => Some(Kind::Flush),
            CMD_TRIM => Some(Kind::Trim),
            CMD_WRITE_ZEROES => Some(Kind::Zeroes),
            _ => return Err(EINVAL),
        };
        // space is the host's: NO_HOLE is obeyed by never punching one
        let flags = if kind == Some(Kind::Zeroes) { FLAG_FUA | FLAG_NO_HOLE } else { FLAG_FUA };
        let length = u64::from(self.length);
        let whole = self.offset.is_multiple_of(SECTOR_BYTES) && length.is_multiple_of(SECTOR_BYTES);
        let long = kind.is_none() && self.length > REQUEST_BYTES_MAX;
        let set = kind == Some(Kind::Flush) && (self.offset > 0 || length > 0);
        if self.flags & !flags != 0 || !whole || long || set {
            return Err(EINVAL);
        }
        if self.offset.checked_add(length).is_none_or(|end| end > size) {
            let grows = matches!(kind, Some(Kind::Write | Kind::Zeroes));
            return Err(if grows { ENOSPC } else { EINVAL });
        }
        Ok(kind)
    }

    pub(super) const fn fua(&self) -> bool {
        self.flags & FLAG_FUA != 0
    }
}

/// A "Simple reply message" without its cookie.
#[derive(Debug)]
pub(super) struct Reply {
    error: u32,
    data: Vec<u8>,
}

impl Reply {
    pub(super) const fn refusal(error: u32) -> Self {
        Self { error, data: Vec::new() }
    }

    pub(super) fn of(result: io::Result<Vec<u8>>) -> Self {
        result.map_or(Self::refusal(EIO), |data| Self { error: 0, data })
    }
}

/// Speaks with one client about a disk of `size` bytes until either hangs up.
pub(super) fn converse(
    mut stream: UnixStream,
    size: u64,
    mut perform: impl FnMut(&Request, Vec<u8>) -> io::Result<Option<Reply>>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, stream.try_clone()?);
    if !handshake(&mut reader, &mut stream, size)? {
        return Ok(());
    }
    while let Some(request) = Request::read(&mut reader)? {
        let mut data = Vec::new();
        if request.command == CMD_WRITE {
            if request.length > REQUEST_BYTES_MAX {
                return Err(broken("a write is too long"));
            }
            data = bytes(&mut reader, request.length)?;
        }
        let Some(reply) = perform(&request, data)? else { break };
        let mut message = Vec::with_capacity(reply.data.len().saturating_add(16));
        message.extend(REPLY_MAGIC.to_be_bytes());
        message.extend(reply.error.to_be_bytes());
        message.extend(request.cookie.to_be_bytes());
        message.extend(reply.data);
        stream.write_all(&message)?;
    }
    Ok(())
}

/// "Newstyle negotiation" and "Fixed newstyle negotiation"; whether transmission follows.
fn handshake(reader: &mut impl Read, writer: &mut impl Write, size: u64) -> io::Result<bool> {
    let mut greeting = Vec::new();
    greeting.extend(MAGIC.to_be_bytes());
    greeting.extend(OPTION_MAGIC.to_be_bytes());
    greeting.extend(HANDSHAKE_FLAGS.to_be_bytes());
    writer.write_all(&greeting)?;
    let client = u32::from_be_bytes(take(reader)?);
    if client & !u32::from(HANDSHAKE_FLAGS) != 0 {
        return Err(broken("the client sets unknown flags"));
    }
    loop {
        if u64::from_be_bytes(take(reader)?) != OPTION_MAGIC {
            return Err(broken("an option begins with another magic"));
        }
        let option = u32::from_be_bytes(take(reader)?);
        let length = u32::from_be_bytes(take(reader)?);
        if length > OPTION_BYTES_MAX {
            return Err(broken("an option is too long"));
        }
        let data = bytes(reader, length)?;
        match option {
            OPT_EXPORT_NAME if data.is_empty() => {
                let mut answer = export(size);
                let padding = if client & CLIENT_FLAG_NO_ZEROES == 0 { 124 } else { 0 };
                answer.resize(answer.len().saturating_add(padding), 0);
                writer.write_all(&answer)?;
                return Ok(true);
            }
            OPT_EXPORT_NAME => return Err(broken("the only export is the default one")),
            OPT_ABORT => {
                answer(writer, option, REP_ACK, &[])?;
                return Ok(false);
            }
            OPT_LIST if data.is_empty() => {
                answer(writer, option, REP_SERVER, &0_u32.to_be_bytes())?;
                answer(writer, option, REP_ACK, &[])?;
            }
            OPT_LIST => answer(writer, option, REP_ERR_INVALID, &[])?,
            OPT_INFO | OPT_GO => {
                if inform(writer, option, &data, size)? && option == OPT_GO {
                    return Ok(true);
                }
            }
            _ => answer(writer, option, REP_ERR_UNSUP, &[])?,
        }
    }
}

/// `NBD_OPT_INFO` and `NBD_OPT_GO`, "Option types"; whether they succeeded.
fn inform(writer: &mut impl Write, option: u32, data: &[u8], size: u64) -> io::Result<bool> {
    let Ok((name, wishes)) = parse_wishes(data) else {
        answer(writer, option, REP_ERR_INVALID, &[])?;
        return Ok(false);
    };
    if !name.is_empty() {
        answer(writer, option, REP_ERR_UNKNOWN, &[])?;
        return Ok(false);
    }
    let mut info = INFO_EXPORT.to_be_bytes().to_vec();
    info.extend(export(size));
    answer(writer, option, REP_INFO, &info)?;
    if wishes.contains(&INFO_BLOCK_SIZE) {
        let mut info = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
        info.extend(u32::try_from(SECTOR_BYTES).map_err(io::Error::other)?.to_be_bytes());
        info.extend(BLOCK_BYTES.to_be_bytes());
        info.extend(REQUEST_BYTES_MAX.to_be_bytes());
        answer(writer, option, REP_INFO, &info)?;
    }
    answer(writer, option, REP_ACK, &[])?;
    Ok(true)
}

/// The name of an export, and the `NBD_INFO` that the client asks for.
fn parse_wishes(mut data: &[u8]) -> io::Result<(Vec<u8>, Vec<u16>)> {
    let length = u32::from_be_bytes(take(&mut data)?);
    if length > OPTION_BYTES_MAX {
        return Err(broken("a name is too long"));
    }
    let name = bytes(&mut data, length)?;
    let count = u16::from_be_bytes(take(&mut data)?);
    let wishes = (0..count).map(|_| take(&mut data).map(u16::from_be_bytes));
    let wishes = wishes.collect::<io::Result<Vec<_>>>()?;
    if !data.is_empty() {
        return Err(broken("an option is longer than what it holds"));
    }
    Ok((name, wishes))
}

/// Size and "Transmission flags".
fn export(size: u64) -> Vec<u8> {
    let mut answer = size.to_be_bytes().to_vec();
    answer.extend(TRANSMISSION_FLAGS.to_be_bytes());
    answer
}

/// A reply of "Fixed newstyle negotiation".
fn answer(writer: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut message = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    message.extend(option.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend(u32::try_from(data.len()).map_err(io::Error::other)?.to_be_bytes());
    message.extend(data);
    writer.write_all(&message)
}

fn take<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// `length` bytes, which the caller has bounded.
fn bytes(source: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let length = index(length.into()).ok_or_else(|| broken("too long for this machine"))?;
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}
