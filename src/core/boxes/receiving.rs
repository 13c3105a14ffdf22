//! Receiving: what the messages of one read do to the boxes.

use std::time::{Duration, Instant};

use super::{Boxes, Interest, server_error::is_of_gateway};
use crate::{
    core::{
        inbound::{Arrival, Inbound},
        inbox::{Notice, Placed},
    },
    error::Error,
};

impl Boxes {
    /// Takes everything that has arrived, in order; it was read `at`. Answers what is there now.
    ///
    /// `without_secrets` makes an error fit to be shown; `answered` is told how long each request took.
    pub fn receive(
        &mut self,
        inbound: &mut Inbound,
        at: Option<Instant>,
        without_secrets: impl Fn(Error) -> Error,
        answered: impl Fn(Duration),
    ) -> Interest {
        let mut kind = Interest::NONE;
        let plain = inbound.plain();
        if !plain.is_empty() {
            let came = plain.len();
            self.inbox.push_results(plain);
            self.outbox.results_came(came);
            kind = Interest::ITEMS;
        }
        for arrival in inbound.arrivals() {
            // An app, or whoever is between it and us, may repeat what it was told.
            let arrival = match arrival {
                Arrival::Realtime { error, fatal, about } => {
                    Arrival::Realtime { error: without_secrets(error), fatal, about }
                }
                Arrival::Undecodable(error) => Arrival::Undecodable(without_secrets(error)),
                Arrival::Error(error) => Arrival::Error(without_secrets(error)),
                other => other,
            };
            let more = match arrival {
                Arrival::Result(received, id) => {
                    self.outbox.results_came(1);
                    match self.inbox.push_result(received, id.as_deref()) {
                        Placed::Queued => Interest::ITEMS,
                        Placed::Answered(since) => {
                            if let (Some(since), Some(at)) = (since, at) {
                                answered(at.saturating_duration_since(since));
                            }
                            Interest::ANSWERS
                        }
                        Placed::Late => Interest::NONE,
                    }
                }
                Arrival::Realtime { error, fatal, about } => {
                    if fatal {
                        self.outbox.server_spoke();
                        self.count_lost_while_finishing();
                        self.has_failed = true;
                        self.ended_with = Some(error.clone());
                        self.session_ends();
                    } else if is_of_gateway(&error) {
                        // It is the answer to the handshake; the end of the session follows.
                        self.outbox.server_spoke();
                    } else {
                        self.outbox.error_came();
                    }
                    let failed = self.server_failed(&error, fatal, about.as_deref());
                    self.end_is_told |= fatal && !failed;
                    if failed { Interest::ANSWERS } else { self.push_error(error) }
                }
                Arrival::Undecodable(error) => {
                    self.outbox.error_came();
                    self.push_error(error)
                }
                Arrival::Error(error) => {
                    self.outbox.server_spoke();
                    self.push_error(error)
                }
                Arrival::Timings(seconds) => {
                    // The app has worked.
                    self.outbox.server_spoke();
                    if self.routes.timings {
                        self.inbox.push_notice(Notice::Timings(seconds));
                        Interest::NOTICES
                    } else {
                        Interest::NONE
                    }
                }
                Arrival::EndOfSession => {
                    self.outbox.server_spoke();
                    self.session_ends();
                    Interest::NONE
                }
            };
            kind = kind.and(more);
        }
        inbound.rest();
        kind
    }

    /// An error of the server's, or about what it sent, to whom errors go.
    pub(super) fn push_error(&mut self, error: Error) -> Interest {
        if self.routes.errors {
            self.inbox.push_notice(Notice::Error(error));
            Interest::NOTICES
        } else {
            self.inbox.push_error(error);
            Interest::ITEMS
        }
    }
}
