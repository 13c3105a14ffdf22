//! The loss of a link: what becomes of the messages and requests of its socket.

use super::{Boxes, Interest};
use crate::{
    core::{
        message::RequestKey,
        outbox::{Ended, Leftover, SessionEnd},
    },
    error::{Error, ErrorKind},
};

impl Boxes {
    /// Takes back the messages of a socket that is gone: what can be sent again is queued, the rest has failed. Answers
    /// who is to be told.
    ///
    /// Whoever waits for an answer is told by [`Boxes::tell_loss`], once it is known what follows.
    pub fn lose_link(&mut self, leftover: Leftover, end: SessionEnd) -> Interest {
        let mut torn = leftover.torn;
        for key in leftover.untouched.iter().filter_map(|message| message.request) {
            self.inbox.requests.set_sent(key, None);
        }
        self.outbox.wrote(leftover.written.messages, leftover.written.bytes);
        let mut only_for_it = self.outbox.give_back(leftover.untouched.into_iter());
        only_for_it.extend(self.outbox.fail_opening());
        for key in only_for_it {
            self.inbox.requests.fail(key, Error::not_written_in_opening());
        }
        if end == SessionEnd::Refused {
            for key in self.outbox.session_refused(&mut torn) {
                self.inbox.requests.set_sent(key, None);
            }
        } else {
            self.outbox.lost(torn.len());
        }
        // The end of a session that has ended as sessions do is what an input that the app dropped is answered with.
        if end != SessionEnd::Regular {
            self.count_lost_while_finishing();
        }
        self.settle_session(&torn, end);
        self.drained_now().and(self.settled())
    }

    /// Counts what the session has left, `torn` of it written in part and not sent again.
    fn settle_session(&mut self, torn: &[Option<RequestKey>], how: SessionEnd) {
        let torn_requests: Vec<_> = torn.iter().flatten().copied().collect();
        // What was not written whole has failed: it is not among what was written and has no answer.
        let requests = &self.inbox.requests;
        let torn_open = torn_requests.iter().filter(|key| requests.is_open_and_sent(**key)).count();
        let ended = Ended {
            how,
            is_stream: self.streaming,
            open_requests: requests.open_and_sent() - torn_open,
            torn_requests: torn_requests.len(),
        };
        self.left += self.outbox.session_ended(&ended);
        self.left_torn += (torn.len() - torn_requests.len()) as u64;
    }

    /// Tells whoever waits for an answer how the session has ended, after which the connection goes on, and somebody of
    /// the messages that nobody waits for.
    pub fn tell_loss(&mut self, ended: Error, what_follows: &str) -> Interest {
        let (left, torn) = (std::mem::take(&mut self.left), std::mem::take(&mut self.left_torn));
        let open = self.inbox.requests.open_and_sent();
        let under_way = left + open as u64;
        // It was about something that the server sent: that is told also where nothing was under way.
        let is_about_what_came = matches!(ended.kind, ErrorKind::Protocol { .. } | ErrorKind::TooLarge);
        let error = match ended.kind {
            ErrorKind::TooLarge => too_large(&ended, under_way + torn, what_follows),
            _ => Error::lost(&ended, under_way, torn, what_follows),
        };
        let mut kind = Interest::NONE;
        let failed = self.inbox.requests.fail_waiting(|sent| sent, &error);
        if failed > 0 {
            kind = kind.and(Interest::ANSWERS);
        }
        self.inbox.requests.session_ended();
        if (left + torn > 0 || (is_about_what_came && failed == 0)) && !self.end_is_told {
            kind = kind.and(self.tell_error(error));
        }
        kind
    }
}

/// The error about a message that was larger than is taken, which ended its session. Where it can have answered another
/// input, trying again can help.
fn too_large(ended: &Error, under_way: u64, what_follows: &str) -> Error {
    if under_way <= 1 {
        return ended.clone().with_message(format!("{ended}; {what_follows}"));
    }
    let hint =
        format!("{under_way} inputs, or less, were under way, and which of them it answers is not known");
    ended.clone().with_message(format!("{ended} ({hint}); {what_follows}")).transient()
}
