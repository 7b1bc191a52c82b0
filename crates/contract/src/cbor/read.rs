//! Reading: a serde data format over bytes that [`super::check`] passed, so that what is left to refuse
//! is another shape than the type's. Each type has one spelling: a structure is a map and never a list,
//! a text is never bytes, a variant without content is its name and one with content a map of one.

use super::{CborError, head};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// The items that are not read yet.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
}

/// What an item begins with, and for bytes and texts all of it.
enum Head<'de> {
    Positive(u64),
    /// -1 less this.
    Negative(u64),
    Bytes(&'de [u8]),
    Text(&'de str),
    List(u64),
    Map(u64),
    Simple(u8),
}

impl<'de> Reader<'de> {
    /// Of one item that was checked.
    pub(super) const fn new(checked: &'de [u8]) -> Self {
        Self { rest: checked }
    }

    fn first(&self) -> u8 {
        self.rest.first().copied().unwrap_or_default()
    }

    fn take(&mut self, length: u64) -> Result<&'de [u8], CborError> {
        let length = usize::try_from(length).map_err(CborError::custom)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Head<'de>, CborError> {
        let first = self.first();
        let (major, argument, rest) = head(self.rest)?;
        self.rest = rest;
        Ok(match major {
            0 => Head::Positive(argument),
            1 => Head::Negative(argument),
            2 => Head::Bytes(self.take(argument)?),
            3 => {
                let text = std::str::from_utf8(self.take(argument)?);
                Head::Text(text.map_err(CborError::custom)?)
            }
            4 => Head::List(argument),
            5 => Head::Map(argument),
            _ => Head::Simple(first),
        })
    }

    fn text(&mut self) -> Result<&'de str, CborError> {
        match self.next()? {
            Head::Text(text) => Ok(text),
            other => Err(other.instead_of("a text")),
        }
    }
}

fn ends_early() -> CborError {
    CborError::Decode("it ends early".to_owned())
}

impl Head<'_> {
    fn instead_of(&self, wanted: &str) -> CborError {
        let is = match self {
            Self::Positive(_) | Self::Negative(_) => "a number",
            Self::Bytes(_) => "bytes",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Simple(NULL) => "null",
            Self::Simple(_) => "a truth value",
        };
        CborError::Decode(format!("{is} where {wanted} is expected"))
    }
}

/// Hints that ask for the same form.
macro_rules! hints {
    ($($hint:ident => $form:ident),*) => {$(
        fn $hint<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
            self.$form(visitor)
        }
    )*};
}

impl<'de> Reader<'de> {
    fn truth<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::Simple(simple @ (FALSE | TRUE)) => visitor.visit_bool(simple == TRUE),
            other => Err(other.instead_of("a truth value")),
        }
    }

    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::Positive(number) => visitor.visit_u64(number),
            Head::Negative(number) => visit_negative(visitor, number),
            other => Err(other.instead_of("a number")),
        }
    }

    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CborError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn byte_string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            other => Err(other.instead_of("bytes")),
        }
    }

    fn null<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::Simple(NULL) => visitor.visit_unit(),
            other => Err(other.instead_of("null")),
        }
    }

    fn real<V: Visitor<'de>>(&mut self, _visitor: V) -> Result<V::Value, CborError> {
        Err(CborError::NotDeterministic)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = CborError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::Positive(number) => visitor.visit_u64(number),
            Head::Negative(number) => visit_negative(visitor, number),
            Head::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Head::Text(text) => visitor.visit_borrowed_str(text),
            Head::List(left) => visitor.visit_seq(Items { reader: self, left }),
            Head::Map(left) => visitor.visit_map(Items { reader: self, left }),
            Head::Simple(NULL) => visitor.visit_unit(),
            Head::Simple(simple) => visitor.visit_bool(simple == TRUE),
        }
    }

    hints!(deserialize_bool => truth, deserialize_i8 => number, deserialize_i16 => number,
        deserialize_i32 => number, deserialize_i64 => number, deserialize_u8 => number,
        deserialize_u16 => number, deserialize_u32 => number, deserialize_u64 => number,
        deserialize_char => string, deserialize_str => string, deserialize_string => string,
        deserialize_identifier => string, deserialize_bytes => byte_string,
        deserialize_byte_buf => byte_string, deserialize_unit => null, deserialize_f32 => real,
        deserialize_f64 => real);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        if self.first() == NULL {
            self.next()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::List(left) => {
                let mut items = Items { reader: self, left };
                let value = visitor.visit_seq(&mut items)?;
                if items.left == 0 { Ok(value) } else { Err(longer("the list")) }
            }
            other => Err(other.instead_of("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        match self.next()? {
            Head::Map(left) => {
                let mut items = Items { reader: self, left };
                let value = visitor.visit_map(&mut items)?;
                if items.left == 0 { Ok(value) } else { Err(longer("the map")) }
            }
            other => Err(other.instead_of("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        if self.first() >> 5 == 3 {
            return visitor.visit_enum(Variant { reader: self, content: false });
        }
        match self.next()? {
            Head::Map(1) => visitor.visit_enum(Variant { reader: self, content: true }),
            other => Err(other.instead_of("a variant's name, or a map of one")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

fn visit_negative<'de, V: Visitor<'de>>(visitor: V, below: u64) -> Result<V::Value, CborError> {
    let number = i64::try_from(below).map_err(CborError::custom)?;
    visitor.visit_i64(-1 - number)
}

fn longer(what: &str) -> CborError {
    CborError::Decode(format!("{what} is longer than expected"))
}

/// The items of a list or a map.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: u64,
}

impl<'de> Items<'_, 'de> {
    /// The next item, or the next key.
    fn item<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CborError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    /// How many there will be, as far as the bytes could hold them.
    fn size(&self) -> Option<usize> {
        Some(usize::try_from(self.left).ok()?.min(self.reader.rest.len()))
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = CborError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CborError> {
        self.item(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.size()
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = CborError;

    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CborError> {
        self.item(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, CborError> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        self.size()
    }
}

/// A variant, at its name.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    content: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = CborError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), CborError> {
        let name = self.reader.text()?;
        let named = seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(name))?;
        Ok((named, self))
    }
}

impl<'de> Variant<'_, 'de> {
    fn with_content(self) -> Result<Self, CborError> {
        if self.content {
            Ok(self)
        } else {
            Err(CborError::custom("a variant without its content"))
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = CborError;

    fn unit_variant(self) -> Result<(), CborError> {
        if self.content { Err(CborError::custom("a variant has no content")) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CborError> {
        seed.deserialize(self.with_content()?.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.with_content()?.reader.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.with_content()?.reader.deserialize_map(visitor)
    }
}
