//! The walk over the input: exact builtin types are written directly, in msgpack's shortest forms.

use std::{ptr, slice};

use pyo3::{
    exceptions::PyValueError,
    ffi,
    prelude::*,
    sync::critical_section::with_critical_section,
    types::{PyDict, PyList, PyString, PyTuple},
};

use super::{
    convert::{self, Converted},
    failure::{EncodeFailure, Outcome},
    rules::{EncodeDialect, Rules},
    writer::PayloadWriter,
};
use crate::core::markers;

mod refusing;

use refusing::{at_entry, changed, not_a_key};

/// Encodes one input.
pub(super) struct Encoder<'s, 'a, 'py> {
    /// The writer of the message.
    pub(super) writer: PayloadWriter<'s, 'py>,
    /// The whole input.
    pub(super) root: Borrowed<'a, 'py, PyAny>,
    /// By whose rules.
    pub(super) rules: Rules<'a, 'py>,
}

impl<'s, 'a, 'py> Encoder<'s, 'a, 'py> {
    pub(super) fn new(
        writer: PayloadWriter<'s, 'py>,
        root: Borrowed<'a, 'py, PyAny>,
        rules: Rules<'a, 'py>,
    ) -> Self {
        Self { writer, root, rules }
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
                let is_true = object == ffi::Py_True();
                self.writer.put([if is_true { markers::TRUE } else { markers::FALSE }])?;
            } else if object == ffi::Py_None() {
                self.writer.put([markers::NIL])?;
            } else if kind == &raw mut ffi::PyBytes_Type {
                let size = ffi::Py_SIZE(object) as usize;
                if self.writer.borrows(size) {
                    self.borrowed(&value.to_owned().cast_into_unchecked())?;
                } else {
                    // A bytes object is immutable and outlives this call.
                    self.bin(slice::from_raw_parts(ffi::PyBytes_AS_STRING(object).cast(), size))?;
                }
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a value that is no exact builtin scalar.
    fn compound(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        if depth > self.rules.max_depth() {
            return Err(self.too_deep());
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, depth)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list, depth)
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.tuple(tuple, depth)
        } else {
            self.converted(value, depth)
        }
    }

    #[cold]
    #[inline(never)] // keeps the stack frames of nested containers small
    fn converted(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        match self.convert(value)? {
            // What was converted counts as one level: a chain of conversions must end.
            Converted::Value(inner) => self.value(&inner, depth + 1),
            Converted::Map(dict) => self.dict(&dict, depth),
            Converted::List(list) => self.list(&list, depth),
            Converted::Tuple(tuple) => self.tuple(&tuple, depth),
            Converted::Str => self.str(value.as_borrowed()),
            Converted::Int => self.int(value.as_borrowed()),
            Converted::Float(number) => self.float(number),
            Converted::Text(text) => self.utf8(text.as_bytes()),
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

    /// The value to encode for `value`; what has no form is given to the caller's hook.
    fn convert(&self, value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
        if self.rules.dialect == EncodeDialect::Packer {
            return convert::convert_for_packer(value);
        }
        match (convert::convert(value, self.rules.timestamps), self.rules.default) {
            (Err(failure), Some(default)) if failure.is_refusal() => {
                Ok(Converted::Value(default.call1((value,))?))
            }
            (converted, _) => converted,
        }
    }

    #[cold]
    fn too_deep(&self) -> EncodeFailure {
        let most = self.rules.max_depth();
        if self.rules.dialect == EncodeDialect::Packer {
            return PyValueError::new_err("recursion limit exceeded.").into();
        }
        EncodeFailure::refused(format!("the input nests deeper than {most} levels, or contains itself"))
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Outcome {
        with_critical_section(dict.as_any(), || {
            let length = dict.len();
            self.header(length, markers::FIXMAP, [markers::MAP_16, markers::MAP_32])?;
            self.entries(dict, length, depth)
        })
    }

    /// Writes `dict` as the outermost container, and before its entries the one that is `added`.
    pub(super) fn root_dict(&mut self, dict: &Bound<'py, PyDict>, added: Option<(&str, &str)>) -> Outcome {
        with_critical_section(dict.as_any(), || {
            let length = dict.len();
            self.header(
                length + usize::from(added.is_some()),
                markers::FIXMAP,
                [markers::MAP_16, markers::MAP_32],
            )?;
            if let Some((key, value)) = added {
                self.utf8(key.as_bytes())?;
                self.utf8(value.as_bytes())?;
            }
            self.entries(dict, length, 1)
        })
    }

    /// Writes the entries of a dict that is locked, if this build of Python has locks, and had `declared` entries
    /// when its header was written.
    #[inline]
    fn entries(&mut self, dict: &Bound<'py, PyDict>, declared: usize, depth: usize) -> Outcome {
        if declared == 0 {
            return Ok(());
        }
        let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        let mut written = 0;
        // SAFETY: `dict` is an exact dict, locked here or by the GIL. `PyDict_Next` stays in bounds even if
        // the dict was changed since the last step.
        while unsafe { ffi::PyDict_Next(dict.as_ptr(), &raw mut position, &raw mut key, &raw mut value) } != 0
        {
            if written == declared {
                return Err(changed("dict"));
            }
            // SAFETY: the dict holds both until Python code runs. `scalar` and `key` run none unless they fail,
            // and then neither is used again; what may run some gets owned references below.
            let (key, value) =
                unsafe { (Borrowed::from_ptr(dict.py(), key), Borrowed::from_ptr(dict.py(), value)) };
            // SAFETY: `key` is a valid object.
            if unsafe { ffi::PyUnicode_Check(key.as_ptr()) } == 0 {
                self.other_entry(&key.to_owned(), &value.to_owned(), depth)?;
                written += 1;
                continue;
            }
            self.str(key)?;
            match self.scalar(value) {
                Ok(true) => {}
                Ok(false) => {
                    let (key, value) = (key.to_owned(), value.to_owned());
                    self.compound(&value, depth + 1).map_err(|failure| failure.at_key(&key))?;
                }
                Err(failure) => return Err(at_entry(failure, dict, written)),
            }
            written += 1;
        }
        if written == declared { Ok(()) } else { Err(changed("dict")) }
    }

    /// Writes an entry whose key is no `str`.
    #[cold]
    #[inline(never)]
    fn other_entry(&mut self, key: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        self.other_key(key, depth)?;
        self.value(value, depth + 1).map_err(|failure| failure.at_key(key))
    }

    /// Writes a key that is no `str`: a fal app takes those that are encoded as one.
    fn other_key(&mut self, key: &Bound<'py, PyAny>, depth: usize) -> Outcome {
        if self.rules.dialect == EncodeDialect::Packer {
            return self.value(key, depth + 1);
        }
        let mut current = key.clone();
        for _ in 0..self.rules.max_depth() {
            if current.is_instance_of::<PyString>() {
                return self.str(current.as_borrowed());
            }
            if self.rules.dialect == EncodeDialect::Any && self.scalar(current.as_borrowed())? {
                return Ok(());
            }
            match self.convert(&current) {
                Ok(Converted::Value(inner)) => current = inner,
                Ok(Converted::Text(text)) => return self.utf8(text.as_bytes()),
                Ok(Converted::Int) if self.rules.dialect == EncodeDialect::Any => {
                    return self.int(current.as_borrowed());
                }
                Err(failure) if !failure.is_refusal() => return Err(failure),
                Ok(_) | Err(_) => break,
            }
        }
        Err(not_a_key(key, self.rules.dialect))
    }

    fn list(&mut self, list: &Bound<'py, PyList>, depth: usize) -> Outcome {
        with_critical_section(list.as_any(), || {
            let declared = list.len();
            self.header(declared, markers::FIXARRAY, [markers::ARRAY_16, markers::ARRAY_32])?;
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
        self.header(tuple.len(), markers::FIXARRAY, [markers::ARRAY_16, markers::ARRAY_32])?;
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
}
