//! The walk over a msgpack message's top level.

use std::borrow::Cow;

use super::{Envelope, EnvelopeKeys, Key, Scalar};
use crate::core::markers;

const TRUNCATED: &str = "the msgpack message is truncated";
const RESERVED: &str = "the msgpack message has the reserved type 0xc1";

/// Classifies a binary message.
///
/// Walks the top level of a msgpack map; values are skipped without descending by recursion, large `bin` and
/// `str` values in constant time. A message that is no map is a result without id. What follows the top-level
/// value, and what is wrong inside of skipped text, is for the decoder to judge.
pub fn classify_binary(message: &[u8]) -> Envelope<'_> {
    classify(message, true)
}

/// Like [`classify_binary`] where nobody asks for the id of a result: it is passed over.
pub fn classify_binary_without_id(message: &[u8]) -> Envelope<'_> {
    classify(message, false)
}

#[inline]
fn classify(message: &[u8], wants_id: bool) -> Envelope<'_> {
    let mut reader = Reader { rest: message, wants_id };
    match reader.classify() {
        Ok(inbound) => inbound,
        Err(why) => Envelope::Malformed { why },
    }
}

type Walk<T> = Result<T, &'static str>;

/// The head of a value: what its marker says about it.
enum ValueHead {
    /// So many bytes follow.
    Bytes(usize),
    /// So many bytes of text follow.
    Text(usize),
    /// So many values follow.
    Array(u64),
    /// So many pairs follow.
    Map(u64),
}

struct Reader<'a> {
    rest: &'a [u8],
    wants_id: bool,
}

/// For each marker how many bytes its value takes, marker included, where the marker alone says so; else 0.
const SIZES: [u8; 256] = {
    let mut sizes = [0; 256];
    let mut marker = 0;
    while marker < 256 {
        let this = marker as u8;
        sizes[marker] = match this {
            0x00..=markers::POSITIVE_FIXINT_LAST
            | markers::NIL
            | markers::FALSE
            | markers::TRUE
            | markers::NEGATIVE_FIXINT..=0xff => 1,
            markers::FIXSTR..=markers::FIXSTR_LAST => 1 + (this & 0x1f),
            markers::UINT_8 | markers::INT_8 => 2,
            markers::UINT_16 | markers::INT_16 => 3,
            markers::FLOAT_32 | markers::UINT_32 | markers::INT_32 => 5,
            markers::FLOAT_64 | markers::UINT_64 | markers::INT_64 => 9,
            // An extension has one byte more, its type.
            markers::FIXEXT_1..=markers::FIXEXT_16 => 2 + (1 << (this - markers::FIXEXT_1)),
            _ => 0,
        };
        marker += 1;
    }
    sizes
};

