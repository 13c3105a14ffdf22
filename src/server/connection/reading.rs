//! The way in: messages of the client, up to what the session has room for.

use std::{
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::Stream as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, error::CapacityError};

use super::{CLOSE_TIMEOUT, Connection, MAX_MESSAGES_A_TURN, Step};

impl Connection {
    /// Reads what is there; whether there may be more.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Step<bool> {
        let unread = self.read_messages(cx, now)?;
        self.session.end_of_read(now, self.blocked);
        ControlFlow::Continue(unread)
    }

    fn read_messages(&mut self, cx: &mut Context<'_>, now: Instant) -> Step<bool> {
        for _ in 0..MAX_MESSAGES_A_TURN {
            match self.session.has_room() {
                // Somebody will say when.
                None => return ControlFlow::Continue(false),
                Some(has_room) if !has_room || (self.session.is_saturated() && !self.blocked) => {
                    // What is held back ends when an order comes.
                    return ControlFlow::Continue(!self.blocked && !self.is_silent);
                }
                Some(_) => {}
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    self.receive(message, now);
                    self.close_if_enough(cx, now)?;
                }
                Poll::Ready(Some(Err(error))) => return self.refuse(cx, &error),
                Poll::Ready(None) => return ControlFlow::Break(()),
                Poll::Pending => return ControlFlow::Continue(false),
            }
        }
        ControlFlow::Continue(true)
    }

    fn receive(&mut self, message: Message, now: Instant) {
        match message {
            Message::Binary(input) => {
                self.count_received();
                if self.closing.is_none() {
                    self.session.input(input, now);
                }
            }
            Message::Text(text) => {
                self.count_received();
                if self.closing.is_none() {
                    self.session.text_input(&text, now);
                }
            }
            Message::Ping(_) => {
                // Tungstenite has queued the pong.
                self.shared.records.pings_received.add(1);
                self.unflushed = true;
            }
            Message::Close(_) => {
                self.closing.get_or_insert(now + CLOSE_TIMEOUT);
                self.unflushed = true;
            }
            Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    fn count_received(&self) {
        self.shared.records.messages_received.add(1);
        self.entry.tally.receive();
    }

    /// Answers a breach of the WebSocket protocol with its close code, and ends.
    fn refuse(&mut self, cx: &mut Context<'_>, error: &WsError) -> Step<bool> {
        let (code, reason) = match error {
            // In the words of uvicorn's `websockets`.
            WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                (1009, format!("frame with {size} bytes exceeds limit of {max_size} bytes"))
            }
            WsError::Utf8(_) => (1007, String::new()),
            WsError::Protocol(_) => (1002, String::new()),
            _ => return ControlFlow::Break(()),
        };
        self.close(code, reason, Instant::now())?;
        // Once, without waiting: the peer does not keep to the rules.
        self.flush(cx)?;
        ControlFlow::Break(())
    }
}
