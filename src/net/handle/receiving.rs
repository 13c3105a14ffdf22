//! Received items and notices, as the callers' threads take them.

use super::{Connection, Interest};
use crate::{
    core::inbox::{Inbox, Item, Next, Notice, Numbered},
    net::{driven::Side, link::Work, shared::tell},
};

impl Connection {
    /// The newest result; older ones are dropped. An error or end that came before it comes first.
    pub fn pop_newest(&self) -> Option<Numbered<Item>> {
        self.taking(Inbox::pop_newest)
    }

    /// The oldest result, error or end.
    pub fn pop(&self) -> Option<Numbered<Item>> {
        self.taking(Inbox::pop)
    }

    /// Whether [`Connection::pop`] has something.
    pub fn has_items(&self) -> bool {
        self.shared.lock().boxes.inbox.has_items()
    }

    /// How many items, and how many notices, wait to be taken.
    pub fn left(&self) -> (usize, usize) {
        let inner = self.shared.lock();
        (inner.boxes.inbox.items(), inner.boxes.inbox.notices())
    }

    /// The oldest notice.
    pub fn pop_notice(&self) -> Option<Notice> {
        self.taking(Inbox::pop_notice)
    }

    /// The oldest of both.
    pub fn pop_any(&self) -> Option<Next> {
        self.taking(Inbox::pop_any)
    }

    /// Holds the result, or answer, that was taken last, which is not delivered yet: it is in a decoder.
    pub fn hold(&self) {
        self.shared.lock().boxes.inbox.hold();
    }

    /// Counts the result that was held as delivered.
    pub fn deliver_held(&self) {
        self.shared.lock().boxes.inbox.deliver_held();
    }

    /// Counts the result that was held as late: nobody waits for it any more.
    pub fn abandon_held(&self) {
        self.shared.lock().boxes.inbox.abandon_held();
    }

    /// Takes back what [`Connection::pop`] gave.
    pub fn unpop(&self, item: Numbered<Item>) {
        let mut inner = self.shared.lock();
        inner.boxes.inbox.unpop(item);
        tell(inner, Interest::ITEMS);
    }

    pub(super) fn taking<T>(&self, take: impl FnOnce(&mut Inbox) -> T) -> T {
        let mut inner = self.shared.lock();
        let taken = take(&mut inner.boxes.inbox);
        // The reader waits for room: this may have made it.
        let goes_on = inner.boxes.inbox.is_paused() && !inner.boxes.inbox.should_pause();
        drop(inner);
        if goes_on {
            self.drive(Work::WRITE, Side::Caller);
        }
        taken
    }
}
