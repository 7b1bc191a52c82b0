//! Deterministic CBOR (RFC 8949 section 4.2.1): one value has one encoding, and a decoder that
//! meets another one refuses it, so that a digest over bytes is a digest over meaning. Why this is our
//! own: docs/decisions/0011.

mod read;
mod write;

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// The value cannot be written as CBOR.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The bytes are no CBOR, or not of the expected shape.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// The bytes say the right thing in another than the one deterministic way.
    #[error("not deterministic CBOR")]
    NotDeterministic,
}

impl serde::ser::Error for CborError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Encode(message.to_string())
    }
}

impl serde::de::Error for CborError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Decode(message.to_string())
    }
}

/// Writes `value` in its one deterministic form.
///
/// # Errors
/// [`CborError::Encode`] for values that CBOR or this profile lacks (floating point numbers).
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(write::Writer { bytes: &mut bytes })?;
    Ok(bytes)
}

/// Reads a value that is written in its one deterministic form, with nothing after it.
///
/// Not for internally tagged or flattened types: serde reads those by way of a form of its own, in which
/// a text may be a byte string. Statements and pairing requests, which are such, travel as JSON.
///
/// # Errors
/// [`CborError::Decode`] and [`CborError::NotDeterministic`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let rest = item(bytes, crate::limits::CBOR_DEPTH_MAX)?;
    if !rest.is_empty() {
        return Err(CborError::NotDeterministic);
    }
    T::deserialize(&mut read::Reader::new(bytes))
}

/// Checks that `bytes` begin with one item in its one deterministic form, without building it: every
/// message and every record passes here. Returns what follows the item.
fn item(bytes: &[u8], depth: usize) -> Result<&[u8], CborError> {
    let cut = || CborError::Decode("it ends early".to_owned());
    let deeper = || {
        depth.checked_sub(1).ok_or_else(|| CborError::Decode("it is nested too deeply".to_owned()))
    };
    let (major, argument, mut rest) = head(bytes)?;
    let length = usize::try_from(argument).map_err(|_error| cut());
    match major {
        0 | 1 => Ok(rest),
        2 => Ok(rest.split_at_checked(length?).ok_or_else(cut)?.1),
        3 => {
            let (text, rest) = rest.split_at_checked(length?).ok_or_else(cut)?;
            std::str::from_utf8(text).map_err(|error| CborError::Decode(error.to_string()))?;
            Ok(rest)
        }
        4 => {
            let depth = deeper()?;
            for _ in 0..argument {
                rest = item(rest, depth)?;
            }
            Ok(rest)
        }
        5 => {
            let depth = deeper()?;
            let mut last: &[u8] = &[];
            for _ in 0..argument {
                let after = item(rest, depth)?;
                let key = rest.get(..rest.len() - after.len()).ok_or_else(cut)?;
                if key <= last {
                    return Err(CborError::NotDeterministic);
                }
                last = key;
                rest = item(after, depth)?;
            }
            Ok(rest)
        }
        // false, true, null; no tag, no floating point number, nothing undefined
        7 if matches!(bytes.first(), Some(0xf4..=0xf6)) => Ok(rest),
        _ => Err(CborError::NotDeterministic),
    }
}

