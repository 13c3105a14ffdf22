//! A realtime client for fal's inference endpoints: msgpack over WebSocket.
//!
//! Layers, above the locks of [`sync`], imports one way only: [`core`] (pure state, no I/O, no clock) <- [`net`] (tokio) <- `py` (PyO3).
//! `server` is the embedded local server that demos, tests and benches talk to, a feature of its own.

pub mod core;
pub mod error;
pub mod net;
#[cfg(feature = "python")]
mod py;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use py::fuzzing;
#[cfg(feature = "local-server")]
pub mod server;
pub mod sync;
