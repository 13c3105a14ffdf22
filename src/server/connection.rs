//! One WebSocket connection: a future whose every poll reads all there is, lets the session work, and flushes once.

use std::{
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::Sink;
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep_until},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    byte_stream::ByteStream,
    conversation::Conversation,
    faults::{Begun, CloseAfter, Counted},
    orders::Order,
    registry::Entry,
    session::Output,
    shared::Shared,
};

mod reading;

/// The messages that are read before others have their turn.
const MAX_MESSAGES_A_TURN: usize = 256;

/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// RFC 6455, section 7.1.5: a close frame without a code.
const NO_STATUS: u16 = 1005;

/// Why a connection ended; only that it did matters to anyone.
type Step<T = ()> = ControlFlow<(), T>;

/// A connection until it ends.
pub(super) struct Connection {
    socket: WebSocketStream<ByteStream>,
    shared: Arc<Shared>,
    entry: Entry,
    session: Conversation,
    /// A close frame was sent or received; by then the connection must end.
    closing: Option<Instant>,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The client does not take what was written.
    blocked: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// The connection is to be reset, not ended.
    abrupt: bool,
    /// Nothing is read.
    is_paused: bool,
    /// What the app says is held back.
    is_silent: bool,
    close_after: Option<CloseAfter>,
}

