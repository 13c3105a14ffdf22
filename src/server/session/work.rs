//! The work of a session on its inputs, one step after the other.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Output, Session};
use crate::server::{
    apps::Builtin,
    builtin_inputs::{BidiFields, CollectFields, EchoFields, ImageFields, StreamFields},
    builtin_results,
    msgpack::Input,
};

/// The work of a session at present.
pub(super) enum Work {
    /// Nothing: the next input starts something.
    Waiting,
    /// A unary input is processed since `started`; `result` is when and what it will give.
    Unary { started: Instant, result: Option<(Instant, Bytes)> },
    /// The stream app answers its input.
    Streaming { started: Instant, request_id: Option<Bytes>, fields: StreamFields, index: u64, due: Instant },
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
            Work::Streaming { started, request_id, fields, index, due } => {
                if *index == fields.count() {
                    let took = now - *started;
                    self.emit_timings(took);
                    self.end();
                } else if *due <= now {
                    let result = builtin_results::stream(request_id.as_deref(), fields, *index);
                    *index += 1;
                    *due += fields.delay();
                    self.give(result);
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
        if let Err(reason) = self.take_up(input, now) {
            self.fail(&reason);
        }
    }

    /// The same; the error is why it is not acceptable.
    fn take_up(&mut self, bytes: Bytes, now: Instant) -> Result<(), String> {
        let input = Input::of(&bytes)?;
        let request_id = input.request_id();
        match self.builtin {
            Builtin::Echo => {
                let due = now + input.fields::<EchoFields>()?.delay();
                self.work = Work::Unary { started: now, result: Some((due, bytes)) };
            }
            Builtin::Image => {
                let fields: ImageFields = input.fields()?;
                let result = builtin_results::image(request_id, &fields, &self.images)?;
                self.work = Work::Unary { started: now, result: Some((now + fields.delay(), result)) };
            }
            Builtin::Stream => {
                let fields: StreamFields = input.fields()?;
                let request_id = request_id.map(|id| bytes.slice_ref(id));
                self.deadline = None;
                let due = now + fields.delay();
                self.work = Work::Streaming { started: now, request_id, fields, index: 0, due };
            }
            Builtin::Collect => {
                self.taken += 1;
                self.taken_bytes += bytes.len() as u64;
                if input.fields::<CollectFields>()?.is_final() {
                    self.conclude(request_id);
                }
            }
            Builtin::Bidi => {
                if input.fields::<BidiFields>()?.ends() {
                    self.end();
                } else {
                    self.give(builtin_results::bidi(request_id, &bytes, self.taken));
                    self.taken += 1;
                }
            }
        }
        Ok(())
    }

    fn run_out_of_inputs(&mut self) {
        if self.builtin == Builtin::Collect { self.conclude(None) } else { self.end() }
    }

    /// The collect app answers, and the session ends. The `request_id` is that of the input that said so.
    fn conclude(&mut self, request_id: Option<&[u8]>) {
        self.give(builtin_results::collect(request_id, self.taken, self.taken_bytes));
        self.end();
    }

    /// Passes on a result, or says why there is none.
    fn give(&mut self, result: Result<Bytes, String>) {
        match result {
            Ok(result) => self.outputs.push(Output::Binary(result)),
            Err(reason) => self.fail(&reason),
        }
    }

    /// A unary result was given: the next input may come.
    fn complete(&mut self, took: Duration) {
        self.emit_timings(took);
        self.work = Work::Waiting;
    }
}
