//! Receiving: what the messages of one read do to the boxes.

use std::time::Instant;

use super::{Interest, SharedState};
use crate::core::{
    inbound::{Arrival, Inbound},
    inbox::{Notice, Placed},
};

impl SharedState {
    /// Takes everything that has arrived, in order; it was read `at`. Answers what is there now.
    pub(in crate::net) fn receive(&mut self, inbound: &mut Inbound, at: Option<Instant>) -> Interest {
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
                    Arrival::Realtime { error: self.sent_secrets.without(error), fatal }
                }
                Arrival::Error(error) => Arrival::Error(self.sent_secrets.without(error)),
                other => other,
            };
            let more = match arrival {
                Arrival::Result(received, id) => {
                    self.outbox.result_came();
                    match self.inbox.push_result(received, id.as_deref()) {
                        Placed::Queued => Interest::ITEMS,
                        Placed::Answered(since) => {
                            if let (Some(since), Some(at)) = (since, at) {
                                self.record(
                                    |durations| &durations.request,
                                    at.saturating_duration_since(since),
                                );
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
}
