//! Checks an input as fal's server does, and reads from it what an app knows.
//!
//! The errors have the words of Python's `msgpack`, which is what a client of the real server sees.

mod head;
mod input;
mod map;
mod refusing;
mod validating;

pub(super) use input::Input;
pub(crate) use validating::validate;