impl<'a> Reader<'a> {
    fn classify(&mut self) -> Walk<Envelope<'a>> {
        let ValueHead::Map(pairs) = self.head()? else {
            return Ok(Envelope::Result { request_id: None });
        };
        let mut keys = EnvelopeKeys::default();
        for _ in 0..pairs {
            match self.key()? {
                Some(key) => {
                    let value = self.scalar()?;
                    keys.set(key, value);
                }
                None => self.skip()?,
            }
        }
        Ok(keys.decide())
    }

    #[inline]
    fn key(&mut self) -> Walk<Option<Key>> {
        let start = self.rest;
        // Nearly every key.
        if let Some((&marker @ markers::FIXSTR..=markers::FIXSTR_LAST, rest)) = start.split_first() {
            self.rest = rest;
            return self.of_interest(usize::from(marker & 0x1f));
        }
        if let ValueHead::Text(length) = self.head()? {
            return self.of_interest(length);
        }
        self.rest = start;
        self.skip()?;
        Ok(None)
    }

    #[inline]
    fn of_interest(&mut self, length: usize) -> Walk<Option<Key>> {
        let key = Key::parse(self.take(length)?);
        Ok(key.filter(|key| self.wants_id || *key != Key::RequestId))
    }

    /// Reads a value of interest, or skips it if it has no type of interest.
    fn scalar(&mut self) -> Walk<Scalar<'a>> {
        let start = self.rest;
        let marker = *start.first().ok_or(TRUNCATED)?;
        if let ValueHead::Text(length) = self.head()? {
            let text = std::str::from_utf8(self.take(length)?);
            return Ok(text.map_or(Scalar::Other, |text| Scalar::Text(Cow::Borrowed(text))));
        }
        self.rest = start;
        self.skip()?;
        // `skip` has checked the length, so that the conversions below always succeed.
        let payload = &start[1..start.len() - self.rest.len()];
        Ok(match (marker, payload.len()) {
            (0x00..=markers::POSITIVE_FIXINT_LAST, _) => Scalar::Unsigned(u64::from(marker)),
            (markers::NEGATIVE_FIXINT..=0xff, _) => Scalar::Signed(i64::from(marker.cast_signed())),
            (markers::UINT_8..=markers::UINT_64, length) => {
                let mut bytes = [0; 8];
                bytes[8 - length..].copy_from_slice(payload);
                Scalar::Unsigned(u64::from_be_bytes(bytes))
            }
            (markers::INT_8..=markers::INT_64, length) => {
                let negative = payload[0] & 0x80 != 0;
                let mut bytes = if negative { [0xff; 8] } else { [0; 8] };
                bytes[8 - length..].copy_from_slice(payload);
                Scalar::Signed(i64::from_be_bytes(bytes))
            }
            (markers::FLOAT_32, 4) => {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(payload);
                Scalar::Float(f64::from(f32::from_be_bytes(bytes)))
            }
            (markers::FLOAT_64, 8) => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(payload);
                Scalar::Float(f64::from_be_bytes(bytes))
            }
            _ => Scalar::Other,
        })
    }

    /// Skips one value with all that is in it.
    #[inline]
    fn skip(&mut self) -> Walk<()> {
        let size = self.rest.first().map_or(0, |marker| SIZES[usize::from(*marker)]);
        if size > 0 { self.take(usize::from(size)).map(drop) } else { self.skip_any() }
    }

    fn skip_any(&mut self) -> Walk<()> {
        let mut pending: u64 = 1;
        while pending > 0 {
            pending -= 1;
            let children = match self.head()? {
                ValueHead::Bytes(length) | ValueHead::Text(length) => {
                    self.take(length)?;
                    continue;
                }
                ValueHead::Array(items) => items,
                ValueHead::Map(pairs) => pairs * 2,
            };
            // Every value takes a byte or more. Checked here, the sum of the claims can't overflow either.
            pending += children;
            if pending > self.rest.len() as u64 {
                return Err(TRUNCATED);
            }
        }
        Ok(())
    }

    #[inline]
    fn head(&mut self) -> Walk<ValueHead> {
        let (&marker, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(match marker {
            0x00..=markers::POSITIVE_FIXINT_LAST
            | markers::NIL
            | markers::FALSE
            | markers::TRUE
            | markers::NEGATIVE_FIXINT..=0xff => ValueHead::Bytes(0),
            markers::FIXMAP..=markers::FIXMAP_LAST => ValueHead::Map(u64::from(marker & 0x0f)),
            markers::FIXARRAY..=markers::FIXARRAY_LAST => ValueHead::Array(u64::from(marker & 0x0f)),
            markers::FIXSTR..=markers::FIXSTR_LAST => ValueHead::Text(usize::from(marker & 0x1f)),
            markers::RESERVED => return Err(RESERVED),
            markers::UINT_8 | markers::INT_8 => ValueHead::Bytes(1),
            markers::UINT_16 | markers::INT_16 => ValueHead::Bytes(2),
            markers::FLOAT_32 | markers::UINT_32 | markers::INT_32 => ValueHead::Bytes(4),
            markers::FLOAT_64 | markers::UINT_64 | markers::INT_64 => ValueHead::Bytes(8),
            // An extension has one byte more, its type.
            markers::FIXEXT_1..=markers::FIXEXT_16 => {
                ValueHead::Bytes(1 + (1 << (marker - markers::FIXEXT_1)))
            }
            markers::BIN_8 => ValueHead::Bytes(self.length(1)? as usize),
            markers::BIN_16 => ValueHead::Bytes(self.length(2)? as usize),
            markers::BIN_32 => ValueHead::Bytes(self.length(4)? as usize),
            markers::EXT_8 => ValueHead::Bytes(self.length(1)? as usize + 1),
            markers::EXT_16 => ValueHead::Bytes(self.length(2)? as usize + 1),
            markers::EXT_32 => ValueHead::Bytes((self.length(4)? as usize).saturating_add(1)),
            markers::STR_8 => ValueHead::Text(self.length(1)? as usize),
            markers::STR_16 => ValueHead::Text(self.length(2)? as usize),
            markers::STR_32 => ValueHead::Text(self.length(4)? as usize),
            markers::ARRAY_16 => ValueHead::Array(self.length(2)?),
            markers::ARRAY_32 => ValueHead::Array(self.length(4)?),
            markers::MAP_16 => ValueHead::Map(self.length(2)?),
            markers::MAP_32 => ValueHead::Map(self.length(4)?),
        })
    }

    /// A big-endian length of so many bytes.
    #[inline]
    fn length(&mut self, bytes: usize) -> Walk<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)))
    }

    #[inline]
    fn take(&mut self, length: usize) -> Walk<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }
}
