//! Pausing the reader: when, and what that means for requests.

use super::{Inbox, MAX_NOTICES, REQUEST_SLACK};
use crate::error::{Error, ErrorKind};

impl Inbox {
    /// Whether the socket should not be read for now.
    pub fn should_pause(&mut self) -> bool {
        let notices = self.notices.len();
        let is_crowded = notices >= MAX_NOTICES || (self.paused && notices > MAX_NOTICES / 2);
        // Results that nobody receives make room for each other, as do those of which only the newest count.
        let is_over_high_water = self.lossless && self.receiving && self.is_over_high_water();
        self.paused = is_crowded || is_over_high_water;
        self.paused
    }

    fn is_over_high_water(&mut self) -> bool {
        let weight = self.ring.weight();
        if weight < self.high_water_bytes {
            return self.paused && weight > self.high_water_bytes / 2;
        }
        if self.is_full() {
            // Their answers may be behind what is not taken: better an error than a hang.
            self.requests.fail_waiting(|sent| sent, &unread(self.slack_bytes()));
            self.requests.fail_unaccepted(&unread_before());
            return true;
        }
        !self.requests.any_open()
    }

    /// Whether so much waits to be taken that not even the answer to a request would be read.
    pub fn is_full(&self) -> bool {
        self.lossless && self.receiving && self.ring.weight() >= self.slack_bytes()
    }

    fn slack_bytes(&self) -> usize {
        self.high_water_bytes.saturating_mul(REQUEST_SLACK)
    }

    /// Whether reading is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

/// Why a request is not even sent.
pub fn unread_before() -> Error {
    let why = "so many results wait to be taken that the answer to a request would not be read: it was not sent; take \
               results with recv(), iteration or on_result";
    Error::new(ErrorKind::BufferFull, why).transient()
}

fn unread(bytes: usize) -> Error {
    const MIB: usize = 1 << 20;
    let size = if bytes < MIB { format!("{bytes} bytes") } else { format!("{} MiB", bytes / MIB) };
    let message = format!(
        "{size} of results wait to be taken, so reading has stopped before this request's answer came: the request was \
         sent and may have run; take results with recv(), iteration or on_result"
    );
    Error::new(ErrorKind::Unread, message)
}
