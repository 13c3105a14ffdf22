//! The slot by which `CPython` resumes a coroutine without an exception for what it returns.
//!
//! `__next__` and `send` return by raising `StopIteration`, which takes an exception object for each operation; `await` asks
//! for this slot first. PyO3 has no way to name it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use pyo3::{exceptions::PyRuntimeError, ffi, panic::PanicException, prelude::*};

use super::{Operation, Step};

/// Gives the type of operations the slot.
pub(in crate::py) fn install(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Operation>();
    // SAFETY: a type made by PyO3 is a heap type, whose `tp_as_async` points into the type object itself (checked for null all
    // the same); the GIL is held, and the type has no instances yet, nor can it have subclasses that inherited the slot.
    unsafe {
        let slots = (*class.as_type_ptr()).tp_as_async;
        if slots.is_null() {
            return Err(PyRuntimeError::new_err("this Python has no asynchronous slots"));
        }
        (*slots).am_send = Some(am_send);
    }
    Ok(())
}

/// Takes a step. The value that is sent has no meaning, as in `Operation::send`.
///
/// # Safety
///
/// `operation` is an object and `result` a place for one, both valid for the time of the call, and the GIL is held; `PyIter_Send`
/// gives it these.
unsafe extern "C" fn am_send(
    operation: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let take_step = |py: Python<'_>| {
        // SAFETY: the caller holds a reference to it for longer than this call.
        let operation = unsafe { Bound::ref_from_ptr(py, &operation) };
        let step = catch_unwind(AssertUnwindSafe(|| Operation::resume(operation.cast()?)));
        let (object, kind) =
            match step.unwrap_or_else(|_| Err(PanicException::new_err("panic from Rust code"))) {
                Ok(Step::Done(value)) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
                Ok(Step::Yield(object)) => (object.into_ptr(), ffi::PySendResult::PYGEN_NEXT),
                Err(error) => {
                    error.restore(py);
                    (ptr::null_mut(), ffi::PySendResult::PYGEN_ERROR)
                }
            };
        // SAFETY: it is a place for the result, which takes over the reference.
        unsafe { *result = object };
        kind
    };
    // An interpreter that is being torn down still resumes coroutines, though nobody may attach any more.
    // SAFETY: the caller holds the GIL, and `take_step` ends before it lets go of it.
    Python::try_attach(take_step).unwrap_or_else(|| take_step(unsafe { Python::assume_attached() }))
}
