//! As much msgpack as the built-in apps need: checking an input as fal's server does, and looking at a map's entries.
//!
//! The errors have the words of Python's `msgpack`, which is what a client of the real server sees.

use rmp::{Marker, decode::RmpRead};

/// Nesting that `msgpack` accepts; deeper input is refused before it can exhaust the stack.
const MAX_DEPTH: usize = 1024;

/// The code of the timestamp extension.
const TIMESTAMP: i8 = -1;

const INCOMPLETE: &str = "Unpack failed: incomplete input";

/// Checks that `input` is exactly one msgpack value that `msgpack.unpackb` accepts: maps have str or bin keys only,
/// a str is UTF-8, extensions have codes from 0 on, or are timestamps.
pub(crate) fn validate(input: &[u8]) -> Result<(), String> {
    let rest = skip(input, 0, input.len())?;
    if rest.is_empty() { Ok(()) } else { Err("unpack(b) received extra data.".to_owned()) }
}

/// What follows a marker.
enum Body {
    Bytes(usize),
    Text(usize),
    Ext(usize),
    Array(usize),
    Map(usize),
}

/// A container that is being read.
struct Open<'a> {
    /// How many values are missing.
    left: usize,
    is_map: bool,
    /// Where the newest key of a map begins.
    key: &'a [u8],
}

/// Reads over one value and gives what follows it. `total` is the size of the whole message, from which `msgpack`
/// derives how large a value can be. A loop, since input may nest a thousand levels deep.
fn skip(mut input: &[u8], depth: usize, total: usize) -> Result<&[u8], String> {
    let mut open: Vec<Open<'_>> = Vec::new();
    loop {
        if let Some(map) = open.last_mut().filter(|container| container.is_map && container.left % 2 == 0) {
            map.key = input;
        }
        let body = read_head(&mut input, total)?;
        let items = match body {
            Body::Array(items) => check_size("array", items, total).map(|()| items)?,
            Body::Map(pairs) => check_size("map", pairs, total / 2).map(|()| 2 * pairs)?,
            _ => {
                input = skip_body(input, &body)?;
                0
            }
        };
        if matches!(body, Body::Array(_) | Body::Map(_)) && depth + open.len() >= MAX_DEPTH {
            // What Python's `msgpack.StackError` says of itself: nothing.
            return Err(String::new());
        }
        if items > 0 {
            open.push(Open { left: items, is_map: matches!(body, Body::Map(_)), key: input });
            continue;
        }
        // A value is complete, and with it perhaps those around it.
        loop {
            let Some(container) = open.last_mut() else { return Ok(input) };
            container.left -= 1;
            if container.is_map && container.left % 2 == 0 {
                // Both are read before the key is looked at.
                check_key(container.key)?;
            }
            if container.left > 0 {
                break;
            }
            open.pop();
        }
    }
}

fn read_head(input: &mut &[u8], total: usize) -> Result<Body, String> {
    use Body as B;
    use Marker as M;
    Ok(match read_marker(input)? {
        M::FixPos(_) | M::FixNeg(_) | M::Null | M::True | M::False => B::Bytes(0),
        M::U8 | M::I8 => B::Bytes(1),
        M::U16 | M::I16 => B::Bytes(2),
        M::U32 | M::I32 | M::F32 => B::Bytes(4),
        M::U64 | M::I64 | M::F64 => B::Bytes(8),
        M::FixExt1 => B::Ext(1),
        M::FixExt2 => B::Ext(2),
        M::FixExt4 => B::Ext(4),
        M::FixExt8 => B::Ext(8),
        M::FixExt16 => B::Ext(16),
        M::Ext8 => B::Ext(read_length(input, 1)?),
        M::Ext16 => B::Ext(read_length(input, 2)?),
        M::Ext32 => match read_length(input, 4)? {
            // The real one adds the code's byte in 32 bits.
            0xffff_ffff => return Err(format!("0 exceeds max_ext_len({total})")),
            len => B::Ext(len),
        },
        M::FixStr(len) => B::Text(usize::from(len)),
        M::Str8 => B::Text(read_length(input, 1)?),
        M::Str16 => B::Text(read_length(input, 2)?),
        M::Str32 => B::Text(read_length(input, 4)?),
        M::Bin8 => B::Bytes(read_length(input, 1)?),
        M::Bin16 => B::Bytes(read_length(input, 2)?),
        M::Bin32 => B::Bytes(read_length(input, 4)?),
        M::FixArray(len) => B::Array(usize::from(len)),
        M::Array16 => B::Array(read_length(input, 2)?),
        M::Array32 => B::Array(read_length(input, 4)?),
        M::FixMap(len) => B::Map(usize::from(len)),
        M::Map16 => B::Map(read_length(input, 2)?),
        M::Map32 => B::Map(read_length(input, 4)?),
        // What Python's `msgpack.FormatError` says of itself: nothing.
        M::Reserved => return Err(String::new()),
    })
}

