//! The messages that were not written, when a socket is lost or its peer closes.

use super::Writer;
use crate::core::outbox::{Leftover, Written};

impl Writer {
    /// Puts messages aside of which nothing is written: a peer that has closed would not read them, and they can still
    /// be sent on another socket. A partial write stays, for a frame to follow it.
    pub(in crate::net) fn retract(&mut self) {
        self.pong = None;
        self.behind.clear();
        self.unstage();
        if let Some(first) = self.staged.iter().position(|staged| staged.start >= self.at) {
            let cut = self.staged.get(first).map_or(0, |staged| staged.start);
            // Pongs behind the cut go too: a peer that closes does not wait for them.
            self.staging.truncate(cut);
            self.aside.extend(self.staged.drain(first..).map(|staged| staged.message));
            self.release(&mut Written::default());
        }
        if let Some(large) = self.large.take_if(|large| !large.is_partly_written()) {
            self.aside.push(large.into_message());
        }
    }

    /// The socket is lost: what of the messages can be sent again?
    pub(in crate::net) fn abandon(self, written: Written) -> Leftover {
        let mut leftover = Leftover { untouched: self.aside, torn: Vec::new(), written };
        for staged in self.staged {
            // Those that were written whole are gone from the queue, so at most one is torn.
            if staged.start < self.at {
                leftover.torn.push(staged.message.request);
            } else {
                leftover.untouched.push(staged.message);
            }
        }
        if let Some(large) = self.large {
            let is_torn = large.is_partly_written();
            let message = large.into_message();
            if is_torn {
                leftover.torn.push(message.request);
            } else {
                leftover.untouched.push(message);
            }
        }
        leftover.untouched.extend(self.pulled);
        leftover
    }
}
