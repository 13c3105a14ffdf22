//! The walk over the input: exact builtin types are written directly, in msgpack's shortest forms.

use std::{ptr, slice};

use pyo3::{
    exceptions::PyUnicodeEncodeError,
    ffi,
    prelude::*,
    sync::critical_section::with_critical_section,
    types::{PyDict, PyList, PyTuple},
};

use super::{
    buffer::Buffer,
    bulk,
    convert::{self, Converted},
    failure::{Failure, Outcome},
    writer::Writer,
};
use crate::py::codec::MAX_DEPTH;

/// From this size on, growing for a payload first looks how much more bulk the input holds.
const BULK: usize = 256 * 1024;

/// Encodes one input.
pub(super) struct Encoder<'s, 'a, 'py> {
    /// Where the message goes.
    pub(super) writer: Writer<'s, 'py>,
    root: Borrowed<'a, 'py, PyAny>,
}

impl<'s, 'a, 'py> Encoder<'s, 'a, 'py> {
    pub(super) fn new(writer: Writer<'s, 'py>, root: Borrowed<'a, 'py, PyAny>) -> Self {
        Self { writer, root }
    }

    /// Writes the whole input.
    pub(super) fn root(&mut self) -> Outcome {
        self.value(&self.root.to_owned(), 1)
    }

    /// Writes a value of any type. `depth` is the level of nesting that a container gets.
    fn value(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        if self.scalar(value.as_borrowed())? { Ok(()) } else { self.compound(value, depth) }
    }

