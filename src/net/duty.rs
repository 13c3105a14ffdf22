//! The duty to drive a connection's link: who has it, and what is to be asked or done once more.
//!
//! A link is driven by whoever has its lock. This is what the others leave to that thread, and to the poller, which
//! comes back to a connection when it was asked to:
//!
//! ```text
//!   want ------------> take_wanted, by whoever has the link; it asks again (is_wanted) once it has let go
//!   hold ------------> let_go, when the poller finds that no output waits for more
//!   leave_unwritten -> take_unwritten, when the I/O thread writes
//!   begin_blocking --> end_blocking --> poll_borrowed, again and again until no caller has come since the last time
//! ```

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};

use super::link::Work;

/// The duty to drive a connection's link: who has it, and what is to be asked or done once more.
#[derive(Debug, Default)]
pub(super) struct Duty {
    /// The [`Work`] that somebody wants of the link.
    wanted: AtomicU8,
    /// The poller will ask whether output waits for more.
    is_held: AtomicBool,
    /// The poller will have the I/O thread write.
    is_unwritten: AtomicBool,
    /// A blocking caller drives the link.
    has_blocking_driver: AtomicBool,
    /// A caller has had the socket, and the poller will ask whether it is still wanted.
    is_borrowed: AtomicBool,
    /// A caller has had it since that was last asked.
    was_borrowed: AtomicBool,
}

/// A socket that blocking callers have borrowed: whether they still want it.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Borrow {
    /// Nobody has it, or whoever has it will say when it is through.
    No,
    /// One has had it since this was last asked: ask again.
    InUse,
    /// No more: somebody else is to watch it.
    Unused,
}

impl Duty {
    // --- turns of the link ---

    /// Wants this done, by whoever has the link. To be followed by an attempt to get it.
    pub(super) fn want(&self, work: Work) {
        self.wanted.fetch_or(work.bits(), Ordering::SeqCst);
        // Pairs with the fence in `is_wanted`: either the attempt that follows finds the link free, or whoever has it
        // finds this when it has let go. Without it the attempt may be read before this is written: an attempt that
        // finds a lock taken is a relaxed load, and only on some processors is the operation above a fence by itself.
        fence(Ordering::SeqCst);
    }

    /// Takes what is wanted, for a thread that has the link and does it.
    pub(super) fn take_wanted(&self) -> Work {
        Work::from_bits(self.wanted.swap(0, Ordering::SeqCst))
    }

    /// Whether something is wanted, for a thread that has just let the link go.
    pub(super) fn is_wanted(&self) -> bool {
        // Pairs with the fence in `want`.
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::SeqCst) != 0
    }

    // --- what the poller comes back for ---

    /// Output waits for more. True when the poller is to be told: it does not know of it yet.
    #[must_use]
    pub(super) fn hold(&self) -> bool {
        !self.is_held.swap(true, Ordering::AcqRel)
    }

    /// The poller has asked for the last time.
    pub(super) fn let_go(&self) {
        self.is_held.store(false, Ordering::Release);
    }

    /// Output is to be written by the I/O thread. True when the poller is to be told.
    #[must_use]
    pub(super) fn leave_unwritten(&self) -> bool {
        !self.is_unwritten.swap(true, Ordering::AcqRel)
    }

    /// The I/O thread is about to write: what comes from now on is to be left anew.
    pub(super) fn take_unwritten(&self) {
        self.is_unwritten.store(false, Ordering::Release);
    }

    // --- the blocking caller ---

    /// A caller begins to drive the link in a blocking call. False where another one does so already.
    #[cfg(any(unix, test))] // elsewhere none does
    #[must_use]
    pub(super) fn begin_blocking(&self) -> bool {
        if self.has_blocking_driver.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.was_borrowed.store(true, Ordering::Release);
        true
    }

    /// The caller is through; it has had the socket, or (`drove`) could not get it. True when the poller is to be told
    /// that the socket is borrowed, and to ask whether it still is.
    #[cfg(any(unix, test))]
    #[must_use]
    pub(super) fn end_blocking(&self, drove: bool) -> bool {
        self.has_blocking_driver.store(false, Ordering::Release);
        drove && !self.is_borrowed.swap(true, Ordering::AcqRel)
    }

    /// The poller asks whether the socket is still wanted.
    pub(super) fn poll_borrowed(&self) -> Borrow {
        if !self.is_borrowed.load(Ordering::Acquire) {
            return Borrow::No;
        }
        if self.was_borrowed.swap(false, Ordering::AcqRel) {
            return Borrow::InUse;
        }
        self.is_borrowed.store(false, Ordering::Release);
        // A caller that waits will say when it is through.
        if self.has_blocking_driver.load(Ordering::Acquire) { Borrow::No } else { Borrow::Unused }
    }
}

#[cfg(test)]
mod tests;
