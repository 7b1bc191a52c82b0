//! Bytes as digits of a smaller base, which texts are made of: 4 bits are hexadecimal, 5 the letters of
//! a pairing code, 6 base 64.

/// The bytes as digits of `bits` bits each, most significant first, the last one filled with zeros.
pub fn split(bytes: &[u8], bits: u32) -> impl Iterator<Item = u8> + '_ {
    let (mut bytes, mut held, mut have) = (bytes.iter(), 0_u32, 0);
    std::iter::from_fn(move || {
        if have < bits {
            match bytes.next() {
                Some(byte) => {
                    held = held << 8 | u32::from(*byte);
                    have += 8;
                }
                None if have == 0 => return None,
                None => {
                    held <<= bits - have;
                    have = bits;
                }
            }
        }
        have -= bits;
        let digit = held >> have;
        held &= (1 << have) - 1;
        u8::try_from(digit).ok()
    })
}

/// The bytes that [`split`] made these digits of; `None` when there is no such text.
pub fn join(digits: impl Iterator<Item = Option<u8>>, bits: u32) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut have) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        held = held << bits | u32::from(digit?);
        have += bits;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from(held >> have).ok()?);
            held &= (1 << have) - 1;
        }
    }
    (held == 0 && have < bits).then_some(bytes)
}

/// Bytes as hexadecimal digits in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    split(bytes, 4).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// Bytes from hexadecimal digits in lower case, two for each.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    join(text.bytes().map(digit), 4)
}

/// So many bytes from hexadecimal digits, and no others.
#[must_use]
pub fn unhex_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_of_any_base_come_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            bits in 4_u32..=6,
        ) {
            let digits: Vec<u8> = split(&bytes, bits).collect();
            prop_assert!(digits.iter().all(|digit| u32::from(*digit) < 1 << bits));
            prop_assert_eq!(join(digits.into_iter().map(Some), bits), Some(bytes));
        }

        #[test]
        fn hexadecimal_is_what_the_language_writes(bytes in any::<[u8; 16]>()) {
            let text = format!("{:032x}", u128::from_be_bytes(bytes));
            prop_assert_eq!(unhex_array(&text), Some(bytes));
            prop_assert_eq!(unhex_array::<15>(&text), None);
            prop_assert_eq!(hex(&bytes), text);
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        for text in ["0", "0g", "AA", "0 ", "é", "000"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
