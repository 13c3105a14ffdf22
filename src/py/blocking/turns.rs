//! The turns of blocking connections that have something for their callbacks: for the threads that call these.
//!
//! A connection is with one thread at a time, which keeps its order. One thread does all there is to do, and another
//! stands by: only when nothing has moved for a while, because a callback takes its time, does that one step in, and a
//! third is started to stand by. So a callback that blocks holds up its own connection alone.
//!
//! Where there is only one connection, the thread that has called its callbacks waits for its socket next, as a
//! blocking call does, and moves the bytes itself.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    net::handle::{Connection, Interest},
    sync::{Condvar, Mutex},
};

#[cfg(test)]
mod tests;

/// The time that a callback may take before another thread steps in for the other connections.
const STUCK_DELAY: Duration = Duration::from_millis(50);
/// The time that a new thread has to come: one that has not has probably not been started.
const THREAD_START_TIME: Duration = Duration::from_secs(1);
/// The most threads that wait: one to work, one to stand by.
const MAX_WAITING_THREADS: usize = 2;

/// The standing of a connection with the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing is there.
    Idle,
    /// It waits for a thread.
    Ready,
    /// A thread has it.
    Taken,
    /// A thread has it, and something has come since.
    TakenReady,
}

/// A connection whose callbacks a thread is to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallbackTurn {
    pub(super) number: u64,
    /// Nobody else stands by.
    pub(super) is_alone: bool,
}

/// The next step of a thread: what it is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Call the callbacks of a connection.
    Take(CallbackTurn),
    /// Wait for the socket of the only connection, as long as [`Turns::drives_socket`] says so, and ask again.
    DriveSocket(u64),
}

/// The state in which a thread has left the connection that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing more for now.
    Nothing,
    /// There is more.
    More,
    /// It has ended.
    End,
}

#[derive(Debug, Default)]
struct TurnsState {
    standings: HashMap<u64, Standing>,
    ready: VecDeque<u64>,
    waiting: usize,
    busy: usize,
    /// The connection whose socket a thread waits for.
    sat_at: Option<u64>,
    /// When a thread was last asked for that has not come yet.
    starting: Option<Instant>,
    /// When a thread last took a connection, or one first had to wait.
    moved: Option<Instant>,
    next_number: u64,
}

impl TurnsState {
    /// Whether to start a thread: one that was asked for just now is on its way, if the system gave it.
    fn asks_for_thread(&mut self) -> bool {
        let now = Instant::now();
        let is_on_its_way = self.starting.is_some_and(|at| now < at + THREAD_START_TIME);
        if !is_on_its_way {
            self.starting = Some(now);
        }
        !is_on_its_way
    }

    /// How many threads wait, for a turn or for a socket.
    fn unoccupied(&self) -> usize {
        self.waiting + usize::from(self.sat_at.is_some())
    }

    /// The only connection, if nothing is there for it and nobody waits for its socket.
    fn only_idle(&self) -> Option<u64> {
        let (number, standing) = self.standings.iter().next()?;
        let is_free = self.standings.len() == 1 && *standing == Standing::Idle && self.sat_at.is_none();
        is_free.then_some(*number)
    }
}

/// The connections with callbacks.
#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<TurnsState>,
    condition: Condvar,
}

impl Turns {
    /// Takes a connection on, of which nothing is called before [`Turns::begin`]. Answers its number, and whether a
    /// thread is to be started for it.
    pub(super) fn reserve(&self) -> (u64, bool) {
        let mut state = self.state.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.standings.insert(number, Standing::Taken);
        let threads = state.unoccupied() + state.busy;
        (number, threads == 0 && state.asks_for_thread())
    }

    /// The callbacks of a connection that was taken on may be called from now on.
    pub(super) fn begin(&self, number: u64) {
        if let Some(standing) = self.state.lock().standings.get_mut(&number) {
            *standing = Standing::Idle;
        }
    }

    /// A connection that was taken on is given up before it began.
    pub(super) fn give_up(&self, number: u64) {
        let mut state = self.state.lock();
        state.standings.remove(&number);
        if state.standings.is_empty() {
            self.condition.notify_all();
        }
    }

    /// A thread that was asked for will not come: the system gives none.
    pub(super) fn has_no_thread(&self) {
        self.state.lock().starting = None;
    }

    /// A thread that was asked for has come.
    pub(super) fn arrive(&self) {
        self.state.lock().starting = None;
    }