impl Connection {
    pub(super) fn new(
        socket: WebSocketStream<ByteStream>,
        shared: Arc<Shared>,
        entry: Entry,
        session: Conversation,
        begun: Begun,
    ) -> Self {
        Self {
            socket,
            shared,
            entry,
            session,
            closing: None,
            unflushed: false,
            blocked: false,
            timer: None,
            abrupt: false,
            is_paused: false,
            is_silent: begun.is_silent,
            close_after: begun.close_after,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Step {
        let now = Instant::now();
        self.follow_orders(cx, now)?;
        self.close_if_enough(cx, now)?;
        if self.blocked {
            self.flush(cx)?;
        }
        if !self.is_paused() {
            self.session.begin_if_warm(now);
            let unread = self.read(cx, now)?;
            let unwritten = self.write_results(cx, now)?;
            if unread || unwritten {
                cx.waker().wake_by_ref();
            }
        }
        self.flush(cx)?;
        self.watch_the_clock(cx, now)
    }

    fn is_paused(&self) -> bool {
        self.is_paused || self.shared.faults.is_paused()
    }

    fn follow_orders(&mut self, cx: &mut Context<'_>, now: Instant) -> Step {
        while let Poll::Ready(Some(order)) = self.entry.inbox.poll_recv(cx) {
            match order {
                Order::SendBinary(data) => self.send(Message::Binary(data))?,
                Order::SendText(text) => self.send(Message::text(text))?,
                Order::Close(code, reason) => self.close(code, reason, now)?,
                Order::Drop { abrupt } => {
                    self.abrupt = abrupt;
                    return ControlFlow::Break(());
                }
                Order::Respond(response) => {
                    self.entry.taken(&response);
                    self.session.respond(response);
                }
                Order::CloseAfter(close_after) => self.close_after = close_after,
                Order::Pause(is_paused) => self.is_paused = is_paused,
                Order::Silence(is_silent) => {
                    if self.is_silent && !is_silent {
                        self.session.restart_clock(now);
                    }
                    self.is_silent = is_silent;
                }
                Order::InputsTaken => self.session.resume(),
                Order::Resume => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// Closes as soon as the messages have passed after which it is to.
    fn close_if_enough(&mut self, cx: &mut Context<'_>, now: Instant) -> Step {
        let Some(CloseAfter { messages, counted, .. }) = &self.close_after else {
            return ControlFlow::Continue(());
        };
        let passed = match counted {
            Counted::Received => self.entry.tally.received(),
            Counted::Sent => self.entry.tally.sent(),
        };
        if passed < *messages {
            return ControlFlow::Continue(());
        }
        if let Some((code, reason)) = self.close_after.take().and_then(|close_after| close_after.frame) {
            return self.close(code, reason, now);
        }
        self.flush(cx)?;
        ControlFlow::Break(())
    }

    /// Writes what the session has to say, as long as the client takes it; whether there may be more.
    fn write_results(&mut self, cx: &mut Context<'_>, now: Instant) -> Step<bool> {
        for _ in 0..MAX_MESSAGES_A_TURN * 2 {
            if self.closing.is_some() || self.blocked {
                return ControlFlow::Continue(false);
            }
            if self.is_silent {
                self.entry.block();
                return ControlFlow::Continue(false);
            }
            if Pin::new(&mut self.socket).poll_ready(cx).is_pending() {
                self.blocked = true;
                self.entry.block();
                return ControlFlow::Continue(false);
            }
            match self.session.next_output(now) {
                Some(Output::Binary(result)) => self.send(Message::Binary(result))?,
                Some(Output::Text(text)) => self.send(Message::text(text))?,
                Some(Output::Close(code, reason)) => self.close(code, reason, now)?,
                Some(Output::End) => {
                    self.flush(cx)?;
                    return ControlFlow::Break(());
                }
                None => {
                    if self.entry.wrote_all() {
                        self.session.writable();
                    }
                    return ControlFlow::Continue(false);
                }
            }
            self.close_if_enough(cx, now)?;
        }
        ControlFlow::Continue(true)
    }

    fn send(&mut self, message: Message) -> Step {
        if self.closing.is_some() {
            return ControlFlow::Continue(());
        }
        self.unflushed = true;
        self.shared.records.messages_sent.add(1);
        self.entry.tally.send();
        ended_by(Pin::new(&mut self.socket).start_send(message))
    }

    fn close(&mut self, code: u16, reason: String, now: Instant) -> Step {
        if self.closing.is_some() {
            return ControlFlow::Continue(());
        }
        self.closing = Some(now + CLOSE_TIMEOUT);
        self.unflushed = true;
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let frame = Some(frame).filter(|_| code != NO_STATUS);
        ended_by(Pin::new(&mut self.socket).start_send(Message::Close(frame)))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Step {
        if !self.unflushed {
            return ControlFlow::Continue(());
        }
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.unflushed = false;
                if self.blocked {
                    // The session may go on with what it kept.
                    self.blocked = false;
                    cx.waker().wake_by_ref();
                }
                ended_by(flushed)
            }
            Poll::Pending => {
                self.blocked = true;
                self.entry.block();
                ControlFlow::Continue(())
            }
        }
    }

    /// Makes sure of another turn when the session or the closing has something due.
    fn watch_the_clock(&mut self, cx: &mut Context<'_>, now: Instant) -> Step {
        let due = match self.closing {
            Some(due) if due <= now => return ControlFlow::Break(()),
            Some(due) => due,
            // A paused or blocked session is woken by what ends that.
            None if self.blocked || self.is_paused() => return ControlFlow::Continue(()),
            None => {
                let due = if self.is_silent { self.session.passes_on_at() } else { self.session.wake_at() };
                let Some(due) = due else { return ControlFlow::Continue(()) };
                due
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        // An armed timer that is early costs one idle turn; arming it anew at each message would cost more.
        if due < timer.deadline().into_std() || timer.is_elapsed() {
            timer.as_mut().reset(due.into());
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        ControlFlow::Continue(())
    }
}

/// Every error of the socket ends the connection.
fn ended_by(result: Result<(), WsError>) -> Step {
    if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.turn(cx).is_continue() {
            return Poll::Pending;
        }
        if self.abrupt {
            self.socket.get_ref().reset_on_drop();
        } else {
            // A TLS client is told that nothing was cut off; best effort, without waiting.
            let _ = Pin::new(self.socket.get_mut()).poll_shutdown(cx);
        }
        Poll::Ready(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.disconnected();
    }
}
