//! One token for all connections of a client to the same app: fetched once however many wait for it,
//! refreshed while at least one connection uses it.
//!
//! A flight (one call of the source) is driven by whoever waits for it, whatever runtime that is: it goes on
//! while anybody waits, and is dropped with the last waiter. So there is no task that could outlive its
//! users. Only the refresh has a task, and that one ends with the last [`Lease`].

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc, sync::Weak, time::Duration};

use futures_util::future::{FutureExt, Shared, WeakShared};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use super::panics;
use crate::{
    core::token::{Token, TokenState},
    error::{Error, ErrorKind, Result},
    sync::Mutex,
};

/// The time that a fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(90);
/// The time that a refresh in the background may take: another one can be begun.
const REFRESH_LIMIT: Duration = Duration::from_secs(30);
/// The age of a refresh up to which an opening waits for it. An older one hangs, probably: a fetch is begun beside it.
const REFRESH_PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a failure, in which nothing is fetched; each further one in a row doubles it. One schedule a token:
/// however many connections want it, the endpoint is asked as if there were one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The source of tokens: the default mint, or a caller's token provider.
pub trait TokenSource: Send + Sync {
    /// Fetches a fresh token. Dropping the future cancels the fetch.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>>;

    /// How long after its arrival a token expires; `None`: never, and it is not refreshed.
    fn expiration(&self) -> Option<Duration>;

    /// Why the newest attempt of a fetch that goes on failed.
    fn last_failure(&self) -> Option<Error> {
        None
    }
}

/// The key of a token: connections with equal ones share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The app id with its path: `owner/alias/realtime`.
    pub app_path: String,
    /// The identity of the token provider; `None` is the default mint.
    pub provider: Option<usize>,
    /// The expiration that was asked for.
    pub expiration: Option<Duration>,
    /// The body of the token request, where it is not the default.
    pub body: Option<String>,
}

/// The tokens of one client. Tokens nobody holds any more leave the store.
#[derive(Default)]
pub struct TokenStore {
    tokens: Mutex<HashMap<TokenKey, Weak<SharedToken>>>,
}

impl fmt::Debug for TokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStore").field("len", &self.len()).finish()
    }
}

impl TokenStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token of `key`, made from the source that `make` gives if there is none.
    pub fn shared(&self, key: TokenKey, make: impl FnOnce() -> Arc<dyn TokenSource>) -> Arc<SharedToken> {
        if let Some(token) = self.tokens.lock().get(&key).and_then(Weak::upgrade) {
            return token;
        }
        // `make` is the caller's code: it runs without the lock, and loses against whoever was faster.
        let fresh = SharedToken::new(make());
        let mut tokens = self.tokens.lock();
        if let Some(token) = tokens.get(&key).and_then(Weak::upgrade) {
            return token;
        }
        tokens.retain(|_, token| token.strong_count() > 0);
        tokens.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    /// How many entries the store holds.
    pub fn len(&self) -> usize {
        self.tokens.lock().len()
    }

    /// Whether the store holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

type Flight = Shared<Pin<Box<dyn Future<Output = Result<(Token, u64)>> + Send>>>;
type WeakFlight = WeakShared<Pin<Box<dyn Future<Output = Result<(Token, u64)>> + Send>>>;

/// One token, shared by connections on any thread and runtime.
pub struct SharedToken {
    source: Arc<dyn TokenSource>,
    inner: Arc<Mutex<FetchState>>,
    /// Wakes the refresh task: a token arrived, or the last lease is gone.
    changed: Arc<Notify>,
}

/// A fetch under way.
struct UnderWay {
    /// Dead once nobody waits for it.
    flight: WeakFlight,
    number: u64,
    began: Instant,
    purpose: Purpose,
}

/// The purpose that a token is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Somebody waits for it.
    Opening,
    /// The current one will expire.
    Refresh,
}

struct FetchState {
    state: TokenState,
    under_way: Option<UnderWay>,
    /// How many fetches there were.
    fetches: u64,
    /// How many of them failed in a row.
    failures: u32,
    /// Nothing is fetched before this.
    not_before: Option<Instant>,
    leases: usize,
    /// Whether the refresh task runs.
    refreshing: bool,
}

impl fmt::Debug for SharedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("SharedToken")
            .field("generation", &inner.state.generation())
            .field("leases", &inner.leases)
            .field("refreshing", &inner.refreshing)
            .finish_non_exhaustive()
    }
}

impl SharedToken {
    /// A token that is in no store.
    pub fn new(source: Arc<dyn TokenSource>) -> Arc<Self> {
        let state = TokenState::new(source.expiration());
        let inner = FetchState {
            state,
            under_way: None,
            fetches: 0,
            failures: 0,
            not_before: None,
            leases: 0,
            refreshing: false,
        };
        Arc::new(Self { source, inner: Arc::new(Mutex::new(inner)), changed: Arc::new(Notify::new()) })
    }

    /// The token and its generation, fetched if there is none, it has expired, or it is not newer than
    /// generation `newer_than` (give the generation that the server refused).
    ///
    /// However many wait, the source is called once. Cancelling one waiter costs the others nothing.
    pub async fn get(&self, newer_than: Option<u64>) -> Result<(Token, u64)> {
        loop {
            let (flight, patience) = {
                let mut inner = self.inner.lock();
                if let Some(found) = inner.state.usable(newer_than, now()) {
                    return Ok(found);
                }
                self.join_flight(&mut inner, Purpose::Opening)
            };
            match patience {
                None => return flight.await,
                Some(until) => {
                    if let Ok(landed) = tokio::time::timeout_at(until, flight).await {
                        return landed;
                    }
                }
            }
        }
    }