    /// A connection has something.
    pub(super) fn push(&self, number: u64) {
        let mut state = self.state.lock();
        match state.standings.get_mut(&number) {
            Some(standing @ Standing::Idle) => *standing = Standing::Ready,
            Some(standing @ Standing::Taken) => {
                *standing = Standing::TakenReady;
                return;
            }
            Some(Standing::Ready | Standing::TakenReady) | None => return,
        }
        self.put(&mut state, number);
    }

    fn put(&self, state: &mut TurnsState, number: u64) {
        state.ready.push_back(number);
        let is_first = state.ready.len() == 1;
        if is_first {
            state.moved = Some(Instant::now());
        }
        // Whoever waits for its socket has been woken by what came. Where others wait already, somebody watches over
        // them.
        if state.sat_at != Some(number) && (is_first || state.busy == 0) {
            self.condition.notify_one();
        }
    }

    /// Whether the thread that waits for the socket of the only connection is to go on with that.
    pub(super) fn drives_socket(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_empty() && !state.standings.is_empty()
    }

    /// Waits for something to do; `None` when the thread is to end. `has_driven`: it has waited for a socket, as it was
    /// told.
    pub(super) fn next(&self, has_driven: bool) -> Option<NextStep> {
        let mut state = self.state.lock();
        if has_driven {
            state.sat_at = None;
        }
        // Whoever has just worked goes on; who has waited leaves the turn to it.
        let mut has_waited = false;
        loop {
            if state.standings.is_empty()
                || (!has_waited && state.ready.is_empty() && state.unoccupied() >= MAX_WAITING_THREADS)
            {
                return None;
            }
            let Some(number) = state.ready.front().copied() else {
                if !has_waited && let Some(only) = state.only_idle() {
                    state.sat_at = Some(only);
                    return Some(NextStep::DriveSocket(only));
                }
                state.waiting += 1;
                state = self.condition.wait(state);
                state.waiting -= 1;
                has_waited = true;
                continue;
            };
            let now = Instant::now();
            let stuck_at = state.moved.map_or(now, |moved| moved + STUCK_DELAY);
            if has_waited && state.busy > 0 && now < stuck_at {
                state.waiting += 1;
                (state, _) = self.condition.wait_until(state, stuck_at);
                state.waiting -= 1;
                continue;
            }
            state.ready.pop_front();
            state.standings.insert(number, Standing::Taken);
            state.busy += 1;
            state.moved = Some(now);
            if !state.ready.is_empty() {
                // Somebody is to watch over those.
                self.condition.notify_one();
            }
            let is_alone = state.waiting == 0 && state.asks_for_thread();
            return Some(NextStep::Take(CallbackTurn { number, is_alone }));
        }
    }

    /// A thread is through with a connection that it had.
    pub(super) fn done(&self, number: u64, left: Left) {
        let mut state = self.state.lock();
        state.busy -= 1;
        if left == Left::End {
            state.standings.remove(&number);
            if state.standings.is_empty() {
                self.condition.notify_all();
            }
            return;
        }
        let Some(standing) = state.standings.get_mut(&number) else { return };
        if left == Left::More || *standing == Standing::TakenReady {
            *standing = Standing::Ready;
            self.put(&mut state, number);
        } else {
            *standing = Standing::Idle;
        }
    }
}

/// The listener of a connection, which asks for its turn.
pub(super) struct Listener {
    pub(super) turns: Arc<Turns>,
    pub(super) number: u64,
    pub(super) net: Weak<Connection>,
    /// Results are for a callback.
    pub(super) takes_results: AtomicBool,
}

impl Listener {
    /// The interest of the callbacks: what they wait for.
    pub(super) fn interest(&self) -> Interest {
        let notices = Interest::NOTICES.and(Interest::STATE);
        if self.takes_results.load(Ordering::Acquire) { notices.and(Interest::ITEMS) } else { notices }
    }

    /// Something has come, perhaps for the callbacks: whether a turn was asked for. `others`: what threads wait for in
    /// calls. May be called by whoever has the boxes; then the turn shows whether there is something.
    pub(super) fn notify(&self, others: Interest) -> bool {
        let Some(net) = self.net.upgrade() else { return false };
        let is_something = net.try_listen(others.and(self.interest()), self.interest()).unwrap_or(true);
        if is_something {
            self.turns.push(self.number);
        }
        is_something
    }
}
