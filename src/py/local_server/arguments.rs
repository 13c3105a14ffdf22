//! What Python gives the server, checked and as the server takes it.

use std::{fmt::Display, time::Duration};

use pyo3::{PyErr, PyResult, exceptions::PyValueError};

use crate::server::{AppOptions, CloseAfter, Counted, Refusal, is_header};

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

/// RFC 6455, section 7.4: the codes that may be sent.
pub(super) fn check_close_code(code: u16) -> PyResult<()> {
    if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        Ok(())
    } else {
        Err(invalid("code", code, "a close code that may be sent"))
    }
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
