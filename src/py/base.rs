//! The base of both kinds of connection: the codec at the border, the callbacks, the options.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};

use super::{
    client::Client,
    errors::{py_result, shown_seconds, to_py},
    hooks::CallerHooks,
    opening,
    options::Options,
    stats::{self, PyTotals},
    token_provider::Provider,
};
use crate::{
    core::{inbound::Dialect, inbox::Unmatched, outbox::Lane, session::State},
    error::{Error, ErrorKind},
    net::handle::Connection,
    sync::Mutex,
};

mod callbacks;
mod decoding;
mod encoding;
mod untold;

pub(super) use callbacks::Callbacks;
pub(super) use decoding::decoder_failed;
pub(super) use untold::Untold;

/// A function of the caller's that each input goes through.
enum InputHook {
    /// Gives the message (`encode_message`).
    Encode(Py<PyAny>),
    /// Gives the input as one of the caller's type, to be encoded (`input_type`).
    Check(Py<PyAny>),
}

/// A function of the caller's that each result goes through.
enum ResultHook {
    /// Takes the message (`decode_message`).
    Decode(Py<PyAny>),
    /// Takes what the codec made of it, and gives an object of the caller's type (`result_type`).
    Convert(Py<PyAny>),
}

/// The base that both kinds of connection are made of.
pub(super) struct Base {
    pub(super) net: Arc<Connection>,
    pub(super) provider: Option<Py<Provider>>,
    pub(super) hooks: Option<Py<CallerHooks>>,
    pub(super) app: String,
    /// How `send` offers messages.
    pub(super) send_lane: Lane,
    /// `None`: inputs are encoded as they are.
    encoder: Option<InputHook>,
    /// `None`: results are what the codec makes of them.
    decoder: Option<ResultHook>,
    /// Results are decoded; else they are passed on as they came.
    decodes: bool,
    callbacks: Mutex<Callbacks>,
    /// How often they were replaced.
    replacements: AtomicU64,
    next_request: AtomicU64,
    /// Tells this connection's request ids from those of others.
    salt: u32,
    /// What nobody was told of has been reported.
    reported: AtomicBool,
}

impl Base {
    /// `context`: the contextvars for the callbacks, see [`Callbacks`].
    pub(super) fn new(
        py: Python<'_>,
        client: &Client,
        keywords: &Bound<'_, PyDict>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let options = Options::from_keywords(keywords)?;
        let (settings, provider) = client.settings(py, &options)?;
        let hooks = CallerHooks::of(py, &options)?;
        let app = settings.address.name();
        let net = Connection::new(settings);
        client.count(&net, &app);
        if let Some(hooks) = &hooks {
            net.set_hooks(CallerHooks::for_net(hooks.bind(py), &net)?);
        }
        let base = Self {
            net,
            provider,
            hooks,
            app,
            send_lane: if options.throttle_send { Lane::Throttled } else { Lane::Direct },
            encoder: options
                .encode_message
                .map(InputHook::Encode)
                .or(options.check_input.map(InputHook::Check)),
            decoder: options
                .decode_message
                .map(ResultHook::Decode)
                .or(options.convert_result.map(ResultHook::Convert)),
            decodes: options.decode,
            callbacks: Mutex::default(),
            replacements: AtomicU64::new(0),
            next_request: AtomicU64::new(0),
            salt: fastrand::u32(..),
            reported: AtomicBool::new(false),
        };
        base.set_callbacks(Callbacks::new(
            py,
            options.on_result,
            options.on_error,
            options.on_timings,
            options.on_state_change,
            context,
        )?);
        Ok(base)
    }

    /// Counts it in other totals than its client's, too.
    pub(super) fn count_in(&self, totals: &PyTotals) {
        self.net.count_in(&totals.0, &self.app);
    }

    /// Lets the hooks know the connection that they are of. To be called before it opens.
    pub(super) fn introduce(&self, connection: &Bound<'_, PyAny>) -> PyResult<()> {
        self.hooks.as_ref().map_or(Ok(()), |hooks| hooks.get().introduce(connection))
    }

    pub(super) fn set_callbacks(&self, callbacks: Callbacks) {
        if self.net.check_process().is_ok() {
            self.net.set_routes(callbacks.routes());
        }
        let old = std::mem::replace(&mut *self.callbacks.lock(), callbacks);
        self.replacements.fetch_add(1, Ordering::Release);
        // Dropped outside of the lock: this may run Python code.
        drop(old);
    }

