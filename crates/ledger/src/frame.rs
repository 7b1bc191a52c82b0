//! Frames: how records lie one after another in a segment, an export or a page. Each is a length
//! (four bytes, little-endian), a CRC-32 of what follows (four bytes, little-endian), the bytes.
//! A length of zero ends a segment: the rest of its file is empty room.

/// Bytes before each record.
pub const HEADER_BYTES: usize = 8;

/// Writes one frame, its content given in parts.
pub fn write(into: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut checksum = crc32fast::Hasher::new();
    parts.iter().for_each(|part| checksum.update(part));
    into.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    into.extend(checksum.finalize().to_le_bytes());
    parts.iter().for_each(|part| into.extend_from_slice(part));
}

/// What lies at the beginning of `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole frame, and what follows it.
    Whole {
        /// What it holds.
        content: &'a [u8],
        /// What comes next.
        rest: &'a [u8],
    },
    /// Nothing: a length of zero, or no more bytes.
    End,
    /// A frame that is cut or whose checksum does not fit.
    Torn,
}

/// Reads one frame.
#[must_use]
pub fn read(bytes: &[u8]) -> Frame<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return if bytes.iter().all(|byte| *byte == 0) { Frame::End } else { Frame::Torn };
    };
    let length = u32::from_le_bytes(*length);
    if length == 0 {
        return if rest.iter().take(4).all(|byte| *byte == 0) { Frame::End } else { Frame::Torn };
    }
    let whole = rest.split_first_chunk::<4>().and_then(|(checksum, rest)| {
        let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        (crc32fast::hash(content) == u32::from_le_bytes(*checksum)).then_some((content, rest))
    });
    match whole {
        Some((content, rest)) => Frame::Whole { content, rest },
        None => Frame::Torn,
    }
}

/// Every whole frame of `bytes`, in order; `true` when they end with [`Frame::End`].
#[must_use]
pub fn read_all(mut bytes: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut found = Vec::new();
    loop {
        match read(bytes) {
            Frame::Whole { content, rest } => {
                found.push(content);
                bytes = rest;
            }
            Frame::End => return (found, true),
            Frame::Torn => return (found, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cut_frame_is_torn_and_those_before_it_are_whole(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..6),
            cut in 1_usize..48,
        ) {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| write(&mut bytes, &[record]));
            let (all, ended) = read_all(&bytes);
            prop_assert!(ended && all.len() == records.len());
            let last = HEADER_BYTES + records.last().map_or(0, Vec::len);
            let cut = cut.min(last - 1);
            let (whole, ended) = read_all(&bytes[..bytes.len() - cut]);
            prop_assert_eq!(whole.len(), records.len() - 1);
            prop_assert!(!ended);
        }
    }

    #[test]
    fn empty_room_ends_a_segment() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[b"one"]);
        bytes.extend([0; 64]);
        assert_eq!(read_all(&bytes), (vec![&b"one"[..]], true));
    }
}
