//! The first contact between an operator and a box (DESIGN 11): what is sent, and what is under the
//! HMAC-SHA-256 that each side computes with the secret that was never sent.

use crate::digits;
use serde::{Deserialize, Serialize};

/// Bytes of the CA key's SHA-256 in a pairing code.
pub const PIN_BYTES: usize = 10;
/// Bytes of the secret in a pairing code.
pub const SECRET_BYTES: usize = 10;
/// How long a code is good, in milliseconds.
pub const CODE_MS_MAX: u64 = 600_000;
/// How often a code may be tried.
pub const TRIES_MAX: u32 = 5;
/// Crockford's alphabet (base 32): no letter that looks like a digit.
pub const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The operator's name.
    pub name: String,
    /// Their Ed25519 key, 64 hexadecimal digits.
    pub key: String,
    /// Their age recipient.
    pub recipient: String,
    /// HMAC over [`transcript`] with [`CLIENT`], 64 hexadecimal digits.
    pub mac: String,
}

/// Which side speaks.
pub const CLIENT: &str = "kruxos pair client 1";
/// The box's answer.
pub const BOX: &str = "kruxos pair box 1";
/// The box's proof to the operator whose key is in META, before that operator sends anything.
pub const PROOF: &str = "kruxos prove box 1";

/// What is under the HMAC: each part with its length before it.
#[must_use]
pub fn transcript(
    side: &str,
    ca_key: &[u8; 32],
    name: &str,
    key: &str,
    recipient: &str,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [side.as_bytes(), ca_key, name.as_bytes(), key.as_bytes(), recipient.as_bytes()] {
        bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

/// Bytes in base 32, in groups of four.
#[must_use]
pub fn write_code(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, digit) in digits::split(bytes, 5).enumerate() {
        if index > 0 && index % 4 == 0 {
            text.push('-');
        }
        text.extend(ALPHABET.get(usize::from(digit)).copied().map(char::from));
    }
    text
}

/// Bytes from base 32; `-`, spaces and case do not count, `O` is 0, `I` and `L` are 1.
#[must_use]
pub fn read_code(text: &str) -> Option<Vec<u8>> {
    let letters = text.chars().filter(|c| !matches!(c, '-' | ' '));
    let digits = letters.map(|letter| {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let place = ALPHABET.iter().position(|known| char::from(*known) == letter)?;
        u8::try_from(place).ok()
    });
    if text.len() < 128 { digits::join(digits, 5) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_read_as_it_was_written(bytes in proptest::collection::vec(any::<u8>(), 20)) {
            let code = write_code(&bytes);
            prop_assert_eq!(code.len(), 39);
            prop_assert_eq!(read_code(&code.to_lowercase()), Some(bytes));
        }
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let one = transcript(CLIENT, &[0; 32], "ab", "c", "");
        assert_ne!(one, transcript(CLIENT, &[0; 32], "a", "bc", ""));
        assert_ne!(one, transcript(BOX, &[0; 32], "ab", "c", ""));
    }
}
