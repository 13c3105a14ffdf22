//! The requests of a connection that wait for the answer with their `request_id`.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::message::{Received, RequestKey};
use crate::error::{Error, ErrorKind};

/// The longest id of a request: 64 KiB.
const MAX_ID_BYTES: usize = 64 << 10;

/// The answer of a request: what came of it, with the number of its arrival.
#[derive(Debug)]
pub struct Answer {
    /// Its place among the other arrivals.
    pub number: u64,
    /// The result, or why there will be none.
    pub outcome: Result<Received, Error>,
}

#[derive(Debug)]
struct PendingRequest {
    id: Box<str>,
    /// Its message is queued, or was.
    accepted: bool,
    /// Its message is with the socket, since then.
    sent: Option<Instant>,
    answer: Option<Answer>,
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub struct Requests {
    /// By keys that only grow, which need no hashing.
    all: BTreeMap<RequestKey, PendingRequest>,
    by_id: HashMap<Box<str>, RequestKey>,
    next: u64,
    settled: Vec<RequestKey>,
    ended: EndedIds,
}

/// The ids of requests of this session that have ended without an answer, which may still come.
#[derive(Debug, Default)]
struct EndedIds {
    ids: HashSet<Arc<str>>,
    oldest_first: VecDeque<Arc<str>>,
}

impl EndedIds {
    /// As many as are remembered. The answer to one that was forgotten is a result like any other.
    const MAX_REMEMBERED: usize = 16 << 10;

