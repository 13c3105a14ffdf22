//! msgpack's markers: the first byte of a value says what it is, and mostly how long.
//!
//! The names are those of the [specification](https://github.com/msgpack/msgpack/blob/master/spec.md#formats). Where a number
//! stands at the end, the value has a length (a number, its value) of so many bits; a fixed extension so many bytes.

/// 127; those before it are the integers from 0 on.
pub const POSITIVE_FIXINT_LAST: u8 = 0x7f;
/// A map of fewer than 16 pairs; the number of pairs is in the low four bits.
pub const FIXMAP: u8 = 0x80;
/// The last marker of such a map.
pub const FIXMAP_LAST: u8 = 0x8f;
/// An array of fewer than 16 items; the number of items is in the low four bits.
pub const FIXARRAY: u8 = 0x90;
/// The last marker of such an array.
pub const FIXARRAY_LAST: u8 = 0x9f;
/// A str of fewer than 32 bytes; its length is in the low five bits.
pub const FIXSTR: u8 = 0xa0;
/// The last marker of such a str.
pub const FIXSTR_LAST: u8 = 0xbf;
/// nil.
pub const NIL: u8 = 0xc0;
/// No value: msgpack never uses it.
pub const RESERVED: u8 = 0xc1;
/// false.
pub const FALSE: u8 = 0xc2;
/// true.
pub const TRUE: u8 = 0xc3;
/// Bytes with a length of 8 bits.
pub const BIN_8: u8 = 0xc4;
/// Bytes with a length of 16 bits.
pub const BIN_16: u8 = 0xc5;
/// Bytes with a length of 32 bits.
pub const BIN_32: u8 = 0xc6;
/// An extension with a length of 8 bits.
pub const EXT_8: u8 = 0xc7;
/// An extension with a length of 16 bits.
pub const EXT_16: u8 = 0xc8;
/// An extension with a length of 32 bits.
pub const EXT_32: u8 = 0xc9;
/// A float of 32 bits.
pub const FLOAT_32: u8 = 0xca;
/// A float of 64 bits.
pub const FLOAT_64: u8 = 0xcb;
/// An unsigned integer of 8 bits.
pub const UINT_8: u8 = 0xcc;
/// An unsigned integer of 16 bits.
pub const UINT_16: u8 = 0xcd;
/// An unsigned integer of 32 bits.
pub const UINT_32: u8 = 0xce;
/// An unsigned integer of 64 bits.
pub const UINT_64: u8 = 0xcf;
/// A signed integer of 8 bits.
pub const INT_8: u8 = 0xd0;
/// A signed integer of 16 bits.
pub const INT_16: u8 = 0xd1;
/// A signed integer of 32 bits.
pub const INT_32: u8 = 0xd2;
/// A signed integer of 64 bits.
pub const INT_64: u8 = 0xd3;
/// An extension of 1 byte.
pub const FIXEXT_1: u8 = 0xd4;
/// An extension of 2 bytes.
pub const FIXEXT_2: u8 = 0xd5;
/// An extension of 4 bytes.
pub const FIXEXT_4: u8 = 0xd6;
/// An extension of 8 bytes.
pub const FIXEXT_8: u8 = 0xd7;
/// An extension of 16 bytes.
pub const FIXEXT_16: u8 = 0xd8;
/// A str with a length of 8 bits.
pub const STR_8: u8 = 0xd9;
/// A str with a length of 16 bits.
pub const STR_16: u8 = 0xda;
/// A str with a length of 32 bits.
pub const STR_32: u8 = 0xdb;
/// An array with a length of 16 bits.
pub const ARRAY_16: u8 = 0xdc;
/// An array with a length of 32 bits.
pub const ARRAY_32: u8 = 0xdd;
/// A map with a length of 16 bits.
pub const MAP_16: u8 = 0xde;
/// A map with a length of 32 bits.
pub const MAP_32: u8 = 0xdf;
/// -32; those behind it are the negative integers up to -1.
pub const NEGATIVE_FIXINT: u8 = 0xe0;
