//! One session of a built-in app: what fal's server does with inputs, as a state machine without I/O. Time is an
//! argument.
//!
//! Follows `fal/realtime.py` (fal 1.83): unary inputs wait in a queue that drops the oldest and are processed one at a
//! time; streams read as they go; everything ends with a JSON text and close code 1000.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    apps::{Builtin, Kind},
    config::{AppOptions, MAX_WAITING_BYTES},
    images::Images,
    msgpack,
};

mod output;
mod reporting;
mod work;

pub(super) use output::Output;
use output::Outputs;
use work::Work;

/// One session of one built-in app.
pub(super) struct Session {
    builtin: Builtin,
    options: AppOptions,
    images: Arc<Images>,
    inputs: VecDeque<Bytes>,
    input_bytes: usize,
    outputs: Outputs,
    work: Work,
    /// When the session ends for want of input; `None`: never. After `inputs_ended`, when the last work must be done.
    deadline: Option<Instant>,
    inputs_ended: bool,
    /// What collect and bidi have taken so far.
    taken: u64,
    taken_bytes: u64,
}

impl Session {
    pub(super) fn new(builtin: Builtin, options: AppOptions, images: Arc<Images>, now: Instant) -> Self {
        Self {
            builtin,
            options,
            images,
            inputs: VecDeque::new(),
            input_bytes: 0,
            outputs: Outputs::default(),
            work: Work::Waiting,
            deadline: options.session_timeout.map(|timeout| now + timeout),
            inputs_ended: false,
            taken: 0,
            taken_bytes: 0,
        }
    }

    /// A session that says no and closes, whatever comes.
    pub(super) fn refused(images: Arc<Images>, now: Instant) -> Self {
        let mut session = Self::new(Builtin::Echo, AppOptions::default(), images, now);
        session.outputs.push(Output::Text(r#"{"status":"error","error":"Unauthorized"}"#.to_owned()));
        session.outputs.push(Output::Close(1008, "Unauthorized".to_owned()));
        session.work = Work::Ended;
        session
    }

    /// Takes a binary message.
    pub(super) fn input(&mut self, input: Bytes, now: Instant) {
        if self.inputs_ended || matches!(self.work, Work::Ended) || self.ignores_inputs() {
            return;
        }
        if let Err(reason) = msgpack::validate(&input) {
            return self.fail(&reason);
        }
        self.deadline = self.options.session_timeout.map(|timeout| now + timeout);
        self.input_bytes += input.len();
        self.inputs.push_back(input);
        // The real server, too, takes all that one read brought before it processes any of it.
        while self.capacity().is_some_and(|capacity| self.inputs.len() > capacity) {
            self.take_input();
        }
    }

    /// The time without inputs begins now.
    pub(super) fn restart_clock(&mut self, now: Instant) {
        if !self.inputs_ended && self.deadline.is_some() {
            self.deadline = self.options.session_timeout.map(|timeout| now + timeout);
        }
    }

    /// How many inputs may wait; `None`: any number.
    fn capacity(&self) -> Option<usize> {
        self.options.buffering.filter(|_| self.builtin.kind() == Kind::Unary)
    }

    /// Takes a text message, which the real server cannot: it looks for bytes and fails with a `KeyError`.
    pub(super) fn text_input(&mut self) {
        if !matches!(self.work, Work::Ended) && !self.ignores_inputs() {
            self.fail("'bytes'");
        }
    }

    /// Whether another message may be read.
    pub(super) fn has_room(&self) -> bool {
        self.input_bytes < MAX_WAITING_BYTES
    }

    /// Whether enough results wait to be written that no input is processed.
    pub(super) fn is_saturated(&self) -> bool {
        self.outputs.are_many()
    }

    /// Does what is due and gives the next thing to send.
    pub(super) fn next_output(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() {
            self.advance(now);
        }
        self.outputs.pop()
    }

    /// When to ask again though nothing came; `None`: never.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let due = match &self.work {
            Work::Unary { result: Some((due, _)), .. } | Work::Streaming { due, .. } => Some(*due),
            Work::Ended => return None,
            Work::Waiting | Work::Unary { .. } => None,
        };
        [due, self.deadline].into_iter().flatten().min()
    }

    fn take_input(&mut self) -> Option<Bytes> {
        let input = self.inputs.pop_front()?;
        self.input_bytes -= input.len();
        Some(input)
    }

    /// Server streaming reads one input and never looks at the socket again.
    fn ignores_inputs(&self) -> bool {
        let has_read_one = !self.inputs.is_empty() || !matches!(self.work, Work::Waiting);
        self.builtin.kind() == Kind::ServerStream && has_read_one
    }
}

#[cfg(test)]
mod tests;
