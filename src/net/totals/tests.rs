#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A connection with one message written, as long as it is there.
struct Connection {
    written: AtomicU64,
    membership: OnceLock<Membership>,
}

impl Counted for Connection {
    fn counted(&self) -> (Option<State>, Stats) {
        let written = self.written.load(Ordering::Relaxed);
        (Some(State::Active), Stats { accepted: written, written, ..Stats::default() })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.membership.get().unwrap().end(&self.counted().1);
    }
}

fn connected(totals: &Arc<Totals>, app: &str) -> Arc<Connection> {
    let connection = Arc::new(Connection { written: AtomicU64::new(1), membership: OnceLock::new() });
    let counted: Arc<dyn Counted> = connection.clone();
    assert!(connection.membership.set(totals.add(app, &counted)).is_ok());
    connection
}

fn written(totals: &Totals) -> u64 {
    totals.by_app().values().map(|app| app.stats.written).sum()
}

#[test]
fn a_connection_is_counted_once_there_or_gone() {
    let totals = Totals::new();
    let (first, second) = (connected(&totals, "a"), connected(&totals, "b"));
    first.written.store(5, Ordering::Relaxed);
    assert_eq!(written(&totals), 6);
    drop(first);
    assert_eq!(written(&totals), 6);
    let sums = totals.by_app();
    assert_eq!((sums["a"].stats.written, sums["a"].states.get("active")), (5, None));
    assert_eq!((sums["b"].stats.written, sums["b"].states.get("active")), (1, Some(&1)));
    drop(second);
    assert_eq!(written(&totals), 6);
}

#[test]
fn the_sum_is_exact_while_connections_come_and_go_in_other_threads() {
    let totals = Totals::new();
    let kept = connected(&totals, "a");
    let begun = AtomicU64::new(1);
    let done = AtomicU64::new(1);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let connection = connected(&totals, "a");
                    done.fetch_add(1, Ordering::SeqCst);
                    drop(connection);
                }
            });
        }
        for _ in 0..500 {
            let least = done.load(Ordering::SeqCst);
            let sum = written(&totals);
            assert!(least <= sum && sum <= begun.load(Ordering::SeqCst));
        }
    });
    assert_eq!(written(&totals), 6_001);
    drop(kept);
}

#[test]
fn what_waited_in_a_connection_that_is_gone_has_failed_or_is_dropped() {
    let stats = Stats {
        accepted: 3,
        written: 1,
        pending: 2,
        received: 4,
        delivered: 1,
        received_pending: 3,
        ..Stats::default()
    };
    let gone = stats.of_gone();
    assert_eq!((gone.failed, gone.pending), (2, 0));
    assert_eq!((gone.received_dropped, gone.received_pending), (3, 0));
}

#[test]
fn of_very_many_apps_the_rest_has_one_name() {
    let totals = Totals::new();
    let connections: Vec<_> = (0..150).map(|app| connected(&totals, &format!("me/app-{app}"))).collect();
    let sums = totals.by_app();
    assert_eq!((sums.len(), sums["other"].stats.written), (101, 50));
    drop(connections);
    assert_eq!(totals.by_app()["other"].stats.written, 50);
}
