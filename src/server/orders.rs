//! Orders: what other threads tell a connection, and the way there.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::core::frame::fitting_reason;

use super::{backlog::Backlog, faults::CloseAfter, jobs::Response};

/// Something a connection is told.
pub(super) enum Order {
    /// Send this as it is.
    SendBinary(Bytes),
    SendText(String),
    /// Close with this code and reason.
    Close(u16, String),
    /// Close the TCP connection, or reset it.
    Drop {
        abrupt: bool,
    },
    /// What a handler says to the session.
    Respond(Response),
    /// Close after so many messages, or not any more.
    CloseAfter(Option<CloseAfter>),
    /// Read nothing, or go on.
    Pause(bool),
    /// Hold back what the app says, or let it go.
    Silence(bool),
    /// The handler has taken all inputs.
    InputsTaken,
    /// Look again whether the server is paused.
    Resume,
}

impl Order {
    /// To close with this code, and with as much of the reason as fits.
    pub(super) fn close(code: u16, reason: &str) -> Self {
        Self::Close(code, fitting_reason(reason).to_owned())
    }
}

/// The way to a connection, for its orders.
#[derive(Clone)]
pub(super) struct Mailbox {
    orders: mpsc::UnboundedSender<Order>,
    backlog: Arc<Backlog>,
}

impl Mailbox {
    pub(super) fn new(orders: mpsc::UnboundedSender<Order>, backlog: Arc<Backlog>) -> Self {
        Self { orders, backlog }
    }

    pub(super) fn send(&self, order: Order) {
        // A connection that is gone needs no orders.
        let _ = self.orders.send(order);
    }

    /// Passes on what a handler says; `false` when it must not say more for now.
    pub(super) fn respond(&self, response: Response) -> bool {
        self.backlog.add(response.weight());
        self.send(Order::Respond(response));
        self.backlog.may_go_on()
    }
}
