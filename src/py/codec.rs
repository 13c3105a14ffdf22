//! Messages to Python objects and back: msgpack, and JSON on the way in.

pub(super) mod decode;
pub(super) mod encode;
mod error;
mod ext;
mod functions;
mod limits;
mod timestamp;

pub(super) use functions::register;
