//! One session: what fal's server does with inputs, as a state machine without I/O. Time is an argument.
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
    apps::{App, Builtin, Handler, Kind},
    builtin,
    image::Images,
    jobs::{Event, Job, Jobs, Response},
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
}

/// What the session is doing.
enum Work {
    /// Nothing: the next input starts something.
    Waiting,
    /// A unary input is processed since `started`; `result` is when and what it will give, `None` if a handler says.
    Unary { started: Instant, result: Option<(Instant, Bytes)> },
    /// The stream app answers its input.
    Streaming { started: Instant, input: Bytes, index: u64, count: u64, every: Duration, due: Instant },
    /// An external handler streams.
    External { started: Instant },
    /// The session is over.
    Ended,
}

/// One session of one app.
pub(super) struct Session {
    id: u64,
    app: Arc<App>,
    jobs: Arc<Jobs>,
    images: Arc<Images>,
    /// How many inputs may wait; `None`: any number.
    capacity: Option<usize>,
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
    pub(super) fn new(
        id: u64,
        app: Arc<App>,
        max_buffering: Option<usize>,
        jobs: Arc<Jobs>,
        images: Arc<Images>,
        now: Instant,
    ) -> Self {
        let mut session = Self::waiting(id, app, max_buffering, jobs, images);
        if session.streams_inputs_to_handler() {
            // The handler's own iteration over the inputs times out, not the session.
            session.work = Work::External { started: now };
            session.tell(Event::Open);
        } else {
            session.deadline = session.app.options.session_timeout.map(|timeout| now + timeout);
        }
        session
    }

    /// A session that says no and closes, whatever comes.
    pub(super) fn refused(id: u64, app: Arc<App>, jobs: Arc<Jobs>, images: Arc<Images>) -> Self {
        let mut session = Self::waiting(id, app, None, jobs, images);
        session.emit(Output::Text(r#"{"status":"error","error":"Unauthorized"}"#.to_owned()));
        session.emit(Output::Close(1008, "Unauthorized".to_owned()));
        session.work = Work::Ended;
        session
    }

    fn waiting(
        id: u64,
        app: Arc<App>,
        max_buffering: Option<usize>,
        jobs: Arc<Jobs>,
        images: Arc<Images>,
    ) -> Self {
        let capacity = match (app.options.buffering, max_buffering) {
            (Some(app), Some(client)) => Some(app.min(client)),
            (app, client) => app.or(client),
        };
        Self {
            id,
            jobs,
            images,
            capacity: capacity.filter(|_| app.kind == Kind::Unary),
            inputs: VecDeque::new(),
            input_bytes: 0,
            outputs: VecDeque::new(),
            output_bytes: 0,
            work: Work::Waiting,
            deadline: None,
            inputs_ended: false,
            taken: 0,
            taken_bytes: 0,
            app,
        }
    }

    /// Takes a binary message.
    pub(super) fn input(&mut self, input: Bytes, now: Instant) {
        if self.inputs_ended || matches!(self.work, Work::Ended) || self.ignores_inputs() {
            return;
        }
        if let Err(reason) = msgpack::validate(&input) {
            return self.refuse(reason);
        }
        if self.streams_inputs_to_handler() {
            return self.tell(Event::Input(input));
        }
        self.deadline = self.app.options.session_timeout.map(|timeout| now + timeout);
        self.input_bytes += input.len();
        self.inputs.push_back(input);
        if matches!(self.work, Work::Waiting) {
            // Not dropped by a burst: an idle server takes each input as it comes.
            self.advance(now);
        }
        while self.capacity.is_some_and(|capacity| self.inputs.len() > capacity) {
            self.take_input();
        }
    }

    /// Takes a text message, which the real server cannot: it looks for bytes and fails with a `KeyError`.
    pub(super) fn text_input(&mut self) {
        if !matches!(self.work, Work::Ended) && !self.ignores_inputs() {
            self.refuse("'bytes'".to_owned());
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

    /// Takes what an external handler says.
    pub(super) fn respond(&mut self, response: Response, now: Instant) {
        let (Work::Unary { started, result: None } | Work::External { started }) = self.work else { return };
        match response {
            Response::Failed(reason) => self.fail(&reason),
            Response::Output(result) => {
                self.emit(Output::Binary(result));
                if self.app.kind == Kind::Unary {
                    self.complete(now - started);
                }
            }
            Response::Done => {
                if self.app.kind == Kind::ServerStream {
                    self.emit_timings(now - started);
                }
                self.end();
            }
        }
    }

    /// The client is gone.
    pub(super) fn disconnected(&mut self) {
        self.tell(Event::Closed);
        self.work = Work::Ended;
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
            Work::Waiting | Work::Unary { .. } | Work::External { .. } => None,
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
        self.deadline = self.app.options.session_timeout.map(|timeout| deadline + timeout);
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
            Work::External { .. } | Work::Ended => return false,
        }
        true
    }

    /// Starts to process an input.
    fn start(&mut self, input: Bytes, now: Instant) {
        let builtin = match self.app.handler {
            Handler::Builtin(builtin) => builtin,
            Handler::External(_) => {
                self.work = if self.app.kind == Kind::Unary {
                    Work::Unary { started: now, result: None }
                } else {
                    self.deadline = None;
                    Work::External { started: now }
                };
                return self.tell(Event::Input(input));
            }
        };
        let Some(map) = Map::of(&input) else {
            return self.fail("Expected a dict as input");
        };
        match builtin {
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
        if self.app.handler == Handler::Builtin(Builtin::Collect) {
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
        if self.app.options.emit_timings {
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

    /// The client sent what cannot be taken. A handler that iterates over its inputs learns of it there.
    fn refuse(&mut self, reason: String) {
        if self.streams_inputs_to_handler() {
            self.tell(Event::Invalid(reason));
        } else {
            self.fail(&reason);
        }
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

    fn tell(&self, event: Event) {
        if let Handler::External(handler) = self.app.handler {
            self.jobs.push(Job { session: self.id, handler, event });
        }
    }

    /// A handler that is given an iterator over the inputs, rather than one input.
    fn streams_inputs_to_handler(&self) -> bool {
        matches!(self.app.handler, Handler::External(_))
            && matches!(self.app.kind, Kind::ClientStream | Kind::Bidi)
    }

    /// Server streaming reads one input and never looks at the socket again.
    fn ignores_inputs(&self) -> bool {
        self.app.kind == Kind::ServerStream && !matches!(self.work, Work::Waiting)
    }
}

/// What a result weighs against [`OUTPUT_LIMIT`]: its bytes, and something for itself.
fn weight(output: &Output) -> usize {
    match output {
        Output::Binary(bytes) => bytes.len() + 64,
        Output::Text(text) => text.len() + 64,
        Output::Close(..) => 0,
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
