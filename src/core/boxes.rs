//! The boxes of a connection, outbox and inbox, and what follows for the one, and for the caller, from what happens to
//! the other. Who is to be told of it, each method answers.

use std::time::Duration;

use super::{
    inbox::{Inbox, Notice},
    outbox::Outbox,
    session::{Input, State},
    stats::Stats,
};
use crate::error::Error;

mod closing;
mod ending;
mod interest;
mod link_lost;
mod readiness;
mod receiving;
mod sending;
mod server_error;
mod sessions;

pub use interest::Interest;
pub use readiness::Readiness;
pub use sending::Offered;

/// The boxes of one connection, its state, what its caller wants, and what the caller has been told.
#[derive(Debug)]
pub struct Boxes {
    /// The way out.
    pub outbox: Outbox,
    /// The way in.
    pub inbox: Inbox,
    /// Which callbacks there are.
    pub routes: Routes,
    state: State,
    commands: Commands,
    /// A session is a stream.
    streaming: bool,
    /// The server has ended the stream that is being sent, and has not closed its session yet.
    stream_ends: bool,
    /// The newest stream ended while it was being sent.
    stream_ended: bool,
    /// Results that had come when the session began.
    received_before: u64,

    /// Why the connection is over, when it was not the caller's wish.
    failure: Option<Error>,
    /// Whether somebody was told of it.
    failure_is_told: bool,
    /// The message of the newest error that was raised in its place between the results.
    raised: Option<String>,
    /// How the newest session that is over was closed.
    last_close: Option<(u16, String)>,
    /// The code and the reason of our close frame.
    close_frame: (u16, Box<str>),
    /// Messages that the session which has just ended left unanswered, of which nobody has been told.
    left: u64,
    /// Messages that were written in part when it ended, of which nobody has been told.
    left_torn: u64,
    /// The server has given up this session for an error: no more answers come.
    has_failed: bool,
    /// The error with which it ended was given to somebody: that tells of these messages too.
    end_is_told: bool,
    /// The error with which the server has ended the session.
    ended_with: Option<Error>,
    /// How many of the failed messages somebody who drained was told of.
    told_failures: u64,

    /// How many wait for the end of what is under way, and will tell what is lost meanwhile.
    finishers: usize,
    /// The errors that they will tell, which nobody else is told of.
    withheld: Vec<Error>,
    /// How many wait for the opening, and will tell why it failed.
    openers: usize,
    /// The error that they will tell.
    withheld_end: Option<Error>,
    /// Messages without an answer, at most, whose sessions were lost while the connection was finishing.
    lost_while_finishing: u64,

    openings: u64,
    opening_failures: u64,
    reconnects: u64,

    interest: Interest,
    /// The caller's side was told since it said what it waits for.
    notified: bool,
}

/// The commands of the caller to the driver.
#[derive(Debug, Clone, Copy, Default)]
struct Commands {
    /// To open; with whether somebody waits for it.
    open: Option<bool>,
    close: bool,
    /// Nothing more is accepted: what was accepted is to be written and answered.
    finish: bool,
}

/// The routes of what comes, one for each callback that there is: what nobody asked for is not kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Routes {
    /// Results go to `on_result`.
    pub results: bool,
    /// Errors go to `on_error`, not between the results.
    pub errors: bool,
    /// There is an `on_timings`.
    pub timings: bool,
    /// There is an `on_state_change`.
    pub states: bool,
}

/// The settings of boxes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The time between two messages through the throttle.
    pub throttle_interval: Duration,
    /// How many messages and results wait at most, the newest; `None`: all are kept.
    pub max_buffering: Option<u8>,
    /// The bytes of results that wait before reading pauses.
    pub read_ahead: usize,
    /// A session is a stream.
    pub streaming: bool,
}

impl Boxes {
    /// The boxes of a connection in the state `idle`.
    pub fn new(limits: Limits) -> Self {
        Self {
            outbox: Outbox::new(limits.throttle_interval, limits.max_buffering),
            inbox: Inbox::new(limits.max_buffering, limits.read_ahead),
            routes: Routes::default(),
            state: State::Idle,
            commands: Commands::default(),
            streaming: limits.streaming,
            stream_ends: false,
            stream_ended: false,
            received_before: 0,
            failure: None,
            failure_is_told: false,
            raised: None,
            last_close: None,
            close_frame: (1000, Box::default()),
            left: 0,
            left_torn: 0,
            has_failed: false,
            end_is_told: false,
            ended_with: None,
            told_failures: 0,
            finishers: 0,
            withheld: Vec::new(),
            openers: 0,
            withheld_end: None,
            lost_while_finishing: 0,
            openings: 0,
            opening_failures: 0,
            reconnects: 0,
            interest: Interest::NONE,
            notified: false,
        }
    }

    /// Sets which callbacks there are.
    pub fn set_routes(&mut self, routes: Routes) {
        self.routes = routes;
        if routes.results {
            self.inbox.receive();
        }
    }

    /// The state of the connection.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes the connection to another state, unless the caller's close was first, of which the driver learns a little
    /// later. `reason`: the error that led to it, if one did.
    pub fn set_state(&mut self, state: State, reason: Option<Error>) -> Interest {
        let closing = self.state == State::Closing && state != State::Closed;
        if self.state == state || self.state == State::Closed || closing {
            return Interest::NONE;
        }
        self.state = state;
        self.openings += u64::from(state == State::Active);
        if !self.routes.states {
            return Interest::STATE;
        }
        self.inbox.push_notice(Notice::State(state, reason.map(Box::new)));
        Interest::STATE.and(Interest::NOTICES)
    }

    /// How often the connection has become active.
    pub fn openings(&self) -> u64 {
        self.openings
    }

    /// A session is open: what was asked for has been done. `again`: it is not the first.
    pub fn opened(&mut self, again: bool) {
        self.commands.open = None;
        self.reconnects += u64::from(again);
    }

    /// Counts an attempt to open that failed.
    pub fn opening_failed(&mut self) {
        self.opening_failures += 1;
    }

    /// The caller wants the connection to be open. `eager`: somebody waits for it.
    pub fn ask_to_open(&mut self, eager: bool) {
        let before = self.commands.open.unwrap_or(false);
        self.commands.open = Some(before || eager);
    }

    /// The command that the caller has for the driver, as its session takes it. `is_idle`: the session has no socket
    /// and wants none, though a message may have been accepted after the last socket ended and before that was known.
    pub fn take_command(&mut self, is_idle: bool) -> Option<Input> {
        if self.commands.close {
            return Some(Input::Close);
        }
        if let Some(eager) = self.take_open() {
            return Some(Input::Open { eager });
        }
        (is_idle && self.has_unsent()).then_some(Input::Open { eager: false })
    }

    /// Whether somebody wants the connection to be open, and then whether he waits for it.
    pub fn take_open(&mut self) -> Option<bool> {
        self.commands.open.take()
    }

    /// How many messages have passed in either direction.
    pub fn moved(&self) -> u64 {
        self.outbox.accepted() + self.inbox.received()
    }

    /// Whether messages wait to be written.
    pub fn has_unsent(&self) -> bool {
        self.outbox.pending() > 0
    }

    /// The counters, at one instant.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            reconnects: self.reconnects,
            openings: self.openings,
            opening_failures: self.opening_failures,
            ..Stats::default()
        };
        self.outbox.report(&mut stats);
        self.inbox.report(&mut stats);
        stats
    }
}

#[cfg(test)]
mod tests;
