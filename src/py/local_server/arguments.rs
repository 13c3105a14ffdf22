//! The arguments that Python gives the server, checked and as the server takes them.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::{
    core::frame::may_close_with,
    server::{AppOptions, CloseAfter, Counted, Refusal, Response, TokenForm, is_header},
};

pub(super) fn invalid(name: &str, value: impl Display, wanted: &str) -> PyErr {
    PyValueError::new_err(format!("{name} must be {wanted}, not {value}"))
}

pub(super) fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    /// A year: keeps the arithmetic of instants safe.
    const MAX_SECONDS: f64 = 365.0 * 86_400.0;
    let seconds = if seconds > MAX_SECONDS { MAX_SECONDS } else { seconds };
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid(name, seconds, "a number of seconds, 0 or more"))
}

pub(super) fn options(
    session_timeout: Option<f64>,
    buffering: Option<usize>,
    emit_timings: bool,
) -> PyResult<AppOptions> {
    if buffering == Some(0) {
        return Err(invalid("buffering", 0, "at least 1, or None"));
    }
    let session_timeout = session_timeout.map(|seconds| duration("session_timeout", seconds)).transpose()?;
    Ok(AppOptions { session_timeout, buffering, emit_timings })
}

pub(super) fn token_form(name: &str) -> PyResult<TokenForm> {
    match name {
        "string" => Ok(TokenForm::String),
        "detail" => Ok(TokenForm::Detail),
        "token" => Ok(TokenForm::Token),
        _ => Err(invalid("token_form", name, "'string', 'detail' or 'token'")),
    }
}

/// The response that a handler gives as `bytes` or a str.
pub(super) fn response(message: &Bound<'_, PyAny>) -> PyResult<Response> {
    match message.cast::<PyBytes>() {
        Ok(bytes) => Ok(Response::Binary(Bytes::copy_from_slice(bytes.as_bytes()))),
        Err(_) => Ok(Response::Text(message.cast::<PyString>()?.to_str()?.to_owned())),
    }
}

pub(super) fn refusal(
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
) -> PyResult<Refusal> {
    if !(300..=599).contains(&status) {
        return Err(invalid("status", status, "an HTTP status from 300 to 599"));
    }
    for (name, value) in &headers {
        if !is_header(name, value) {
            let message = format!("headers may not have {name:?} with this value: it could not be sent");
            return Err(PyValueError::new_err(message));
        }
        // The server frames its answers by itself.
        if ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
            return Err(PyValueError::new_err(format!("headers may not have {name:?}: the body says it")));
        }
    }
    Ok(Refusal { status, headers, body: body.map(Into::into) })
}

/// Checks a close code: RFC 6455, section 7.4, says which may be sent.
pub(super) fn check_close_code(code: u16) -> PyResult<()> {
    if may_close_with(code) { Ok(()) } else { Err(invalid("code", code, "a close code that may be sent")) }
}

pub(super) fn close_after(
    messages: Option<u64>,
    code: Option<u16>,
    reason: &str,
    counted: &str,
) -> PyResult<Option<CloseAfter>> {
    code.map(check_close_code).transpose()?;
    let counted = match counted {
        "sent" => Counted::Sent,
        "received" => Counted::Received,
        _ => return Err(invalid("counted", counted, "'sent' or 'received'")),
    };
    let frame = code.map(|code| (code, reason.to_owned()));
    Ok(messages.map(|messages| CloseAfter { messages, counted, frame }))
}
