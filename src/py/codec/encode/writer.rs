//! The growing buffer that msgpack is written into: a `Payload`, or the inside of a new `bytes` object.
//!
//! Writing starts in a scratch buffer on the caller's stack, so that a small message is allocated once, at its
//! exact size. All of the encoder's unchecked writes are here.

use std::{
    ffi::c_int,
    marker::PhantomData,
    mem::{self, MaybeUninit},
    ptr::{self, NonNull},
};

use bytes::Bytes;
use pyo3::{exceptions::PyMemoryError, ffi, prelude::*, types::PyBytes};

use super::failure::Outcome;
use crate::{
    core::{
        payload::{LARGE_BYTES, Payload},
        pool,
    },
    py::borrowed_bytes::borrow,
};

mod copy;

use copy::copy;

// SAFETY: this is its signature in `bytesobject.h`, the same in every CPython from 3.10 on.
unsafe extern "C" {
    /// Documented in `CPython`'s C API since 1.5; pyo3-ffi does not export it.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// Room on the stack for messages without large values.
pub(super) type Scratch = [MaybeUninit<u8>; 2048];

/// Free room that is kept behind a large payload, so that the small fields behind it do not move it.
const SLACK_BYTES: usize = 512;

/// The target of a message when it leaves the scratch buffer.
#[derive(Clone, Copy)]
pub(super) enum WriteTarget {
    /// A message, which borrows large `bytes`: [`PayloadWriter::into_payload`].
    Payload,
    /// A Python `bytes` object: [`PayloadWriter::into_bytes`].
    Bytes,
}

enum Storage {
    Scratch,
    Vec(Vec<u8>),
    /// An owned reference to a `bytes` object that nobody else has seen yet.
    Bytes(NonNull<ffi::PyObject>),
}

/// Invariant: `start` points to `capacity` writable bytes of `storage` (or of the scratch buffer, which `'s`
/// keeps borrowed), and the first `len <= capacity` of them are initialised.
pub(super) struct PayloadWriter<'s, 'py> {
    py: Python<'py>,
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
    storage: Storage,
    target: WriteTarget,
    borrowed: Vec<(usize, Bytes)>,
    scratch: PhantomData<&'s mut Scratch>,
}

impl<'s, 'py> PayloadWriter<'s, 'py> {
    /// An empty writer.
    pub(super) fn new(py: Python<'py>, target: WriteTarget, scratch: &'s mut Scratch) -> Self {
        let capacity = scratch.len();
        let start = NonNull::from(scratch).cast();
        let (storage, borrowed) = (Storage::Scratch, Vec::new());
        Self { py, start, len: 0, capacity, storage, target, borrowed, scratch: PhantomData }
    }

    /// Whether `additional` bytes fit without growing.
    pub(super) fn has_room(&self, additional: usize) -> bool {
        additional <= self.capacity - self.len
    }

    /// Whether a `bytes` object of `size` bytes is borrowed, not copied.
    #[inline]
    pub(super) fn borrows(&self, size: usize) -> bool {
        size >= LARGE_BYTES && matches!(self.target, WriteTarget::Payload)
    }

    /// Refers to the contents of `bytes`.
    #[cold]
    pub(super) fn borrow(&mut self, bytes: &Bound<'py, PyBytes>) -> Outcome {
        self.borrowed.try_reserve(1).map_err(|_| too_large())?;
        self.borrowed.push((self.len, borrow(bytes)));
        Ok(())
    }

    /// Writes `bytes`, whose length is known to the compiler.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Outcome {
        self.reserve(N)?;
        // SAFETY: `reserve` made room for `N` bytes; a byte array has no alignment to keep.
        unsafe { self.start.add(self.len).cast::<[u8; N]>().write_unaligned(bytes) };
        self.len += N;
        Ok(())
    }

    /// Writes a marker byte and a big-endian number.
    #[inline]
    pub(super) fn put_marked<const N: usize>(&mut self, marker: u8, number: [u8; N]) -> Outcome {
        self.put_headed([marker], &number)
    }

    /// Writes `header` and then `payload`: one check for both.
    #[inline]
    pub(super) fn put_headed<const N: usize>(&mut self, header: [u8; N], payload: &[u8]) -> Outcome {
        let size = N + payload.len(); // a slice is shorter than `isize::MAX`
        self.reserve(size)?;
        // SAFETY: `reserve` made room; a byte array has no alignment to keep; `payload` is not in our buffer, which
        // nobody else can reach.
        unsafe {
            let at = self.start.add(self.len);
            at.cast::<[u8; N]>().write_unaligned(header);
            copy(payload, at.add(N).as_ptr());
        }
        self.len += size;
        Ok(())
    }

    /// Gives `fill` the next `count` bytes to initialise, all of them, unless it fails.
    pub(super) fn put_with(&mut self, count: usize, fill: impl FnOnce(*mut u8) -> PyResult<()>) -> Outcome {
        self.reserve(count)?;
        // SAFETY: `reserve` made room for `count` bytes, so the offset is inside of the buffer.
        fill(unsafe { self.start.add(self.len) }.as_ptr())?;
        self.len += count;
        Ok(())
    }

    /// Makes room for `additional` bytes.
    #[inline]
    pub(super) fn reserve(&mut self, additional: usize) -> Outcome {
        if self.has_room(additional) { Ok(()) } else { self.grow(additional) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, additional: usize) -> Outcome {
        let needed = self
            .len
            .checked_add(additional)
            .and_then(|needed| needed.checked_add(SLACK_BYTES))
            .filter(|needed| isize::try_from(*needed).is_ok())
            .ok_or_else(too_large)?;
        // A large payload gets what it needs; a run of small values grows by half, so that copies stay linear.
        let capacity = needed.max(self.capacity.saturating_add(self.capacity / 2));
        match (&mut self.storage, self.target) {
            (Storage::Scratch, WriteTarget::Payload) => {
                let mut vec = pool::take(capacity).map_err(|_| too_large())?;
                vec.extend_from_slice(self.written());
                self.start = NonNull::new(vec.as_mut_ptr()).ok_or_else(too_large)?;
                self.capacity = vec.capacity();
                self.storage = Storage::Vec(vec);
            }
            (Storage::Vec(vec), _) => {
                // SAFETY: by the invariant, `len` bytes of the vector's allocation are initialised.
                unsafe { vec.set_len(self.len) };
                vec.try_reserve_exact(capacity - self.len).map_err(|_| too_large())?;
                self.start = NonNull::new(vec.as_mut_ptr()).ok_or_else(too_large)?;
                self.capacity = vec.capacity();
            }
            (Storage::Scratch, WriteTarget::Bytes) => {
                // SAFETY: a null pointer asks for uninitialised bytes; we are attached (`self.py`).
                let new = unsafe { ffi::PyBytes_FromStringAndSize(ptr::null(), capacity as ffi::Py_ssize_t) };
                let new = NonNull::new(new).ok_or_else(|| PyErr::fetch(self.py))?;
                let start = bytes_data(new);
                // SAFETY: the new object has room for `capacity > len` bytes and is not the scratch buffer.
                unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), self.len) };
                (self.start, self.capacity, self.storage) = (start, capacity, Storage::Bytes(new));
            }
            (Storage::Bytes(_), _) => self.resize_bytes(capacity)?,
        }
        Ok(())
    }

    /// Gives the `bytes` object of the storage another size. If that fails the writer is left empty.
    fn resize_bytes(&mut self, size: usize) -> Outcome {
        let Storage::Bytes(bytes) = mem::replace(&mut self.storage, Storage::Scratch) else {
            unreachable!("only called when the storage is a bytes object");
        };
        let len = mem::take(&mut self.len);
        (self.start, self.capacity) = (NonNull::dangling(), 0);
        let mut object = bytes.as_ptr();
        // SAFETY: `object` is the only reference to a bytes object whose hash was never taken. On failure the
        // object is freed and the pointer set to null.
        unsafe { _PyBytes_Resize(&raw mut object, size as ffi::Py_ssize_t) };
        let resized = NonNull::new(object).ok_or_else(|| PyErr::fetch(self.py))?;
        self.start = bytes_data(resized);
        self.capacity = size;
        self.len = len.min(size);
        self.storage = Storage::Bytes(resized);
        Ok(())
    }

    fn written(&self) -> &[u8] {
        // SAFETY: by the invariant.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.len).as_ref() }
    }

    /// The message that was written, of a writer with [`WriteTarget::Payload`].
    pub(super) fn into_payload(mut self) -> Payload {
        let own = match mem::replace(&mut self.storage, Storage::Scratch) {
            Storage::Vec(mut vec) => {
                // SAFETY: by the invariant, `len` bytes of the vector's allocation are initialised.
                unsafe { vec.set_len(self.len) };
                vec
            }
            storage => {
                self.storage = storage;
                self.written().to_vec()
            }
        };
        Payload::new(own, mem::take(&mut self.borrowed))
    }

    /// The message that was written, of a writer with [`WriteTarget::Bytes`].
    pub(super) fn into_bytes(mut self) -> Outcome<Bound<'py, PyBytes>> {
        if let Storage::Bytes(bytes) = self.storage {
            if self.capacity - self.len <= 2 * SLACK_BYTES {
                shorten_bytes(bytes, self.len);
            } else {
                self.resize_bytes(self.len)?;
            }
        }
        match mem::replace(&mut self.storage, Storage::Scratch) {
            // SAFETY: the storage held the only reference to a bytes object.
            Storage::Bytes(bytes) => unsafe {
                Ok(Bound::from_owned_ptr(self.py, bytes.as_ptr()).cast_into_unchecked())
            },
            _ => Ok(PyBytes::new(self.py, self.written())),
        }
    }
}

