//! Writing: a serde data format whose maps are sorted by the bytes of their keys, whose lengths are
//! known, and which has no floating point numbers.

use super::CborError;
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// Appends items to bytes.
pub(super) struct Writer<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
}

/// Writes major type and argument in the shortest form (RFC 8949 section 4.2.1).
fn head(bytes: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let [.., c, d, e, f, g, h, i, j] = argument.to_be_bytes();
    match argument {
        0..=23 => bytes.push(major | j),
        24..=0xff => bytes.extend([major | 24, j]),
        0x100..=0xffff => bytes.extend([major | 25, i, j]),
        0x1_0000..=0xffff_ffff => bytes.extend([major | 26, g, h, i, j]),
        _ => bytes.extend([major | 27, c, d, e, f, g, h, i, j]),
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl<'a> Writer<'a> {
    fn text(&mut self, text: &str) {
        head(self.bytes, 3, length(text.len()));
        self.bytes.extend(text.as_bytes());
    }

    /// A variant with content: a map of its name to it.
    fn variant(self, name: &str) -> Self {
        let mut writer = self;
        head(writer.bytes, 5, 1);
        writer.text(name);
        writer
    }

    fn list(self, count: usize) -> List<'a> {
        head(self.bytes, 4, length(count));
        List { bytes: self.bytes, left: count }
    }

    fn map(self, count: usize) -> Map<'a> {
        Map { bytes: self.bytes, written: Vec::new(), entries: Vec::with_capacity(count) }
    }
}

/// Numbers of every width are one kind of item.
macro_rules! numbers {
    ($($method:ident: $number:ty => $wide:ident),*) => {$(
        fn $method(self, number: $number) -> Result<(), CborError> {
            self.$wide(number.into())
        }
    )*};
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = CborError;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Map<'a>;
    type SerializeStruct = Map<'a>;
    type SerializeStructVariant = Map<'a>;

    numbers!(serialize_i8: i8 => serialize_i64, serialize_i16: i16 => serialize_i64,
        serialize_i32: i32 => serialize_i64, serialize_u8: u8 => serialize_u64,
        serialize_u16: u16 => serialize_u64, serialize_u32: u32 => serialize_u64);

    fn serialize_u64(self, number: u64) -> Result<(), CborError> {
        head(self.bytes, 0, number);
        Ok(())
    }

    fn serialize_i64(self, number: i64) -> Result<(), CborError> {
        let major = u8::from(number < 0);
        // what a negative number is written as is its complement: -1 less it
        head(self.bytes, major, if number < 0 { !number } else { number }.cast_unsigned());
        Ok(())
    }

    fn serialize_f32(self, _number: f32) -> Result<(), CborError> {
        Err(CborError::custom("floating point number"))
    }

    fn serialize_f64(self, _number: f64) -> Result<(), CborError> {
        Err(CborError::custom("floating point number"))
    }

    fn serialize_bool(self, truth: bool) -> Result<(), CborError> {
        self.bytes.push(if truth { TRUE } else { FALSE });
        Ok(())
    }

    fn serialize_char(mut self, character: char) -> Result<(), CborError> {
        self.text(character.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(mut self, text: &str) -> Result<(), CborError> {
        self.text(text);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CborError> {
        head(self.bytes, 2, length(bytes.len()));
        self.bytes.extend(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CborError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CborError> {
        self.bytes.push(NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CborError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), CborError> {
        self.text(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        value.serialize(self.variant(variant))
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<List<'a>, CborError> {
        let count = count.ok_or_else(|| CborError::custom("a list of unknown length"))?;
        Ok(self.list(count))
    }

    fn serialize_tuple(self, count: usize) -> Result<List<'a>, CborError> {
        Ok(self.list(count))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        count: usize,
    ) -> Result<List<'a>, CborError> {
        Ok(self.list(count))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<List<'a>, CborError> {
        Ok(self.variant(variant).list(count))
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Map<'a>, CborError> {
        Ok(self.map(count.unwrap_or(0)))
    }

    fn serialize_struct(self, _name: &'static str, count: usize) -> Result<Map<'a>, CborError> {
        Ok(self.map(count))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Map<'a>, CborError> {
        Ok(self.variant(variant).map(count))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A list, whose length is written.
pub(super) struct List<'a> {
    bytes: &'a mut Vec<u8>,
    left: usize,
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        let another = || CborError::custom("a list of another length than it said");
        self.left = self.left.checked_sub(1).ok_or_else(another)?;
        value.serialize(Writer { bytes: self.bytes })
    }

    fn ended(self) -> Result<(), CborError> {
        if self.left == 0 {
            Ok(())
        } else {
            Err(CborError::custom("a list of another length than it said"))
        }
    }
}

/// A map: its entries are written apart, then sorted by their keys' bytes.
pub(super) struct Map<'a> {
    bytes: &'a mut Vec<u8>,
    written: Vec<u8>,
    /// Of each entry where its key and its value end.
    entries: Vec<(usize, usize)>,
}

impl Map<'_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CborError> {
        key.serialize(Writer { bytes: &mut self.written })?;
        self.entries.push((self.written.len(), 0));
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(Writer { bytes: &mut self.written })?;
        if let Some(last) = self.entries.last_mut() {
            last.1 = self.written.len();
        }
        Ok(())
    }

    fn ended(self) -> Result<(), CborError> {
        let Self { bytes, written, entries } = self;
        let mut at = 0;
        let mut sorted = Vec::with_capacity(entries.len());
        for (key_end, end) in entries {
            let (key, entry) = (written.get(at..key_end), written.get(at..end));
            let (Some(key), Some(entry)) = (key, entry) else {
                return Err(CborError::custom("a key without its value"));
            };
            sorted.push((key, entry));
            at = end;
        }
        sorted.sort_unstable_by_key(|(key, _)| *key);
        if sorted.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(CborError::NotDeterministic);
        }
        head(bytes, 5, length(sorted.len()));
        sorted.iter().for_each(|(_, entry)| bytes.extend(*entry));
        Ok(())
    }
}

/// serde's names for a list.
macro_rules! lists {
    ($($of:ident: $item:ident),*) => {$(
        impl $of for List<'_> {
            type Ok = ();
            type Error = CborError;

            fn $item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
                self.item(value)
            }

            fn end(self) -> Result<(), CborError> {
                self.ended()
            }
        }
    )*};
}

lists!(SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field);

impl SerializeMap for Map<'_> {
    type Ok = ();
    type Error = CborError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CborError> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        self.value(value)
    }

    fn end(self) -> Result<(), CborError> {
        self.ended()
    }
}

/// serde's names for a map whose keys are names.
macro_rules! structures {
    ($($of:ident),*) => {$(
        impl $of for Map<'_> {
            type Ok = ();
            type Error = CborError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), CborError> {
                self.key(name)?;
                self.value(value)
            }

            fn end(self) -> Result<(), CborError> {
                self.ended()
            }
        }
    )*};
}

structures!(SerializeStruct, SerializeStructVariant);
