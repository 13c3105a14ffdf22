//! Rust futures as asyncio futures: for what Python awaits off the hot path.
//!
//! The I/O threads run the futures. What needs the GIL is left to threads that live no longer than that.

use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::mpsc::{self, RecvTimeoutError},
    task::{Context, Poll},
    time::Duration,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use pyo3_async_runtimes::{
    TaskLocals,
    generic::{self, ContextExt, JoinError, Runtime},
};
use tokio::task;

use super::{attach, errors::py_result};
use crate::net::{blocking, io_thread};

/// The name of the threads that hand results over.
const SETTLER: &str = "fal-realtime-await";

/// The interval at which a wait checks for Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

tokio::task_local! {
    static LOCALS: TaskLocals;
}

/// An asyncio future of the running loop, with what `future` gives. Cancelling it drops `future`.
pub(super) fn future<'py, T>(
    py: Python<'py>,
    future: impl Future<Output = PyResult<T>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>>
where
    T: for<'any> IntoPyObject<'any> + Send + 'static,
{
    // Without a thread the asyncio future would never be done: that is said before there is one.
    py_result(py, io_thread::io())?;
    generic::future_into_py::<IoThreads, _, T>(py, future)
}

/// Waits for what `future` gives, without the GIL. Ctrl-C is noticed, and drops `future`.
pub(super) fn wait<T: Send + 'static>(
    py: Python<'_>,
    future: impl Future<Output = T> + Send + 'static,
) -> PyResult<T> {
    let (tell, mut told) = mpsc::sync_channel(1);
    let io = py_result(py, io_thread::io())?;
    let task = AbortOnDrop(io.handle().spawn(async move {
        let _ = tell.send(future.await);
    }));
    loop {
        let came;
        // It moves there and back: a reference to it may not leave the GIL.
        (told, came) = py.detach(move || {
            let came = told.recv_timeout(SIGNAL_INTERVAL);
            (told, came)
        });
        match came {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                drop(task);
                return Err(PyRuntimeError::new_err(
                    "the wait ended without an answer: the interpreter is leaving",
                ));
            }
        }
    }
}

struct AbortOnDrop(task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The I/O threads, as pyo3-async-runtimes wants a runtime. Its own can be neither stopped nor renewed after a fork.
struct IoThreads;

impl Runtime for IoThreads {
    type JoinError = Ended;
    type JoinHandle = Join;

    fn spawn<F>(future: F) -> Join
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Join(io_thread::io().ok().map(|io| io.handle().spawn(future)))
    }

    fn spawn_blocking<F>(work: F) -> Join
    where
        F: FnOnce() + Send + 'static,
    {
        // Nothing touches Python once the interpreter is leaving, or where no thread can be had.
        let _ = blocking::start(SETTLER, || {
            attach(|_| work());
        });
        Join(None)
    }
}

impl ContextExt for IoThreads {
    fn scope<F, R>(locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(LOCALS.scope(locals, future))
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(Clone::clone).ok()
    }
}

/// Waits for a task's end; `None`: nobody knows of it.
struct Join(Option<task::JoinHandle<()>>);

impl Future for Join {
    type Output = Result<(), Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(handle) => Pin::new(handle).poll(context).map_err(|error| Ended(Some(error))),
            None => Poll::Ready(Err(Ended(None))),
        }
    }
}

/// A task did not come to its end.
struct Ended(Option<task::JoinError>);

impl JoinError for Ended {
    fn is_panic(&self) -> bool {
        self.0.as_ref().is_some_and(task::JoinError::is_panic)
    }

    fn into_panic(self) -> Box<dyn Any + Send> {
        match self.0.map(task::JoinError::try_into_panic) {
            Some(Ok(panic)) => panic,
            Some(Err(_)) | None => Box::new("the task was abandoned"),
        }
    }
}