    pub(super) fn callbacks(&self, py: Python<'_>) -> Callbacks {
        self.callbacks.lock().clone_ref(py)
    }

    /// How often the callbacks were replaced so far: whether those of a moment ago are still the right ones.
    pub(super) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::Acquire)
    }

    pub(super) fn has_on_result(&self) -> bool {
        self.callbacks.lock().result.is_some()
    }

    /// The reason of each change of state goes to a callback.
    pub(super) fn gives_reason(&self) -> bool {
        self.callbacks.lock().with_reason
    }

    pub(super) fn wants_notices(&self) -> bool {
        self.callbacks.lock().any_notice()
    }

    /// The error for receiving where results go to a callback.
    pub(super) fn check_receivable(&self) -> PyResult<()> {
        if self.has_on_result() {
            return Err(PyRuntimeError::new_err(
                "results go to on_result; make a connection without on_result to use recv() or iteration",
            ));
        }
        Ok(())
    }

    /// Messages pass as they are.
    fn is_raw(&self) -> bool {
        self.net.settings().dialect == Dialect::Raw
    }

    /// The lane of what is sent now: `usual`, or that of the opening which it is sent in.
    pub(super) fn lane(&self, py: Python<'_>, usual: Lane) -> PyResult<Lane> {
        if !self.net.is_greeting() {
            return Ok(usual);
        }
        opening::lane(py, &self.net).map(|lane| lane.unwrap_or(usual))
    }

    /// Whether there is a socket, or a message that is to open one.
    pub(super) fn is_in_use(&self) -> bool {
        match self.state() {
            State::Closed | State::Closing => false,
            State::Idle => self.net.stats().pending > 0,
            State::Authenticating | State::Connecting | State::Active | State::Waiting => true,
        }
    }

    /// Why the newest attempt to open, or session, failed.
    pub(super) fn last_error(&self, py: Python<'_>) -> Option<PyErr> {
        self.net.last_error().map(|error| to_py(py, &error))
    }

    /// Why the connection is over, if that is a failure: for somebody who is told.
    pub(super) fn failure(&self, py: Python<'_>) -> Option<PyErr> {
        self.net.failure().map(|error| to_py(py, &error))
    }

    /// Why the connection is not open yet, while it is being opened, as far as that is known.
    pub(super) fn why_not_open(&self, py: Python<'_>) -> Option<PyErr> {
        self.net.why_not_open().map(|error| to_py(py, &error))
    }

    /// The error of a wait that took too long. It says why the connection is not open, if it is being opened.
    pub(super) fn timed_out(&self, error: Error) -> Error {
        match self.net.why_not_open() {
            None => error,
            Some(last) => {
                let message = format!("{error}, while the connection was not open: {last}");
                error.with_message(message).with_source(last)
            }
        }
    }

    /// The error of a request after `seconds`, in which so many results came that belong to no request.
    pub(super) fn request_timeout(&self, seconds: f64, unmatched: Unmatched) -> Error {
        let results = |count: u64, which: &str| match count {
            0 => None,
            1 => Some(format!("1 result {which}")),
            _ => Some(format!("{count} results {which}")),
        };
        let came = [
            results(unmatched.without_id, "without a request_id"),
            results(unmatched.with_other_id, "with a request_id that no request has"),
        ];
        let came = came.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        let hint = if came.is_empty() {
            String::new()
        } else {
            format!(
                "; {came} came meanwhile: the app must copy the request_id of its input into its result as it is, or \
                 use send and recv"
            )
        };
        let message = format!("the request was not answered within {} s{hint}", shown_seconds(seconds));
        self.timed_out(Error::new(ErrorKind::Timeout, message).transient())
    }

    pub(super) fn state(&self) -> State {
        self.net.state()
    }

    pub(super) fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        py_result(py, self.net.check_process())?;
        stats::counters(py, &self.net.stats())
    }

    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        if let Some(InputHook::Encode(function) | InputHook::Check(function)) = &self.encoder {
            visit.call(function)?;
        }
        if let Some(ResultHook::Decode(function) | ResultHook::Convert(function)) = &self.decoder {
            visit.call(function)?;
        }
        if let Some(provider) = &self.provider {
            visit.call(provider)?;
        }
        if let Some(hooks) = &self.hooks {
            visit.call(hooks)?;
        }
        // Whoever holds the lock is on this very thread's way to change them, and holds them itself.
        if let Some(callbacks) = self.callbacks.try_lock() {
            callbacks.visit(visit)?;
        }
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.set_callbacks(Callbacks::default());
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.net.let_go();
    }
}
