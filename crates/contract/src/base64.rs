//! Bytes as text: base 64 with padding (RFC 4648 section 4), in its one canonical form.

use crate::digits;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes.
#[must_use]
pub fn write(bytes: &[u8]) -> String {
    let letters = digits::split(bytes, 6)
        .filter_map(|digit| LETTERS.get(usize::from(digit)).copied().map(char::from));
    let mut text: String = letters.collect();
    let padding = text.len().next_multiple_of(4) - text.len();
    text.extend(std::iter::repeat_n('=', padding));
    text
}

/// Reads bytes; `None` for anything that [`write()`] does not write.
#[must_use]
pub fn read(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| {
        let place = LETTERS.iter().position(|known| *known == letter)?;
        u8::try_from(place).ok()
    };
    let bytes = digits::join(text.trim_end_matches('=').bytes().map(digit), 6)?;
    (write(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_the_rfcs() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(write(plain.as_bytes()), coded);
            assert_eq!(read(coded), Some(plain.as_bytes().to_vec()));
        }
        for other in ["Zg", "Zh==", "Zg=", "Zg===", "Z!==", "Zg==Zg=="] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(read(&write(&bytes)), Some(bytes));
        }
    }
}
