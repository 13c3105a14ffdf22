//! Why a value cannot be encoded, and where in the input it is.

use pyo3::{prelude::*, types::PyString};

use crate::py::codec::error::encode_error;

/// The result of encoding a part of the input.
pub(super) type Outcome<T = ()> = Result<T, EncodeFailure>;

/// Why encoding stopped. Boxed, so that success is cheap to return.
pub(super) struct EncodeFailure(Box<EncodeFailureKind>);

enum EncodeFailureKind {
    /// The value cannot be encoded.
    Refused {
        /// The words for what is wrong with it and what would be accepted.
        reason: String,
        /// The way to the value, from the inside out: each container that is left adds its step.
        path: Vec<String>,
    },
    /// Python code that was run for a value raised.
    Raised(PyErr),
}

/// The name of the top of the input in messages.
const ROOT: &str = "input";
/// Longer keys are cut in messages.
const MAX_KEY_SHOWN: usize = 40;

impl EncodeFailure {
    #[cold]
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self(Box::new(EncodeFailureKind::Refused { reason: reason.into(), path: Vec::new() }))
    }

    /// Whether the value cannot be encoded, rather than that Python code raised.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(*self.0, EncodeFailureKind::Refused { .. })
    }

    /// The same failure, seen from the sequence that has the value at `index`.
    #[cold]
    pub(super) fn at_index(self, index: usize) -> Self {
        self.under(|| format!("[{index}]"))
    }

    /// The same failure, seen from the map that has the value under `key`.
    #[cold]
    pub(super) fn at_key(self, key: &Bound<'_, PyAny>) -> Self {
        // Not `str(key)`, which a subclass may define.
        self.under(|| match key.cast::<PyString>() {
            Ok(key) => key_step(&key.to_string_lossy()),
            Err(_) => "[…]".to_owned(),
        })
    }

    fn under(mut self, step: impl FnOnce() -> String) -> Self {
        if let EncodeFailureKind::Refused { path, .. } = &mut *self.0 {
            path.push(step());
        }
        self
    }

    /// The exception to raise.
    #[cold]
    pub(super) fn into_error(self, py: Python<'_>) -> PyErr {
        match *self.0 {
            EncodeFailureKind::Raised(error) => error,
            EncodeFailureKind::Refused { reason, path } => {
                let steps: String = path.into_iter().rev().collect();
                encode_error(py, &format!("{ROOT}{steps}: {reason}"))
            }
        }
    }
}

impl From<PyErr> for EncodeFailure {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self(Box::new(EncodeFailureKind::Raised(error)))
    }
}

/// `.name` for a key that is a name, `["some key"]` for others.
fn key_step(key: &str) -> String {
    let is_name = key.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    let shown: String = key.chars().take(MAX_KEY_SHOWN).collect();
    let cut = if shown.len() < key.len() { "…" } else { "" };
    if is_name { format!(".{shown}{cut}") } else { format!("[{:?}]", format!("{shown}{cut}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_names_are_quoted_and_long_ones_cut() {
        assert_eq!(key_step("mask"), ".mask");
        assert_eq!(key_step("größe_2"), ".größe_2");
        assert_eq!(key_step("2nd \"mask\""), r#"["2nd \"mask\""]"#);
        assert_eq!(key_step(""), r#"[""]"#);
        assert_eq!(key_step(&"k".repeat(41)), format!(".{}…", "k".repeat(40)));
    }
}
