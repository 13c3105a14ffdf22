//! The state of a connection for asyncio: who waits for what, and the event loop that it is used from.
//!
//! Lies below all that share it: what Python calls is in [`asyncio`](super::asyncio), what it awaits in
//! [`operation`](super::operation), what hands things out to it in [`callbacks`](super::callbacks).

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU32},
};

use pyo3::prelude::*;

use super::base::Base;
use crate::sync::Mutex;

mod decoded;
mod loop_binding;
mod sending;
mod waiting;

use loop_binding::LoopBinding;
pub(super) use waiting::Waiting;

/// A connection for asyncio; the public class derives from it.
#[pyclass(frozen, subclass, weakref, name = "Connection", module = "fal_realtime._core")]
pub(super) struct AsyncConnection {
    pub(super) base: Base,
    pub(super) waiting: Mutex<Waiting>,
    /// The loop that it is used from; set once.
    binding: OnceLock<LoopBinding>,
    /// The loop will uncork.
    corked: AtomicBool,
    /// How many operations in a row were not made to wait.
    unyielding: AtomicU32,
    hand_out: HandOut,
}

/// Hands out what is there, on the connection's loop.
pub(super) type HandOut = fn(&Bound<'_, AsyncConnection>) -> PyResult<()>;

impl AsyncConnection {
    /// A connection that belongs to no loop yet. Its loop will call `hand_out` when there is something.
    pub(super) fn with(base: Base, hand_out: HandOut) -> Self {
        Self {
            base,
            waiting: Mutex::new(Waiting::new()),
            binding: OnceLock::new(),
            corked: AtomicBool::new(false),
            unyielding: AtomicU32::new(0),
            hand_out,
        }
    }

    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.base.visit(visit)?;
        if let Some(waiting) = self.waiting.try_lock() {
            waiting.visit(visit)?;
        }
        if let Some(binding) = self.binding.get() {
            binding.visit(visit)?;
        }
        Ok(())
    }
}
