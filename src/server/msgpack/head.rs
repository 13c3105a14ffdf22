//! The head of a value: what its marker says of what follows.

use rmp::{Marker, decode::RmpRead};

use super::refusing::INCOMPLETE;

/// The body of a value: what follows its marker, and how long that is.
pub(super) enum Body {
    Bytes(usize),
    Text(usize),
    Ext(usize),
    Array(usize),
    Map(usize),
}

impl Body {
    /// Reads a marker, and the length behind it. `total` is the size of the whole message.
    pub(super) fn read(input: &mut &[u8], total: usize) -> Result<Self, String> {
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
}

/// The first bytes, and what is behind them.
pub(super) fn take(input: &[u8], len: usize) -> Result<(&[u8], &[u8]), String> {
    input.split_at_checked(len).ok_or_else(|| INCOMPLETE.to_owned())
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
