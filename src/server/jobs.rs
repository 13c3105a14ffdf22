//! Work for handlers that live outside of the I/O thread: a queue that it fills and they drain, at their pace.
//!
//! One queue for all sessions, so that what came to many of them costs their thread one wakeup: see decision 27.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::sync::{Condvar, Mutex};
use bytes::Bytes;

/// A message of the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// A binary one.
    Binary(Bytes),
    /// A text.
    Text(String),
}

impl Input {
    /// How many bytes of payload it has.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }
}

/// The event in a session whose handler is external.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Open,
    /// These came with one read. Nothing more comes before [`Server::resume`](super::Server::resume).
    Inputs(Vec<Input>),
    /// The handler may say more, after [`Server::respond`](super::Server::respond) said that it may not.
    Writable,
    /// The client is gone; what the handler says goes nowhere.
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

/// The response of an external handler to its session.
#[derive(Debug, PartialEq, Eq)]
pub enum Response {
    /// A binary message.
    Binary(Bytes),
    /// A text message.
    Text(String),
    /// The closing handshake begins, with this code (1005: none) and reason.
    Close(u16, String),
    /// The connection ends without a close frame.
    End,
}

impl Response {
    /// How many bytes of payload it has.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::Close(..) | Self::End => 0,
        }
    }
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
            (queue, _) = self.filled.wait_until(queue, Instant::now() + timeout);
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
