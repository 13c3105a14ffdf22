//! Work for handlers that live outside of the I/O thread: a queue that it fills and they drain, at their pace.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

/// What happened in a session whose handler is external.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A session of an app that takes a stream of inputs began.
    Open,
    /// An input came.
    Input(Bytes),
    /// The client sent something that no app can take: the iteration of its inputs fails, in these words.
    Invalid(String),
    /// The session is over; nothing more is taken from its handler.
    Closed,
}

/// One event for one external handler.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// The session, by the number that [`Server::respond`](super::Server::respond) takes.
    pub session: u64,
    /// The handler, by the number that it was registered with.
    pub handler: u32,
    /// What happened.
    pub event: Event,
}

/// What an external handler has to say to its session.
#[derive(Debug, PartialEq, Eq)]
pub enum Response {
    /// A result, encoded. In a unary session it ends the processing of its input.
    Output(Bytes),
    /// The stream is complete.
    Done,
    /// The handler failed, in these words.
    Failed(String),
}

/// The queue between the I/O thread and whoever runs the external handlers.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    queue: Mutex<Vec<Job>>,
    filled: Condvar,
    closed: AtomicBool,
}

impl Jobs {
    pub(super) fn push(&self, job: Job) {
        self.queue.lock().push(job);
        self.filled.notify_one();
    }

    /// Waits for jobs and takes all there are, in order; empty after `timeout`, `None` once the server stops.
    pub(super) fn take(&self, timeout: Duration) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        if queue.is_empty() && !self.closed.load(Ordering::Acquire) {
            self.filled.wait_for(&mut queue, timeout);
        }
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        Some(std::mem::take(&mut queue))
    }

    pub(super) fn close(&self) {
        let queue = self.queue.lock();
        self.closed.store(true, Ordering::Release);
        drop(queue);
        self.filled.notify_all();
    }
}
