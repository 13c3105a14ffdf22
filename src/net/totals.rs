//! The sums over connections, over those that are gone too: over all of a client, or those that somebody watches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock, Weak},
    thread,
};

use super::process;
use crate::{
    core::{histogram::Histogram, session::State, stats::Stats},
    sync::Mutex,
};

#[cfg(test)]
mod tests;

/// The apps that are told apart: labels of metrics are to have a bound.
const MAX_APPS: usize = 100;
/// The name of the rest.
const OTHER_APPS: &str = "other";

/// A connection, as far as it is counted.
pub(super) trait Counted: Send + Sync {
    /// The state of the connection, unless nobody has it any more, and what it has counted, at one instant.
    fn counted(&self) -> (Option<State>, Stats);
}

/// The histograms of durations.
#[derive(Debug, Default)]
pub struct Latencies {
    /// From when the message of a request was given to the socket to when the answer was read.
    pub request: Histogram,
    /// From the beginning of an attempt to open to the state `active`.
    pub opening: Histogram,
    /// From a ping to its pong.
    pub ping: Histogram,
}

/// The sums over connections.
#[derive(Debug)]
pub struct Totals {
    process: u32,
    latencies: Latencies,
    connections: Mutex<Connections>,
    /// The totals of a forked child, which counts anew.
    of_child: OnceLock<Arc<Self>>,
}

/// The connections that are counted.
#[derive(Default)]
struct Connections {
    next: u64,
    apps: BTreeSet<Arc<str>>,
    live: HashMap<u64, (Arc<str>, Weak<dyn Counted>)>,
    gone: BTreeMap<Arc<str>, Stats>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("live", &self.live.len()).finish_non_exhaustive()
    }
}

/// The sums over the connections of one app.
#[derive(Debug, Clone, Default)]
pub struct AppTotals {
    /// The sums over all of them.
    pub stats: Stats,
    /// How many of those that somebody has are in which state, by its name.
    pub states: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Totals in which nothing is counted yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            process: process::number(),
            latencies: Latencies::default(),
            connections: Mutex::default(),
            of_child: OnceLock::new(),
        })
    }

    /// The totals of this process: a forked child leaves alone what its parent has counted, and the locks of that.
    pub fn current(made: &Arc<Self>) -> &Arc<Self> {
        let mut totals = made;
        while totals.process != process::number() {
            totals = totals.of_child.get_or_init(Self::new);
        }
        totals
    }

    /// The histograms.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Counts a connection until what is returned is ended, and what it had counted then for good.
    pub(super) fn add(self: &Arc<Self>, app: &str, connection: &Arc<dyn Counted>) -> Membership {
        let mut connections = self.connections.lock();
        let app = connections.label(app);
        connections.next += 1;
        let number = connections.next;
        connections.live.insert(number, (app, Arc::downgrade(connection)));
        Membership { totals: self.clone(), number }
    }

    /// The sums by app, over all connections at one instant, and over each of them at one.
    pub fn by_app(&self) -> BTreeMap<Arc<str>, AppTotals> {
        loop {
            if let Some(sums) = self.sums() {
                return sums;
            }
            // A connection is just about to end its membership, which needs no more than this lock.
            thread::yield_now();
        }
    }

    /// `None`: a connection is neither there any more nor counted as gone yet.
    fn sums(&self) -> Option<BTreeMap<Arc<str>, AppTotals>> {
        let connections = self.connections.lock();
        let live = connections.live.values();
        // Held: none of them goes, and would be counted among those that are gone. Nor is any lock of theirs taken, or
        // the last of one let go, while this one is held.
        let live: Vec<_> = live.map(|(app, connection)| Some((app.clone(), connection.upgrade()?))).collect();
        let gone = connections.gone.iter();
        let mut sums: BTreeMap<_, _> = gone
            .map(|(app, stats)| (app.clone(), AppTotals { stats: *stats, ..AppTotals::default() }))
            .collect();
        drop(connections);
        if live.iter().any(Option::is_none) {
            return None;
        }
        for (app, connection) in live.into_iter().flatten() {
            let (state, counted) = connection.counted();
            let sum = sums.entry(app).or_default();
            sum.stats += counted;
            if let Some(state) = state {
                *sum.states.entry(state.name()).or_default() += 1;
            }
        }
        Some(sums)
    }
}

impl Connections {
    /// The app, unless there are too many.
    fn label(&mut self, app: &str) -> Arc<str> {
        if let Some(known) = self.apps.get(app) {
            return known.clone();
        }
        let label: Arc<str> = if self.apps.len() < MAX_APPS { app.into() } else { OTHER_APPS.into() };
        if self.apps.len() < MAX_APPS {
            self.apps.insert(label.clone());
        }
        label
    }
}

/// The place of a connection among those that are counted.
pub(super) struct Membership {
    totals: Arc<Totals>,
    number: u64,
}

impl Membership {
    pub(super) fn latencies(&self) -> &Latencies {
        &self.totals.latencies
    }

    /// The connection is gone, and this is what it had counted.
    pub(super) fn end(&self, stats: &Stats) {
        let mut connections = self.totals.connections.lock();
        if let Some((app, _connection)) = connections.live.remove(&self.number) {
            *connections.gone.entry(app).or_default() += stats.of_gone();
        }
    }
}
