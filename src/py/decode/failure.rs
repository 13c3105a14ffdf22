//! Why a message cannot be decoded.

use pyo3::prelude::*;

use crate::py::codec::error::decode_error;

/// The result of decoding a part of a message. The error is boxed, so that success is cheap to return.
pub(super) type Outcome<T> = Result<T, Box<Failure>>;

/// Why decoding stopped.
pub(super) enum Failure {
    /// The message is invalid, or beyond a limit: a sentence that says where.
    Invalid(String),
    /// Python raised, for example `MemoryError`.
    Raised(PyErr),
}

impl Failure {
    #[cold]
    pub(super) fn invalid(message: impl Into<String>) -> Box<Self> {
        Box::new(Self::Invalid(message.into()))
    }

    /// The exception to raise.
    #[cold]
    pub(super) fn into_error(self: Box<Self>, py: Python<'_>) -> PyErr {
        match *self {
            Self::Invalid(message) => decode_error(py, &message),
            Self::Raised(error) => error,
        }
    }
}

impl From<PyErr> for Box<Failure> {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self::new(Failure::Raised(error))
    }
}
