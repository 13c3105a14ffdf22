//! Receiving: what the messages of one read do to the boxes.

use std::time::{Duration, Instant};

use super::{Boxes, Interest};
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
            self.inbox.push_results(plain);
            self.outbox.result_came();
            kind = Interest::ITEMS;
        }
        for arrival in inbound.arrivals() {
            // An app, or whoever is between it and us, may repeat what it was told.
            let arrival = match arrival {
                Arrival::Realtime { error, fatal } => {
                    Arrival::Realtime { error: without_secrets(error), fatal }
                }
                Arrival::Error(error) => Arrival::Error(without_secrets(error)),
                other => other,
            };
            let more = match arrival {
                Arrival::Result(received, id) => {
                    self.outbox.result_came();
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
                Arrival::Realtime { error, fatal } => {
                    self.outbox.server_spoke();
                    // The server does not say which input failed.
                    let failed = if fatal { self.fail_sent(&error) } else { self.fail_only_request(&error) };
                    self.end_is_told |= fatal && !failed;
                    if failed { Interest::ANSWERS } else { self.push_error(error) }
                }
                Arrival::Error(error) => {
                    self.outbox.server_spoke();
                    self.push_error(error)
                }
                Arrival::Timings(seconds) if self.routes.timings => {
                    self.inbox.push_notice(Notice::Timings(seconds));
                    Interest::NOTICES
                }
                Arrival::Timings(_) => Interest::NONE,
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
