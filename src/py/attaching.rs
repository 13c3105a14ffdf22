//! Attaches threads of our own, of which Python knows nothing, to the interpreter.

use pyo3::{ffi, prelude::*};

use crate::net::{exit_gate, fork_barrier};

/// Attaches a thread of our own to the interpreter; `None` when that is leaving.
pub(super) fn attach<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    let _inside = exit_gate::enter()?;
    let _state = ThreadState::new()?;
    Python::try_attach(work)
}

/// What the interpreter knows of this thread while it is attached, unless it knew it before.
///
/// To make one takes a lock of the interpreter without the GIL. A child that is forked meanwhile waits for that lock,
/// in `fork` itself and for ever (seen with Python 3.11). So no fork comes into it, which `PyGILState_Ensure` cannot
/// promise.
struct ThreadState {
    is_new: bool,
}

impl ThreadState {
    /// Attaches the thread; `None` when there is no interpreter, or no memory.
    fn new() -> Option<Self> {
        // SAFETY: may be called at any time and by any thread.
        if unsafe { ffi::Py_IsInitialized() } == 0 {
            return None;
        }
        // SAFETY: the interpreter is there: it waits for who is inside the exit gate before it is torn down.
        if !unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
            return Some(Self { is_new: false });
        }
        // SAFETY: likewise; needs no GIL. It becomes the thread's own state, with one `PyGILState_Release` to come.
        let state =
            fork_barrier::without_fork(|| unsafe { ffi::PyThreadState_New(ffi::PyInterpreterState_Main()) });
        if state.is_null() {
            return None;
        }
        // SAFETY: `state` is this thread's, was made just now, and is attached nowhere.
        unsafe { ffi::PyEval_RestoreThread(state) };
        Some(Self { is_new: true })
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        if self.is_new {
            // SAFETY: this thread is attached by `new`, and everything in between has released what it ensured, so
            // this is the last release of the state: it detaches and deletes it.
            unsafe { ffi::PyGILState_Release(ffi::PyGILState_STATE::PyGILState_UNLOCKED) };
        }
    }
}
