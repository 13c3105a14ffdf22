//! As much msgpack as the built-in apps need: checking an input as fal's server does, and looking at a map's entries.
//!
//! The errors have the words of Python's `msgpack`, which is what a client of the real server sees.

use rmp::{Marker, decode::RmpRead};

/// Nesting that `msgpack` accepts; deeper input is refused before it can exhaust the stack.
const MAX_DEPTH: u32 = 1024;

const INCOMPLETE: &str = "Unpack failed: incomplete input";

/// Checks that `input` is exactly one msgpack value whose maps have string keys only.
pub(super) fn validate(input: &[u8]) -> Result<(), String> {
    let rest = skip(input, 0, input.len())?;
    if rest.is_empty() { Ok(()) } else { Err("unpack(b) received extra data.".to_owned()) }
}

/// Reads over one value and gives what follows it. `total` is the size of the whole message, from which `msgpack`
/// derives how many items a container can have.
fn skip(mut input: &[u8], depth: u32, total: usize) -> Result<&[u8], String> {
    if depth > MAX_DEPTH {
        // What Python's `msgpack.StackError` says of itself: nothing.
        return Err(String::new());
    }
    let (items, is_map, bytes) = match read_marker(&mut input)? {
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, false, 0),
        Marker::U8 | Marker::I8 => (0, false, 1),
        // An extension has its type's byte besides its data.
        Marker::U16 | Marker::I16 | Marker::FixExt1 => (0, false, 2),
        Marker::FixExt2 => (0, false, 3),
        Marker::U32 | Marker::I32 | Marker::F32 => (0, false, 4),
        Marker::FixExt4 => (0, false, 5),
        Marker::U64 | Marker::I64 | Marker::F64 => (0, false, 8),
        Marker::FixExt8 => (0, false, 9),
        Marker::FixExt16 => (0, false, 17),
        Marker::FixStr(len) => (0, false, usize::from(len)),
        Marker::Str8 | Marker::Bin8 => (0, false, read_length(&mut input, 1)?),
        Marker::Str16 | Marker::Bin16 => (0, false, read_length(&mut input, 2)?),
        Marker::Str32 | Marker::Bin32 => (0, false, read_length(&mut input, 4)?),
        Marker::Ext8 => (0, false, read_length(&mut input, 1)?.saturating_add(1)),
        Marker::Ext16 => (0, false, read_length(&mut input, 2)?.saturating_add(1)),
        Marker::Ext32 => (0, false, read_length(&mut input, 4)?.saturating_add(1)),
        Marker::FixArray(len) => (usize::from(len), false, 0),
        Marker::Array16 => (read_length(&mut input, 2)?, false, 0),
        Marker::Array32 => (read_length(&mut input, 4)?, false, 0),
        Marker::FixMap(len) => (usize::from(len), true, 0),
        Marker::Map16 => (read_length(&mut input, 2)?, true, 0),
        Marker::Map32 => (read_length(&mut input, 4)?, true, 0),
        // What Python's `msgpack.FormatError` says of itself: nothing.
        Marker::Reserved => return Err(String::new()),
    };
    let (kind, most) = if is_map { ("map", total / 2) } else { ("array", total) };
    if items > most {
        return Err(format!("{items} exceeds max_{kind}_len({most})"));
    }
    input = input.get(bytes..).ok_or(INCOMPLETE)?;
    for _ in 0..items {
        if is_map {
            check_key(input)?;
            input = skip(input, depth + 1, total)?;
        }
        input = skip(input, depth + 1, total)?;
    }
    Ok(input)
}

