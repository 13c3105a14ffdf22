//! The caller's hooks of an opening, as the network layer asks them.

use std::sync::{Arc, OnceLock, Weak};

use http::{HeaderName, HeaderValue};
use pyo3::{prelude::*, types::PyDict};

use super::{
    calling::{self, Call, Function, Unreturned},
    contextvars,
    dispatcher::weak_reference,
    errors::{describe, error_or_none, is_retryable},
    facade,
    opening::Opening,
    options::{Options, own_headers},
};
use crate::{
    core::token::Token,
    error::{Error, ErrorKind, Result},
    net::{
        handle::Connection,
        hooks::{Asked, Attempt, Changes},
    },
};

/// The hooks of a connection. Its owner is the connection, where the garbage collector sees it: what it calls often
/// refers to that.
#[pyclass(frozen, weakref, name = "Hooks", module = "fal_realtime._core")]
pub(super) struct CallerHooks {
    before_attempt: Option<Hook>,
    on_open: Option<Py<PyAny>>,
    /// The contextvars of `connect`.
    context: Py<PyAny>,
    /// The headers and parameters of the caller's own.
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    use_token: bool,
    is_raw: bool,
    /// The connection, held weakly.
    connection: OnceLock<Py<PyAny>>,
    /// The event loop of the connection, held weakly.
    event_loop: OnceLock<Py<PyAny>>,
    unreturned: Unreturned,
}

/// One of them.
struct Hook {
    function: Py<PyAny>,
    is_async: bool,
}

impl Hook {
    fn new(py: Python<'_>, function: Py<PyAny>) -> PyResult<Self> {
        let is_async = facade::get(py, "is_async")?.call1((&function,))?.extract()?;
        Ok(Self { function, is_async })
    }
}

#[pymethods]
impl CallerHooks {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> std::result::Result<(), pyo3::PyTraverseError> {
        visit.call(&self.context)?;
        for function in self.before_attempt.iter().map(|hook| &hook.function).chain(&self.on_open) {
            visit.call(function)?;
        }
        Ok(())
    }
}

impl CallerHooks {
    /// The hooks of `options`, if there are any; in the contextvars that are current.
    pub(super) fn of(py: Python<'_>, options: &Options) -> PyResult<Option<Py<Self>>> {
        let (before_attempt, on_open) = (&options.before_attempt, &options.on_open);
        if before_attempt.is_none() && on_open.is_none() {
            return Ok(None);
        }
        let hook = |function: &Py<PyAny>| Hook::new(py, function.clone_ref(py));
        let hooks = Self {
            before_attempt: before_attempt.as_ref().map(hook).transpose()?,
            on_open: on_open.as_ref().map(|function| function.clone_ref(py)),
            context: contextvars::current(py)?,
            headers: options.headers.clone(),
            query: options.query.clone(),
            use_token: options.use_jwt,
            is_raw: options.url.is_some(),
            connection: OnceLock::new(),
            event_loop: OnceLock::new(),
            unreturned: Unreturned::default(),
        };
        Py::new(py, hooks).map(Some)
    }

    /// For the network layer.
    pub(super) fn for_net(
        slf: &Bound<'_, Self>,
        net: &Arc<Connection>,
    ) -> PyResult<Arc<dyn crate::net::hooks::Hooks>> {
        let weak = weak_reference(slf.py())?.call1((slf,))?.unbind();
        Ok(Arc::new(ForNet {
            hooks: Arc::new(weak),
            net: Arc::downgrade(net),
            asks_before_attempt: slf.get().before_attempt.is_some(),
            calls_on_open: slf.get().on_open.is_some(),
        }))
    }

    /// The connection that they are of.
    pub(super) fn introduce(&self, connection: &Bound<'_, PyAny>) -> PyResult<()> {
        let weak = weak_reference(connection.py())?.call1((connection,))?;
        let _ = self.connection.set(weak.unbind());
        Ok(())
    }

    /// The connection is used from this loop.
    pub(super) fn set_loop(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let weak = weak_reference(event_loop.py())?.call1((event_loop,))?;
        let _ = self.event_loop.set(weak.unbind());
        Ok(())
    }

    fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self.event_loop.get().map(|weak| weak.bind(py).call0()).transpose()?;
        event_loop.filter(|event_loop| !event_loop.is_none()).ok_or_else(super::errors::no_running_loop)
    }

    fn ask_before_attempt(&self, py: Python<'_>, attempt: &Attempt) -> PyResult<Option<Call<Changes>>> {
        let Some(hook) = &self.before_attempt else { return Ok(None) };
        let module = facade::module(py)?;
        let dict = |pairs: &Vec<(String, String)>| PyDict::from_sequence(pairs.into_pyobject(py)?.as_any());
        let (headers, query) = (dict(&self.headers)?, dict(&self.query)?);
        let error = error_or_none(py, attempt.last.as_ref());
        let argument = module.getattr("Attempt")?.call1((attempt.number, error, headers, query))?;
        let check = module.getattr("Hook")?.call1((&argument, self.use_token, self.is_raw))?;
        let event_loop = if hook.is_async { Some(self.event_loop(py)?) } else { None };
        let called = Function {
            callable: hook.function.bind(py),
            argument: &argument,
            check: &check,
            context: self.context.bind(py),
            event_loop: event_loop.as_ref(),
            unreturned: &self.unreturned,
        };
        Call::new(py, &called, |outcome| outcome.and_then(changes).map_err(|error| failed(&error))).map(Some)
    }
}

