//! One WebSocket connection: a future whose every poll reads all there is, lets the session work, and flushes once.

use std::{
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{Sink, Stream as _};
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep_until},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::CapacityError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    conversation::Conversation,
    registry::{Entry, Order},
    session::Output,
    shared::Shared,
    stream::Stream,
};

/// So many messages are read before others have their turn.
const BATCH: usize = 256;

/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection ended; only that it did matters to anyone.
type Step<T = ()> = ControlFlow<(), T>;

/// A connection until it ends.
pub(super) struct Connection {
    socket: WebSocketStream<Stream>,
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
}

impl Connection {
    pub(super) fn new(
        socket: WebSocketStream<Stream>,
        shared: Arc<Shared>,
        entry: Entry,
        session: Conversation,
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
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Step {
        let now = Instant::now();
        self.follow_orders(cx, now)?;
        if self.blocked {
            self.flush(cx)?;
        }
        if !self.shared.faults.is_paused() {
            let unread = self.read(cx, now)?;
            let unwritten = self.write_results(cx, now)?;
            if unread || unwritten {
                cx.waker().wake_by_ref();
            }
        }
        self.flush(cx)?;
        self.watch_the_clock(cx, now)
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
                Order::InputsTaken => self.session.resume(),
                Order::Resume => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads what is there; whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Step<bool> {
        let unread = self.read_messages(cx, now)?;
        self.session.end_of_read(now, self.blocked);
        ControlFlow::Continue(unread)
    }

    fn read_messages(&mut self, cx: &mut Context<'_>, now: Instant) -> Step<bool> {
        for _ in 0..BATCH {
            match self.session.has_room() {
                // Somebody will say when.
                None => return ControlFlow::Continue(false),
                Some(has_room) if !has_room || (self.session.is_saturated() && !self.blocked) => {
                    return ControlFlow::Continue(!self.blocked);
                }
                Some(_) => {}
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => self.receive(message, now),
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
                self.shared.records.messages_received.add(1);
                if self.closing.is_none() {
                    self.session.input(input, now);
                }
            }
            Message::Text(text) => {
                self.shared.records.messages_received.add(1);
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

    /// Writes what the session has to say, as long as the client takes it; whether there may be more.
    fn write_results(&mut self, cx: &mut Context<'_>, now: Instant) -> Step<bool> {
        for _ in 0..BATCH * 2 {
            if self.closing.is_some() || self.blocked {
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
        }
        ControlFlow::Continue(true)
    }

    fn send(&mut self, message: Message) -> Step {
        if self.closing.is_some() {
            return ControlFlow::Continue(());
        }
        self.unflushed = true;
        self.shared.records.messages_sent.add(1);
        ended_by(Pin::new(&mut self.socket).start_send(message))
    }

    fn close(&mut self, code: u16, reason: String, now: Instant) -> Step {
        if self.closing.is_some() {
            return ControlFlow::Continue(());
        }
        self.closing = Some(now + CLOSE_TIMEOUT);
        self.unflushed = true;
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        ended_by(Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))))
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
            None if self.blocked || self.shared.faults.is_paused() => return ControlFlow::Continue(()),
            None => match self.session.wake_at() {
                Some(due) => due,
                None => return ControlFlow::Continue(()),
            },
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
