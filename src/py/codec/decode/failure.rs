//! Why a message cannot be decoded.

use pyo3::prelude::*;

use crate::py::codec::error::decode_error;

/// The result of decoding a part of a message.
pub(super) type Outcome<T> = Result<T, DecodeFailure>;

/// Why decoding stopped. Boxed, so that success is cheap to return.
pub(super) struct DecodeFailure(Box<DecodeFailureKind>);

enum DecodeFailureKind {
    /// The message is invalid, or beyond a limit: a sentence that says where.
    Invalid(String),
    /// Python raised, for example `MemoryError`.
    Raised(PyErr),
}

impl DecodeFailure {
    #[cold]
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self(Box::new(DecodeFailureKind::Invalid(message.into())))
    }

    /// The exception to raise.
    #[cold]
    pub(super) fn into_error(self, py: Python<'_>) -> PyErr {
        match *self.0 {
            DecodeFailureKind::Invalid(message) => decode_error(py, &message),
            DecodeFailureKind::Raised(error) => error,
        }
    }
}

impl From<PyErr> for DecodeFailure {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self(Box::new(DecodeFailureKind::Raised(error)))
    }
}
