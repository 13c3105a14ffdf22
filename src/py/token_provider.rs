//! A Python callable as a source of tokens.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pyo3::{exceptions::PyTypeError, intern, prelude::*, types::PyString};

use super::{
    calling::{self, Call, Function, Unreturned},
    contextvars,
    dispatcher::weak_reference,
    errors::{describe, no_running_loop},
    facade,
};
use crate::{
    error::{Error, ErrorKind, Result},
    net::token::TokenSource,
    sync::Mutex,
};

type Outcome = Result<String>;

/// A token provider of the caller's; one object for all connections of a client that have it.
///
/// Its owners are connections, where the garbage collector sees it: what it calls often refers to them.
#[pyclass(frozen, weakref, module = "fal_realtime._core")]
pub(super) struct Provider {
    function: Py<PyAny>,
    is_async: bool,
    context: Py<PyAny>,
    /// The event loops of its connections, held weakly, the latest last.
    loops: Mutex<Vec<Py<PyAny>>>,
    number: usize,
    /// By argument.
    unreturned: Mutex<BTreeMap<String, Unreturned>>,
}

#[pymethods]
impl Provider {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> std::result::Result<(), pyo3::PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.context)
    }
}

/// The tokens of a provider for one app.
pub(super) struct PythonSource {
    /// A weak reference to a [`Provider`].
    provider: Arc<Py<PyAny>>,
    argument: String,
    expiration: Option<Duration>,
}

impl PythonSource {
    pub(super) fn new(
        provider: &Bound<'_, Provider>,
        argument: String,
        expiration: Option<Duration>,
    ) -> PyResult<Self> {
        let provider = weak_reference(provider.py())?.call1((provider,))?.unbind();
        Ok(Self { provider: Arc::new(provider), argument, expiration })
    }
}

impl TokenSource for PythonSource {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let argument = self.argument.clone();
        // The source may be gone before the blocking thread runs, and cloning the reference here needs the GIL.
        let provider = Arc::clone(&self.provider);
        Box::pin(async move {
            match calling::start(move || start(&provider, &argument)).await {
                Ok(Ok(call)) => call.outcome().await.unwrap_or_else(|| Err(abandoned())),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(no_thread(error)),
            }
        })
    }

    fn expiration(&self) -> Option<Duration> {
        self.expiration
    }
}

/// Starts the provider, if it still has a connection.
fn start(provider: &Py<PyAny>, argument: &str) -> Result<Call<String>> {
    let started = super::attach(|py| -> PyResult<Option<Call<String>>> {
        let provider = provider.bind(py).call0()?;
        let Ok(provider) = provider.cast::<Provider>() else { return Ok(None) };
        Provider::start(provider, argument).map(Some)
    });
    match started {
        Some(Ok(Some(call))) => Ok(call),
        Some(Err(error)) => Err(not_called(&error)),
        Some(Ok(None)) | None => Err(abandoned()),
    }
}

impl Provider {
    /// The object for this function in `registry`, a `WeakValueDictionary`. Equal functions are the same one: a bound
    /// method is a new object each time that it is looked up.
    pub(super) fn of<'py>(
        py: Python<'py>,
        registry: &Py<PyAny>,
        function: &Py<PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let registry = registry.bind(py);
        match registry.call_method1(intern!(py, "get"), (function,)) {
            Ok(found) => {
                if let Ok(found) = found.cast_into::<Self>() {
                    return Ok(found);
                }
            }
            // It cannot be hashed, so it is only itself.
            Err(error) if error.is_instance_of::<PyTypeError>(py) => return Self::new(py, function),
            Err(error) => return Err(error),
        }
        let made = Self::new(py, function)?;
        registry.set_item(function, &made)?;
        Ok(made)
    }

    fn new<'py>(py: Python<'py>, function: &Py<PyAny>) -> PyResult<Bound<'py, Self>> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let is_async = facade::get(py, "is_async")?.call1((function,))?.extract::<bool>()?;
        let context = contextvars::current(py)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (loops, unreturned) = (Mutex::default(), Mutex::default());
        Bound::new(
            py,
            Self { function: function.clone_ref(py), is_async, context, loops, number, unreturned },
        )
    }

    /// Tells it from all others that there are and were.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// One of its connections is used from this loop.
    pub(super) fn add_loop(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = event_loop.py();
        // `weakref.ref` gives the same object each time.
        let added = weak_reference(py)?.call1((event_loop,))?.unbind();
        let known = self.loops(py);
        let is_dead = |weak: &Py<PyAny>| weak.bind(py).call0().is_ok_and(|event_loop| event_loop.is_none());
        let dead: Vec<_> = known.into_iter().filter(is_dead).collect();
        let mut loops = self.loops.lock();
        loops.retain(|weak| !weak.is(&added) && !dead.iter().any(|other| other.is(weak)));
        loops.push(added);
        Ok(())
    }

    fn loops(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.loops.lock().iter().map(|weak| weak.clone_ref(py)).collect()
    }

    /// The latest loop that runs, else the latest that may run again.
    fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut resting = None;
        for weak in self.loops(py).iter().rev() {
            let event_loop = weak.bind(py).call0()?;
            if event_loop.is_none() || event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? {
                continue;
            }
            if event_loop.call_method0(intern!(py, "is_running"))?.is_truthy()? {
                return Ok(event_loop);
            }
            resting.get_or_insert(event_loop);
        }
        resting.ok_or_else(no_running_loop)
    }

    /// Starts a plain function in a thread of its own, a coroutine function on an event loop.
    fn start(slf: &Bound<'_, Self>, argument: &str) -> PyResult<Call<String>> {
        let (py, this) = (slf.py(), slf.get());
        let event_loop = if this.is_async { Some(this.event_loop(py)?) } else { None };
        let unreturned = this.unreturned.lock().entry(argument.to_owned()).or_default().clone();
        let argument = PyString::new(py, argument);
        let called = Function {
            callable: this.function.bind(py),
            argument: argument.as_any(),
            check: &facade::get(py, "checked")?,
            context: this.context.bind(py),
            event_loop: event_loop.as_ref(),
            unreturned: &unreturned,
        };
        // What counts calls is there until they have returned, whether or not a connection is.
        let kept = event_loop.is_none().then(|| slf.clone().unbind());
        Call::new(py, &called, move |outcome| {
            let _kept = kept;
            outcome.and_then(|token| token.extract::<String>()).map_err(|error| failed(&error))
        })
    }
}

/// The provider's exception. It may pass: once a session has been open, it is asked again.
fn failed(error: &PyErr) -> Error {
    transient("the token provider raised", error)
}

/// The error where the provider could not be called.
fn not_called(error: &PyErr) -> Error {
    transient("the token provider could not be called:", error)
}

fn transient(what: &str, error: &PyErr) -> Error {
    let described = super::attach(|py| describe(py, error));
    let described = described.unwrap_or_else(|| "the interpreter is exiting".to_owned());
    Error::new(ErrorKind::Authentication, format!("{what} {described}")).transient()
}

fn no_thread(error: std::io::Error) -> Error {
    let message = format!("the token provider could not be called: {error}");
    Error::new(ErrorKind::Authentication, message).transient().with_source(error)
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Authentication, "the token provider was abandoned before it gave a token")
}