/// Major type and argument of an item (RFC 8949 section 3), the argument as short as it can be.
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), CborError> {
    let cut = || CborError::Decode("it ends early".to_owned());
    let (first, rest) = bytes.split_first().ok_or_else(cut)?;
    let (major, short) = (first >> 5, first & 0x1f);
    let width = match short {
        0..=23 => return Ok((major, u64::from(short), rest)),
        24..=27 => 1_usize << (short - 24),
        _ => return Err(CborError::NotDeterministic),
    };
    let (argument, rest) = rest.split_at_checked(width).ok_or_else(cut)?;
    let argument = argument.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let least = if width == 1 { 24 } else { 1_u64 << (width * 4) };
    if argument < least {
        return Err(CborError::NotDeterministic);
    }
    Ok((major, argument, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ToInit, ToService};
    use ciborium::Value;
    use proptest::prelude::*;

    #[test]
    fn keys_are_sorted_and_lengths_shortest() {
        let value: std::collections::HashMap<&str, u8> =
            [("bb", 1), ("a", 2), ("c", 3)].into_iter().collect();
        let bytes = encode(&value).unwrap();
        assert_eq!(bytes, b"\xa3\x61a\x02\x61c\x03\x62bb\x01");
    }

    #[test]
    fn another_spelling_of_the_same_value_is_refused() {
        assert!(matches!(decode::<u64>(&[0x18, 0x05]), Err(CborError::NotDeterministic)));
        assert!(matches!(decode::<u64>(&[0x05, 0x00]), Err(CborError::NotDeterministic)));
        assert_eq!(decode::<u64>(&[0x05]).unwrap(), 5);
    }

    #[test]
    fn messages_survive() {
        let message = ToService::Edge { name: "pdp-audit".to_owned() };
        assert_eq!(decode::<ToService>(&encode(&message).unwrap()).unwrap(), message);
    }

    /// The other implementation, which these must agree with.
    fn encode_value(value: Value) -> Result<Vec<u8>, CborError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(&sorted(value)?, &mut bytes)
            .map_err(|error| CborError::Encode(error.to_string()))?;
        Ok(bytes)
    }

    /// Sorts the keys of every map by the bytes of their encoding.
    fn sorted(value: Value) -> Result<Value, CborError> {
        Ok(match value {
            Value::Array(items) => {
                Value::Array(items.into_iter().map(sorted).collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => {
                let mut keyed = Vec::with_capacity(entries.len());
                for (key, item) in entries {
                    keyed.push((encode_value(key.clone())?, sorted(key)?, sorted(item)?));
                }
                keyed.sort_by(|a, b| a.0.cmp(&b.0));
                if keyed.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
                    return Err(CborError::NotDeterministic);
                }
                Value::Map(keyed.into_iter().map(|(_, key, item)| (key, item)).collect())
            }
            Value::Float(_) => return Err(CborError::Encode("floating point number".to_owned())),
            other => other,
        })
    }

    /// What the check must say: decoded as any value and written again, the bytes are the same.
    fn is_its_own_encoding(bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let value: Result<Value, _> = ciborium::from_reader(&mut rest);
        value.is_ok_and(|value| encode_value(value).is_ok_and(|again| again == bytes))
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| Value::Integer(number.into())),
            any::<u64>().prop_map(|number| Value::Integer(number.into())),
            "[a-z\u{e9}]{0,30}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let pairs = proptest::collection::vec((inner.clone(), inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::Array),
                pairs.prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_implementation_writes_and_reads_the_same(value in any_value()) {
            match encode_value(value.clone()) {
                Ok(theirs) => {
                    prop_assert_eq!(&encode(&value).unwrap(), &theirs);
                    let read: Value = decode(&theirs).unwrap();
                    prop_assert_eq!(encode(&read).unwrap(), theirs);
                }
                Err(_) => prop_assert!(encode(&value).is_err()),
            }
        }

        #[test]
        fn messages_are_read_as_another_implementation_reads_them(
            name in "[a-z]{0,40}",
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let mut bytes = encode(&ToService::Edge { name }).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let mut rest = &bytes[..];
            let theirs = ciborium::from_reader::<Value, _>(&mut rest).ok()
                .and_then(|value| value.deserialized::<ToService>().ok());
            if let Ok(ours) = decode::<ToService>(&bytes) {
                prop_assert_eq!(Some(ours), theirs);
            } else {
                prop_assert!(theirs.is_none() || !is_its_own_encoding(&bytes));
            }
        }

        #[test]
        fn the_one_encoding_passes_and_any_other_does_not(
            value in any_value(),
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            if let Ok(mut bytes) = encode_value(value) {
                prop_assert!(item(&bytes, 16).is_ok_and(<[u8]>::is_empty));
                let at = at.index(bytes.len());
                bytes[at] ^= 1_u8 << bit;
                let passes = item(&bytes, 16).is_ok_and(<[u8]>::is_empty);
                prop_assert!(!passes || is_its_own_encoding(&bytes), "{bytes:02x?}");
            }
        }

        #[test]
        fn any_bytes_pass_only_in_their_one_encoding(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let passes = item(&bytes, 16).is_ok_and(<[u8]>::is_empty);
            prop_assert!(!passes || is_its_own_encoding(&bytes), "{bytes:02x?}");
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(message) = decode::<ToInit>(&bytes) {
                prop_assert_eq!(encode(&message).unwrap(), bytes);
            }
        }
    }
}