/// `msgpack.unpackb` takes str and bytes as keys, nothing else.
fn check_key(input: &[u8]) -> Result<(), String> {
    use Marker as M;
    let kind = match Marker::from_u8(*input.first().ok_or(INCOMPLETE)?) {
        M::FixStr(_) | M::Str8 | M::Str16 | M::Str32 | M::Bin8 | M::Bin16 | M::Bin32 => return Ok(()),
        M::Null => "NoneType",
        M::True | M::False => "bool",
        M::F32 | M::F64 => "float",
        M::FixArray(_) | M::Array16 | M::Array32 => "list",
        M::FixMap(_) | M::Map16 | M::Map32 => "dict",
        M::Reserved => return Err(String::new()),
        M::FixExt1 | M::FixExt2 | M::FixExt4 | M::FixExt8 | M::FixExt16 | M::Ext8 | M::Ext16 | M::Ext32 => {
            "ExtType"
        }
        _ => "int",
    };
    Err(format!("{kind} is not allowed for map key when strict_map_key=True"))
}

fn read_marker(input: &mut &[u8]) -> Result<Marker, String> {
    rmp::decode::read_marker(input).map_err(|_| INCOMPLETE.to_owned())
}

fn read_length(input: &mut &[u8], width: usize) -> Result<usize, String> {
    let length = match width {
        1 => input.read_data_u8().map(usize::from),
        2 => input.read_data_u16().map(usize::from),
        _ => input.read_data_u32().map(|length| length as usize),
    };
    length.map_err(|_| INCOMPLETE.to_owned())
}

/// The top-level map of a valid input.
#[derive(Clone, Copy)]
pub(super) struct Map<'a> {
    entries: &'a [u8],
    len: u32,
}

impl<'a> Map<'a> {
    /// `None` when the value is not a map. `input` must have passed [`validate`].
    pub(super) fn of(mut input: &'a [u8]) -> Option<Self> {
        let len = rmp::decode::read_map_len(&mut input).ok()?;
        Some(Self { entries: input, len })
    }

    /// The encoded value of `key`.
    pub(super) fn get(self, key: &str) -> Option<&'a [u8]> {
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
    pub(super) fn number(self, key: &str) -> Option<f64> {
        let mut value = self.get(key)?;
        match Marker::from_u8(*value.first()?) {
            Marker::F64 => rmp::decode::read_f64(&mut value).ok(),
            Marker::F32 => rmp::decode::read_f32(&mut value).ok().map(f64::from),
            _ => rmp::decode::read_int::<i64, _>(&mut value).ok().map(|number| number as f64),
        }
    }

    /// The value of `key` as a natural number, if it is one.
    pub(super) fn natural(self, key: &str) -> Option<u64> {
        rmp::decode::read_int(&mut self.get(key)?).ok()
    }

    /// Whether `key` is `true`.
    pub(super) fn flag(self, key: &str) -> bool {
        self.get(key) == Some(&[0xc3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_values_pass() {
        for input in [&b"\x80"[..], b"\x81\xa1a\x92\x01\xc0", b"\xc4\x01\xff", b"\xd6\x01\x00\x00\x00\x00"] {
            assert_eq!(validate(input), Ok(()));
        }
    }

    #[test]
    fn errors_have_the_words_of_the_real_server() {
        let reason = |input: &[u8]| validate(input).unwrap_err();
        assert_eq!(reason(b"\x81\xa1"), "Unpack failed: incomplete input");
        assert_eq!(reason(b""), "Unpack failed: incomplete input");
        assert_eq!(reason(b"\xdf\xff\xff\xff\xff"), "4294967295 exceeds max_map_len(2)");
        assert_eq!(reason(b"\x92"), "2 exceeds max_array_len(1)");
        assert_eq!(reason(b"\xc6\xff\xff\xff\xff"), "Unpack failed: incomplete input");
        assert_eq!(reason(b"\x80\x80"), "unpack(b) received extra data.");
        assert_eq!(reason(b"\x81\x01\x02"), "int is not allowed for map key when strict_map_key=True");
        assert_eq!(reason(b"\xc1"), "");
    }

    #[test]
    fn hostile_nesting_is_refused() {
        assert_eq!(validate(&vec![0x91; 100_000]), Err(String::new()));
    }

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