    /// Why there is no token yet, as far as the fetch under way knows.
    pub fn last_failure(&self) -> Option<Error> {
        self.source.last_failure()
    }

    /// Keeps the token fresh while the returned lease lives. The refresh task runs on `runtime`; of several
    /// runtimes, on that of the first lease, and when that one is shut down, on that of the next new lease
    /// (an expired token is fetched by [`get`](Self::get) in any case).
    pub fn lease(self: &Arc<Self>, runtime: &Handle) -> Lease {
        let mut inner = self.inner.lock();
        inner.leases += 1;
        if !inner.refreshing && self.source.expiration().is_some() {
            inner.refreshing = true;
            let ended = RefreshEnded(Arc::downgrade(&self.inner));
            drop(inner);
            runtime.spawn(refresh(Arc::downgrade(self), Arc::clone(&self.changed), ended));
        }
        Lease { token: Arc::clone(self) }
    }

    /// The fetch under way, or a new one. A fetch that is under way always ends in a newer generation than
    /// the current one, so it serves whoever found the current token wanting. Answers also until when it is worth
    /// waiting for; `None`: until it has ended.
    fn join_flight(&self, inner: &mut FetchState, purpose: Purpose) -> (Flight, Option<Instant>) {
        let found = inner.under_way.as_ref().and_then(|found| Some((found.flight.upgrade()?, found)));
        if let Some((flight, found)) = found {
            let until = (found.purpose == Purpose::Refresh).then(|| found.began + REFRESH_PATIENCE);
            if purpose == Purpose::Refresh || until.is_none_or(|until| Instant::now() < until) {
                return (flight, until);
            }
        }
        inner.fetches += 1;
        let number = inner.fetches;
        // A refresh has a schedule of its own.
        let not_before = inner.not_before.filter(|_| purpose == Purpose::Opening);
        let limit = if purpose == Purpose::Refresh { REFRESH_LIMIT } else { FETCH_LIMIT };
        let source = Arc::clone(&self.source);
        let shared = Arc::clone(&self.inner);
        let changed = Arc::clone(&self.changed);
        let fly = async move {
            if let Some(at) = not_before {
                tokio::time::sleep_until(at).await;
            }
            let fetch = panics::caught_in(async { source.fetch().await });
            let fetched = match tokio::time::timeout(limit, fetch).await {
                Ok(fetched) => fetched.and_then(|fetched| fetched),
                Err(_) => Err(hangs(limit)),
            };
            let mut inner = shared.lock();
            inner.under_way.take_if(|under_way| under_way.number == number);
            let landed = match fetched {
                Ok(token) => {
                    let token = Token::new(token);
                    let generation = inner.state.minted(token.clone(), now());
                    inner.failures = 0;
                    inner.not_before = None;
                    Ok((token, generation))
                }
                Err(error) => {
                    inner.state.refresh_failed(now());
                    inner.failed(&error);
                    Err(error)
                }
            };
            drop(inner);
            changed.notify_one();
            landed
        };
        let flight = (Box::pin(fly) as Pin<Box<dyn Future<Output = _> + Send>>).shared();
        if let Some(flight) = flight.downgrade() {
            inner.under_way = Some(UnderWay { flight, number, began: Instant::now(), purpose });
        }
        (flight, None)
    }
}

impl FetchState {
    /// A fetch failed: the next one is to wait.
    fn failed(&mut self, error: &Error) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now().checked_add(pause.max(error.retry_after().unwrap_or_default()));
    }
}

fn hangs(limit: Duration) -> Error {
    let kind = ErrorKind::Api { status: 0 };
    Error::new(kind, format!("there was no token within {limit:?}")).transient()
}

/// Keeps a [`SharedToken`] fresh until dropped.
#[derive(Debug)]
pub struct Lease {
    token: Arc<SharedToken>,
}

impl Lease {
    /// The token that this lease keeps fresh.
    pub fn token(&self) -> &Arc<SharedToken> {
        &self.token
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.token.inner.lock();
        inner.leases -= 1;
        if inner.leases == 0 {
            drop(inner);
            self.token.changed.notify_one();
        }
    }
}

/// Notes that the refresh task ended, even when its runtime was shut down under it.
struct RefreshEnded(Weak<Mutex<FetchState>>);

impl Drop for RefreshEnded {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.lock().refreshing = false;
        }
    }
}

/// Refreshes when due, until the last lease is gone.
async fn refresh(token: Weak<SharedToken>, changed: Arc<Notify>, mut ended: RefreshEnded) {
    loop {
        let due = {
            let Some(token) = token.upgrade() else { return };
            let mut inner = token.inner.lock();
            if inner.leases == 0 {
                // Noted under the same lock that a new lease takes: it either finds us running or starts
                // anew.
                inner.refreshing = false;
                ended.0 = Weak::new();
                return;
            }
            inner.state.refresh_due()
        };
        let Some(due) = due else {
            changed.notified().await;
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(Instant::from_std(due)) => {}
            () = changed.notified() => continue,
        }
        let join = |token: Arc<SharedToken>| token.join_flight(&mut token.inner.lock(), Purpose::Refresh).0;
        let Some(mut flight) = token.upgrade().map(join) else { return };
        // The flight notes its own result, and the next deadline with it.
        loop {
            tokio::select! {
                _ = &mut flight => break,
                () = changed.notified() => {
                    if token.upgrade().is_none_or(|token| token.inner.lock().leases == 0) {
                        break;
                    }
                }
            }
        }
    }
}

/// The clock that tests can pause.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests;