    /// Writes `value` if it is of an exact builtin scalar type; `false` if it is not. Runs no Python code, so that
    /// borrowed references stay valid.
    #[expect(
        clippy::inline_always,
        reason = "inlined, its result is a jump; encoding many small values takes a third less"
    )]
    #[inline(always)]
    fn scalar(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Outcome<bool> {
        let object = value.as_ptr();
        // SAFETY: `value` is a valid object; the static type objects are only compared by address, and the
        // accessors are used on objects of exactly the type that they are for.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if kind == &raw mut ffi::PyUnicode_Type {
                self.str(value)?;
            } else if kind == &raw mut ffi::PyLong_Type {
                self.int(value)?;
            } else if kind == &raw mut ffi::PyFloat_Type {
                self.float(ffi::PyFloat_AS_DOUBLE(object))?;
            } else if kind == &raw mut ffi::PyBool_Type {
                self.writer.put([if object == ffi::Py_True() { 0xc3 } else { 0xc2 }])?;
            } else if object == ffi::Py_None() {
                self.writer.put([0xc0])?;
            } else if kind == &raw mut ffi::PyBytes_Type {
                let data = ffi::PyBytes_AS_STRING(object).cast::<u8>();
                // A bytes object is immutable and outlives this call.
                self.bin(slice::from_raw_parts(data, ffi::Py_SIZE(object) as usize))?;
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a value that is no exact builtin scalar.
    fn compound(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        if depth > MAX_DEPTH {
            return Err(Failure::refused(format!(
                "the input nests deeper than {MAX_DEPTH} levels, or contains itself"
            )));
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, depth, None)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list, depth)
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.tuple(tuple, depth)
        } else {
            self.converted(value, depth)
        }
    }

    fn converted(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        match convert::convert(value)? {
            // What was converted counts as one level: a chain of conversions must end.
            Converted::Value(inner) => self.value(&inner, depth + 1),
            Converted::Map(dict) => self.dict(&dict, depth, None),
            Converted::List(list) => self.list(&list, depth),
            Converted::Tuple(tuple) => self.tuple(&tuple, depth),
            Converted::Str => self.str(value.as_borrowed()),
            Converted::Int => self.int(value.as_borrowed()),
            Converted::Float(number) => self.float(number),
            Converted::Timestamp(timestamp) => {
                timestamp.payload(|payload| self.ext(crate::py::codec::timestamp::CODE, payload))
            }
            Converted::Ext(ext) => {
                let ext = ext.get();
                self.ext(ext.code, ext.data.as_bytes(value.py()))
            }
            Converted::Buffer(buffer) => self.buffer(&buffer),
        }
    }

    /// Writes a dict, and before its entries the one that is `added`.
    pub(super) fn dict(
        &mut self,
        dict: &Bound<'py, PyDict>,
        depth: usize,
        added: Option<(&str, &str)>,
    ) -> Outcome {
        with_critical_section(dict.as_any(), || {
            let declared = dict.len();
            self.header(declared + usize::from(added.is_some()), 0x80, [0xde, 0xdf])?;
            if let Some((key, value)) = added {
                self.utf8(key.as_bytes())?;
                self.utf8(value.as_bytes())?;
            }
            if declared == 0 {
                return Ok(());
            }
            let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
            let mut written = 0;
            // SAFETY: `dict` is an exact dict, locked here or by the GIL. `PyDict_Next` stays in bounds even if
            // the dict was changed since the last step.
            while unsafe { ffi::PyDict_Next(dict.as_ptr(), &raw mut position, &raw mut key, &raw mut value) }
                != 0
            {
                if written == declared {
                    return Err(changed("dict"));
                }
                // SAFETY: the dict holds both until Python code runs, and `scalar` and `key` run none; what may
                // run some gets owned references below.
                let (key, value) =
                    unsafe { (Borrowed::from_ptr(dict.py(), key), Borrowed::from_ptr(dict.py(), value)) };
                self.key(key)?;
                match self.scalar(value) {
                    Ok(true) => {}
                    Ok(false) => {
                        let (key, value) = (key.to_owned(), value.to_owned());
                        self.compound(&value, depth + 1)
                            .map_err(|failure| failure.at_key(key.as_borrowed()))?;
                    }
                    Err(failure) => return Err(failure.at_key(key)),
                }
                written += 1;
            }
            if written == declared { Ok(()) } else { Err(changed("dict")) }
        })
    }

    #[inline]
    fn key(&mut self, key: Borrowed<'_, 'py, PyAny>) -> Outcome {
        // SAFETY: `key` is a valid object.
        if unsafe { ffi::PyUnicode_Check(key.as_ptr()) } != 0 {
            self.str(key)
        } else {
            let kind = key.get_type().qualname()?;
            Err(Failure::refused(format!(
                "map keys must be str; {} is of type '{kind}'",
                convert::shown(&key)
            )))
        }
    }

    fn list(&mut self, list: &Bound<'py, PyList>, depth: usize) -> Outcome {
        with_critical_section(list.as_any(), || {
            let declared = list.len();
            self.header(declared, 0x90, [0xdc, 0xdd])?;
            for index in 0..declared {
                if index >= list.len() {
                    return Err(changed("list"));
                }
                // SAFETY: `index` was checked against the length, and the list is locked here or by the GIL. The
                // list holds the item until Python code runs; `item` takes an owned reference before that.
                let item = unsafe {
                    let item = ffi::PyList_GET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t);
                    Borrowed::from_ptr(list.py(), item)
                };
                self.item(item, index, depth)?;
            }
            if list.len() == declared { Ok(()) } else { Err(changed("list")) }
        })
    }

    fn tuple(&mut self, tuple: &Bound<'py, PyTuple>, depth: usize) -> Outcome {
        self.header(tuple.len(), 0x90, [0xdc, 0xdd])?;
        for (index, item) in tuple.iter_borrowed().enumerate() {
            self.item(item, index, depth)?;
        }
        Ok(())
    }

    #[inline]
    fn item(&mut self, item: Borrowed<'_, 'py, PyAny>, index: usize, depth: usize) -> Outcome {
        match self.scalar(item) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.compound(&item.to_owned(), depth + 1).map_err(|failure| failure.at_index(index))
            }
            Err(failure) => Err(failure.at_index(index)),
        }
    }

    /// Writes a `str` or an instance of a subclass. Runs no Python code.
    #[inline]
    fn str(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Outcome {
        let object = value.as_ptr();
        // SAFETY: `object` is a str; a compact ASCII one keeps its characters as UTF-8 behind its header, and
        // it is immutable and outlives this call.
        let utf8 = unsafe {
            if ffi::PyUnicode_IS_COMPACT_ASCII(object) != 0 {
                let data = ffi::PyUnicode_1BYTE_DATA(object);
                slice::from_raw_parts(data, ffi::PyUnicode_GET_LENGTH(object) as usize)
            } else {
                non_ascii(value)?
            }
        };
        self.utf8(utf8)
    }

    #[inline]
    fn utf8(&mut self, utf8: &[u8]) -> Outcome {
        match utf8.len() {
            length @ 0..32 => self.writer.put_headed([0xa0 | length as u8], utf8),
            length @ 32..=0xff => self.writer.put_headed([0xd9, length as u8], utf8),
            _ => self.long([0xda, 0xdb], utf8),
        }
    }

    /// Writes an `int` or an instance of a subclass. Runs no Python code.
    #[inline]
    fn int(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Outcome {
        let mut overflow = 0;
        // SAFETY: `value` is an int, so that the conversion cannot fail but by overflow.
        let signed = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &raw mut overflow) };
        match (overflow, signed) {
            (0, 0..=0x7f | -32..=-1) => self.writer.put([signed as u8]),
            (0, 0..) => self.unsigned(signed as u64),
            (0, -0x80..) => self.writer.put_marked(0xd0, (signed as i8).to_be_bytes()),
            (0, -0x8000..) => self.writer.put_marked(0xd1, (signed as i16).to_be_bytes()),
            (0, -0x8000_0000..) => self.writer.put_marked(0xd2, (signed as i32).to_be_bytes()),
            (0, _) => self.writer.put_marked(0xd3, signed.to_be_bytes()),
            _ => match value.extract::<u64>() {
                Ok(unsigned) => self.unsigned(unsigned),
                Err(_) => Err(Failure::refused(
                    "msgpack has no integers beyond 64 bits; accepted are -2**63 to 2**64 - 1 (send larger ones as str)",
                )),
            },
        }
    }

    #[inline]
    fn unsigned(&mut self, value: u64) -> Outcome {
        match value {
            0..=0x7f => self.writer.put([value as u8]),
            0..=0xff => self.writer.put_marked(0xcc, (value as u8).to_be_bytes()),
            0..=0xffff => self.writer.put_marked(0xcd, (value as u16).to_be_bytes()),
            0..=0xffff_ffff => self.writer.put_marked(0xce, (value as u32).to_be_bytes()),
            _ => self.writer.put_marked(0xcf, value.to_be_bytes()),
        }
    }

    #[inline]
    fn float(&mut self, value: f64) -> Outcome {
        self.writer.put_marked(0xcb, value.to_be_bytes())
    }

    #[inline]
    fn bin(&mut self, data: &[u8]) -> Outcome {
        match data.len() {
            length @ 0..=0xff => self.writer.put_headed([0xc4, length as u8], data),
            _ => self.long([0xc5, 0xc6], data),
        }
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

    fn buffer(&mut self, buffer: &Buffer<'_>) -> Outcome {
        let length = buffer.len();
        self.make_room(length)?;
        match length {
            0..=0xff => self.writer.put_marked(0xc4, [length as u8])?,
            0..=0xffff => self.writer.put_marked(0xc5, (length as u16).to_be_bytes())?,
            _ => self.writer.put_marked(0xc6, length_32(length)?.to_be_bytes())?,
        }
        self.writer.put_with(length, |to| buffer.copy_to(to))
    }

    fn ext(&mut self, code: i8, data: &[u8]) -> Outcome {
        self.make_room(data.len())?;
        let code = code as u8;
        match data.len() {
            1 => self.writer.put_headed([0xd4, code], data),
            2 => self.writer.put_headed([0xd5, code], data),
            4 => self.writer.put_headed([0xd6, code], data),
            8 => self.writer.put_headed([0xd7, code], data),
            16 => self.writer.put_headed([0xd8, code], data),
            length @ 0..=0xff => self.writer.put_headed([0xc7, length as u8, code], data),
            length @ 0..=0xffff => {
                let [a, b] = (length as u16).to_be_bytes();
                self.writer.put_headed([0xc8, a, b, code], data)
            }
            length => {
                let [a, b, c, d] = length_32(length)?.to_be_bytes();
                self.writer.put_headed([0xc9, a, b, c, d, code], data)
            }
        }
    }

    /// If a large payload of `size` bytes makes the buffer grow, lets it grow for those that will follow, too, so
    /// that this one is not moved for them.
    #[inline]
    fn make_room(&mut self, size: usize) -> Outcome {
        if size >= BULK && !self.writer.has_room(size) {
            self.writer.reserve(size.max(bulk::bulk_bytes(self.root)))?;
        }
        Ok(())
    }

    /// Writes the header of a map or array: a length below 16 is a part of the marker.
    #[inline]
    fn header(&mut self, length: usize, fixed: u8, [sixteen, thirty_two]: [u8; 2]) -> Outcome {
        match length {
            0..=0xf => self.writer.put([fixed | length as u8]),
            0..=0xffff => self.writer.put_marked(sixteen, (length as u16).to_be_bytes()),
            _ => self.writer.put_marked(thirty_two, length_32(length)?.to_be_bytes()),
        }
    }
}

/// The UTF-8 form of a str that is not compact ASCII. CPython keeps it with the str, for the next time.
fn non_ascii<'a>(value: Borrowed<'a, '_, PyAny>) -> Outcome<&'a [u8]> {
    let mut length = 0;
    // SAFETY: `value` is a str. The UTF-8 form belongs to it, is immutable, and lives as long: `'a`.
    unsafe {
        let data = ffi::PyUnicode_AsUTF8AndSize(value.as_ptr(), &raw mut length);
        if !data.is_null() {
            return Ok(slice::from_raw_parts(data.cast(), length as usize));
        }
    }
    let error = PyErr::fetch(value.py());
    if error.is_instance_of::<PyUnicodeEncodeError>(value.py()) {
        return Err(Failure::refused("the str holds a lone surrogate, which UTF-8 has no form for"));
    }
    Err(error.into())
}

fn length_32(length: usize) -> Outcome<u32> {
    u32::try_from(length).map_err(|_| Failure::refused("msgpack has no lengths of 2**32 or more"))
}

#[cold]
fn changed(what: &str) -> Box<Failure> {
    Failure::refused(format!("the {what} was changed while it was being encoded"))
}
