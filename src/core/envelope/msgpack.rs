//! The walk over a msgpack message's top level.

use std::borrow::Cow;

use super::{Envelope, EnvelopeKeys, Key, Scalar};

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
        sizes[marker] = match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => 1,
            0xa0..=0xbf => 1 + (marker as u8 & 0x1f),
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 => 3,
            0xca | 0xce | 0xd2 => 5,
            0xcb | 0xcf | 0xd3 => 9,
            // An extension has one byte more, its type.
            0xd4..=0xd8 => 2 + (1 << (marker - 0xd4)),
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
        if let Some((&marker @ 0xa0..=0xbf, rest)) = start.split_first() {
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
            (0x00..=0x7f, _) => Scalar::Unsigned(u64::from(marker)),
            (0xe0..=0xff, _) => Scalar::Signed(i64::from(marker.cast_signed())),
            (0xcc..=0xcf, length) => {
                let mut bytes = [0; 8];
                bytes[8 - length..].copy_from_slice(payload);
                Scalar::Unsigned(u64::from_be_bytes(bytes))
            }
            (0xd0..=0xd3, length) => {
                let negative = payload[0] & 0x80 != 0;
                let mut bytes = if negative { [0xff; 8] } else { [0; 8] };
                bytes[8 - length..].copy_from_slice(payload);
                Scalar::Signed(i64::from_be_bytes(bytes))
            }
            (0xca, 4) => {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(payload);
                Scalar::Float(f64::from(f32::from_be_bytes(bytes)))
            }
            (0xcb, 8) => {
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
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => ValueHead::Bytes(0),
            0x80..=0x8f => ValueHead::Map(u64::from(marker & 0x0f)),
            0x90..=0x9f => ValueHead::Array(u64::from(marker & 0x0f)),
            0xa0..=0xbf => ValueHead::Text(usize::from(marker & 0x1f)),
            0xc1 => return Err(RESERVED),
            0xcc | 0xd0 => ValueHead::Bytes(1),
            0xcd | 0xd1 => ValueHead::Bytes(2),
            0xca | 0xce | 0xd2 => ValueHead::Bytes(4),
            0xcb | 0xcf | 0xd3 => ValueHead::Bytes(8),
            // An extension has one byte more, its type.
            0xd4..=0xd8 => ValueHead::Bytes(1 + (1 << (marker - 0xd4))),
            0xc4 => ValueHead::Bytes(self.length(1)? as usize),
            0xc5 => ValueHead::Bytes(self.length(2)? as usize),
            0xc6 => ValueHead::Bytes(self.length(4)? as usize),
            0xc7 => ValueHead::Bytes(self.length(1)? as usize + 1),
            0xc8 => ValueHead::Bytes(self.length(2)? as usize + 1),
            0xc9 => ValueHead::Bytes((self.length(4)? as usize).saturating_add(1)),
            0xd9 => ValueHead::Text(self.length(1)? as usize),
            0xda => ValueHead::Text(self.length(2)? as usize),
            0xdb => ValueHead::Text(self.length(4)? as usize),
            0xdc => ValueHead::Array(self.length(2)?),
            0xdd => ValueHead::Array(self.length(4)?),
            0xde => ValueHead::Map(self.length(2)?),
            0xdf => ValueHead::Map(self.length(4)?),
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
