//! One session of a built-in app: what fal's server does with inputs, as a state machine without I/O. Time is an argument.
//!
//! Follows `fal/realtime.py` (fal 1.83): unary inputs wait in a queue that drops the oldest and are processed one at a
//! time; streams read as they go; everything ends with a JSON text and close code 1000.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::json;

use super::{
    apps::{Builtin, Kind},
    builtin,
    config::AppOptions,
    image::Images,
    msgpack::{self, Map},
};

/// Past so many bytes of waiting inputs the socket is not read.
const INPUT_LIMIT: usize = 64 << 20;

/// Past so many bytes of unwritten results the next input waits, as the real server awaits its emitter.
const OUTPUT_LIMIT: usize = 256 << 10;

/// What the session wants sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    Binary(Bytes),
    Text(String),
    Close(u16, String),
    /// The connection ends without a close frame.
    End,
}

/// What the session is doing.
enum Work {
    /// Nothing: the next input starts something.
    Waiting,
    /// A unary input is processed since `started`; `result` is when and what it will give.
    Unary { started: Instant, result: Option<(Instant, Bytes)> },
    /// The stream app answers its input.
    Streaming { started: Instant, input: Bytes, index: u64, count: u64, every: Duration, due: Instant },
    /// The session is over.
    Ended,
}

/// One session of one built-in app.
pub(super) struct Session {
    builtin: Builtin,
    options: AppOptions,
    images: Arc<Images>,
    inputs: VecDeque<Bytes>,
    input_bytes: usize,
    outputs: VecDeque<Output>,
    output_bytes: usize,
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
            outputs: VecDeque::new(),
            output_bytes: 0,
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
        session.emit(Output::Text(r#"{"status":"error","error":"Unauthorized"}"#.to_owned()));
        session.emit(Output::Close(1008, "Unauthorized".to_owned()));
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
        self.input_bytes < INPUT_LIMIT
    }

    /// Whether enough results wait to be written that no input is processed.
    pub(super) fn is_saturated(&self) -> bool {
        self.output_bytes >= OUTPUT_LIMIT
    }

    /// Does what is due and gives the next thing to send.
    pub(super) fn next_output(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() {
            self.advance(now);
        }
        let output = self.outputs.pop_front()?;
        self.output_bytes -= weight(&output);
        Some(output)
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

    /// Works until something must be waited for, or enough is there to be sent.
    fn advance(&mut self, now: Instant) {
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
                self.emit(Output::Binary(result));
                self.complete(took);
            }
            Work::Streaming { started, input, index, count, every, due } => {
                if *index == *count {
                    let took = now - *started;
                    self.emit_timings(took);
                    self.end();
                } else if *due <= now {
                    let result = builtin::stream(Map::of(input), *index, *count);
                    *index += 1;
                    *due += *every;
                    self.emit(Output::Binary(result));
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
                let result = builtin::image(map, &self.images);
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
                    self.emit(Output::Binary(builtin::collect(Some(map), self.taken, self.taken_bytes)));
                    self.end();
                }
            }
            Builtin::Bidi if map.flag("end") => self.end(),
            Builtin::Bidi => {
                self.emit(Output::Binary(builtin::bidi(&input, self.taken)));
                self.taken += 1;
            }
        }
    }

    fn run_out_of_inputs(&mut self) {
        if self.builtin == Builtin::Collect {
            self.emit(Output::Binary(builtin::collect(None, self.taken, self.taken_bytes)));
        }
        self.end();
    }

    /// A unary result was given: the next input may come.
    fn complete(&mut self, took: Duration) {
        self.emit_timings(took);
        self.work = Work::Waiting;
    }

    fn emit_timings(&mut self, took: Duration) {
        if self.options.emit_timings {
            let timing = took.as_secs_f64();
            self.emit_json(r#"{"type":"x-fal-message","action":"timings","timing":"#, json!(timing));
        }
    }

    /// The normal end, in the words of the real server.
    fn end(&mut self) {
        let reason = json!("no inputs, reconnect when needed!");
        self.emit_json(r#"{"type":"x-fal-error","error":"TIMEOUT","reason":"#, reason);
        self.close();
    }

    fn fail(&mut self, reason: &str) {
        self.emit_json(r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"#, json!(reason));
        self.close();
    }

    fn close(&mut self) {
        self.emit(Output::Close(1000, String::new()));
        self.work = Work::Ended;
        self.deadline = None;
        self.inputs.clear();
        self.input_bytes = 0;
    }

    /// Emits the JSON object that begins with `head`, in the order of keys that the real server has.
    fn emit_json(&mut self, head: &str, value: serde_json::Value) {
        self.emit(Output::Text(format!("{head}{value}}}")));
    }

    fn emit(&mut self, output: Output) {
        self.output_bytes += weight(&output);
        self.outputs.push_back(output);
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

/// What a result weighs against [`OUTPUT_LIMIT`]: its bytes, and something for itself.
fn weight(output: &Output) -> usize {
    match output {
        Output::Binary(bytes) => bytes.len() + 64,
        Output::Text(text) => text.len() + 64,
        Output::Close(..) | Output::End => 0,
    }
}

/// The `delay` of an input, in seconds; at most a day.
fn delay(input: Map<'_>) -> Duration {
    let seconds = input.number("delay").unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds.clamp(0.0, 86_400.0)).unwrap_or_default()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
