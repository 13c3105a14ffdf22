//! The buffer protocol (PEP 3118): bytes-like objects of any item type and layout.

use std::{marker::PhantomData, mem::MaybeUninit};

use pyo3::{ffi, prelude::*};

/// A buffer that an object exports; it is released when this is dropped. While it is held, the exporter does not
/// resize or free it.
pub(super) struct Buffer<'py> {
    // Boxed, since some exporters keep a pointer to the struct that they filled.
    view: Box<ffi::Py_buffer>,
    py: PhantomData<Python<'py>>,
}

impl<'py> Buffer<'py> {
    /// The buffer of `value`; `None` if it is not bytes-like.
    pub(super) fn of(value: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        // SAFETY: `value` is a valid object and we are attached; a successful call initialises the whole view.
        unsafe {
            if ffi::PyObject_CheckBuffer(value.as_ptr()) == 0 {
                return Ok(None);
            }
            let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::uninit());
            if ffi::PyObject_GetBuffer(value.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_FULL_RO) != 0 {
                return Err(PyErr::fetch(value.py()));
            }
            Ok(Some(Self { view: view.assume_init(), py: PhantomData }))
        }
    }

    /// The number of bytes that the items take without gaps.
    pub(super) fn len(&self) -> usize {
        self.view.len as usize
    }

    /// Whether the items lie in C order and without gaps.
    pub(super) fn is_contiguous(&self) -> bool {
        // SAFETY: the view is held.
        unsafe { ffi::PyBuffer_IsContiguous(&raw const *self.view, b'C' as std::ffi::c_char) != 0 }
    }

    /// Copies the items, in C order and without gaps, to `to`, which has room for [`Self::len`] bytes.
    pub(super) fn copy_to(&self, to: *mut u8) -> PyResult<()> {
        // SAFETY: the view is held; `to` has room for `len` bytes. A contiguous buffer is copied as it lies.
        let failed = unsafe {
            ffi::PyBuffer_ToContiguous(
                to.cast(),
                (&raw const *self.view).cast_mut(),
                self.view.len,
                b'C' as std::ffi::c_char,
            )
        };
        // SAFETY: `self` exists only while attached.
        if failed == 0 { Ok(()) } else { Err(PyErr::fetch(unsafe { Python::assume_attached() })) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: the view was filled by `PyObject_GetBuffer` and is released once, while attached.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) };
    }
}