impl CallerHooks {
    /// Calls `on_open` with the connection: on its loop, or in a thread of its own. What it raises is reported there.
    fn call_on_open(&self, py: Python<'_>, opening: Opening) -> PyResult<Option<Call<()>>> {
        let (Some(on_open), Some(connection)) = (&self.on_open, self.connection.get()) else {
            return Ok(None);
        };
        let connection = connection.bind(py).call0()?;
        if connection.is_none() {
            return Ok(None);
        }
        let module = facade::module(py)?;
        let event_loop = self.event_loop.get().map(|_| self.event_loop(py)).transpose()?;
        let way = if event_loop.is_some() { "on_loop" } else { "in_thread" };
        let callable = module.getattr(way)?.call1((on_open, opening))?;
        let called = Function {
            callable: &callable,
            argument: &connection,
            check: &module.getattr("done")?,
            context: self.context.bind(py),
            event_loop: event_loop.as_ref(),
            unreturned: &self.unreturned,
        };
        // One that was cancelled, or ends the process, has sent what it has sent.
        Call::new(py, &called, |_| Ok(())).map(Some)
    }
}

type Given = (Vec<(String, String)>, Vec<(String, String)>, Option<String>, Option<String>);

/// The changes that the hook has made.
fn changes(given: Bound<'_, PyAny>) -> PyResult<Changes> {
    let (headers, query, token, stop): Given = given.extract()?;
    let headers: Vec<(HeaderName, HeaderValue)> = own_headers(&headers)?;
    Ok(Changes { headers: Some(headers), query: Some(query), token: token.map(Token::new), stop })
}

/// The hook's exception. One that fails at the start will fail again; once a session has been open, it is asked again.
fn failed(error: &PyErr) -> Error {
    let message = super::attach(|py| format!("before_attempt raised {}", describe(py, error)));
    refused(message.unwrap_or_else(|| "before_attempt failed".to_owned()))
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Handshake { status: None }, message)
}

/// The hooks as the network layer has them.
struct ForNet {
    /// A weak reference to [`CallerHooks`]. Cloning it needs the GIL.
    hooks: Arc<Py<PyAny>>,
    net: Weak<Connection>,
    asks_before_attempt: bool,
    calls_on_open: bool,
}

impl crate::net::hooks::Hooks for ForNet {
    fn before_attempt(&self, attempt: Attempt) -> Option<Asked<Changes>> {
        if !self.asks_before_attempt {
            return None;
        }
        let hooks = Arc::clone(&self.hooks);
        Some(Box::pin(called("before_attempt", move || {
            start("before_attempt", &hooks, |hooks, py| hooks.ask_before_attempt(py, &attempt))
        })))
    }

    fn on_open(&self, socket: u64) -> Option<Asked<()>> {
        if !self.calls_on_open {
            return None;
        }
        let hooks = Arc::clone(&self.hooks);
        let opening = Opening { net: self.net.clone(), session: socket };
        Some(Box::pin(called("on_open", move || {
            start("on_open", &hooks, |hooks, py| hooks.call_on_open(py, opening))
        })))
    }
}

/// The outcome of a hook.
async fn called<T: Send + 'static>(
    name: &str,
    starting: impl FnOnce() -> Result<Call<T>> + Send + 'static,
) -> Result<T> {
    match calling::start(starting).await {
        Ok(Ok(call)) => call.outcome().await.unwrap_or_else(|| Err(abandoned())),
        Ok(Err(error)) => Err(error),
        Err(error) => {
            Err(refused(format!("{name} could not be called: {error}")).transient().with_source(error))
        }
    }
}

/// Starts a hook, if there still is a connection.
fn start<T>(
    name: &str,
    hooks: &Py<PyAny>,
    ask: impl FnOnce(&CallerHooks, Python<'_>) -> PyResult<Option<Call<T>>>,
) -> Result<Call<T>> {
    let started = super::attach(|py| -> PyResult<Option<Call<T>>> {
        let hooks = hooks.bind(py).call0()?;
        let Ok(hooks) = hooks.cast::<CallerHooks>() else { return Ok(None) };
        ask(hooks.get(), py)
    });
    match started {
        Some(Ok(Some(call))) => Ok(call),
        Some(Err(error)) => Err(not_called(name, &error)),
        Some(Ok(None)) | None => Err(abandoned()),
    }
}

/// The error where a hook could not be called. That there was no thread for it may pass.
fn not_called(name: &str, error: &PyErr) -> Error {
    let said = super::attach(|py| (describe(py, error), is_retryable(py, error)));
    let (why, may_pass) = said.unwrap_or_else(|| ("the interpreter is exiting".to_owned(), false));
    let error = refused(format!("{name} could not be called: {why}"));
    if may_pass { error.transient() } else { error }
}

fn abandoned() -> Error {
    refused("the connection was abandoned before it was open")
}
