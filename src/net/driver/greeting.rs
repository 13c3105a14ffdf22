//! The opening of a session in which the caller sends before all others.

use std::{
    pin::{Pin, pin},
    sync::atomic::Ordering,
    time::Instant,
};

use super::{Driver, driving::Driving};
use crate::{core::session::Input, error::Result, net::link::Link};

/// The caller's hook, within the time that there is for it.
pub(super) type Greeting = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Driver {
    /// From now on only what the caller sends in the hook is written. To be followed by the start of the link.
    pub(super) fn begin_greeting(&mut self, socket: u64) {
        self.connection.shared.lock().boxes.outbox.opens(socket);
        self.connection.shared.is_greeting.store(true, Ordering::Release);
        let asked = self.connection.hooks().and_then(|hooks| hooks.on_open(socket));
        let asked = asked.unwrap_or_else(|| Box::pin(std::future::ready(Ok(()))));
        let greeting = self.in_time("on_open was not done", asked);
        *self.greeting.get_mut() = Some(Box::pin(greeting));
    }

    /// All others may send. What the caller has sent and has not been written goes first.
    pub(super) fn end_greeting(&mut self) {
        *self.greeting.get_mut() = None;
        self.connection.shared.is_greeting.store(false, Ordering::Release);
        self.connection.shared.lock().boxes.outbox.opened();
    }

    /// Drives the link until the hook is done.
    pub(super) async fn greet(&mut self) -> Result<Input> {
        let socket = self.session.socket();
        let Some(mut greeting) = self.greeting.get_mut().take() else { return Ok(Input::Greeted { socket }) };
        let input = {
            let mut driving = pin!(self.drive());
            tokio::select! {
                biased;
                // What the server has to say about the session comes first.
                input = &mut driving => Err(input?),
                greeted = &mut greeting => Ok(greeted),
            }
        };
        // Whoever waits for this opening by now is told what comes of it.
        let open = self.connection.shared.lock().boxes.take_open();
        if let Some(eager) = open {
            self.session.handle(Instant::now(), 0.0, Input::Open { eager });
        }
        Ok(match input {
            Ok(Ok(())) => Input::Greeted { socket },
            Ok(Err(error)) => {
                let traffic = self.connection.shared.lock().boxes.traffic();
                Input::GreetFailed { socket, error, traffic }
            }
            Err(Input::Close) => {
                self.with_link(Link::close);
                Driving::write_once(&self.connection);
                Input::Close
            }
            Err(input) => {
                // If the session goes on, so does the hook.
                *self.greeting.get_mut() = Some(greeting);
                input
            }
        })
    }
}
