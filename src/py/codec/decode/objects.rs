//! New Python objects, made the shortest way that `CPython`'s public C API has.

use std::ptr;

use pyo3::{exceptions::PyUnicodeDecodeError, ffi, prelude::*, sync::PyOnceLock};

use super::failure::Outcome;
use crate::py::facade;

/// Takes over a new reference, or the exception that was raised instead.
///
/// # Safety
///
/// `object` is a new reference, or null with an exception set.
#[inline]
unsafe fn owned(py: Python<'_>, object: *mut ffi::PyObject) -> Outcome<Bound<'_, PyAny>> {
    // SAFETY: the caller's promise.
    unsafe { Ok(Bound::from_owned_ptr_or_err(py, object)?) }
}

/// A `str` of ASCII text.
#[inline]
pub(super) fn ascii<'py>(py: Python<'py>, text: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    debug_assert!(text.is_ascii());
    // SAFETY: a new str of `len` ASCII characters has room for as many bytes, and nobody else has seen it yet
    // (the empty one, which is shared, is not written to).
    unsafe {
        let string = owned(py, ffi::PyUnicode_New(text.len() as ffi::Py_ssize_t, 0x7f))?;
        let data = ffi::PyUnicode_1BYTE_DATA(string.as_ptr());
        ptr::copy_nonoverlapping(text.as_ptr(), data, text.len());
        Ok(string)
    }
}

/// A `str` of UTF-8 text; `None` if it is not valid UTF-8.
#[inline]
pub(super) fn string<'py>(py: Python<'py>, utf8: &[u8]) -> Outcome<Option<Bound<'py, PyAny>>> {
    if utf8.is_ascii() {
        return ascii(py, utf8).map(Some);
    }
    // SAFETY: the pointer and the length are those of a slice; a null pointer asks for strict decoding.
    let decoded = unsafe {
        ffi::PyUnicode_DecodeUTF8(utf8.as_ptr().cast(), utf8.len() as ffi::Py_ssize_t, ptr::null())
    };
    // SAFETY: the function answers a new reference or raises.
    match unsafe { Bound::from_owned_ptr_or_err(py, decoded) } {
        Ok(string) => Ok(Some(string)),
        Err(error) if error.is_instance_of::<PyUnicodeDecodeError>(py) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A `str` of text that is UTF-8, but may hold surrogates.
pub(super) fn wtf8<'py>(py: Python<'py>, text: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    if text.is_ascii() {
        return ascii(py, text);
    }
    // SAFETY: the pointer and the length are those of a slice; the error handler is one of Python's own. Answers a
    // new reference or raises.
    unsafe {
        let length = text.len() as ffi::Py_ssize_t;
        owned(py, ffi::PyUnicode_DecodeUTF8(text.as_ptr().cast(), length, c"surrogatepass".as_ptr()))
    }
}

/// A `bytes` object.
#[inline]
pub(super) fn bytes<'py>(py: Python<'py>, data: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    // SAFETY: the pointer and the length are those of a slice.
    unsafe { owned(py, ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as ffi::Py_ssize_t)) }
}

/// The object that Python's `msgpack` makes of an extension: its `Timestamp`, or its `ExtType`, which is a tuple.
#[cold]
pub(super) fn packers_ext<'py>(py: Python<'py>, code: i8, payload: &[u8]) -> Outcome<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, facade::MODULE, "from_extension")?;
    Ok(make.call1((code, bytes(py, payload)?))?)
}

/// An `int`.
#[inline]
pub(super) fn signed(py: Python<'_>, number: i64) -> Outcome<Bound<'_, PyAny>> {
    // SAFETY: answers a new reference or raises.
    unsafe { owned(py, ffi::PyLong_FromLongLong(number)) }
}

/// An `int`.
#[inline]
pub(super) fn unsigned(py: Python<'_>, number: u64) -> Outcome<Bound<'_, PyAny>> {
    // SAFETY: answers a new reference or raises.
    unsafe { owned(py, ffi::PyLong_FromUnsignedLongLong(number)) }
}

/// A `float`.
#[inline]
pub(super) fn float(py: Python<'_>, number: f64) -> Outcome<Bound<'_, PyAny>> {
    // SAFETY: answers a new reference or raises.
    unsafe { owned(py, ffi::PyFloat_FromDouble(number)) }
}

/// `None`.
#[inline]
pub(super) fn none(py: Python<'_>) -> Bound<'_, PyAny> {
    py.None().into_bound(py)
}

/// `True` or `False`.
#[inline]
pub(super) fn bool(py: Python<'_>, value: bool) -> Bound<'_, PyAny> {
    // SAFETY: both are objects that always live.
    unsafe { Bound::from_borrowed_ptr(py, if value { ffi::Py_True() } else { ffi::Py_False() }) }
}

/// A list that is being filled.
pub(super) struct ListBuilder<'py> {
    list: Bound<'py, PyAny>,
    length: usize,
    filled: usize,
}

impl<'py> ListBuilder<'py> {
    /// A list for `length` items, which are allocated now.
    #[inline]
    pub(super) fn new(py: Python<'py>, length: usize) -> Outcome<Self> {
        // SAFETY: answers a new reference or raises.
        let list = unsafe { owned(py, ffi::PyList_New(length as ffi::Py_ssize_t))? };
        Ok(Self { list, length, filled: 0 })
    }

    /// Sets the next item.
    #[inline]
    pub(super) fn push(&mut self, item: Bound<'py, PyAny>) {
        assert!(self.filled < self.length, "no more items than were announced");
        // SAFETY: the index is in bounds, the slot is still empty, and the item's reference is handed over.
        unsafe { ffi::PyList_SET_ITEM(self.list.as_ptr(), self.filled as ffi::Py_ssize_t, item.into_ptr()) };
        self.filled += 1;
    }

    /// The list, once it is full.
    #[inline]
    pub(super) fn finish(self) -> Bound<'py, PyAny> {
        assert!(self.filled == self.length, "an unset slot must not reach Python");
        self.list
    }
}
