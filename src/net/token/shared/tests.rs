use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

use super::*;
use crate::{
    error::{Error, ErrorKind, Refusal},
    net::token::{TokenKey, TokenStore},
};

/// Gives `token-1`, `token-2`, … once `gate` lets it, failing the calls numbered in `failing`.
struct Source {
    expiration: Option<Duration>,
    failing: &'static [usize],
    calls: Arc<AtomicUsize>,
    landed: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Source {
    fn new(expiration: Option<u64>, failing: &'static [usize]) -> Arc<Self> {
        Arc::new(Self {
            expiration: expiration.map(Duration::from_secs),
            failing,
            calls: Arc::default(),
            landed: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl TokenSource for Source {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let (gate, landed, fails) =
            (Arc::clone(&self.gate), Arc::clone(&self.landed), self.failing.contains(&number));
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            // Never at once, so that those who come together wait together.
            tokio::task::yield_now().await;
            landed.fetch_add(1, Ordering::SeqCst);
            if fails {
                return Err(Error::new(ErrorKind::Authentication, "no"));
            }
            Ok(format!("token-{number}"))
        })
    }

    fn expiration(&self) -> Option<Duration> {
        self.expiration
    }
}

fn shared(source: &Arc<Source>) -> Arc<SharedToken> {
    SharedToken::new(Arc::clone(source) as Arc<dyn TokenSource>)
}

fn token(number: u64) -> (Token, u64) {
    (Token::from(format!("token-{number}")), number)
}

const MILLISECOND: Duration = Duration::from_millis(1);

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_at_exactly_ninety_percent() {
    let source = Source::new(Some(60), &[]);
    let shared = shared(&source);
    let _lease = shared.lease(&Handle::current());
    assert_eq!(shared.get(None).await.unwrap(), token(1));
    sleep(Duration::from_millis(53_999)).await;
    assert_eq!(source.calls(), 1);
    sleep(MILLISECOND * 2).await;
    assert_eq!(source.calls(), 2);
    assert_eq!(shared.get(None).await.unwrap(), token(2));
    seconds(54).await;
    assert_eq!(source.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_is_tried_again_after_five_percent() {
    let source = Source::new(Some(60), &[2, 3]);
    let shared = shared(&source);
    let _lease = shared.lease(&Handle::current());
    shared.get(None).await.unwrap();
    sleep(Duration::from_secs(54) + MILLISECOND).await;
    assert_eq!(source.calls(), 2);
    assert_eq!(shared.get(None).await.unwrap(), token(1), "the old one is still good");
    sleep(Duration::from_millis(2_998)).await;
    assert_eq!(source.calls(), 2);
    sleep(MILLISECOND * 2).await;
    assert_eq!(source.calls(), 3);
    seconds(3).await;
    assert_eq!((source.calls(), shared.get(None).await.unwrap()), (4, (Token::from("token-4"), 2)));
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_nothing_is_refreshed() {
    let source = Source::new(Some(60), &[]);
    let shared = shared(&source);
    let (first, second) = (shared.lease(&Handle::current()), shared.lease(&Handle::current()));
    shared.get(None).await.unwrap();
    drop(first);
    seconds(55).await;
    assert_eq!(source.calls(), 2, "one lease is enough");
    drop(second);
    seconds(3600).await;
    assert_eq!(source.calls(), 2);
    assert!(!shared.inner.lock().refreshing);
    assert_eq!(shared.get(None).await.unwrap(), token(3), "the expired one is fetched anew");
    let _again = shared.lease(&Handle::current());
    seconds(55).await;
    assert_eq!(source.calls(), 4, "a new lease refreshes again");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_under_way_ends_with_the_last_lease() {
    let source = Source::new(Some(60), &[]);
    let shared = shared(&source);
    let lease = shared.lease(&Handle::current());
    shared.get(None).await.unwrap();
    source.gate.forget_permits(Semaphore::MAX_PERMITS);
    seconds(55).await;
    assert_eq!(source.calls(), 2);
    drop(lease);
    sleep(MILLISECOND).await;
    source.gate.add_permits(9);
    seconds(1).await;
    assert_eq!((source.calls(), source.landed.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn without_an_expiration_nothing_is_refreshed() {
    let source = Source::new(None, &[]);
    let shared = shared(&source);
    let _lease = shared.lease(&Handle::current());
    shared.get(None).await.unwrap();
    seconds(150).await;
    assert_eq!(shared.get(None).await.unwrap(), token(1));
    assert_eq!(source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_refresh_dies_with_the_token() {
    let source = Source::new(Some(60), &[]);
    let shared = shared(&source);
    let lease = shared.lease(&Handle::current());
    shared.get(None).await.unwrap();
    let weak = Arc::downgrade(&shared);
    drop((shared, lease));
    assert!(weak.upgrade().is_none());
    seconds(3600).await;
    assert_eq!(source.calls(), 1);
}

#[tokio::test]
async fn many_waiters_are_one_fetch() {
    let source = Source::new(Some(60), &[]);
    let shared = shared(&source);
    let got = futures_util::future::join_all((0..50).map(|_| shared.get(None))).await;
    assert!(got.into_iter().all(|got| got.unwrap() == token(1)));
    assert_eq!(source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_fetch_goes_on_while_anybody_waits() {
    let source = Source::new(Some(60), &[]);
    source.gate.forget_permits(Semaphore::MAX_PERMITS);
    let shared = shared(&source);
    let waiter = || {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { shared.get(None).await })
    };
    let (first, second) = (waiter(), waiter());
    sleep(MILLISECOND).await;
    first.abort();
    sleep(MILLISECOND).await;
    source.gate.add_permits(1);
    assert_eq!(second.await.unwrap().unwrap(), token(1));
    assert_eq!(source.calls(), 1);

    let lonely = tokio::time::timeout(MILLISECOND, shared.get(Some(1)));
    assert!(lonely.await.is_err());
    assert_eq!(
        (source.calls(), source.landed.load(Ordering::SeqCst)),
        (2, 1),
        "cancelled with its last waiter"
    );
    source.gate.add_permits(1);
    assert_eq!(shared.get(Some(1)).await.unwrap(), (Token::from("token-3"), 2));
}

#[tokio::test]
async fn a_refused_generation_is_replaced_once() {
    let source = Source::new(None, &[]);
    let shared = shared(&source);
    let (_, generation) = shared.get(None).await.unwrap();
    let (a, b) = tokio::join!(shared.get(Some(generation)), shared.get(Some(generation)));
    assert_eq!((a.unwrap(), b.unwrap()), (token(2), token(2)));
    assert_eq!(shared.get(Some(generation)).await.unwrap(), token(2), "whoever is late gets the replacement");
    assert_eq!(source.calls(), 2);
}

#[tokio::test]
async fn a_failure_reaches_all_waiters_and_is_forgotten() {
    let source = Source::new(None, &[1]);
    let shared = shared(&source);
    let (a, b) = tokio::join!(shared.get(None), shared.get(None));
    for outcome in [a, b] {
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Authentication);
    }
    assert_eq!(shared.get(None).await.unwrap().0, Token::from("token-2"));
}

#[test]
fn one_fetch_serves_several_runtimes() {
    let source = Source::new(Some(60), &[]);
    source.gate.forget_permits(Semaphore::MAX_PERMITS);
    let shared = shared(&source);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(shared.get(None))
            })
        })
        .collect();
    while source.calls() == 0 {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(20));
    source.gate.add_permits(1);
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap(), token(1));
    }
    assert_eq!(source.calls(), 1);
}

#[test]
fn a_runtime_that_goes_away_does_not_end_the_refresh_for_ever() {
    let shared = shared(&Source::new(Some(60), &[]));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let _lease = shared.lease(first.handle());
    assert!(shared.inner.lock().refreshing);
    drop(first);
    assert!(!shared.inner.lock().refreshing);
    let second = runtime();
    let _another = shared.lease(second.handle());
    assert!(shared.inner.lock().refreshing);
}

fn key(app_path: &str) -> TokenKey {
    TokenKey { app_path: app_path.into(), provider: None, expiration: None, body: None }
}

#[test]
fn the_store_shares_by_key_and_forgets_what_nobody_holds() {
    let store = TokenStore::new();
    let make = || Source::new(None, &[]) as Arc<dyn TokenSource>;
    let a = store.shared(key("a"), make);
    assert!(Arc::ptr_eq(&a, &store.shared(key("a"), || panic!("there is one"))));
    let b = store.shared(key("b"), make);
    assert!(!Arc::ptr_eq(&a, &b));
    assert_eq!(store.len(), 2);
    drop(a);
    let _c = store.shared(key("c"), make);
    assert_eq!(store.len(), 2, "a is forgotten");
    drop(b);
    let again = store.shared(key("b"), make);
    assert_eq!(again.inner.lock().state.generation(), 0);
}

#[tokio::test]
async fn tokens_are_not_shown() {
    let source = Source::new(None, &[]);
    let shared = shared(&source);
    let got = shared.get(None).await.unwrap();
    assert!(!format!("{got:?} {shared:?}").contains("token-1"));
}

/// Never gives anything from its second call on.
struct HangsLater(AtomicUsize);

impl TokenSource for HangsLater {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            1 => Box::pin(std::future::pending()),
            number => Box::pin(std::future::ready(Ok(format!("token-{}", number + 1)))),
        }
    }

    fn expiration(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_does_not_hold_up_an_opening() {
    let source = Arc::new(HangsLater(AtomicUsize::new(0)));
    let shared = SharedToken::new(source.clone());
    let _lease = shared.lease(&Handle::current());
    shared.get(None).await.unwrap();
    seconds(55).await;
    // The refresh has begun a second ago, and the server refuses the token: it might still come.
    let began = Instant::now();
    assert_eq!(shared.get(Some(1)).await.unwrap(), (Token::from("token-3"), 2));
    assert_eq!(began.elapsed() + Duration::from_secs(1), REFRESH_PATIENCE);
    assert_eq!(source.0.load(Ordering::SeqCst), 3);
    assert_eq!(shared.get(Some(1)).await.unwrap().1, 2, "it is kept");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_ends_and_is_tried_again() {
    let source = Arc::new(HangsLater(AtomicUsize::new(0)));
    let shared = SharedToken::new(source.clone());
    let _lease = shared.lease(&Handle::current());
    shared.get(None).await.unwrap();
    // It is due after 54 s, given up 30 s later, and due again after another 3 s.
    seconds(86).await;
    assert_eq!(source.0.load(Ordering::SeqCst), 2);
    seconds(2).await;
    assert_eq!(source.0.load(Ordering::SeqCst), 3);
    assert_eq!(shared.get(None).await.unwrap(), (Token::from("token-3"), 2));
}

/// Fails at once, with a wish that some time may pass.
struct Failing(AtomicUsize, Option<Duration>);

impl TokenSource for Failing {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let error = Error::new(ErrorKind::Authentication, "no")
            .transient()
            .with_refusal(Refusal { retry_after: self.1, ..Refusal::default() });
        Box::pin(std::future::ready(Err(error)))
    }

    fn expiration(&self) -> Option<Duration> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_want_a_token_a_failing_source_is_asked_as_by_one() {
    let source = Arc::new(Failing(AtomicUsize::new(0), None));
    let shared = SharedToken::new(source.clone());
    let eager = || {
        let shared = shared.clone();
        tokio::spawn(async move {
            loop {
                shared.get(None).await.unwrap_err();
            }
        })
    };
    let tasks: Vec<_> = (0..1_000).map(|_| eager()).collect();
    seconds(60).await;
    // After 0.5, 1, 2, 4 and then every 5 s.
    assert_eq!(source.0.load(Ordering::SeqCst), 5 + 10);
    for task in tasks {
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_not_asked_before_the_time_that_it_named() {
    let source = Arc::new(Failing(AtomicUsize::new(0), Some(Duration::from_secs(4))));
    let shared = SharedToken::new(source.clone());
    shared.get(None).await.unwrap_err();
    let began = Instant::now();
    shared.get(None).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn who_would_have_to_wait_long_for_that_is_told_at_once_for_how_long() {
    let source = Arc::new(Failing(AtomicUsize::new(0), Some(Duration::from_secs(20))));
    let shared = SharedToken::new(source.clone());
    shared.get(None).await.unwrap_err();
    for passed in [0, 3, 10] {
        tokio::time::advance(Duration::from_secs(passed)).await;
        let began = Instant::now();
        let error = shared.get(None).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(
            error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(20 - passed)),
            "{error:?}"
        );
    }
    assert_eq!(source.0.load(Ordering::SeqCst), 1);
    // 7 s are left of it, then 4.
    tokio::time::advance(Duration::from_secs(3)).await;
    let began = Instant::now();
    shared.get(None).await.unwrap_err();
    assert_eq!((began.elapsed(), source.0.load(Ordering::SeqCst)), (Duration::from_secs(4), 2));
}
