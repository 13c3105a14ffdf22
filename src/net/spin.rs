//! Opt-in: the I/O thread polls for a while before it sleeps, where a core is free and latency is everything.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    sync::OnceLock,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use super::wakeups;

/// The variable that says how long the I/O thread polls before it sleeps, in microseconds; 0 or unset: not at all.
const VARIABLE: &str = "FAL_REALTIME_SPIN_US";
/// The longest that may be asked for.
const MAX_SPIN: Duration = Duration::from_millis(10);

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(false) };
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static SPINNER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// The time that the environment asks for; read once.
pub(super) fn limit() -> Option<Duration> {
    static LIMIT: OnceLock<Option<Duration>> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let micros: u64 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        (micros > 0).then(|| Duration::from_micros(micros).min(MAX_SPIN))
    })
}

/// Something happened on this thread: more may follow soon.
pub(super) fn busy() {
    if ENABLED.get() {
        BUSY.set(true);
        if let Some(spinner) = SPINNER.take() {
            spinner.wake();
        }
    }
}

/// Keeps this thread from sleeping until nothing has happened for `limit`.
pub(super) async fn spin(limit: Duration) {
    ENABLED.set(true);
    loop {
        poll_fn(|context| {
            if BUSY.get() {
                return Poll::Ready(());
            }
            SPINNER.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        let mut until = Instant::now() + limit;
        loop {
            if BUSY.take() {
                until = Instant::now() + limit;
            } else if Instant::now() >= until {
                break;
            }
            wakeups::attend();
            wakeups::notify_ready();
            // Yielding polls the sockets without sleeping.
            tokio::task::yield_now().await;
        }
    }
}
