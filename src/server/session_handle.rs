//! One open connection as whoever controls the server sees it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{
    faults::CloseAfter,
    orders::{Mailbox, Order},
    records::HandshakeRecord,
    tally::Tally,
};

/// A session of an app. What it is told is done without waiting for its client, and not at all once it is over.
#[derive(Clone)]
pub struct SessionHandle {
    pub(super) id: u64,
    pub(super) app: String,
    pub(super) handshake: Arc<HandshakeRecord>,
    pub(super) mailbox: Mailbox,
    pub(super) tally: Arc<Tally>,
}

impl SessionHandle {
    /// Its number; none is given out twice. Those of later sessions are greater.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name of the app.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The handshake that opened it.
    pub fn handshake(&self) -> &HandshakeRecord {
        &self.handshake
    }

    /// Whether its connection is open.
    pub fn is_open(&self) -> bool {
        !self.tally.is_over()
    }

    /// How many messages came, without control frames.
    pub fn messages_received(&self) -> u64 {
        self.tally.received()
    }

    /// How many messages were sent, without control frames.
    pub fn messages_sent(&self) -> u64 {
        self.tally.sent()
    }

    /// Sends a binary message as it is.
    pub fn send_binary(&self, data: Bytes) {
        self.mailbox.send(Order::SendBinary(data));
    }

    /// Sends a text message as it is.
    pub fn send_text(&self, text: String) {
        self.mailbox.send(Order::SendText(text));
    }

    /// Sends a close frame. The reason is cut to the 123 bytes that fit.
    pub fn close(&self, code: u16, reason: &str) {
        self.mailbox.send(Order::close(code, reason));
    }

    /// Closes it after so many messages; `None`: not any more.
    pub fn close_after(&self, close_after: Option<CloseAfter>) {
        self.mailbox.send(Order::CloseAfter(close_after));
    }

    /// Closes the connection without a close frame: resets it if `abrupt`, else just ends it.
    pub fn drop_connection(&self, abrupt: bool) {
        self.mailbox.send(Order::Drop { abrupt });
    }

    /// Stops reading, so that inputs and pings go unanswered; or goes on.
    pub fn set_paused(&self, is_paused: bool) {
        self.mailbox.send(Order::Pause(is_paused));
    }

    /// Holds back what the app says; or lets it go out.
    pub fn set_silent(&self, is_silent: bool) {
        self.mailbox.send(Order::Silence(is_silent));
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("id", &self.id).field("app", &self.app).finish_non_exhaustive()
    }
}
