//! The refusal of an input that cannot be encoded: why, and where in it.

use pyo3::{prelude::*, types::PyDict};

use crate::py::codec::encode::{convert, failure::EncodeFailure, rules::EncodeDialect};

/// The same failure, seen from the dict that has the value in its entry number `position`. The key that was in hand
/// may be gone: raising an exception can start the garbage collector.
#[cold]
pub(super) fn at_entry(failure: EncodeFailure, dict: &Bound<'_, PyDict>, position: usize) -> EncodeFailure {
    match dict.iter().nth(position) {
        Some((key, _)) => failure.at_key(&key),
        None => failure,
    }
}

#[cold]
pub(super) fn not_a_key(key: &Bound<'_, PyAny>, dialect: EncodeDialect) -> EncodeFailure {
    let accepted = if dialect == EncodeDialect::Any { "a str or another scalar" } else { "str" };
    match key.get_type().qualname() {
        Ok(kind) => EncodeFailure::refused(format!(
            "map keys must be {accepted}; {} is of type '{kind}'",
            convert::shown(key)
        )),
        Err(error) => error.into(),
    }
}

#[cold]
pub(super) fn changed(what: &str) -> EncodeFailure {
    EncodeFailure::refused(format!("the {what} was changed while it was being encoded"))
}
