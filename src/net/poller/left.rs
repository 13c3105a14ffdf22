//! The work that callers leave to the I/O thread: output that waits for more, sockets that they have borrowed, and
//! large output.

use std::sync::{Arc, atomic::Ordering};

use super::Poller;
use crate::net::driven::Driven;

impl Poller {
    /// A caller keeps something back: output that waits for more, or its socket. If it does not come again, the I/O
    /// thread sees to it.
    pub(in crate::net) fn hold(&self, link: Arc<dyn Driven>) {
        self.held.lock().push(link);
        if !self.sees_held.swap(true, Ordering::AcqRel) {
            self.wake_task();
        }
    }

    /// The I/O thread is to write what a link has.
    pub(in crate::net) fn write(&self, link: Arc<dyn Driven>) {
        self.unwritten.lock().push(link);
        if !self.has_unwritten.swap(true, Ordering::AcqRel) {
            self.wake_task();
        }
    }

    pub(super) fn take_unwritten(&self) -> Vec<Arc<dyn Driven>> {
        if self.has_unwritten.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut *self.unwritten.lock())
        } else {
            Vec::new()
        }
    }
}
