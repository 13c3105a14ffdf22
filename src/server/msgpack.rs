//! As much msgpack as the built-in apps need: checking an input as fal's server does, and reading a map's entries.
//!
//! The errors have the words of Python's `msgpack`, which is what a client of the real server sees.

mod head;
mod map;
mod refusing;
mod validating;

pub(super) use map::Map;
pub(crate) use validating::validate;
