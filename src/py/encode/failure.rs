//! Why a value cannot be encoded, and where in the input it is.

use pyo3::prelude::*;

use crate::py::codec::error::encode_error;

/// The result of encoding a part of the input. The error is boxed, so that success is cheap to return.
pub(super) type Outcome<T = ()> = Result<T, Box<Failure>>;

/// Why encoding stopped.
pub(super) enum Failure {
    /// The value cannot be encoded.
    Refused {
        /// What is wrong with it and what would be accepted.
        reason: String,
        /// The way to the value, from the inside out: each container that is left adds its step.
        path: Vec<String>,
    },
    /// Python code that was run for a value raised.
    Raised(PyErr),
}

/// What the top of the input is called in messages.
const ROOT: &str = "input";
/// Longer keys are cut in messages.
const MAX_KEY_SHOWN: usize = 40;

impl Failure {
    pub(super) fn refused(reason: impl Into<String>) -> Box<Self> {
        Box::new(Self::Refused { reason: reason.into(), path: Vec::new() })
    }

    /// The same failure, seen from the sequence that has the value at `index`.
    #[cold]
    pub(super) fn at_index(self: Box<Self>, index: usize) -> Box<Self> {
        self.under(|| format!("[{index}]"))
    }

    /// The same failure, seen from the map that has the value under `key`.
    #[cold]
    pub(super) fn at_key(self: Box<Self>, key: Borrowed<'_, '_, PyAny>) -> Box<Self> {
        self.under(|| key_step(&key.to_string()))
    }

    fn under(mut self: Box<Self>, step: impl FnOnce() -> String) -> Box<Self> {
        if let Self::Refused { path, .. } = &mut *self {
            path.push(step());
        }
        self
    }

    /// The exception to raise.
    pub(super) fn into_error(self: Box<Self>, py: Python<'_>) -> PyErr {
        match *self {
            Self::Raised(error) => error,
            Self::Refused { reason, path } => {
                let steps: String = path.into_iter().rev().collect();
                encode_error(py, &format!("{ROOT}{steps}: {reason}"))
            }
        }
    }
}

impl From<PyErr> for Box<Failure> {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self::new(Failure::Raised(error))
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
