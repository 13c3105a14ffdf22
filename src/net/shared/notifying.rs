//! Who waits is told of what is there, once for each time that it arms.

use std::sync::Arc;

use super::{Interest, SharedState};
use crate::{core::session::State, net::wakeups::Notify};

impl SharedState {
    /// See `arm` of the handle.
    pub(in crate::net) fn arm(&mut self, interest: Interest, check: Interest, seen: State) -> bool {
        self.interest = interest;
        self.notified = false;
        let there = |kind: Interest, is_there: bool| check.intersects(kind) && is_there;
        let over = self.state == State::Closed;
        let ready = there(Interest::ITEMS, self.inbox.has_items())
            || there(Interest::NOTICES, self.inbox.has_notices())
            || there(Interest::ANSWERS, self.inbox.requests.any_settled())
            || there(Interest::ROOM, over || self.outbox.has_room_for_refused())
            || there(Interest::DRAINED, over || self.outbox.pending() == 0)
            || (check.intersects(Interest::FINISHED) && self.is_finished())
            || there(Interest::STATE, self.state != seen);
        // From here on it is as if the wake had come: whoever armed takes what is there.
        self.notified = ready;
        ready
    }

    /// See `listen` of the handle.
    pub(in crate::net) fn listen(&mut self, interest: Interest, check: Interest) -> bool {
        self.interest = interest;
        self.notified = false;
        self.state == State::Closed
            || (check.intersects(Interest::ITEMS) && self.inbox.has_items())
            || (check.intersects(Interest::NOTICES) && self.inbox.has_notices())
    }

    /// Something of `kind` is there. The notification is to be sent after the lock is released.
    pub(in crate::net) fn tell(&mut self, kind: Interest) -> Option<Arc<dyn Notify>> {
        if self.notified || !(self.interest.intersects(kind) || self.finishes()) {
            return None;
        }
        let notify = self.notify.clone()?;
        self.notified = true;
        Some(notify)
    }

    /// Somebody waits for the end of what is under way, and that is it. What brings it about is of many kinds.
    fn finishes(&self) -> bool {
        self.interest.intersects(Interest::FINISHED) && self.is_finished()
    }
}
