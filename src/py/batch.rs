//! Which connection's callbacks are being called on this thread, one after the other: what they send may wait for what the
//! next one sends, and leave together with it.

use std::{cell::Cell, ptr, sync::Arc};

use crate::net::handle::Connection;

thread_local! {
    static CURRENT: Cell<*const Connection> = const { Cell::new(ptr::null()) };
}

/// The callbacks of one connection are being called, until this is dropped.
pub(super) struct Batch {
    connection: Arc<Connection>,
    /// The one further up the stack.
    outer: *const Connection,
}

impl Batch {
    pub(super) fn of(connection: &Arc<Connection>) -> Self {
        let outer = CURRENT.replace(Arc::as_ptr(connection));
        Self { connection: connection.clone(), outer }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        self.connection.uncork();
    }
}

/// Whether this is called by a callback of `connection`.
pub(super) fn is_of(connection: &Arc<Connection>) -> bool {
    CURRENT.get() == Arc::as_ptr(connection)
}
