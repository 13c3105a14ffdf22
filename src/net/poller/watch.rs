//! The I/O thread's side of a poller: stands in for a loop that does not come.

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::{Driver, LINKS_A_TURN, Poller, SOCKETS, Side, When};
use crate::{
    core::{
        trial::{Advice, Trial},
        watchdog::{Verdict, Watchdog},
    },
    net::{counters, schedule, spin, wakes},
};

/// What waits for more output waits no longer than this, and twice that when the timer is unlucky.
const HOLD_TIME: Duration = Duration::from_millis(2);
/// What happens in less time says little about the load.
const WINDOW: Duration = Duration::from_millis(25);
/// Nothing was held for so long: the I/O thread no longer looks.
const HELD_LOOKS: u32 = 5;

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
            io.spawn(watch(self.clone()));
        }
    }
}

/// Watches until there is neither a loop nor a link.
async fn watch(poller: Arc<Poller>) {
    // Fails without descriptors or memory: then nobody stands in for the loop.
    // SAFETY: `IoSide` owns the descriptor, through the poller, and names the same one for as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(IoSide(poller.clone()), Interest::READABLE) };
    let Ok(io_side) = registered else { return };
    let mut watch = Watch {
        poller: &poller,
        dog: Watchdog::default(),
        trial: Trial::default(),
        last_sample: None,
        held_until: None,
        idle_looks: 0,
        keys: Vec::new(),
    };
    while !(poller.is_over.load(Ordering::Acquire) && poller.links.lock().is_empty()) {
        let until = watch.deadline();
        tokio::select! {
            ready = io_side.readable() => {
                let Ok(mut ready) = ready else { return };
                // Only an empty poll shows that there is no more.
                if !watch.io_side_is_ready() {
                    ready.clear_ready();
                    continue;
                }
            }
            () = poller.nudge.notified() => watch.nudged(),
            () = sleep_until(until), if until.is_some() => watch.time_is_up(Instant::now()),
        }
        // Others have their turn.
        wakes::attend();
        tokio::task::yield_now().await;
    }
}

async fn sleep_until(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

struct Watch<'a> {
    poller: &'a Arc<Poller>,
    dog: Watchdog,
    trial: Trial,
    last_sample: Option<Instant>,
    /// When to look at what is held.
    held_until: Option<Instant>,
    idle_looks: u32,
    keys: Vec<u64>,
}

impl Watch<'_> {
    fn deadline(&self) -> Option<Instant> {
        let forced = schedule::forced_change().map(|time| Instant::now() + time);
        [self.dog.deadline(), self.held_until, forced].into_iter().flatten().min()
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
        match self.poller.driver() {
            Driver::Loop => {
                // The first data after quiet: is the loop there to take it?
                let mut armed = self.poller.armed.lock();
                if self.poller.driver() == Driver::Loop {
                    self.poller.arm(&mut armed, When::Off);
                }
                drop(armed);
                self.dog.woken(Instant::now(), self.turns());
            }
            Driver::IoThread | Driver::Both | Driver::IoThreadAlways => self.read(),
        }
    }

    /// Reads in the loop's place.
    fn read(&self) {
        for link in self.poller.ready() {
            link.on_readable(Side::IoThread);
            if self.poller.driver() == Driver::Loop {
                break; // it came back
            }
        }
    }

    fn time_is_up(&mut self, now: Instant) {
        if self.held_until.is_some_and(|at| at <= now) {
            self.look_at_held(now);
        }
        if schedule::forced_change().is_some() {
            self.change_hands(now);
        } else if self.dog.deadline().is_some_and(|at| at <= now) {
            self.look(now);
        }
    }

    fn look(&mut self, now: Instant) {
        counters::LOOKS.add();
        let turns = self.turns();
        self.weigh(now);
        if self.poller.driver() != Driver::Loop {
            self.dog.away(now, turns);
            return;
        }
        match self.dog.look(now, turns, self.poller.sockets.is_ready()) {
            Verdict::Fine => {}
            Verdict::Stuck => {
                counters::TAKEN_OVER.add();
                self.poller.hand_over(Driver::IoThread, When::Readable);
                self.read();
            }
            Verdict::Park => {
                let mut armed = self.poller.armed.lock();
                if self.poller.driver() == Driver::Loop {
                    self.poller.arm(&mut armed, When::ReadableOnce);
                }
            }
        }
    }

    /// Finds out whether the I/O thread should read and write beside the loop.
    fn weigh(&mut self, now: Instant) {
        if self.last_sample.is_some_and(|last| now < last + WINDOW) {
            return;
        }
        self.last_sample = Some(now);
        let Some(sample) = self.poller.load.sample(now).filter(|_| self.poller.driver() != Driver::IoThread) else {
            self.trial.interrupt();
            return;
        };
        match self.trial.sample(sample) {
            Advice::Unchanged => {}
            Advice::Both => self.poller.hand_over(Driver::Both, When::Readable),
            Advice::Loop => self.poller.hand_over(Driver::Loop, When::Off),
        }
    }

    /// For tests: the I/O thread takes over though the loop is well; the loop's next turn gives back.
    fn change_hands(&mut self, now: Instant) {
        if self.poller.driver() == Driver::Loop {
            counters::TAKEN_OVER.add();
            self.poller.hand_over(Driver::IoThread, When::Readable);
            self.read();
        }
        self.dog.away(now, self.turns());
    }

    fn nudged(&mut self) {
        if self.held_until.is_none() && self.poller.sees_held.load(Ordering::Acquire) {
            self.held_until = Some(Instant::now() + HOLD_TIME);
            self.idle_looks = 0;
        }
    }

    fn look_at_held(&mut self, now: Instant) {
        let held = std::mem::take(&mut *self.poller.held.lock());
        self.idle_looks = if held.is_empty() { self.idle_looks + 1 } else { 0 };
        self.held_until = Some(now + HOLD_TIME);
        for link in held {
            if !link.on_held() {
                self.poller.held.lock().push(link);
            }
        }
        if self.idle_looks >= HELD_LOOKS {
            self.held_until = None;
            self.poller.sees_held.store(false, Ordering::Release);
            if !self.poller.held.lock().is_empty() {
                self.poller.sees_held.store(true, Ordering::Release);
                self.held_until = Some(now + HOLD_TIME);
            }
        }
    }
}
