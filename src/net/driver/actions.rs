//! The session's actions, as they follow from an input.

use std::time::Instant;

use super::{Activity, Driver, STREAM_CLOSES_WITHIN, driving::Driving};
use crate::{
    core::{
        outbox::SessionEnd,
        session::{Action, Input, State},
    },
    error::{Error, ErrorKind},
    net::{
        connection::OpenLink, driven::Side, link::Link, poller::Poller, recorder::Close, report, shared,
        socket::Socket, upgrade::Opened,
    },
};

impl Driver {
    pub(super) fn step(&mut self, input: Input) {
        let before = self.session.state();
        if before == State::Idle {
            // How the last session ended is no reason why the next one does not open.
            self.connection.shared.lock().not_open = None;
        }
        let was_greeting = self.session.is_greeting();
        let actions = self.session.handle(Instant::now(), fastrand::f64(), input);
        self.count_failed_attempt();
        self.work = match self.session.state() {
            State::Active | State::Closing => Activity::Drive,
            State::Connecting if self.session.is_greeting() => Activity::Greet,
            _ => Activity::Rest,
        };
        let mut led_to_it = self.tell_loss();
        for action in actions {
            match action {
                Action::FetchToken { fresh } => self.work = Activity::Token { fresh },
                Action::Dial { socket } => self.work = Activity::Dial { socket },
                Action::Wait { delay, reason } => {
                    report::notable(|| {
                        format!("{self}: {reason}; trying again in {:.2} s", delay.as_secs_f64())
                    });
                    self.connection.shared.lock().failed(&reason);
                    led_to_it = Some(reason);
                    self.work = Activity::Sleep(delay);
                }
                Action::Greet { socket } => {
                    self.begin_greeting(socket);
                    self.start_opened();
                }
                Action::Abandon => {
                    self.opened = None;
                    self.drop_link(SessionEnd::Lost, Close::abandoned(""));
                }
                Action::StopWriting => {
                    let is_stream = self.connection.shared.settings.session.streaming;
                    self.closes_at = is_stream.then(|| Instant::now() + STREAM_CLOSES_WITHIN);
                    self.with_link(Link::stop_writing);
                }
                Action::EndWhenUnused { later } => {
                    self.with_link(|link| link.end_when_unused(later));
                }
                Action::SendClose => {
                    self.with_link(Link::close);
                }
                Action::EndStream => {
                    let mut inner = self.connection.shared.lock();
                    let kind = inner.boxes.end_stream();
                    shared::tell(inner, kind);
                }
                Action::Finish(error) => {
                    let said =
                        led_to_it.take().filter(|said| matches!(said.kind, ErrorKind::Realtime { .. }));
                    let error = error.map(|error| match said {
                        Some(said) => {
                            let message = format!("{error}; the server said: {}", said.message);
                            error.with_message(message).with_source(said)
                        }
                        None => error,
                    });
                    if let Some(error) = &error {
                        report::notable(|| format!("{self}: closed: {error}"));
                        self.connection.shared.lock().failed(error);
                    }
                    self.finish(error);
                }
            }
        }
        if was_greeting && !self.session.is_greeting() {
            self.end_greeting();
        }
        let state = self.session.state();
        // The first opening has one limit for all of its attempts, each later attempt has its own.
        let goes_on = matches!(state, State::Authenticating | State::Connecting)
            || (state == State::Waiting && !self.established);
        if !goes_on {
            self.open_by = None;
        }
        if state == before || state == State::Closed {
            return;
        }
        if state == State::Active {
            self.start_opened();
        }
        if state == State::Idle {
            // Nobody needs the token while nothing is open: no refresh.
            self.lease = None;
        }
        self.show(state, led_to_it);
    }

    pub(super) fn with_link(&self, change: impl FnOnce(&mut Link)) {
        self.connection.with_link(Side::IoThread, |slot| {
            if let Some(open) = slot.as_mut() {
                change(&mut open.link);
            }
        });
    }

    /// Starts the link of the socket that is open, if that has not been done.
    fn start_opened(&mut self) {
        let Some(Opened { stream, leftover, subprotocol }) = self.opened.take() else { return };
        let mut inner = self.connection.shared.lock();
        inner.subprotocol.clone_from(&subprotocol);
        inner.boxes.session_began(Instant::now());
        drop(inner);
        self.connection.record_opening(subprotocol);
        report::debug(|| format!("{self}: open"));
        let poller = self.connection.poller().cloned().or_else(|| Poller::of_io_thread(&self.io));
        self.driving = Driving::default();
        let Ok(socket) = Socket::new(stream, poller.is_some()) else { return };
        let link = Link::new(&self.connection.shared, socket, leftover);
        let registration = poller.map(|poller| poller.register(self.connection.clone()));
        self.connection.with_link(Side::IoThread, |slot| {
            let open = slot.insert(OpenLink::new(link, registration));
            open.link.set_recorder(self.connection.current_recorder());
        });
    }

    fn show(&mut self, state: State, reason: Option<Error>) {
        let mut inner = self.connection.shared.lock();
        if state == State::Active {
            self.attempts = 0;
            inner.not_open = None;
            // With the state: whoever sees the one sees the other.
            inner.boxes.opened(std::mem::replace(&mut self.established, true));
        }
        let before = inner.boxes.openings();
        let kind = inner.boxes.set_state(state, reason);
        if inner.boxes.openings() > before
            && let Some(began) = self.attempt_began.take()
        {
            inner.record(|durations| &durations.opening, began.elapsed());
        }
        shared::tell(inner, kind);
    }
}
