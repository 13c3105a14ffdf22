//! The walk over a value, which is refused where `msgpack.unpackb` refuses it.

use super::{
    head::{Body, take},
    refusing::{INCOMPLETE, check_ext, check_key, check_size, check_utf8},
};

/// Nesting that `msgpack` accepts; deeper input is refused before it can exhaust the stack.
const MAX_DEPTH: usize = 1024;

/// Checks that `input` is exactly one msgpack value that `msgpack.unpackb` accepts: maps have str or bin keys only,
/// a str is UTF-8, extensions have codes from 0 on, or are timestamps.
pub(crate) fn validate(input: &[u8]) -> Result<(), String> {
    let rest = skip(input, 0, input.len())?;
    if rest.is_empty() { Ok(()) } else { Err("unpack(b) received extra data.".to_owned()) }
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
pub(super) fn skip(mut input: &[u8], depth: usize, total: usize) -> Result<&[u8], String> {
    let mut open: Vec<Open<'_>> = Vec::new();
    loop {
        if let Some(map) = open.last_mut().filter(|container| container.is_map && container.left % 2 == 0) {
            map.key = input;
        }
        let body = Body::read(&mut input, total)?;
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
                // Both are read before the key is checked.
                check_key(container.key)?;
            }
            if container.left > 0 {
                break;
            }
            open.pop();
        }
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
}
