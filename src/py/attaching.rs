//! Attaches threads of our own, of which Python knows nothing, to the interpreter.

use pyo3::prelude::*;

use crate::net::exit_gate;

/// Attaches a thread of our own to the interpreter; `None` when that is leaving, or has no memory for one more thread.
pub(super) fn attach<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    let _inside = exit_gate::enter()?;
    #[cfg(not(Py_3_12))]
    let _state = thread_state::ThreadState::new()?;
    Python::try_attach(work)
}

/// Before Python 3.12 `PyGILState_Ensure` is not safe from forks. It makes what the interpreter knows of a thread under
/// a lock of that, without the GIL; a child that is forked meanwhile waits for that lock in `fork` itself, for ever
/// (python/cpython#112275, mended in a later 3.11). Later versions take care of it themselves; from 3.13 on `fork` is
/// called with that lock held, so that it and a thread that keeps forks out would wait for each other.
#[cfg(not(Py_3_12))]
mod thread_state {
    use pyo3::ffi;

    use crate::net::fork_barrier;

    /// The state of an attached thread, which ends with this unless the interpreter knew the thread before.
    pub(super) struct ThreadState {
        is_new: bool,
    }

    impl ThreadState {
        /// Attaches the thread; `None` when there is no interpreter, or no memory.
        pub(super) fn new() -> Option<Self> {
            // SAFETY: may be called at any time and by any thread.
            if unsafe { ffi::Py_IsInitialized() } == 0 {
                return None;
            }
            // SAFETY: the interpreter is there: it waits for who is inside the exit gate before it is torn down.
            if !unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
                return Some(Self { is_new: false });
            }
            // SAFETY: likewise; needs no GIL. It becomes the thread's own state, with one `PyGILState_Release` to come.
            let make = || unsafe { ffi::PyThreadState_New(ffi::PyInterpreterState_Main()) };
            let state = fork_barrier::without_fork(make);
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
}
