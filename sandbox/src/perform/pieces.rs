//! Pieces of what a program writes, given out while it runs to whoever asked for them. A reader that is slow
//! holds the program up, until its call's time is over; one that is gone ends the call.

use contract::base64;
use contract::piece::{BEGIN, END, ITEMS_BYTES_MAX, Output, PIECE_BYTES_MAX, Piece};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// Where pieces go: nowhere, for a call that does not stream.
pub(super) struct Pieces<'a> {
    to: Option<&'a File>,
    /// How many bytes of items may follow.
    left: usize,
    /// Of each output the beginning of a character whose end is not there yet.
    begun: [Vec<u8>; 2],
}

impl<'a> Pieces<'a> {
    pub(super) fn new(answer: &'a File, streams: bool) -> Self {
        Self { to: streams.then_some(answer), left: ITEMS_BYTES_MAX, begun: Default::default() }
    }

    /// What has an error once the reader is gone.
    pub(super) fn reader(&self) -> Option<BorrowedFd<'a>> {
        self.to.map(AsFd::as_fd)
    }

    /// Gives out `part` of an output; after an empty one nothing follows.
    pub(super) fn give(&mut self, output: Output, part: &[u8]) -> Result<(), &'static str> {
        let Some(to) = self.to else { return Ok(()) };
        let [stdout, stderr] = &mut self.begun;
        let begun = if output == Output::Stdout { stdout } else { stderr };
        let mut bytes = std::mem::take(begun);
        bytes.extend_from_slice(part);
        let after = if part.is_empty() { 0 } else { unfinished(&bytes) };
        let (mut whole, rest) = bytes.split_at(bytes.len() - after);
        *begun = rest.to_vec();
        while !whole.is_empty() {
            let most = whole
                .get(..PIECE_BYTES_MAX)
                .map_or(whole.len(), |most| PIECE_BYTES_MAX - unfinished(most));
            let (first, others) = whole.split_at(most);
            let item = item(output, first);
            // what no longer fits is not given, and nothing after it
            self.left = self.left.saturating_sub(item.len());
            if self.left == 0 {
                return Ok(());
            }
            (&*to).write_all(&item).map_err(|_reader_gone| "unread")?;
            whole = others;
        }
        Ok(())
    }
}

fn item(output: Output, bytes: &[u8]) -> Vec<u8> {
    let (content, base64) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_no_text) => (base64::write(bytes), true),
    };
    let mut item = vec![BEGIN];
    // text has no form that JSON lacks
    serde_json::to_writer(&mut item, &Piece { output, content, base64 }).ok();
    item.push(END);
    item
}

/// How many bytes at the end begin a character of UTF-8 and do not end it.
fn unfinished(bytes: &[u8]) -> usize {
    let begins = |last: &[u8]| {
        let error = std::str::from_utf8(last).err();
        error.is_some_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    let last = |count: usize| bytes.len().checked_sub(count).and_then(|at| bytes.get(at..));
    (1..=3).find(|count| last(*count).is_some_and(begins)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::piece::{ITEM_BYTES_MAX, Next, next};
    use std::io::{Read, Seek};

    /// What is given of an output that comes in `parts`.
    fn given<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<Piece> {
        let file = channel::sealed::empty().unwrap();
        let mut file = File::from(file);
        let mut pieces = Pieces::new(&file, true);
        for part in parts {
            pieces.give(Output::Stdout, part).unwrap();
        }
        pieces.give(Output::Stdout, b"").unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes.len() <= ITEMS_BYTES_MAX);
        let (mut rest, mut given) = (bytes.as_slice(), Vec::new());
        while let Next::Item(item, length) = next(rest, 0) {
            assert!(length <= ITEM_BYTES_MAX, "{length}");
            given.push(serde_json::from_slice(item).unwrap());
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        given
    }

    fn bytes(pieces: &[Piece]) -> Vec<u8> {
        let bytes = |piece: &Piece| match piece.base64 {
            true => base64::read(&piece.content).unwrap(),
            false => piece.content.as_bytes().to_vec(),
        };
        pieces.iter().flat_map(bytes).collect()
    }

    #[test]
    fn no_character_is_cut_and_what_is_none_is_base64() {
        let text = "aé€😀\0".repeat(2_000);
        for length in [1, 2, 3, 7, PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX, 64 << 10] {
            let pieces = given(text.as_bytes().chunks(length));
            assert!(pieces.iter().all(|piece| !piece.base64), "{length}");
            assert_eq!(bytes(&pieces), text.as_bytes(), "{length}");
        }
        // an end within a character, bytes that are no text, and a whole character after them
        for raw in [&b"a\xe2\x82"[..], b"\xff\xfe\n\xc3", b"\xc3\xa9\xf0\x9f\x98"] {
            for length in 1..=raw.len() {
                assert_eq!(bytes(&given(raw.chunks(length))), raw, "{length}");
            }
        }
        let pieces = given([&b"\xff\xc3"[..], b"\xa9"].into_iter());
        let seen: Vec<_> =
            pieces.iter().map(|piece| (piece.content.as_str(), piece.base64)).collect();
        assert_eq!(seen, [("/w==", true), ("é", false)]);
    }

    #[test]
    fn pieces_have_a_bound_and_are_a_beginning() {
        // the longest items that there are, and the most
        let control = vec![1; 4 << 20];
        let pieces = given(control.chunks(64 << 10));
        let length = bytes(&pieces).len();
        assert!(length > 1 << 20 && length < control.len(), "{length}");
        let many = vec![b'x'; 1 << 20];
        let length = bytes(&given(many.chunks(1))).len();
        assert!(length > 100 << 10 && length < many.len(), "{length}");
    }

    #[test]
    fn who_did_not_ask_gets_none() {
        let file = File::from(channel::sealed::empty().unwrap());
        let mut pieces = Pieces::new(&file, false);
        pieces.give(Output::Stdout, b"x").unwrap();
        assert!(pieces.reader().is_none() && file.metadata().unwrap().len() == 0);
    }
}
