//! The beginning and the end of a session, and what they mean for messages.

use std::time::Instant;

use super::Outbox;
use crate::core::message::RequestKey;

/// The way in which a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// As sessions do: the server said so, or closed with code 1000.
    Regular,
    /// In another way.
    Lost,
    /// The server refused it, and what it had with it.
    Refused,
}

/// What is known of a session that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The way in which it ended.
    pub how: SessionEnd,
    /// It was a stream.
    pub is_stream: bool,
    /// Requests whose messages were written, and that wait.
    pub open_requests: usize,
    /// Requests, whether or not somebody still waits, whose messages were written in part and are not sent again.
    pub torn_requests: usize,
}

impl Outbox {
    /// A socket is open: a session begins, and what the throttle holds may go. Returns the requests displaced by it.
    pub fn session_began(&mut self, now: Instant) -> Vec<RequestKey> {
        self.record.begin(now, self.written);
        self.tick(now)
    }

    /// So many results came.
    pub fn results_came(&mut self, count: usize) {
        self.record.results_came(count as u64);
    }

    /// An error came that is the answer to one message, nobody knows which.
    pub fn error_came(&mut self) {
        self.record.error_came();
    }

    /// Something other than a result came.
    pub fn server_spoke(&mut self) {
        self.record.server_spoke();
    }

    /// Whether a message of this session was written.
    pub fn session_wrote(&self) -> bool {
        self.record.wrote(self.written)
    }

    /// Whether a result came behind a message of this session.
    pub fn session_answered(&self) -> bool {
        self.record.was_answered(self.written)
    }

    /// How many messages the server may be at, at most, `open_requests` of them requests that wait.
    pub fn under_way(&self, open_requests: usize) -> u64 {
        self.record.under_way(open_requests as u64)
    }

    /// How many messages were taken for this session, while its socket is open; else none.
    pub fn session_took(&self) -> u64 {
        if self.record.is_open { self.record.taken() } else { 0 }
    }

    /// How many of the messages that were taken for this session wait for a result.
    pub fn session_awaits(&self) -> u64 {
        if self.record.is_open { self.record.awaited() } else { 0 }
    }

    /// The server refused the session before it said anything else: what was written to it is pending again, in its
    /// order, in front of all others. The messages in flight that were written in part are `torn`, of which those stay
    /// that are not pending again. Returns the requests among those that are.
    pub fn session_refused(&mut self, torn: &mut Vec<Option<RequestKey>>) -> Vec<RequestKey> {
        let messages = self.record.refused();
        let torn_again = torn.len().min(messages.len());
        torn.truncate(torn.len() - torn_again);
        self.lost(torn.len());
        self.in_flight -= torn_again;
        let written = messages.len() - torn_again;
        self.written -= written as u64;
        self.bytes -= messages.iter().take(written).map(|message| message.payload.len() as u64).sum::<u64>();
        self.record.second_left += messages.len() as u64;
        let requests = messages.iter().filter_map(|message| message.request).collect();
        for message in messages.into_iter().rev() {
            self.has_end |= message.ends_inputs();
            self.ring.push_front(message);
        }
        requests
    }

    /// The session has ended. Returns how many messages that were nobody's request have no answer; with the open requests
    /// they are unanswered.
    pub fn session_ended(&mut self, ended: &Ended) -> u64 {
        if !self.record.is_open {
            return 0;
        }
        let others = self.record.end(self.written, ended);
        self.unanswered += others + ended.open_requests as u64;
        others
    }

    /// Nobody waits for this request any more: its message, if it is still queued, is not sent.
    pub fn withdraw(&mut self, request: RequestKey) -> bool {
        if self.withdraw_from_opening(request) {
            return true;
        }
        let Some(place) = self.ring.remove(|message| message.request == Some(request)) else { return false };
        if (place as u64) < self.record.second_left {
            self.record.second_left -= 1;
        }
        self.withdrawn += 1;
        true
    }
}
