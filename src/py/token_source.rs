//! A Python callable as a source of tokens: plain functions run in a thread of their own, coroutine functions on
//! the connection's event loop, both in the contextvars of `connect`.
//!
//! The I/O thread itself never takes the GIL: what needs it is handed to a blocking thread.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pyo3::{prelude::*, types::PyString};
use pyo3_async_runtimes::TaskLocals;
use tokio::sync::oneshot;

use crate::{
    error::{Error, ErrorKind, Result},
    net::token_store::TokenSource,
};

type Outcome = Result<String>;

/// Where a connection's event loop will be found once it has one.
#[derive(Default)]
pub(super) struct LoopSlot(Mutex<Option<Py<PyAny>>>);

impl LoopSlot {
    pub(super) fn set(&self, event_loop: &Bound<'_, PyAny>) {
        *self.0.lock() = Some(event_loop.clone().unbind());
    }

    fn get(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.lock().as_ref().map(|event_loop| event_loop.clone_ref(py))
    }
}

struct Provider {
    function: Py<PyAny>,
    is_async: bool,
    argument: String,
    context: Py<PyAny>,
    slot: Arc<LoopSlot>,
}

/// A token provider of the caller's.
pub(super) struct PythonSource {
    provider: Arc<Provider>,
    expiration: Option<Duration>,
}

impl PythonSource {
    pub(super) fn new(
        py: Python<'_>,
        function: &Py<PyAny>,
        argument: String,
        expiration: Option<Duration>,
        slot: Arc<LoopSlot>,
    ) -> PyResult<Self> {
        let is_async =
            py.import("fal_realtime._codec")?.getattr("is_async")?.call1((function,))?.extract::<bool>()?;
        let context = py.import("contextvars")?.getattr("copy_context")?.call0()?.unbind();
        let provider = Provider { function: function.clone_ref(py), is_async, argument, context, slot };
        Ok(Self { provider: Arc::new(provider), expiration })
    }
}

impl TokenSource for PythonSource {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let provider = self.provider.clone();
        Box::pin(async move {
            let fetched = tokio::task::spawn_blocking(move || {
                if provider.is_async { provider.await_it() } else { provider.call_it() }
            });
            match fetched.await {
                Ok(Ok(token)) => token.await.unwrap_or_else(|_| Err(abandoned())),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(abandoned()),
            }
        })
    }

    fn expiration(&self) -> Option<Duration> {
        self.expiration
    }
}

impl Provider {
    /// Starts a plain function in a thread of its own.
    fn call_it(&self) -> Result<oneshot::Receiver<Outcome>> {
        let (tell, told) = oneshot::channel();
        let started = Python::try_attach(|py| -> PyResult<()> {
            let completer = Completer(Mutex::new(Some(tell)));
            let call = py.import("fal_realtime._provider")?.getattr("call_in_thread")?;
            call.call1((&self.function, self.argument.as_str(), &self.context, completer))?;
            Ok(())
        });
        match started {
            Some(Ok(())) => Ok(told),
            Some(Err(error)) => Err(failed(&error)),
            None => Err(abandoned()),
        }
    }

    /// Starts a coroutine function on the connection's loop and waits for it.
    fn await_it(&self) -> Result<oneshot::Receiver<Outcome>> {
        let (tell, told) = oneshot::channel();
        let started = Python::try_attach(|py| -> PyResult<_> {
            let Some(event_loop) = self.slot.get(py) else {
                return Err(super::raise::no_running_loop());
            };
            let coroutine =
                self.context.bind(py).call_method1("run", (&self.function, self.argument.as_str()))?;
            let locals =
                TaskLocals::new(event_loop.into_bound(py)).with_context(self.context.bind(py).clone());
            pyo3_async_runtimes::into_future_with_locals(&locals, coroutine)
        });
        let future = match started {
            Some(Ok(future)) => future,
            Some(Err(error)) => return Err(failed(&error)),
            None => return Err(abandoned()),
        };
        // A blocking thread of its own waits, so that neither waiting nor reading the outcome needs the I/O thread.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let outcome = runtime.block_on(async move {
                let mut tell = tell;
                tokio::select! {
                    outcome = future => Some((tell, outcome)),
                    // Nobody waits any more.
                    () = tell.closed() => None,
                }
            });
            if let Some((tell, outcome)) = outcome {
                let token = Python::try_attach(|py| {
                    outcome.and_then(|token| checked(token.bind(py))).map_err(|error| failed(&error))
                });
                let _ = tell.send(token.unwrap_or_else(|| Err(abandoned())));
            }
        });
        Ok(told)
    }
}

fn checked(token: &Bound<'_, PyAny>) -> PyResult<String> {
    match token.cast::<PyString>() {
        Ok(token) => Ok(token.to_str()?.to_owned()),
        Err(_) => Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "token_provider must return a str, not {}",
            token.get_type().name()?
        ))),
    }
}

/// The provider's exception. It may pass: once a session has been open, it is asked again.
fn failed(error: &PyErr) -> Error {
    let message = Python::try_attach(|py| {
        let name =
            error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
        format!("the token provider raised {name}: {}", error.value(py))
    });
    let message = message.unwrap_or_else(|| "the token provider failed".to_owned());
    Error::new(ErrorKind::Authentication, message).transient()
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Authentication, "the token provider was abandoned before it gave a token")
}

/// Takes the outcome of a plain function from its thread.
#[pyclass(frozen, module = "fal_realtime._core")]
struct Completer(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Completer {
    fn complete(&self, outcome: Outcome) {
        if let Some(tell) = self.0.lock().take() {
            let _ = tell.send(outcome);
        }
    }
}

#[pymethods]
impl Completer {
    fn set_result(&self, token: String) {
        self.complete(Ok(token));
    }

    fn set_error(&self, error: &Bound<'_, PyAny>) {
        self.complete(Err(failed(&PyErr::from_value(error.clone()))));
    }
}
