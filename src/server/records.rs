//! The records of what the server saw: counters, and the requests for tests to look at. Secrets are not recorded.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::sync::Mutex;

/// The requests of each kind that are kept, the newest.
const MAX_KEPT_REQUESTS: usize = 10_000;

/// How a client showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A token in the query.
    Token,
    /// A key in the `Authorization` header.
    Key,
    /// Nothing.
    None,
}

impl Credential {
    /// Its name for Python.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Key => "key",
            Self::None => "none",
        }
    }
}

/// One WebSocket handshake.
#[derive(Debug, Clone)]
pub struct HandshakeRecord {
    /// The path.
    pub path: String,
    /// The query's parameters, decoded, without the token.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case, without those that hold secrets.
    pub headers: Vec<(String, String)>,
    /// What the client showed, valid or not.
    pub credential: Credential,
    /// The status that was answered; 101 also for a refusal in band.
    pub status: u16,
}

/// One token request.
#[derive(Debug, Clone)]
pub struct MintRecord {
    /// The path.
    pub path: String,
    /// The body, as it came.
    pub body: String,
    /// The header `x-fal-target-url`: the server was used as a proxy.
    pub target_url: Option<String>,
    /// The status that was answered; 0 when the connection was closed without an answer.
    pub status: u16,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The newest of something.
#[derive(Debug)]
pub(super) struct Log<T>(Mutex<VecDeque<T>>);

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Log<T> {
    pub(super) fn push(&self, entry: T) {
        let mut entries = self.0.lock();
        if entries.len() == MAX_KEPT_REQUESTS {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(super) fn entries(&self) -> Vec<T> {
        self.0.lock().iter().cloned().collect()
    }
}

/// Everything that is counted and recorded.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) connections_total: Counter,
    pub(super) tokens_minted: Counter,
    pub(super) mint_requests: Counter,
    pub(super) messages_received: Counter,
    pub(super) messages_sent: Counter,
    pub(super) pings_received: Counter,
    pub(super) handshakes: Log<Arc<HandshakeRecord>>,
    pub(super) mints: Log<MintRecord>,
}
