//! The I/O thread's side of a poller: stands in for a loop that does not come.

use std::{
    future::poll_fn,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Sleep,
};

use super::{DrivenBy, LINKS_A_TURN, Poller, SOCKETS, When};
use crate::{
    core::{trial::Trial, watchdog::Watchdog},
    net::{
        driven::{Held, Side},
        panics, report, schedule, spin, wakeups,
    },
};

mod loop_polling;

/// The time that output is held back for more that follows: it waits no longer than this, and twice that when the timer
/// is unlucky.
const HOLD_TIME: Duration = Duration::from_millis(2);
/// The interval at which who reads changes without reason, where that is asked for.
const FORCED_CHANGE_INTERVAL: Duration = Duration::from_micros(1500);
/// The most rounds before the other tasks of the thread have a turn.
const MAX_ROUNDS: usize = 4;
/// The most links that are read in a row before what callers have left to be written is polled.
const MAX_READS_IN_A_ROW: usize = 16;
/// The interval at which a socket that a caller has borrowed is polled: one that none has waited for since is the I/O
/// thread's again.
const BORROW_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The pause after a panic, which may come again.
const PANIC_PAUSE: Duration = Duration::from_millis(100);
/// After so many polls in a row that found nothing held the I/O thread polls no more.
const MAX_IDLE_POLLS: u32 = 5;

/// The I/O side's descriptor, for tokio to watch.
struct IoSide(Arc<Poller>);

impl AsRawFd for IoSide {
    fn as_raw_fd(&self) -> RawFd {
        self.0.io_side.as_raw_fd()
    }
}

impl Poller {
    /// Lets the I/O thread watch, from the first link on.
    pub(super) fn start_watching(self: &Arc<Self>) {
        if let Some(io) = self.io.get()
            && !self.is_watched.swap(true, Ordering::AcqRel)
        {
            io.spawn(keep_watching(self.clone()));
        }
    }
}

/// Watches until there is neither a loop nor a link. A panic is no reason to leave the loop alone.
async fn keep_watching(poller: Arc<Poller>) {
    while let Err(error) = panics::caught_in(watch(poller.clone())).await {
        report::notable(|| format!("who stands in for an event loop begins anew: {error}"));
        tokio::time::sleep(PANIC_PAUSE).await;
    }
}

/// Watches until there is neither a loop nor a link.
async fn watch(poller: Arc<Poller>) {
    // SAFETY: `IoSide` owns the descriptor, through the poller, and names the same one for as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(IoSide(poller.clone()), Interest::READABLE) };
    // Fails without descriptors or memory: then nobody stands in for the loop.
    let Ok(io_side) = registered else { return };
    let mut watch = Watch::new(&poller);
    poll_fn(|context| watch.poll(context, &io_side)).await;
}

