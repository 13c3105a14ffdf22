//! The timers of a link.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{Ending, Event, Link};
use crate::core::{frame::Control, heartbeat::Beat, session::Loss};

impl Link {
    // --- time ---

    /// Runs the timers. `Pending` when there is nothing to do before one of them.
    pub(super) fn tend(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(wake_at) = self.wake_at else { return Poll::Pending };
        let set_to = self.sleep.deadline().into_std();
        // Set anew only when it would ring too late; when it rings too early, that is found out below.
        if wake_at < set_to || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(wake_at.into());
        }
        if self.sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if self.ends_by.is_some_and(|by| by <= now) {
            let loss = match std::mem::replace(&mut self.ending, Ending::None) {
                Ending::LastWords(loss) | Ending::Hearing(loss) => loss,
                Ending::Condemned(violation) => {
                    self.ends_by = None;
                    let loss = self.condemn(violation);
                    self.fail(loss);
                    return Poll::Ready(None);
                }
                _ => Loss::Broken("the server did not close in time".into()),
            };
            return Poll::Ready(Some(Event::Lost(loss)));
        }
        match self.heartbeat.poll(now) {
            Beat::Idle => {}
            Beat::Ping => self.writer.push_control(Control::Ping, b""),
            Beat::Lost => {
                return Poll::Ready(Some(Event::Lost(Loss::Broken(
                    "the server did not answer a ping in time".into(),
                ))));
            }
        }
        Poll::Ready(None)
    }
}
