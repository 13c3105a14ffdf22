//! The faults that the server was told to have.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::sync::Mutex;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{cold_start::ColdStart, per_app::PerApp};

/// The faults in force. Set from any thread; each holds for what begins after it was set.
#[derive(Default)]
pub(super) struct Faults {
    paused: AtomicBool,
    resumed: Notify,
    plans: Mutex<Plans>,
}

#[derive(Default)]
struct Plans {
    refusals: PerApp<Repeated>,
    mint_failures: u32,
    mint_failure: Option<Refusal>,
    mint_delay: Duration,
    handshake_delay: Duration,
    cold_starts: PerApp<ColdStart>,
    /// When the apps are warm that a session has begun to warm.
    warm_at: HashMap<String, Instant>,
    closings: PerApp<CloseAfter>,
    silences: PerApp<bool>,
}

/// An HTTP answer other than the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// From 300 to 599.
    pub status: u16,
    /// Names and values, in this order.
    pub headers: Vec<(String, String)>,
    /// `None`: JSON with a `detail`, as fal answers.
    pub body: Option<Bytes>,
}

/// A refusal, and how often it is still to be given.
#[derive(Debug)]
struct Repeated {
    refusal: Refusal,
    /// `None`: until told otherwise.
    left: Option<u64>,
}

/// Which messages of a session are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Those of the client.
    Received,
    /// Those of the server.
    Sent,
}

/// When a session is closed by the server's own wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseAfter {
    /// So many messages.
    pub messages: u64,
    /// Of which kind.
    pub counted: Counted,
    /// Code and reason; `None`: the connection ends without a close frame.
    pub frame: Option<(u16, String)>,
}

/// The faults that a session begins with.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// When its app is warm.
    pub(super) warm_at: Option<Instant>,
    pub(super) close_after: Option<CloseAfter>,
    pub(super) is_silent: bool,
}

/// The fate of a token request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MintFate {
    Served,
    /// Answered like this.
    Failed(Refusal),
    /// The connection is closed without an answer.
    Dropped,
}

impl Faults {
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if !paused {
            self.resumed.notify_waiters();
        }
    }

    /// Waits while the server is paused.
    pub(super) async fn until_resumed(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }

    /// Refuses the next `count` handshakes of an app, or of all; `None`: until told otherwise.
    pub(super) fn refuse(&self, app: Option<&str>, refusal: Option<Refusal>, count: Option<u64>) {
        let planned = refusal.map(|refusal| Repeated { refusal, left: count });
        self.plans.lock().refusals.set(app, planned.filter(|planned| planned.left != Some(0)));
    }

    /// The refusal of the handshake that just came, if it is to be refused.
    pub(super) fn next_refusal(&self, app: Option<&str>) -> Option<Refusal> {
        let mut plans = self.plans.lock();
        let planned = plans.refusals.get_mut(app)?;
        if let Some(left) = &mut planned.left {
            *left = left.saturating_sub(1);
        }
        let refusal = planned.refusal.clone();
        plans.refusals.remove_if(|planned| planned.left == Some(0));
        Some(refusal)
    }

    pub(super) fn set_cold_start(&self, app: Option<&str>, cold: Option<ColdStart>) {
        let mut plans = self.plans.lock();
        match app {
            Some(app) => drop(plans.warm_at.remove(app)),
            None => plans.warm_at.clear(),
        }
        plans.cold_starts.set(app, cold);
    }

    pub(super) fn set_close_after(&self, app: Option<&str>, close_after: Option<CloseAfter>) {
        self.plans.lock().closings.set(app, close_after);
    }

    pub(super) fn set_silent(&self, app: Option<&str>, is_silent: bool) {
        self.plans.lock().silences.set(app, Some(is_silent));
    }

    /// A session of an app begins.
    pub(super) fn begin(&self, app: &str, now: Instant) -> Begun {
        let mut plans = self.plans.lock();
        let cold = plans.cold_starts.get_mut(Some(app)).copied();
        let warm_at = cold.map(|cold| {
            let warm_at = now + cold.takes;
            if cold.once { *plans.warm_at.entry(app.to_owned()).or_insert(warm_at) } else { warm_at }
        });
        Begun {
            warm_at: warm_at.filter(|warm_at| *warm_at > now),
            close_after: plans.closings.get_mut(Some(app)).cloned(),
            is_silent: plans.silences.get_mut(Some(app)).is_some_and(|is_silent| *is_silent),
        }
    }

    /// Fails the next `count` token requests; without an answer their connections are closed.
    pub(super) fn fail_mints(&self, count: u32, failure: Option<Refusal>) {
        let mut plans = self.plans.lock();
        plans.mint_failures = count;
        plans.mint_failure = failure;
    }

    /// The fate of the token request that just came.
    pub(super) fn next_mint(&self) -> MintFate {
        let mut plans = self.plans.lock();
        if plans.mint_failures == 0 {
            return MintFate::Served;
        }
        plans.mint_failures -= 1;
        plans.mint_failure.clone().map_or(MintFate::Dropped, MintFate::Failed)
    }

    pub(super) fn set_mint_delay(&self, delay: Duration) {
        self.plans.lock().mint_delay = delay;
    }

    pub(super) fn mint_delay(&self) -> Duration {
        self.plans.lock().mint_delay
    }

    pub(super) fn set_handshake_delay(&self, delay: Duration) {
        self.plans.lock().handshake_delay = delay;
    }

    pub(super) fn handshake_delay(&self) -> Duration {
        self.plans.lock().handshake_delay
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refusal(status: u16) -> Refusal {
        Refusal { status, headers: Vec::new(), body: None }
    }

    #[test]
    fn a_refusal_lasts_for_so_many_handshakes_of_its_app() {
        let faults = Faults::default();
        faults.refuse(Some("a/b"), Some(refusal(429)), Some(2));
        assert_eq!(faults.next_refusal(Some("a/c")), None);
        assert_eq!(faults.next_refusal(Some("a/b")).unwrap().status, 429);
        assert_eq!(faults.next_refusal(Some("a/b")).unwrap().status, 429);
        assert_eq!(faults.next_refusal(Some("a/b")), None);
        faults.refuse(None, Some(refusal(503)), None);
        for _ in 0..3 {
            assert_eq!(faults.next_refusal(None).unwrap().status, 503);
        }
        faults.refuse(None, Some(refusal(503)), Some(0));
        assert_eq!(faults.next_refusal(None), None);
    }

    #[test]
    fn an_app_that_is_warmed_once_is_warm_for_later_sessions() {
        let (faults, now) = (Faults::default(), Instant::now());
        let second = Duration::from_secs(1);
        faults.set_cold_start(None, Some(ColdStart { takes: second, once: true }));
        assert_eq!(faults.begin("a/b", now).warm_at, Some(now + second));
        assert_eq!(faults.begin("a/b", now + second / 2).warm_at, Some(now + second));
        assert_eq!(faults.begin("a/b", now + second).warm_at, None);
        assert_eq!(faults.begin("a/c", now + second).warm_at, Some(now + second * 2));
        faults.set_cold_start(None, Some(ColdStart { takes: second, once: false }));
        for later in [now, now + second] {
            assert_eq!(faults.begin("a/b", later).warm_at, Some(later + second));
        }
        faults.set_cold_start(None, None);
        assert_eq!(faults.begin("a/b", now).warm_at, None);
    }
}
