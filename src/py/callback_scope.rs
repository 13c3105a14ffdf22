//! The callback scope of a thread: which connection's callbacks it is calling, one after the other. What they send may
//! wait for what the next one sends, and leave together with it.

use std::{cell::Cell, ptr, sync::Arc};

use crate::net::handle::Connection;

thread_local! {
    static CURRENT: Cell<*const Connection> = const { Cell::new(ptr::null()) };
    /// Something that was sent waits.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// The callbacks of one connection are being called, until this is dropped.
pub(super) struct CallbackScope<'a> {
    connection: &'a Arc<Connection>,
    /// What was so further up the stack.
    outer: (*const Connection, bool),
}

impl<'a> CallbackScope<'a> {
    pub(super) fn of(connection: &'a Arc<Connection>) -> Self {
        Self { connection, outer: (CURRENT.replace(Arc::as_ptr(connection)), WAITS.take()) }
    }
}

impl Drop for CallbackScope<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer.0);
        if WAITS.replace(self.outer.1) {
            self.connection.uncork();
        }
    }
}

/// Whether this is called by a callback of `connection`.
pub(super) fn is_of(connection: &Arc<Connection>) -> bool {
    CURRENT.get() == Arc::as_ptr(connection)
}

/// Something that was sent waits.
pub(super) fn uncork_at_the_end() {
    WAITS.set(true);
}
