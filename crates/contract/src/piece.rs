//! What a program wrote, in pieces, on their way while it runs. They stand before the answer of its call, in
//! the same pipe or file, each as an item of a JSON text sequence (RFC 7464): RS, one JSON object, LF. No
//! JSON text begins with RS or holds one, so the answer begins at the first byte that begins no item, and
//! nothing that a program writes can be taken for another item or for the answer.

use serde::{Deserialize, Serialize};

/// What an item begins with: RS.
pub const BEGIN: u8 = 0x1e;
/// What an item ends with: LF.
pub const END: u8 = b'\n';
/// The media type of items.
pub const MEDIA_TYPE: &str = "application/json-seq";
/// Most bytes of a program's output in one piece.
pub const PIECE_BYTES_MAX: usize = 8 << 10;
/// Longest item, in bytes: a control character takes six in JSON.
pub const ITEM_BYTES_MAX: usize = 64 << 10;
/// Most bytes of all items of a call; what is beyond them is in its answer alone.
pub const ITEMS_BYTES_MAX: usize = 8 << 20;

/// Where a program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// A piece of what a program wrote. Those of one output, in their order, are the beginning of what the
/// answer has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Where it wrote that.
    pub output: Output,
    /// What it wrote: whole characters, or base64.
    pub content: String,
    /// Whether it is base64, for bytes that are no UTF-8.
    pub base64: bool,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// An item: what is between its marks, and how long it is with them.
    Item(&'a [u8], usize),
    /// Perhaps the beginning of an item, perhaps nothing yet.
    Part,
    /// The answer.
    Answer,
}

/// What `bytes` begin with; the end of an item is not among the first `searched` of them.
#[must_use]
pub fn next(bytes: &[u8], searched: usize) -> Next<'_> {
    let Some((first, rest)) = bytes.split_first() else { return Next::Part };
    if *first != BEGIN {
        return Next::Answer;
    }
    let from = searched.saturating_sub(1);
    let within = rest.get(from..rest.len().min(ITEM_BYTES_MAX - 1)).unwrap_or_default();
    match within.iter().position(|byte| *byte == END) {
        Some(at) => Next::Item(rest.get(..from + at).unwrap_or_default(), from + at + 2),
        None if bytes.len() < ITEM_BYTES_MAX => Next::Part,
        None => Next::Answer,
    }
}

/// The answer that follows the items; nothing where they were cut off.
#[must_use]
pub fn answer(mut bytes: &[u8]) -> &[u8] {
    loop {
        match next(bytes, 0) {
            Next::Item(_, length) => bytes = bytes.get(length..).unwrap_or_default(),
            Next::Part => return &[],
            Next::Answer => return bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_where_no_item_does() {
        for (bytes, kept) in [
            (&b""[..], &b""[..]),
            (b"{\"a\":\n1}", b"{\"a\":\n1}"),
            (b"\x1e{}\n\x1e{}\n{}", b"{}"),
            // cut off within an item, with what looks like an answer in it
            (b"\x1e{}\n\x1e{\"exit\":0}", b""),
            (b"\x1e\n\0\xff", b"\0\xff"),
        ] {
            assert_eq!(answer(bytes), kept);
        }
        let mut item = vec![b'x'; ITEM_BYTES_MAX];
        item[0] = BEGIN;
        assert_eq!(next(&item[..ITEM_BYTES_MAX - 1], 0), Next::Part);
        assert_eq!(next(&item, 0), Next::Answer, "it has no end");
        item[ITEM_BYTES_MAX - 1] = END;
        for searched in [0, 1, ITEM_BYTES_MAX - 1] {
            let Next::Item(within, length) = next(&item, searched) else { panic!("no item") };
            assert_eq!((within.len(), length), (ITEM_BYTES_MAX - 2, ITEM_BYTES_MAX));
        }
    }
}
