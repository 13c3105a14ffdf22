//! The record of a session: which of its messages could be sent again, and how many are unanswered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    MAX_QUEUED, MAX_QUEUED_BYTES, Outgoing,
    sessions::{Ended, SessionEnd},
};

/// A server that refuses a session does so at its beginning.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// The record of a session. Messages are counted as they are taken from the queue, which is the order of the wire.
#[derive(Debug, Default)]
pub(super) struct SessionRecord {
    /// A socket is open.
    pub(super) is_open: bool,
    began: Option<Instant>,
    /// Messages written before this session.
    pub(super) written_before: u64,
    /// Messages taken, without those that came back.
    taken: u64,
    /// How many of them wait for a result: one is the answer to one message, and what came before a message is no
    /// answer to it.
    awaited: u64,
    /// How many had been taken when the newest result came.
    answered: u64,
    /// How many of those after it carry a request: each of these has somebody of its own who is told.
    requests: u64,
    /// How many of all taken carry one.
    all_requests: u64,
    /// How many of those after it end the inputs.
    ends: u64,
    /// The place of the newest of them among the messages taken.
    newest_end: u64,
    /// So many of the first messages were sent in the opening, and are for this session alone.
    in_opening: u64,
    /// So many of the first messages behind those are sent for the second time.
    second: u64,
    /// So many messages in front of the queue were sent already, to a server that refused the session.
    pub(super) second_left: u64,
    /// Those taken for the first time, as long as the server has said nothing: if it then refuses the session, it has
    /// processed none of them. `None`: they would not be sent again.
    copies: Option<VecDeque<Outgoing>>,
    copied_bytes: usize,
}

impl SessionRecord {
    /// A socket is open.
    pub(super) fn begin(&mut self, now: Instant, written: u64) {
        *self = Self {
            is_open: true,
            began: Some(now),
            written_before: written,
            second_left: self.second_left,
            copies: Some(VecDeque::new()),
            ..Self::default()
        };
    }

    /// Whether messages are copied when they are taken.
    pub(super) fn copies(&self) -> bool {
        self.copies.is_some() || self.second_left > 0
    }

    /// A message is taken.
    pub(super) fn took(&mut self, message: &Outgoing) {
        self.count(message);
        if self.second_left > 0 {
            self.second_left -= 1;
            self.second += 1;
        } else if let Some(copies) = &mut self.copies {
            self.copied_bytes = self.copied_bytes.saturating_add(message.payload.len());
            let is_few = copies.len() < MAX_QUEUED && self.copied_bytes <= MAX_QUEUED_BYTES;
            match if is_few { message.copy() } else { None } {
                Some(copy) => copies.push_back(copy),
                None => self.copies = None,
            }
        }
    }

    /// A message of the opening is taken. It is sent to no other session.
    pub(super) fn took_in_opening(&mut self, message: &Outgoing) {
        self.count(message);
        self.in_opening += 1;
    }

    fn count(&mut self, message: &Outgoing) {
        self.taken += 1;
        self.awaited += 1;
        if message.request.is_some() {
            self.requests += 1;
            self.all_requests += 1;
        } else if message.ends_inputs() {
            self.ends += 1;
            self.newest_end = self.taken;
        }
    }

    /// Messages are taken that are not copied, no request and no end of the inputs among them.
    pub(super) fn took_many(&mut self, count: usize) {
        self.taken += count as u64;
        self.awaited += count as u64;
    }

    /// A message counts as never taken.
    fn discount(&mut self, message: &Outgoing) {
        self.taken = self.taken.saturating_sub(1);
        self.awaited = self.awaited.saturating_sub(1);
        if message.request.is_some() {
            self.requests = self.requests.saturating_sub(1);
            self.all_requests = self.all_requests.saturating_sub(1);
        } else if message.ends_inputs() {
            self.ends = self.ends.saturating_sub(1);
        }
    }

    /// The message that was taken last has come back untouched. Answers whether it was sent in the opening.
    pub(super) fn came_back(&mut self, message: &Outgoing) -> bool {
        self.discount(message);
        if self.taken < self.in_opening {
            self.in_opening -= 1;
            return true;
        }
        if self.taken < self.in_opening + self.second {
            self.second -= 1;
            self.second_left += 1;
        } else if let Some(copies) = &mut self.copies {
            copies.pop_back();
        }
        false
    }

    /// So many results came. What is in flight counts as taken before them: its answer may be here before whoever wrote
    /// it has said so.
    pub(super) fn results_came(&mut self, count: u64) {
        self.awaited = self.awaited.saturating_sub(count);
        self.answered = self.taken;
        self.requests = 0;
        self.ends = 0;
        self.copies = None;
    }

    /// An error came that is the answer to one message, nobody knows which.
    pub(super) fn error_came(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
        self.server_spoke();
    }

    /// Something else came.
    pub(super) fn server_spoke(&mut self) {
        self.copies = None;
    }

    /// Time passes.
    pub(super) fn grow_old(&mut self, now: Instant) {
        if self.copies.is_some()
            && self.began.is_none_or(|began| now.saturating_duration_since(began) > REFUSED_WITHIN)
        {
            self.copies = None;
        }
    }

    /// The server refused the session: what it had may be sent again, in this order. Empty if it has said something
    /// before.
    pub(super) fn refused(&mut self) -> VecDeque<Outgoing> {
        let copies = self.copies.take().unwrap_or_default();
        for message in &copies {
            self.discount(message);
        }
        copies
    }

    /// Whether a message was written.
    pub(super) fn wrote(&self, written: u64) -> bool {
        written > self.written_before
    }

    /// Whether a result came behind a message that was written.
    pub(super) fn was_answered(&self, written: u64) -> bool {
        self.answered > 0 && self.wrote(written)
    }

    /// How many messages the server may be at, `open_requests` of them requests that wait: an upper bound, since an app
    /// may leave messages without an answer. The end of the inputs asks for nothing.
    pub(super) fn under_way(&self, open_requests: u64) -> u64 {
        let told = self.requests + self.ends;
        let others = self.taken.saturating_sub(self.answered).saturating_sub(told);
        others + self.requests.max(open_requests)
    }

    /// How many messages were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of them wait for a result.
    pub(super) fn awaited(&self) -> u64 {
        self.awaited
    }

    /// The session has ended. Answers how many messages that were nobody's request were written since the last result,
    /// without as many as were answered with an error; of a stream that was cut, how many were written at all: no result
    /// is the last one before its end.
    pub(super) fn end(&mut self, written: u64, ended: &Ended) -> u64 {
        self.is_open = false;
        self.copies = None;
        let written = written.saturating_sub(self.written_before);
        // A message whose write has begun is taken, not written.
        let torn_requests = ended.torn_requests as u64;
        let is_regular = ended.how == SessionEnd::Regular;
        if ended.is_stream && !is_regular {
            return written.saturating_sub(self.all_requests.saturating_sub(torn_requests));
        }
        let requests = self.requests.saturating_sub(torn_requests);
        let others = written.saturating_sub(self.answered).saturating_sub(requests);
        // There is one at most that ends the inputs. The regular end of a session is what it asks for.
        let torn = u64::from(self.ends > 0 && self.newest_end > written);
        let others = others.saturating_sub(if is_regular { self.ends - torn } else { 0 });
        others.min(self.awaited.saturating_sub(ended.open_requests as u64))
    }
}
