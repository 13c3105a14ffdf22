//! The size hint of an input: about how much its large values take, found cheaply, so that a message of several images
//! grows once.

use std::ptr;

use pyo3::{
    ffi,
    prelude::*,
    sync::critical_section::with_critical_section,
    types::{PyByteArray, PyByteArrayMethods, PyBytes, PyDict, PyList, PyString, PyTuple},
};

/// No more values than this are visited.
const MAX_VISITS: usize = 256;
/// No deeper levels than this are visited.
const MAX_LEVELS: usize = 4;

/// The bytes that the bytes-like objects and strings of `root` take, as far as a short visit finds them. It is an
/// estimate: the input may change before it is encoded. `bytes` of a size that is `borrowed` take none.
pub(super) fn size_hint(root: Borrowed<'_, '_, PyAny>, borrowed: impl Fn(usize) -> bool) -> usize {
    let mut visits = MAX_VISITS;
    value_bytes(&root, MAX_LEVELS, &mut visits, &borrowed)
}

fn value_bytes(
    value: &Bound<'_, PyAny>,
    levels: usize,
    visits: &mut usize,
    borrowed: &impl Fn(usize) -> bool,
) -> usize {
    if *visits == 0 || levels == 0 {
        return 0;
    }
    *visits -= 1;
    let inner = levels - 1;
    if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        let size = bytes.as_bytes().len();
        if borrowed(size) { 0 } else { size }
    } else if let Ok(array) = value.cast_exact::<PyByteArray>() {
        array.len()
    } else if value.cast_exact::<PyString>().is_ok() {
        // SAFETY: `value` is a str. Characters beyond ASCII take more, which growing makes up for.
        unsafe { ffi::PyUnicode_GET_LENGTH(value.as_ptr()) as usize }
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        dict_bytes(dict, inner, visits, borrowed)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        let limit = *visits;
        list.iter()
            .take(limit)
            .fold(0, |sum, item| sum.saturating_add(value_bytes(&item, inner, visits, borrowed)))
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        let limit = *visits;
        tuple
            .iter_borrowed()
            .take(limit)
            .fold(0, |sum, item| sum.saturating_add(value_bytes(&item, inner, visits, borrowed)))
    } else {
        0
    }
}

fn dict_bytes(
    dict: &Bound<'_, PyDict>,
    levels: usize,
    visits: &mut usize,
    borrowed: &impl Fn(usize) -> bool,
) -> usize {
    let mut sum = 0_usize;
    let (mut position, mut value) = (0, ptr::null_mut());
    with_critical_section(dict.as_any(), || {
        while *visits > 0 {
            // SAFETY: `dict` is an exact dict, locked here or by the GIL; a null pointer says that the key is not
            // asked for, and the owned reference keeps the value.
            let item = unsafe {
                if ffi::PyDict_Next(dict.as_ptr(), &raw mut position, ptr::null_mut(), &raw mut value) == 0 {
                    break;
                }
                Bound::from_borrowed_ptr(dict.py(), value)
            };
            sum = sum.saturating_add(value_bytes(&item, levels, visits, borrowed));
        }
    });
    sum
}
