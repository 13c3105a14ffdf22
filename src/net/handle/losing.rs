//! What becomes of messages and requests when a socket is gone.

use super::{Inner, Interest};
use crate::{core::session::Loss, error::Error, net::writer::Leftover};

impl Inner {
    /// The server has given up the session for `error`: every request that it has is lost. Answers whether there was one.
    pub(in crate::net) fn fail_sent(&mut self, error: &Error) -> bool {
        self.inbox.requests.fail_waiting(|sent| sent, error) > 0
    }

    /// The socket is gone: what of its messages can be sent again goes back, the rest has failed. Answers who is to be
    /// told.
    pub(in crate::net) fn lose_link(&mut self, leftover: Leftover, loss: &Loss) -> Interest {
        for key in leftover.untouched.iter().filter_map(|message| message.request) {
            self.inbox.requests.set_sent(key, false);
        }
        self.outbox.wrote(leftover.written.messages, leftover.written.bytes);
        self.outbox.lost(leftover.torn);
        self.outbox.give_back(leftover.untouched.into_iter());
        let error = loss.clone().into_error();
        let mut kind = Interest::NONE;
        if self.inbox.requests.fail_waiting(|sent| sent, &error) > 0 {
            kind = kind.and(Interest::ANSWERS);
        }
        if self.outbox.pending() == 0 {
            kind = kind.and(Interest::DRAINED);
        }
        kind
    }
}
