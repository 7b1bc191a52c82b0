//! Deterministic CBOR (RFC 8949 section 4.2.1): one value has one encoding, and a decoder that
//! meets another one refuses it, so that a digest over bytes is a digest over meaning.

use ciborium::Value;
use serde::{Serialize, de::DeserializeOwned};

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

/// Writes `value` in its one deterministic form.
///
/// # Errors
/// [`CborError::Encode`] for values that CBOR or this profile lacks (floating point numbers).
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
    let value = Value::serialized(value).map_err(|error| CborError::Encode(error.to_string()))?;
    encode_value(value)
}

/// Reads a value that is written in its one deterministic form, with nothing after it.
///
/// # Errors
/// [`CborError::Decode`] and [`CborError::NotDeterministic`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let value: Value =
        ciborium::de::from_reader_with_recursion_limit(bytes, crate::limits::CBOR_DEPTH_MAX)
            .map_err(|error| CborError::Decode(error.to_string()))?;
    if encode_value(value.clone())? != bytes {
        return Err(CborError::NotDeterministic);
    }
    value.deserialized().map_err(|error| CborError::Decode(error.to_string()))
}

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
                keyed.push((encode_value(key.clone())?, key, sorted(item)?));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ToInit, ToService};
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

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(message) = decode::<ToInit>(&bytes) {
                prop_assert_eq!(encode(&message).unwrap(), bytes);
            }
        }
    }
}
