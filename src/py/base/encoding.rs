//! Encoding: objects become messages, by the codec or by the caller's encoder.

use std::sync::atomic::Ordering;

use pyo3::{
    exceptions::{PyMemoryError, PyRuntimeError, PyTypeError, PyUnicodeError},
    intern,
    prelude::*,
    types::{PyByteArray, PyBytes, PyDict, PyMapping, PyMemoryView, PyString},
};

use super::{Base, InputHook};
use crate::{
    core::{
        frame::MessageKind,
        message::Outgoing,
        payload::{LARGE_BYTES, Payload},
        pool,
        requests::check_id,
    },
    error::{Error, ErrorKind},
    py::{borrowed_bytes, codec::encode, errors::to_py},
};

impl Base {
    /// The message for an input.
    pub(in crate::py) fn encode(&self, py: Python<'_>, input: &Bound<'_, PyAny>) -> PyResult<Outgoing> {
        borrowed_bytes::let_go(py);
        match &self.encoder {
            None if self.is_raw() || is_encoded(input) => self.encoded(py, input),
            None => self.sized(py, encode::encode(py, input)?, MessageKind::Binary),
            Some(InputHook::Encode(encoder)) => self.encoded(py, &encoder.bind(py).call1((input,))?),
            Some(InputHook::Check(check)) => {
                self.sized(py, encode::encode(py, &check.bind(py).call1((input,))?)?, MessageKind::Binary)
            }
        }
    }

    /// The message for an input of a request, and the id that it holds.
    pub(in crate::py) fn encode_request(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
    ) -> PyResult<(Outgoing, String)> {
        if self.is_raw() {
            return Err(PyRuntimeError::new_err(
                "a raw connection cannot match answers to requests: use send and recv",
            ));
        }
        if self.encoder.is_none() && is_encoded(input) {
            let kind = kind_of(input);
            return Err(encode_error(
                py,
                format!(
                    "request cannot put a request_id into an encoded message ({kind}), which goes out as it is: use send \
                     and recv"
                ),
            ));
        }
        let encoder = match &self.encoder {
            Some(InputHook::Encode(encoder)) => encoder,
            None => return self.request_of(py, input),
            Some(InputHook::Check(check)) => {
                return self.request_of(py, &check.bind(py).call1((input,))?);
            }
        };
        let (copy, id) = self.with_request_id(py, input)?;
        Ok((self.encoded(py, &encoder.bind(py).call1((copy,))?)?, id))
    }

