//! The entries of a valid input's map, by their keys.

use rmp::Marker;

use super::validating::skip;
use crate::core::markers;

/// The top-level map of a valid input.
#[derive(Clone, Copy)]
pub(in crate::server) struct Map<'a> {
    entries: &'a [u8],
    len: u32,
}

impl<'a> Map<'a> {
    /// `None` when the value is not a map. `input` must have passed [`validate`](super::validate).
    pub(in crate::server) fn of(mut input: &'a [u8]) -> Option<Self> {
        let len = rmp::decode::read_map_len(&mut input).ok()?;
        Some(Self { entries: input, len })
    }

    /// The encoded value of `key`.
    pub(in crate::server) fn get(self, key: &str) -> Option<&'a [u8]> {
        let mut rest = self.entries;
        for _ in 0..self.len {
            let value = skip(rest, 1, usize::MAX).ok()?;
            let next = skip(value, 1, usize::MAX).ok()?;
            if rmp::decode::read_str_from_slice(rest).is_ok_and(|(name, _)| name == key) {
                return value.get(..value.len() - next.len());
            }
            rest = next;
        }
        None
    }

    /// The value of `key` as a number, if it is one.
    pub(in crate::server) fn number(self, key: &str) -> Option<f64> {
        let mut value = self.get(key)?;
        match Marker::from_u8(*value.first()?) {
            Marker::F64 => rmp::decode::read_f64(&mut value).ok(),
            Marker::F32 => rmp::decode::read_f32(&mut value).ok().map(f64::from),
            _ => rmp::decode::read_int::<i64, _>(&mut value).ok().map(|number| number as f64),
        }
    }

    /// The value of `key` as a natural number, if it is one.
    pub(in crate::server) fn natural(self, key: &str) -> Option<u64> {
        rmp::decode::read_int(&mut self.get(key)?).ok()
    }

    /// Whether `key` is `true`.
    pub(in crate::server) fn flag(self, key: &str) -> bool {
        self.get(key) == Some(&[markers::TRUE])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn entries_are_found_by_key() {
        let map = Map::of(b"\x83\xa1a\x07\xa1b\xc3\xa5delay\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00").unwrap();
        assert_eq!(map.natural("a"), Some(7));
        assert_eq!(map.number("a"), Some(7.0));
        assert_eq!(map.number("delay"), Some(0.5));
        assert!(map.flag("b"));
        assert!(!map.flag("c"));
        assert_eq!(map.get("b"), Some(&b"\xc3"[..]));
        assert!(Map::of(b"\x90").is_none());
    }
}
