//! A valid input, and how a type that derives serde's `Deserialize` is read from it.

use std::collections::HashMap;

use rmp_serde::decode::Error;
use serde::{
    Deserialize, Deserializer,
    de::{
        IntoDeserializer, Visitor,
        value::{MapAccessDeserializer, MapDeserializer},
    },
    forward_to_deserialize_any,
};

use super::map::entries;

/// How deep the values of known fields are read; deeper ones are of another type anyway.
const MAX_DEPTH: usize = 8;

/// An input by its entries, each as it came.
pub(in crate::server) struct Input<'a> {
    values: HashMap<&'a str, &'a [u8]>,
}

impl<'a> Input<'a> {
    /// Reads an input that passed [`validate`](super::validate). The error has the words of fal's server.
    pub(in crate::server) fn of(bytes: &'a [u8]) -> Result<Self, String> {
        let entries = entries(bytes).ok_or("Expected a dict as input")?;
        // Of a key that comes twice the last value counts, as in Python.
        Ok(Self { values: entries.collect() })
    }

    /// The encoded value of `request_id`, which results carry as it is.
    pub(in crate::server) fn request_id(&self) -> Option<&'a [u8]> {
        self.values.get("request_id").copied()
    }

    /// The fields that an app knows.
    pub(in crate::server) fn fields<Fields: Deserialize<'a>>(self) -> Result<Fields, String> {
        let values = self.values.into_iter().map(|(key, value)| (key, Encoded(value)));
        Fields::deserialize(MapAccessDeserializer::new(MapDeserializer::new(values)))
            .map_err(|error: Error| error.to_string())
    }
}

/// An encoded value. What nobody asks for is not looked into, however deep it nests.
struct Encoded<'de>(&'de [u8]);

impl<'de> Deserializer<'de> for Encoded<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(self.0);
        deserializer.set_max_depth(MAX_DEPTH);
        deserializer.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

impl<'de> IntoDeserializer<'de, Error> for Encoded<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
