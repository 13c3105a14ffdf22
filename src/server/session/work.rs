//! The work of a session on its inputs, one step after the other.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Output, Session};
use crate::server::{apps::Builtin, builtin_results, msgpack::Map};

/// The work of a session at present.
pub(super) enum Work {
    /// Nothing: the next input starts something.
    Waiting,
    /// A unary input is processed since `started`; `result` is when and what it will give.
    Unary { started: Instant, result: Option<(Instant, Bytes)> },
    /// The stream app answers its input.
    Streaming { started: Instant, input: Bytes, index: u64, count: u64, every: Duration, due: Instant },
    /// The session is over.
    Ended,
}

impl Session {
    /// Works until something must be waited for, or enough is there to be sent.
    pub(super) fn advance(&mut self, now: Instant) {
        self.watch_the_clock(now);
        while !self.is_saturated() && self.step(now) {}
    }

    fn watch_the_clock(&mut self, now: Instant) {
        let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) else { return };
        if self.inputs_ended {
            // Python's `TimeoutError` says nothing about itself.
            return self.fail("");
        }
        self.inputs_ended = true;
        // What is being processed may be finished, in as much time again.
        self.deadline = self.options.session_timeout.map(|timeout| deadline + timeout);
    }

    /// One step of work; `false` when there is none to do now.
    fn step(&mut self, now: Instant) -> bool {
        match &mut self.work {
            Work::Waiting => match self.take_input() {
                Some(input) => self.start(input, now),
                None if self.inputs_ended => self.run_out_of_inputs(),
                None => return false,
            },
            Work::Unary { started, result } => {
                let Some((_, result)) = result.take_if(|(due, _)| *due <= now) else { return false };
                let took = now - *started;
                self.outputs.push(Output::Binary(result));
                self.complete(took);
            }
            Work::Streaming { started, input, index, count, every, due } => {
                if *index == *count {
                    let took = now - *started;
                    self.emit_timings(took);
                    self.end();
                } else if *due <= now {
                    let result = builtin_results::stream(Map::of(input), *index, *count);
                    *index += 1;
                    *due += *every;
                    self.outputs.push(Output::Binary(result));
                } else {
                    return false;
                }
            }
            Work::Ended => return false,
        }
        true
    }

    /// Starts to process an input.
    fn start(&mut self, input: Bytes, now: Instant) {
        let Some(map) = Map::of(&input) else {
            return self.fail("Expected a dict as input");
        };
        match self.builtin {
            Builtin::Echo => {
                let due = now + delay(map);
                self.work = Work::Unary { started: now, result: Some((due, input)) };
            }
            Builtin::Image => {
                let due = now + delay(map);
                let result = builtin_results::image(map, &self.images);
                self.work = Work::Unary { started: now, result: Some((due, result)) };
            }
            Builtin::Stream => {
                let (count, every) = (map.natural("count").unwrap_or(3), delay(map));
                self.deadline = None;
                let due = now + every;
                self.work = Work::Streaming { started: now, input, index: 0, count, every, due };
            }
            Builtin::Collect => {
                self.taken += 1;
                self.taken_bytes += input.len() as u64;
                if map.flag("final") {
                    self.outputs.push(Output::Binary(builtin_results::collect(
                        Some(map),
                        self.taken,
                        self.taken_bytes,
                    )));
                    self.end();
                }
            }
            Builtin::Bidi if map.flag("end") => self.end(),
            Builtin::Bidi => {
                self.outputs.push(Output::Binary(builtin_results::bidi(&input, self.taken)));
                self.taken += 1;
            }
        }
    }

    fn run_out_of_inputs(&mut self) {
        if self.builtin == Builtin::Collect {
            self.outputs.push(Output::Binary(builtin_results::collect(None, self.taken, self.taken_bytes)));
        }
        self.end();
    }

    /// A unary result was given: the next input may come.
    fn complete(&mut self, took: Duration) {
        self.emit_timings(took);
        self.work = Work::Waiting;
    }
}

/// The `delay` of an input, in seconds; at most a day.
fn delay(input: Map<'_>) -> Duration {
    let seconds = input.number("delay").unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds.clamp(0.0, 86_400.0)).unwrap_or_default()
}
