//! What a running server can be told: faults, and what connections are to do.

use std::{io, time::Duration};

use bytes::Bytes;

use super::{
    Server,
    cold_start::ColdStart,
    faults::{CloseAfter, Refusal},
    orders::Order,
    session_handle::SessionHandle,
    thread::Command,
};

impl Server {
    /// Closes every connection without a close frame: resets it if `abrupt`, else just ends it.
    pub fn drop_connections(&self, abrupt: bool) {
        self.shared.registry.tell_all(|| Order::Drop { abrupt });
    }

    /// Sends every connection a close frame. The reason is cut to the 123 bytes that fit.
    pub fn close_all(&self, code: u16, reason: &str) {
        self.shared.registry.tell_all(|| Order::close(code, reason));
    }

    /// Sends every connection a binary message as it is.
    pub fn send_binary(&self, data: Bytes) {
        self.shared.registry.tell_all(|| Order::SendBinary(data.clone()));
    }

    /// Sends every connection a text message as it is.
    pub fn send_text(&self, text: &str) {
        self.shared.registry.tell_all(|| Order::SendText(text.to_owned()));
    }

    /// The open sessions of an app, or of all, in the order in which they were opened.
    pub fn sessions(&self, app: Option<&str>) -> Vec<SessionHandle> {
        self.shared.registry.sessions(app)
    }

    /// Refuses the next `count` handshakes, or all from now on, of an app or of all; `None` refuses no more.
    pub fn refuse(&self, app: Option<&str>, refusal: Option<Refusal>, count: Option<u64>) {
        self.shared.faults.refuse(app, refusal, count);
    }

    /// Holds back what an app, or all, says in sessions that are open and that will be; or lets it go.
    pub fn set_silent(&self, app: Option<&str>, is_silent: bool) {
        self.shared.faults.set_silent(app, is_silent);
        self.shared.registry.tell_sessions(app, || Order::Silence(is_silent));
    }

    /// Lets an app, or all, be cold for sessions from now on; `None` ends that for those to come.
    pub fn set_cold_start(&self, app: Option<&str>, cold: Option<ColdStart>) {
        self.shared.faults.set_cold_start(app, cold);
    }

    /// Closes sessions of an app, or of all, that begin from now on after so many messages; `None`: not any more.
    pub fn close_after(&self, app: Option<&str>, close_after: Option<CloseAfter>) {
        self.shared.faults.set_close_after(app, close_after);
    }

    /// Stalls: no socket is read, so that pings, handshakes and token requests go unanswered; or goes on.
    pub fn set_paused(&self, paused: bool) {
        self.shared.faults.set_paused(paused);
        if !paused {
            self.shared.registry.tell_all(|| Order::Resume);
        }
    }

    /// Makes every token issued so far invalid, for handshakes to come.
    pub fn expire_tokens(&self) {
        self.shared.tokens.lock().expire_all();
    }

    /// Fails the next `count` token requests like this; without it, closes their connections unanswered.
    pub fn fail_mints(&self, count: u32, failure: Option<Refusal>) {
        self.shared.faults.fail_mints(count, failure);
    }

    /// Answers token requests so much later.
    pub fn set_mint_delay(&self, delay: Duration) {
        self.shared.faults.set_mint_delay(delay);
    }

    /// Answers handshakes so much later.
    pub fn set_handshake_delay(&self, delay: Duration) {
        self.shared.faults.set_handshake_delay(delay);
    }

    /// Closes the listening socket: new connections are refused by the system. Open ones stay.
    pub fn stop_listening(&self) -> io::Result<()> {
        self.order_thread(Command::StopListening)
    }

    /// Listens again on the same port.
    pub fn start_listening(&self) -> io::Result<()> {
        self.order_thread(Command::StartListening)
    }
}