/// Reads over what follows the marker of a value that is no container.
fn skip_body<'a>(input: &'a [u8], body: &Body) -> Result<&'a [u8], String> {
    match *body {
        Body::Bytes(len) => Ok(take(input, len)?.1),
        Body::Text(len) => {
            let (text, rest) = take(input, len)?;
            check_utf8(text)?;
            Ok(rest)
        }
        Body::Ext(len) => {
            let (code, rest) = input.split_first().ok_or(INCOMPLETE)?;
            let (data, rest) = take(rest, len)?;
            check_ext(*code as i8, data)?;
            Ok(rest)
        }
        Body::Array(_) | Body::Map(_) => Ok(input),
    }
}

fn take(input: &[u8], len: usize) -> Result<(&[u8], &[u8]), String> {
    input.split_at_checked(len).ok_or_else(|| INCOMPLETE.to_owned())
}

fn check_size(kind: &str, items: usize, most: usize) -> Result<(), String> {
    if items > most { Err(format!("{items} exceeds max_{kind}_len({most})")) } else { Ok(()) }
}

/// Python's words for text that is not UTF-8.
fn check_utf8(text: &[u8]) -> Result<(), String> {
    let Err(error) = std::str::from_utf8(text) else { return Ok(()) };
    let start = error.valid_up_to();
    let first = text[start];
    let (end, reason) = match error.error_len() {
        None => (text.len(), "unexpected end of data"),
        Some(len) if matches!(first, 0xc2..=0xf4) => (start + len, "invalid continuation byte"),
        Some(len) => (start + len, "invalid start byte"),
    };
    Err(if end - start == 1 {
        format!("'utf-8' codec can't decode byte {first:#04x} in position {start}: {reason}")
    } else {
        format!("'utf-8' codec can't decode bytes in position {start}-{}: {reason}", end - 1)
    })
}

fn check_ext(code: i8, data: &[u8]) -> Result<(), String> {
    match code {
        0.. => Ok(()),
        TIMESTAMP => {
            let nanoseconds = match data.len() {
                4 => 0,
                8 => (u64::from_be_bytes(data.try_into().unwrap_or_default()) >> 34) as u32,
                12 => u32::from_be_bytes(data[..4].try_into().unwrap_or_default()),
                len => return Err(format!("invalid timestamp data (length {len})")),
            };
            if nanoseconds > 999_999_999 {
                let words = "nanoseconds must be a non-negative integer not greater than 999999999.";
                return Err(words.to_owned());
            }
            Ok(())
        }
        _ => Err("code must be 0~127".to_owned()),
    }
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
            if is_timestamp(input) {
                "Timestamp"
            } else {
                "ExtType"
            }
        }
        _ => "int",
    };
    Err(format!("{kind} is not allowed for map key when strict_map_key=True"))
}

/// Whether a valid extension is a timestamp.
fn is_timestamp(ext: &[u8]) -> bool {
    let code = match ext.first() {
        Some(0xc7) => 2,
        Some(0xc8) => 3,
        Some(0xc9) => 5,
        _ => 1,
    };
    ext.get(code) == Some(&(TIMESTAMP as u8))
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
        assert_eq!(reason(b"\x81\x01\xc1"), "");
        assert_eq!(reason(b"\xd4\xfb\x00"), "code must be 0~127");
        assert_eq!(reason(b"\xd4\xff\x00"), "invalid timestamp data (length 1)");
        assert_eq!(
            reason(b"\x81\xa1a\xa3\xe2\x28\xa1"),
            "'utf-8' codec can't decode byte 0xe2 in position 0: invalid continuation byte"
        );
        assert_eq!(
            reason(b"\xa2\xe2\x82"),
            "'utf-8' codec can't decode bytes in position 0-1: unexpected end of data"
        );
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