impl Drop for PayloadWriter<'_, '_> {
    fn drop(&mut self) {
        if let Storage::Bytes(bytes) = self.storage {
            // SAFETY: the storage owns this reference; we are attached (`self.py`).
            unsafe { ffi::Py_DECREF(bytes.as_ptr()) };
        }
    }
}

fn too_large() -> PyErr {
    PyMemoryError::new_err("the message is too large for memory")
}

/// The first byte of a `bytes` object's contents.
fn bytes_data(bytes: NonNull<ffi::PyObject>) -> NonNull<u8> {
    // SAFETY: the caller has an exact bytes object; its contents are inside of it, so the pointer is not null.
    unsafe { NonNull::new_unchecked(ffi::PyBytes_AS_STRING(bytes.as_ptr()).cast_mut().cast()) }
}

/// Makes a `bytes` object that nobody else has seen shorter, without moving it: what is cut off stays allocated, as
/// the object's allocator knows its true size.
fn shorten_bytes(bytes: NonNull<ffi::PyObject>, size: usize) {
    // SAFETY: the caller has the only reference to a bytes object of at least `size` bytes, whose hash was never
    // taken; its contents end with a null byte, for which there is always room.
    unsafe {
        (*bytes.as_ptr().cast::<ffi::PyVarObject>()).ob_size = size as ffi::Py_ssize_t;
        bytes_data(bytes).add(size).write(0);
    }
}
