//! One token for all connections of a client to the same app: fetched once however many wait for it,
//! refreshed while at least one connection uses it.
//!
//! A flight (one call of the source) is driven by whoever waits for it, whatever runtime that is: it goes on
//! while anybody waits, and is dropped with the last waiter. So there is no task that could outlive its
//! users. Only the refresh has a task, and that one ends with the last [`Lease`].

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::future::{FutureExt, Shared, WeakShared};
use tokio::{sync::Notify, time::Instant};

use super::source::TokenSource;
use crate::{
    core::token::{Token, TokenState},
    error::{Error, ErrorKind, Result},
    net::panics,
    sync::Mutex,
};

mod lease;

pub use lease::Lease;

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
    /// The time before which nothing is fetched.
    not_before: Option<Instant>,
    /// Why the newest fetch failed, until one gives a token.
    last_failure: Option<Error>,
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
            last_failure: None,
            leases: 0,
            refreshing: false,
        };
        Arc::new(Self { source, inner: Arc::new(Mutex::new(inner)), changed: Arc::new(Notify::new()) })
    }

    /// The token and its generation, fetched if there is none, it has expired, or it is not newer than
    /// generation `newer_than` (give the generation that the server refused).
    ///
    /// Fails at once while the source wants to be left alone for long, with how long.
    /// However many wait, the source is called once. Cancelling one waiter costs the others nothing.
    pub async fn get(&self, newer_than: Option<u64>) -> Result<(Token, u64)> {
        loop {
            let (flight, patience) = {
                let mut inner = self.inner.lock();
                if let Some(found) = inner.state.usable(newer_than, now()) {
                    return Ok(found);
                }
                if let Some(error) = inner.wants_to_be_left_alone() {
                    return Err(error);
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

    /// Why there is no token yet: as far as the fetch under way knows, or else why the one before it failed, after which
    /// nothing is fetched for a while.
    pub fn last_failure(&self) -> Option<Error> {
        self.source.last_failure().or_else(|| self.inner.lock().last_failure.clone())
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
                    inner.last_failure = None;
                    Ok((token, generation))
                }
                Err(error) => {
                    inner.state.refresh_failed(now(), error.retry_after().unwrap_or_default());
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
    /// Why nothing is fetched, where the source wants to be left alone for longer than a pause lasts: whoever wants a
    /// token knows whether that is too long.
    fn wants_to_be_left_alone(&self) -> Option<Error> {
        let wait =
            self.not_before?.checked_duration_since(Instant::now()).filter(|wait| *wait > MAX_PAUSE)?;
        Some(self.last_failure.clone()?.with_retry_after(wait))
    }

    /// A fetch failed: the next one is to wait.
    fn failed(&mut self, error: &Error) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now().checked_add(pause.max(error.retry_after().unwrap_or_default()));
        self.last_failure = Some(error.clone());
    }
}

fn hangs(limit: Duration) -> Error {
    let kind = ErrorKind::Api { status: 0 };
    Error::new(kind, format!("there was no token within {limit:?}")).transient()
}

/// The clock that tests can pause.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests;
