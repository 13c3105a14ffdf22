//! The options of a connection, from the Python facade's form to the network layer's.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

use super::errors::py_result;
use crate::{
    core::{
        backoff::BackoffPolicy,
        endpoint::{Endpoint, validate_max_buffering},
        frame::Limits,
        session::{Finals, SessionConfig},
    },
    error::{Error, ErrorKind, Result},
};

/// A `ReconnectPolicy`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Reconnect {
    initial_delay: f64,
    max_delay: f64,
    factor: f64,
    stable_after: f64,
    max_attempts: Option<u32>,
    max_fruitless: Option<u32>,
    final_statuses: Option<Vec<u16>>,
    final_codes: Vec<u16>,
}

/// The keyword arguments of a connection. The facade has checked them for people; this only refuses what could not
/// be carried out.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Options {
    pub(super) app: String,
    /// The URL to connect to instead of an app; then `app` is only a name, and `raw` holds.
    #[pyo3(default)]
    pub(super) url: Option<String>,
    /// Messages pass as they are.
    pub(super) raw: bool,
    pub(super) path: Option<String>,
    pub(super) max_buffering: Option<i64>,
    pub(super) throttle_interval: f64,
    /// The interval holds for `send` too, not for `send_nowait` alone.
    pub(super) throttle_send: bool,
    pub(super) use_jwt: bool,
    pub(super) streaming: bool,
    pub(super) open_timeout: f64,
    pub(super) ping_interval: Option<f64>,
    pub(super) ping_timeout: Option<f64>,
    pub(super) busy_timeout: Option<f64>,
    pub(super) max_session: Option<f64>,
    pub(super) idle_close: Option<f64>,
    pub(super) close_timeout: f64,
    pub(super) max_message_size: usize,
    pub(super) max_input_size: usize,
    /// Bytes of results that may wait for the caller before the socket is no longer read.
    pub(super) read_ahead: usize,
    pub(super) reconnect: Option<Reconnect>,
    pub(super) token_provider: Option<Py<PyAny>>,
    pub(super) token_expiration: Option<f64>,
    pub(super) token_body: Option<String>,
    pub(super) encode_message: Option<Py<PyAny>>,
    pub(super) decode_message: Option<Py<PyAny>>,
    /// Results are decoded.
    pub(super) decode: bool,
    /// Makes a decoded result an object of the caller's type.
    pub(super) convert_result: Option<Py<PyAny>>,
    /// Gives an input as one of the caller's type.
    pub(super) check_input: Option<Py<PyAny>>,
    /// The caller's own, in the handshake.
    pub(super) headers: Vec<(String, String)>,
    /// Offered in the handshake, the best first.
    pub(super) subprotocols: Vec<String>,
    /// The caller's own, in the address.
    pub(super) query: Vec<(String, String)>,
    pub(super) on_result: Option<Py<PyAny>>,
    pub(super) on_error: Option<Py<PyAny>>,
    pub(super) on_timings: Option<Py<PyAny>>,
    pub(super) on_state_change: Option<Py<PyAny>>,
    pub(super) on_open: Option<Py<PyAny>>,
    pub(super) before_attempt: Option<Py<PyAny>>,
}

/// The options that need no Python any more.
pub(super) struct Plain {
    /// `None` for a URL of the caller's.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) max_buffering: Option<u8>,
    pub(super) session: SessionConfig,
    pub(super) throttle_interval: Duration,
    pub(super) open_timeout: Duration,
    pub(super) ping_interval: Option<Duration>,
    pub(super) ping_timeout: Option<Duration>,
    pub(super) busy_timeout: Option<Duration>,
    pub(super) close_timeout: Duration,
    pub(super) token_expiration: Option<Duration>,
    pub(super) limits: Limits,
}

impl Options {
    pub(super) fn from_keywords(keywords: &Bound<'_, PyDict>) -> PyResult<Self> {
        keywords.extract()
    }

    pub(super) fn plain(&self, py: Python<'_>) -> PyResult<Plain> {
        py_result(py, self.try_plain())
    }

    fn try_plain(&self) -> Result<Plain> {
        let open_timeout = seconds("open_timeout", self.open_timeout)?;
        let optional = |name, value: Option<f64>| value.map(|value| seconds(name, value)).transpose();
        Ok(Plain {
            endpoint: match self.url {
                Some(_) => None,
                None if self.raw => Some(Endpoint::parse_raw(&self.app, self.path.as_deref())?),
                None => Some(Endpoint::parse(&self.app, self.path.as_deref())?),
            },
            max_buffering: self.max_buffering.map(validate_max_buffering).transpose()?,
            session: SessionConfig {
                use_token: self.use_jwt,
                streaming: self.streaming,
                reconnect: self.reconnect.as_ref().map(policy).transpose()?,
                finals: self.reconnect.as_ref().map(finals).unwrap_or_default(),
                open_timeout,
                greets: self.on_open.is_some(),
                max_session: optional("max_session", self.max_session)?,
                idle_close: optional("idle_close", self.idle_close)?,
                raw: self.raw,
            },
            throttle_interval: seconds("throttle_interval", self.throttle_interval)?,
            open_timeout,
            ping_interval: optional("ping_interval", self.ping_interval)?,
            ping_timeout: optional("ping_timeout", self.ping_timeout)?,
            busy_timeout: optional("busy_timeout", self.busy_timeout)?,
            close_timeout: seconds("close_timeout", self.close_timeout)?,
            token_expiration: optional("token_expiration_seconds", self.token_expiration)?,
            limits: Limits {
                max_message_size: self.max_message_size,
                max_frame_size: self.max_message_size,
                ..Limits::default()
            },
        })
    }
}

fn policy(given: &Reconnect) -> Result<BackoffPolicy> {
    let policy = BackoffPolicy {
        initial: seconds("reconnect initial_delay", given.initial_delay)?,
        cap: seconds("reconnect max_delay", given.max_delay)?,
        factor: given.factor,
        stable_after: seconds("reconnect stable_after", given.stable_after)?,
        max_attempts: given.max_attempts,
        max_fruitless: given.max_fruitless,
    };
    policy.validate().map_err(|why| Error::new(ErrorKind::InvalidOption, why))?;
    Ok(policy)
}

fn finals(given: &Reconnect) -> Finals {
    Finals { statuses: given.final_statuses.clone(), codes: given.final_codes.clone() }
}

/// A time in seconds. What is longer than a year is as good as for ever, and instants must be able to hold it.
fn seconds(name: &str, value: f64) -> Result<Duration> {
    const YEAR_SECONDS: f64 = 366.0 * 86_400.0;
    if value.is_nan() || value < 0.0 {
        let message = format!("{name} must be a number of seconds of at least 0, got {value}");
        return Err(Error::new(ErrorKind::InvalidOption, message));
    }
    Ok(Duration::from_secs_f64(value.min(YEAR_SECONDS)))
}

/// Headers of the caller's own.
pub(super) fn own_headers(given: &[(String, String)]) -> PyResult<Vec<(HeaderName, HeaderValue)>> {
    given.iter().map(|(name, value)| own_header(name, value)).collect()
}

/// A header of the caller's own. What it says may be a secret.
pub(super) fn own_header(name: &str, value: &str) -> PyResult<(HeaderName, HeaderValue)> {
    let invalid =
        || PyValueError::new_err(format!("headers: {name:?} or its value cannot stand in a header"));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    value.set_sensitive(true);
    Ok((name, value))
}