    fn add(&mut self, id: &str) {
        let id: Arc<str> = id.into();
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.oldest_first.push_back(id);
        while self.oldest_first.len() > Self::MAX_REMEMBERED {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, id: &str) -> bool {
        let was_there = self.ids.remove(id);
        // Those that were removed stay in the queue until they are a half of it.
        if was_there && self.oldest_first.len() > 2 * self.ids.len() {
            self.oldest_first.retain(|id| self.ids.contains(id));
        }
        was_there
    }
}

/// Whether an id may be that of a request: it is copied, and remembered when the request has ended.
pub fn check_id(id: &str) -> Result<(), String> {
    if id.len() <= MAX_ID_BYTES {
        return Ok(());
    }
    Err(format!("it has {} bytes; {MAX_ID_BYTES} at most", id.len()))
}

impl Requests {
    /// Adds a request; its id must not be waited for already.
    pub fn add(&mut self, id: &str) -> Result<RequestKey, Error> {
        check_id(id).map_err(|why| Error::new(ErrorKind::InvalidOption, format!("request_id: {why}")))?;
        if self.by_id.contains_key(id) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "request_id {id:?} is already waiting for its answer; each pending request needs its own"
                ),
            ));
        }
        self.next += 1;
        let key = RequestKey(self.next);
        self.ended.remove(id);
        self.all.insert(key, PendingRequest { id: id.into(), accepted: false, sent: None, answer: None });
        self.by_id.insert(id.into(), key);
        Ok(key)
    }

    /// The request that waits for an answer with this id.
    pub fn waiting(&self, id: &str) -> Option<RequestKey> {
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.get(id).copied()
    }

    /// Whether any request waits, or one has ended whose answer may still come: ids are of interest.
    pub fn any_waiting(&self) -> bool {
        !self.by_id.is_empty() || !self.ended.ids.is_empty()
    }

    /// Whether any request waits.
    pub fn any_open(&self) -> bool {
        !self.by_id.is_empty()
    }

    /// Whether this is the id of a request that ended without an answer. Once: there is one answer.
    pub(super) fn take_ended(&mut self, id: &str) -> bool {
        self.ended.remove(id)
    }

    /// The session is over: no answer comes to what it was asked.
    pub fn session_ended(&mut self) {
        self.ended = EndedIds::default();
    }

    /// How many requests wait whose messages are with the socket.
    pub fn open_and_sent(&self) -> usize {
        self.by_id.values().filter(|key| self.is_sent(**key)).count()
    }

    /// Whether this request waits, and its message is with the socket.
    pub fn is_open_and_sent(&self, key: RequestKey) -> bool {
        self.all.get(&key).is_some_and(|request| request.answer.is_none() && request.sent.is_some())
    }

    /// The request that waits with its message sent, if it is the only one.
    pub fn only_sent(&self) -> Option<RequestKey> {
        let mut keys = self.by_id.values().copied().filter(|key| self.is_sent(*key));
        let only = keys.next()?;
        keys.next().is_none().then_some(only)
    }

    fn is_sent(&self, key: RequestKey) -> bool {
        self.all.get(&key).is_some_and(|request| request.sent.is_some())
    }

    /// Notes that the request's message is queued: it will be sent.
    pub fn set_accepted(&mut self, key: RequestKey) {
        if let Some(request) = self.all.get_mut(&key) {
            request.accepted = true;
        }
    }

    /// Fails the waiting requests whose messages have found no room in the queue yet: they will not be sent.
    pub fn fail_unaccepted(&mut self, error: &Error) {
        let mut keys: Vec<RequestKey> = self.by_id.values().copied().collect();
        keys.retain(|key| {
            self.all.get(key).is_some_and(|request| !request.accepted && request.sent.is_none())
        });
        for key in keys {
            self.fail(key, error.clone());
        }
    }

    /// Notes since when the request's message is with the socket; `None`: it is not.
    pub fn set_sent(&mut self, key: RequestKey, since: Option<Instant>) {
        if let Some(request) = self.all.get_mut(&key) {
            request.sent = since;
        }
    }

    /// Gives a request its answer; it no longer waits. Answers since when its message was with the socket.
    pub fn settle(&mut self, key: RequestKey, mut answer: Answer) -> Option<Instant> {
        let request = self.all.get_mut(&key).filter(|request| request.answer.is_none())?;
        self.by_id.remove(&request.id);
        if let Err(error) = &mut answer.outcome {
            error.unprocessed = request.sent.is_none();
            if request.sent.is_some() {
                self.ended.add(&request.id);
            }
        }
        request.answer = Some(answer);
        self.settled.push(key);
        request.sent
    }

    /// Fails one request.
    pub fn fail(&mut self, key: RequestKey, error: Error) {
        self.settle(key, Answer { number: 0, outcome: Err(error) });
    }

    /// Fails a request whose message was displaced.
    pub fn fail_displaced(&mut self, key: RequestKey) {
        let why = "the request was displaced by newer messages before it could be sent (max_buffering)";
        self.fail(key, Error::new(ErrorKind::BufferFull, why).transient());
    }

    /// Fails the waiting requests that `which` chooses by whether they were sent. Returns how many.
    pub fn fail_waiting(&mut self, which: impl Fn(bool) -> bool, error: &Error) -> usize {
        let mut keys: Vec<RequestKey> = self.by_id.values().copied().collect();
        keys.retain(|key| self.all.get(key).is_some_and(|request| which(request.sent.is_some())));
        keys.sort_unstable();
        for key in &keys {
            self.fail(*key, error.clone());
        }
        keys.len()
    }

    /// The requests that were settled since this was last asked, without those taken in the meantime.
    pub fn take_settled(&mut self) -> Vec<RequestKey> {
        std::mem::take(&mut self.settled)
    }

    /// Whether [`Requests::take_settled`] has something.
    pub fn any_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Takes a settled request's answer and forgets the request.
    pub(super) fn take(&mut self, key: RequestKey) -> Option<Answer> {
        self.all.get(&key).filter(|request| request.answer.is_some())?;
        // Whoever takes answers without being told of them must not make the list grow.
        self.settled.retain(|settled| *settled != key);
        self.all.remove(&key)?.answer
    }

    /// Whether it is settled that the request has no answer.
    pub fn has_failed(&self, key: RequestKey) -> bool {
        let answer = self.all.get(&key).and_then(|request| request.answer.as_ref());
        answer.is_some_and(|answer| answer.outcome.is_err())
    }

    /// Forgets a request. Returns whether its message was with the socket, and its answer if it was settled.
    pub(super) fn forget(&mut self, key: RequestKey) -> (bool, Option<Answer>) {
        let Some(request) = self.all.remove(&key) else { return (false, None) };
        if request.answer.is_none() {
            self.by_id.remove(&request.id);
            if request.sent.is_some() {
                self.ended.add(&request.id);
            }
        } else {
            self.settled.retain(|settled| *settled != key);
        }
        (request.sent.is_some(), request.answer)
    }
}

#[cfg(test)]
mod tests;
