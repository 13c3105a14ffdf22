//! By whose rules an input is encoded.

use pyo3::prelude::*;

/// The rules of the encoder where peers differ.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a, 'py> {
    /// The dialect of whoever reads the message.
    pub(super) dialect: EncodeDialect,
    /// Whether an aware `datetime` becomes a timestamp extension instead of a str.
    pub(super) timestamps: bool,
    /// Called with a value that has no form; what it answers is encoded.
    pub(super) default: Option<Borrowed<'a, 'py, PyAny>>,
}

/// The reader of the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EncodeDialect {
    /// A fal app: keys are `str`, and values take the forms that a typed app accepts.
    App,
    /// Whoever reads msgpack: keys may be any scalar.
    Any,
    /// A client of the local server: what Python's `msgpack` packs, and its words for what it does not.
    Packer,
}

impl Rules<'_, '_> {
    /// The rules for what a connection sends.
    pub(super) const APP: Self = Self { dialect: EncodeDialect::App, timestamps: false, default: None };

    /// How deep containers may nest.
    #[inline]
    pub(super) fn max_depth(&self) -> usize {
        match self.dialect {
            EncodeDialect::App | EncodeDialect::Any => crate::py::codec::limits::MAX_DEPTH,
            EncodeDialect::Packer => 1024,
        }
    }
}