struct Watch<'a> {
    poller: &'a Arc<Poller>,
    dog: Watchdog,
    trial: Trial,
    last_sample: Option<Instant>,
    /// When to poll what is held.
    held_until: Option<Instant>,
    idle_polls: u32,
    keys: Vec<u64>,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Watch<'a> {
    fn new(poller: &'a Arc<Poller>) -> Self {
        Self {
            poller,
            dog: Watchdog::default(),
            trial: Trial::default(),
            last_sample: None,
            held_until: None,
            idle_polls: 0,
            keys: Vec::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Ready when there is neither a loop nor a link any more.
    fn poll(&mut self, context: &mut Context<'_>, io_side: &AsyncFd<IoSide>) -> Poll<()> {
        self.poller.set_task(context.waker());
        wakeups::attend();
        for _ in 0..MAX_ROUNDS {
            if self.poller.is_over.load(Ordering::Acquire) && self.poller.links.lock().is_empty() {
                return Poll::Ready(());
            }
            self.write();
            self.see_held();
            match io_side.poll_read_ready(context) {
                Poll::Ready(Ok(mut ready)) => {
                    // Only an empty poll shows that there is no more.
                    if !self.io_side_is_ready() {
                        ready.clear_ready();
                    }
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if self.poll_timer(context).is_pending() {
                return Poll::Pending;
            }
            self.time_is_up(Instant::now());
        }
        // Others have their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.deadline() else { return Poll::Pending };
        if self.timer.deadline().into_std() != until {
            self.timer.as_mut().reset(until.into());
        }
        self.timer.as_mut().poll(context)
    }

    /// Writes what callers have left to this thread.
    fn write(&self) {
        for link in self.poller.take_unwritten() {
            link.on_unwritten();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.dog.deadline(), self.held_until].into_iter().flatten().min()
    }

    fn turns(&self) -> u64 {
        self.poller.turns.load(Ordering::Acquire)
    }

    /// Serves the I/O side; false if nothing was ready.
    fn io_side_is_ready(&mut self) -> bool {
        self.keys.clear();
        if self.poller.io_side.poll(&mut self.keys, LINKS_A_TURN).is_err() || self.keys.is_empty() {
            return false;
        }
        spin::busy();
        let keys = std::mem::take(&mut self.keys);
        for key in &keys {
            if *key == SOCKETS {
                self.sockets_are_ready();
                continue;
            }
            let link = self.poller.links.lock().get(*key);
            if let Some(link) = link {
                link.on_writable();
            }
        }
        self.keys = keys;
        true
    }

    fn sockets_are_ready(&mut self) {
        match self.poller.driven_by() {
            DrivenBy::Loop => {
                // The first data after quiet: is the loop there to take it?
                let mut armed = self.poller.armed.lock();
                if self.poller.driven_by() == DrivenBy::Loop {
                    self.poller.arm(&mut armed, When::Off);
                }
                drop(armed);
                if schedule::alternates() {
                    self.dog.poll_at(Instant::now() + FORCED_CHANGE_INTERVAL);
                } else {
                    self.dog.woken(Instant::now(), self.turns());
                }
            }
            DrivenBy::IoThread | DrivenBy::Both | DrivenBy::IoThreadAlways => self.read(),
        }
    }

    /// Reads in the loop's place.
    fn read(&self) {
        for (number, link) in self.poller.ready().iter().enumerate() {
            link.on_readable(Side::IoThread);
            if self.poller.driven_by() == DrivenBy::Loop {
                break; // it came back
            }
            if number % MAX_READS_IN_A_ROW == MAX_READS_IN_A_ROW - 1 {
                // What they bring is to be handled meanwhile, and what that sends is to leave.
                wakeups::attend();
                self.write();
            }
        }
    }

    fn time_is_up(&mut self, now: Instant) {
        if self.held_until.is_some_and(|at| at <= now) {
            self.poll_held(now);
        }
        if self.dog.deadline().is_some_and(|at| at <= now) {
            self.poll_loop(now);
        }
    }

    fn see_held(&mut self) {
        if self.held_until.is_none() && self.poller.sees_held.load(Ordering::Acquire) {
            self.held_until = Some(Instant::now() + HOLD_TIME);
            self.idle_polls = 0;
        }
    }

    fn poll_held(&mut self, now: Instant) {
        let held = std::mem::take(&mut *self.poller.held.lock());
        self.idle_polls = if held.is_empty() { self.idle_polls + 1 } else { 0 };
        let mut wait = HOLD_TIME;
        for link in held {
            match link.on_held() {
                Held::No => continue,
                Held::Corked => wait = HOLD_TIME,
                Held::Borrowed => wait = BORROW_POLL_INTERVAL,
            }
            self.poller.held.lock().push(link);
        }
        self.held_until = Some(now + wait);
        if self.idle_polls >= MAX_IDLE_POLLS {
            self.held_until = None;
            self.poller.sees_held.store(false, Ordering::Release);
            if !self.poller.held.lock().is_empty() {
                self.poller.sees_held.store(true, Ordering::Release);
                self.held_until = Some(now + HOLD_TIME);
            }
        }
    }
}

#[cfg(test)]
mod tests;
