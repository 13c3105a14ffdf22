//! The values that Python's `msgpack` refuses though they are well formed, in its words.

use rmp::Marker;

use crate::core::markers;

/// What it says where a value ends too early.
pub(super) const INCOMPLETE: &str = "Unpack failed: incomplete input";

/// The code of the timestamp extension.
const TIMESTAMP: i8 = -1;

/// Checks how long a container claims to be.
pub(super) fn check_size(kind: &str, items: usize, most: usize) -> Result<(), String> {
    if items > most { Err(format!("{items} exceeds max_{kind}_len({most})")) } else { Ok(()) }
}

/// Checks that text is UTF-8. The words are those of Python's decoder.
pub(super) fn check_utf8(text: &[u8]) -> Result<(), String> {
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

/// Checks an extension: its code, and the form of a timestamp.
pub(super) fn check_ext(code: i8, data: &[u8]) -> Result<(), String> {
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

/// Checks the key of a map: `msgpack.unpackb` takes str and bytes, nothing else.
pub(super) fn check_key(input: &[u8]) -> Result<(), String> {
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
    let length_bytes = match ext.first() {
        Some(&markers::EXT_8) => 1,
        Some(&markers::EXT_16) => 2,
        Some(&markers::EXT_32) => 4,
        _ => 0,
    };
    ext.get(1 + length_bytes) == Some(&TIMESTAMP.cast_unsigned())
}
