//! Whole connections against real sockets on loopback. Every wait is bounded; none asserts a speed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod delivery;
mod driving;
mod endings;
mod harness;
mod liveness;
mod opening;
mod panics;
