//! Calls of Python functions that the network layer waits for: plain functions run in a thread of their own, coroutine
//! functions on an event loop, both in the contextvars of `connect`.
//!
//! The I/O thread itself never takes the GIL: starting and cancelling, which need it for a moment, are done by threads
//! that live no longer than that: whoever has the outcome completes the call.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pyo3::{intern, prelude::*};
use tokio::sync::{Semaphore, oneshot};

use super::facade;
use crate::{
    error::Result,
    net::{blocking, process::PerProcess},
    sync::Mutex,
};

/// The name of the threads that start calls.
const STARTER: &str = "fal-realtime-call";
/// Calls that are being started at a time, which takes each as long as it waits for the GIL.
static STARTS: PerProcess<Semaphore> = PerProcess::new(|| Semaphore::new(16));

/// The calls of one plain function that have not returned yet. Nobody can cancel one: where it hangs it keeps its
/// thread, and there would be one more for each attempt.
#[derive(Clone, Default)]
pub(super) struct Unreturned(Arc<AtomicUsize>);

impl Unreturned {
    const MOST: usize = 4;

    /// Counts one more, until what is given is dropped. `None`: there are too many.
    fn one_more(&self) -> Option<UntilItReturns> {
        let more = |count| (count < Self::MOST).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(UntilItReturns(self.0.clone()))
    }
}

struct UntilItReturns(Arc<AtomicUsize>);

impl Drop for UntilItReturns {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The function that is called, and its argument.
pub(super) struct Function<'a, 'py> {
    pub(super) callable: &'a Bound<'py, PyAny>,
    pub(super) argument: &'a Bound<'py, PyAny>,
    /// Takes what it returned, and gives what is handed over, or raises.
    pub(super) check: &'a Bound<'py, PyAny>,
    pub(super) context: &'a Bound<'py, PyAny>,
    /// The loop that it runs on; `None`: in a thread of its own.
    pub(super) event_loop: Option<&'a Bound<'py, PyAny>>,
    pub(super) unreturned: &'a Unreturned,
}

/// A call under way. Dropped before it has an outcome, it is cancelled, if it runs on a loop.
pub(super) struct Call<T> {
    told: oneshot::Receiver<Result<T>>,
    on_loop: Option<Py<PyAny>>,
}

/// Lets a thread with the GIL start a call. An error where there is no thread to be had.
pub(super) async fn start<T: Send + 'static>(
    starting: impl FnOnce() -> Result<Call<T>> + Send + 'static,
) -> io::Result<Result<Call<T>>> {
    let _turn = STARTS.get().acquire().await;
    blocking::run(STARTER, starting).await
}

impl<T: Send + 'static> Call<T> {
    /// Calls a function; `take` makes the outcome of what it gave or raised.
    pub(super) fn new(
        py: Python<'_>,
        called: &Function<'_, '_>,
        take: impl FnOnce(PyResult<Bound<'_, PyAny>>) -> Result<T> + Send + 'static,
    ) -> PyResult<Self> {
        let Function { callable, argument, check, context, event_loop, unreturned } = called;
        let returns = match event_loop {
            Some(_) => None,
            None => Some(unreturned.one_more().ok_or_else(|| hang(py))?),
        };
        let (tell, told) = oneshot::channel();
        let complete: Complete = Box::new(move |outcome| {
            drop(returns);
            let _ = tell.send(take(outcome));
        });
        let completer = Completer(Mutex::new(Some(complete)));
        let module = facade::module(py)?;
        let Some(event_loop) = event_loop else {
            module.getattr("call_in_thread")?.call1((callable, argument, context, completer, check))?;
            return Ok(Self { told, on_loop: None });
        };
        let call = module.getattr("CallOnLoop")?.call1((callable, argument, event_loop, completer, check))?;
        call.call_method1(intern!(py, "start"), (context,))?;
        Ok(Self { told, on_loop: Some(call.unbind()) })
    }

    /// Its outcome; `None`: nobody will give one any more.
    pub(super) async fn outcome(mut self) -> Option<Result<T>> {
        let outcome = (&mut self.told).await;
        self.on_loop = None;
        outcome.ok()
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        let Some(call) = self.on_loop.take() else { return };
        // Without a thread it goes on, and nobody wants what it gives.
        let _ = blocking::start(STARTER, move || {
            super::attach(|py| {
                if let Err(error) = call.call_method0(py, intern!(py, "cancel")) {
                    error.write_unraisable(py, Some(call.bind(py)));
                }
            });
        });
    }
}

fn hang(py: Python<'_>) -> PyErr {
    let made = facade::get(py, "calls_hang").and_then(|calls_hang| calls_hang.call1((Unreturned::MOST,)));
    made.map_or_else(|failure| failure, PyErr::from_value)
}

type Complete = Box<dyn FnOnce(PyResult<Bound<'_, PyAny>>) + Send>;

/// Takes the outcome of a call from wherever it runs.
#[pyclass(frozen, module = "fal_realtime._core")]
struct Completer(Mutex<Option<Complete>>);

impl Completer {
    fn complete(&self, outcome: PyResult<Bound<'_, PyAny>>) {
        let complete = self.0.lock().take();
        if let Some(complete) = complete {
            complete(outcome);
        }
    }
}

#[pymethods]
impl Completer {
    fn set_result(&self, result: Bound<'_, PyAny>) {
        self.complete(Ok(result));
    }

    fn set_error(&self, error: Bound<'_, PyAny>) {
        self.complete(Err(PyErr::from_value(error)));
    }
}
