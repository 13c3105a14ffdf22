//! msgpack's forms of one value, the shortest for each.

use std::slice;

use pyo3::{
    exceptions::{PyOverflowError, PyUnicodeEncodeError},
    ffi,
    prelude::*,
    types::PyBytes,
};

use super::{
    buffer::Buffer,
    encoder::Encoder,
    failure::{EncodeFailure, Outcome},
    rules::EncodeDialect,
    size_hint::size_hint,
};
use crate::core::markers;

/// From this size on, growing for a payload asks first for a hint of how much more the input holds.
const MIN_HINT_BYTES: usize = 256 * 1024;

impl<'py> Encoder<'_, '_, 'py> {
    /// Writes a `str` or an instance of a subclass. Runs no Python code.
    #[inline]
    pub(super) fn str(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Outcome {
        match utf8_of(value) {
            Ok(utf8) => self.utf8(utf8),
            Err(error) => Err(self.not_utf8(error, value.py())),
        }
    }

    #[cold]
    fn not_utf8(&self, error: PyErr, py: Python<'_>) -> EncodeFailure {
        if self.rules.dialect != EncodeDialect::Packer && error.is_instance_of::<PyUnicodeEncodeError>(py) {
            return EncodeFailure::refused("the str holds a lone surrogate, which UTF-8 has no form for");
        }
        error.into()
    }

    #[inline]
    pub(super) fn utf8(&mut self, utf8: &[u8]) -> Outcome {
        match utf8.len() {
            length @ 0..32 => self.writer.put_headed([markers::FIXSTR | length as u8], utf8),
            length @ 32..=0xff => self.writer.put_headed([markers::STR_8, length as u8], utf8),
            _ => self.long([markers::STR_16, markers::STR_32], utf8),
        }
    }

    /// Writes an `int` or an instance of a subclass. Runs no Python code.
    #[inline]
    pub(super) fn int(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Outcome {
        let mut overflow = 0;
        // SAFETY: `value` is an int, so that the conversion cannot fail but by overflow.
        let signed = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &raw mut overflow) };
        match (overflow, signed) {
            (0, -32..=0x7f) => self.writer.put([signed as u8]),
            (0, 0..) => self.unsigned(signed as u64),
            (0, -0x80..) => self.writer.put_marked(markers::INT_8, (signed as i8).to_be_bytes()),
            (0, -0x8000..) => self.writer.put_marked(markers::INT_16, (signed as i16).to_be_bytes()),
            (0, -0x8000_0000..) => self.writer.put_marked(markers::INT_32, (signed as i32).to_be_bytes()),
            (0, _) => self.writer.put_marked(markers::INT_64, signed.to_be_bytes()),
            _ => match value.extract::<u64>() {
                Ok(unsigned) => self.unsigned(unsigned),
                Err(_) if self.rules.dialect == EncodeDialect::Packer => {
                    Err(PyOverflowError::new_err("Integer value out of range").into())
                }
                Err(_) => Err(EncodeFailure::refused(
                    "msgpack has no integers beyond 64 bits; accepted are -2**63 to 2**64 - 1 (send larger ones as str)",
                )),
            },
        }
    }

    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) -> Outcome {
        match value {
            0..=0x7f => self.writer.put([value as u8]),
            0x80..=0xff => self.writer.put_marked(markers::UINT_8, (value as u8).to_be_bytes()),
            0x100..=0xffff => self.writer.put_marked(markers::UINT_16, (value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.writer.put_marked(markers::UINT_32, (value as u32).to_be_bytes()),
            _ => self.writer.put_marked(markers::UINT_64, value.to_be_bytes()),
        }
    }

    #[inline]
    pub(super) fn float(&mut self, value: f64) -> Outcome {
        self.writer.put_marked(markers::FLOAT_64, value.to_be_bytes())
    }

    #[inline]
    pub(super) fn bin(&mut self, data: &[u8]) -> Outcome {
        match data.len() {
            length @ 0..=0xff => self.writer.put_headed([markers::BIN_8, length as u8], data),
            _ => self.long([markers::BIN_16, markers::BIN_32], data),
        }
    }

    /// Writes a large `bytes` object without copying it.
    #[cold]
    pub(super) fn borrowed(&mut self, bytes: &Bound<'py, PyBytes>) -> Outcome {
        let length = bytes.as_bytes().len();
        match u16::try_from(length) {
            Ok(length) => self.writer.put_marked(markers::BIN_16, length.to_be_bytes())?,
            Err(_) => self.writer.put_marked(markers::BIN_32, length_32(length)?.to_be_bytes())?,
        }
        self.writer.borrow(bytes)?;
        Ok(())
    }

    /// Writes a str or bin of more than 255 bytes, after the marker for its length of 16 or 32 bits.
    fn long(&mut self, [sixteen, thirty_two]: [u8; 2], data: &[u8]) -> Outcome {
        self.make_room(data.len())?;
        if let Ok(length) = u16::try_from(data.len()) {
            let [a, b] = length.to_be_bytes();
            self.writer.put_headed([sixteen, a, b], data)
        } else {
            let [a, b, c, d] = length_32(data.len())?.to_be_bytes();
            self.writer.put_headed([thirty_two, a, b, c, d], data)
        }
    }

    pub(super) fn buffer(&mut self, buffer: &Buffer<'_>) -> Outcome {
        let length = buffer.len();
        self.make_room(length)?;
        match length {
            0..=0xff => self.writer.put_marked(markers::BIN_8, [length as u8])?,
            0x100..=0xffff => self.writer.put_marked(markers::BIN_16, (length as u16).to_be_bytes())?,
            _ => self.writer.put_marked(markers::BIN_32, length_32(length)?.to_be_bytes())?,
        }
        self.writer.put_with(length, |to| buffer.copy_to(to))
    }

    pub(super) fn ext(&mut self, code: i8, data: &[u8]) -> Outcome {
        self.make_room(data.len())?;
        let code = code as u8;
        match data.len() {
            1 => self.writer.put_headed([markers::FIXEXT_1, code], data),
            2 => self.writer.put_headed([markers::FIXEXT_2, code], data),
            4 => self.writer.put_headed([markers::FIXEXT_4, code], data),
            8 => self.writer.put_headed([markers::FIXEXT_8, code], data),
            16 => self.writer.put_headed([markers::FIXEXT_16, code], data),
            length @ 0..=0xff => self.writer.put_headed([markers::EXT_8, length as u8, code], data),
            length @ 0x100..=0xffff => {
                let [a, b] = (length as u16).to_be_bytes();
                self.writer.put_headed([markers::EXT_16, a, b, code], data)
            }
            length => {
                let [a, b, c, d] = length_32(length)?.to_be_bytes();
                self.writer.put_headed([markers::EXT_32, a, b, c, d, code], data)
            }
        }
    }

    /// If a large payload of `size` bytes makes the buffer grow, lets it grow for those that will follow, too, so
    /// that this one is not moved for them.
    #[inline]
    pub(super) fn make_room(&mut self, size: usize) -> Outcome {
        if size >= MIN_HINT_BYTES && !self.writer.has_room(size) {
            let hint = size_hint(self.root, |size| self.writer.borrows(size));
            self.writer.reserve(size.max(hint))?;
        }
        Ok(())
    }

    /// Writes the header of a map or array: a length below 16 is a part of the marker.
    #[inline]
    pub(super) fn header(&mut self, length: usize, fixed: u8, [sixteen, thirty_two]: [u8; 2]) -> Outcome {
        match length {
            0..=0xf => self.writer.put([fixed | length as u8]),
            0x10..=0xffff => self.writer.put_marked(sixteen, (length as u16).to_be_bytes()),
            _ => self.writer.put_marked(thirty_two, length_32(length)?.to_be_bytes()),
        }
    }
}

/// The UTF-8 form of a str. ASCII, which it is in the str already, is read without a call where the layout of `str`
/// is known: from 3.14 on PyO3 leaves that to `CPython`.
#[inline]
fn utf8_of<'a>(value: Borrowed<'a, '_, PyAny>) -> PyResult<&'a [u8]> {
    #[cfg(not(Py_3_14))]
    {
        let object = value.as_ptr();
        // SAFETY: `object` is a str; a compact ASCII one keeps its characters behind its header, is immutable, and
        // lives as long as `'a`.
        unsafe {
            if ffi::PyUnicode_IS_COMPACT_ASCII(object) != 0 {
                let data = ffi::PyUnicode_1BYTE_DATA(object);
                return Ok(slice::from_raw_parts(data, ffi::PyUnicode_GET_LENGTH(object) as usize));
            }
        }
    }
    utf8_kept_by(value)
}

/// The UTF-8 form of a str, which `CPython` keeps with it for the next time if it is not ASCII.
fn utf8_kept_by<'a>(value: Borrowed<'a, '_, PyAny>) -> PyResult<&'a [u8]> {
    let mut length = 0;
    // SAFETY: `value` is a str. The UTF-8 form belongs to it, is immutable, and lives as long: `'a`.
    unsafe {
        let data = ffi::PyUnicode_AsUTF8AndSize(value.as_ptr(), &raw mut length);
        if !data.is_null() {
            return Ok(slice::from_raw_parts(data.cast(), length as usize));
        }
    }
    Err(PyErr::fetch(value.py()))
}

fn length_32(length: usize) -> Outcome<u32> {
    u32::try_from(length).map_err(|_| EncodeFailure::refused("msgpack has no lengths of 2**32 or more"))
}
