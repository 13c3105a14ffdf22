//! Decoding: messages become objects, by the codec or by the caller's decoder.

use pyo3::{exceptions::PyException, intern, prelude::*};

use super::{Base, ResultHook};
use crate::{
    core::message::Received,
    error::{Error, ErrorKind},
    py::{
        encoded_result::EncodedResult,
        errors::{describe, to_py},
        received,
    },
};

impl Base {
    /// The object for a result. `true` beside it: the decoder is asynchronous, and the object must be awaited.
    pub(in crate::py) fn decode(&self, py: Python<'_>, received: &Received) -> PyResult<(Py<PyAny>, bool)> {
        let decoder = match &self.decoder {
            None => return Ok((self.plain(py, received)?, false)),
            Some(ResultHook::Convert(convert)) => {
                return Ok((convert.call1(py, (self.plain(py, received)?,))?, false));
            }
            Some(ResultHook::Decode(decoder)) => decoder,
        };
        let message = received::undecoded(py, received)?;
        match decoder.bind(py).call1((message,)) {
            Ok(object) => {
                let is_async = object.hasattr(intern!(py, "__await__"))?;
                Ok((object.unbind(), is_async))
            }
            Err(error) => Err(decoder_failed(py, error)),
        }
    }

    /// The object that the codec makes of a result.
    fn plain(&self, py: Python<'_>, received: &Received) -> PyResult<Py<PyAny>> {
        if self.is_raw() {
            Ok(received::undecoded(py, received)?.unbind())
        } else if self.decodes {
            received::decoded(py, received)
        } else {
            EncodedResult::of(py, received)
        }
    }
}

/// A decoder's exception, as the one that users catch.
pub(in crate::py) fn decoder_failed(py: Python<'_>, cause: PyErr) -> PyErr {
    if !cause.is_instance_of::<PyException>(py) {
        return cause; // KeyboardInterrupt and its like
    }
    let text = format!("decode_message failed: {}", describe(py, &cause));
    let error = to_py(py, &Error::new(ErrorKind::Decode, text));
    error.set_cause(py, Some(cause));
    error
}
