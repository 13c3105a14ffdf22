//! The protocol without I/O: no tokio, no Python, no clock, no randomness. Time and jitter are arguments.

pub mod backoff;
pub mod boxes;
pub mod cork;
pub mod endpoint;
pub mod envelope;
pub mod frame;
pub mod heartbeat;
pub mod histogram;
pub mod inbound;
pub mod inbox;
pub mod markers;
pub mod mcap;
pub mod message;
pub mod outbox;
pub mod payload;
pub mod pool;
pub mod requests;
pub mod ring;
pub mod session;
pub mod stats;
pub mod throttle;
pub mod token;
pub mod trial;
pub mod watchdog;