    /// A copy of an input of a request, with the `request_id` that it holds or else a fresh one; and that.
    pub(in crate::py) fn with_request_id<'py>(
        &self,
        py: Python<'py>,
        input: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyDict>, String)> {
        let Ok(mapping) = input.cast::<PyMapping>() else {
            let kind = kind_of(input);
            let why = format!(
                "request needs a mapping, to put a request_id into it, not an object of type '{kind}'"
            );
            return Err(encode_error(py, why));
        };
        let copy = PyDict::new(py);
        copy.update(mapping)?;
        let id = match copy.get_item(intern!(py, "request_id"))? {
            Some(id) if !id.is_none() => {
                let Ok(text) = id.cast::<PyString>() else {
                    let kind = kind_of(&id);
                    let why = format!("input.request_id: it must be a str, not an object of type '{kind}'");
                    return Err(encode_error(py, why));
                };
                let text = utf8_of(text, || "input.request_id: it holds a lone surrogate".to_owned())?;
                check_id(text).map_err(|why| encode_error(py, format!("input.request_id: {why}")))?;
                text.to_owned()
            }
            _ => {
                let fresh = self.fresh_request_id();
                copy.set_item(intern!(py, "request_id"), fresh.as_str())?;
                fresh
            }
        };
        Ok((copy, id))
    }

    /// A `request_id` that no other request has, of this connection or another.
    fn fresh_request_id(&self) -> String {
        format!("{:08x}-{:x}", self.salt, self.next_request.fetch_add(1, Ordering::Relaxed))
    }

    /// The message of the codec for an input of a request, and the id that it holds.
    fn request_of(&self, py: Python<'_>, input: &Bound<'_, PyAny>) -> PyResult<(Outgoing, String)> {
        let (payload, id) = encode::encode_with_request_id(py, input, &self.fresh_request_id())?;
        Ok((self.sized(py, payload, MessageKind::Binary)?, id))
    }

    /// The message for what an encoder gave: bytes go as binary, a str as text.
    pub(in crate::py) fn encoded(&self, py: Python<'_>, payload: &Bound<'_, PyAny>) -> PyResult<Outgoing> {
        if let Ok(text) = payload.cast::<PyString>() {
            let text = utf8_of(text, || {
                let what = if self.is_raw() { "the message" } else { "what encode_message returned" };
                format!("{what} is a str that holds a lone surrogate")
            })?;
            let no_memory = |_| PyMemoryError::new_err("the message is too large for memory");
            let mut payload = pool::take(text.len()).map_err(no_memory)?;
            payload.extend_from_slice(text.as_bytes());
            return self.sized(py, payload.into(), MessageKind::Text);
        }
        if let Ok(bytes) = payload.cast::<PyBytes>() {
            return self.sized(py, copied_or_borrowed(bytes), MessageKind::Binary);
        }
        // Whatever has the buffer protocol, such as bytearray and memoryview. Not what `bytes()` would take beyond
        // that: a list of numbers is a message that somebody forgot to encode.
        let view = PyMemoryView::from(payload).map_err(|error| {
            if !error.is_instance_of::<PyTypeError>(py) {
                return error; // such as the ValueError of a released memoryview
            }
            let who = if self.is_raw() { "a raw connection takes" } else { "encode_message must return" };
            let kind = kind_of(payload);
            PyTypeError::new_err(format!("{who} bytes (sent as binary) or str (sent as text), not {kind}"))
        })?;
        let bytes = view.call_method0(intern!(py, "tobytes"))?.cast_into::<PyBytes>()?;
        self.sized(py, copied_or_borrowed(&bytes), MessageKind::Binary)
    }

    fn sized(&self, py: Python<'_>, payload: Payload, kind: MessageKind) -> PyResult<Outgoing> {
        let message = Outgoing { payload, kind, request: None };
        let settings = self.net.settings();
        let (size, limit) = (message.payload.len(), settings.max_input_size);
        if size > limit {
            let text = if limit == settings.limits.max_message_size {
                format!("the message has {size} bytes; max_message_size is {limit}")
            } else {
                format!(
                    "the message has {size} bytes; a fal app takes {limit} and closes the connection above \
                     (max_message_size sets another limit, for an app that is served with one)"
                )
            };
            return Err(to_py(py, &Error::new(ErrorKind::TooLarge, text)));
        }
        Ok(message)
    }
}

/// Whether an input is an encoded message already, which the TypeScript client sends as it is, too. Other exporters of
/// buffers, such as arrays, are values.
fn is_encoded(input: &Bound<'_, PyAny>) -> bool {
    // Most inputs are dicts, and are asked nothing else.
    !input.is_exact_instance_of::<PyDict>()
        && (input.is_instance_of::<PyBytes>()
            || input.is_instance_of::<PyByteArray>()
            || input.is_instance_of::<PyMemoryView>())
}

/// The name of an object's type, for an error message.
fn kind_of(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}

/// The UTF-8 form of a str. `why` says what is wrong with one that has none, since it holds a lone surrogate.
fn utf8_of<'a>(text: &'a Bound<'_, PyString>, why: impl FnOnce() -> String) -> PyResult<&'a str> {
    text.to_str().map_err(|error| {
        if !error.is_instance_of::<PyUnicodeError>(text.py()) {
            return error; // such as a MemoryError
        }
        encode_error(text.py(), why())
    })
}

fn encode_error(py: Python<'_>, why: String) -> PyErr {
    to_py(py, &Error::new(ErrorKind::Encode, why))
}

fn copied_or_borrowed(bytes: &Bound<'_, PyBytes>) -> Payload {
    let contents = bytes.as_bytes();
    if contents.len() < LARGE_BYTES {
        contents.to_vec().into()
    } else {
        Payload::new(Vec::new(), vec![(0, borrowed_bytes::borrow(bytes))])
    }
}
