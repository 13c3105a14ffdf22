//! Why a message cannot be decoded.

use pyo3::prelude::*;

use crate::py::codec::error::decode_error;

/// The result of decoding a part of a message.
pub(super) type Outcome<T> = Result<T, Failure>;

/// Why decoding stopped. Boxed, so that success is cheap to return.
pub(super) struct Failure(Box<FailureKind>);

enum FailureKind {
    /// The message is invalid, or beyond a limit: a sentence that says where.
    Invalid(String),
    /// Python raised, for example `MemoryError`.
    Raised(PyErr),
}

impl Failure {
    #[cold]
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self(Box::new(FailureKind::Invalid(message.into())))
    }

    /// The exception to raise.
    #[cold]
    pub(super) fn into_error(self, py: Python<'_>) -> PyErr {
        match *self.0 {
            FailureKind::Invalid(message) => decode_error(py, &message),
            FailureKind::Raised(error) => error,
        }
    }
}

impl From<PyErr> for Failure {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self(Box::new(FailureKind::Raised(error)))
    }
}
