//! A session whose handler lives outside of the I/O thread, which is passed everything and says everything.
//!
//! Reading follows uvicorn, under which fal serves apps: what one read brought is handed over together, and until the
//! handler has taken all of it nothing more is read, pings and the client's close among it.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    jobs::{Event, Input, Job, Jobs, Response},
    session::Output,
};

/// The bytes that one read of the real server brings at most.
const READ_BYTES: usize = 256 << 10;

/// The time for which the inputs of a read are gathered. A server that reads and answers on one thread, in Python,
/// comes to read a burst when all of it is there; this one would take the first input of it alone.
const GATHERING: Duration = Duration::from_millis(1);

/// One session of one external handler.
pub(super) struct Relay {
    id: u64,
    handler: u32,
    jobs: Arc<Jobs>,
    /// What this read brought so far.
    inputs: Vec<Input>,
    input_bytes: usize,
    /// When the first of them came.
    since: Instant,
    /// The handler has inputs that it has not taken yet.
    paused: bool,
    outputs: VecDeque<Output>,
    ended: bool,
}

impl Relay {
    pub(super) fn new(id: u64, handler: u32, jobs: Arc<Jobs>, now: Instant) -> Self {
        let relay = Self {
            id,
            handler,
            jobs,
            inputs: Vec::new(),
            input_bytes: 0,
            since: now,
            paused: false,
            outputs: VecDeque::new(),
            ended: false,
        };
        relay.tell(Event::Open);
        relay
    }

    /// Takes a binary message.
    pub(super) fn input(&mut self, input: Bytes, now: Instant) {
        self.take(Input::Binary(input), now);
    }

    /// Takes a text message.
    pub(super) fn text_input(&mut self, text: String, now: Instant) {
        self.take(Input::Text(text), now);
    }

    fn take(&mut self, input: Input, now: Instant) {
        if !self.ended {
            if self.inputs.is_empty() {
                self.since = now;
            }
            self.input_bytes += input.weight();
            self.inputs.push(input);
        }
    }

    /// Whether another message may be read.
    pub(super) fn has_room(&self) -> bool {
        self.ended || (!self.paused && self.input_bytes < READ_BYTES)
    }

    /// Everything was read that was there, or fits in one read. If nobody will ask again in time, it is `urgent`.
    pub(super) fn end_of_read(&mut self, now: Instant, urgent: bool) {
        if urgent || !self.has_room() || now >= self.since + GATHERING {
            self.hand_over();
        }
    }

    /// When to ask again though nothing came; `None`: never.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (!self.inputs.is_empty()).then(|| self.since + GATHERING)
    }

    fn hand_over(&mut self) {
        if !self.inputs.is_empty() {
            self.paused = true;
            self.input_bytes = 0;
            let inputs = mem::take(&mut self.inputs);
            self.tell(Event::Inputs(inputs));
        }
    }

    /// The handler has taken all inputs.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// Takes what the handler says.
    pub(super) fn respond(&mut self, response: Response) {
        let output = match response {
            Response::Binary(result) => Output::Binary(result),
            Response::Text(text) => Output::Text(text),
            Response::Close(code, reason) => Output::Close(code, reason),
            Response::End => Output::End,
        };
        self.ended |= matches!(output, Output::Close(..) | Output::End);
        self.outputs.push_back(output);
    }

    /// The next thing to send.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The client is gone.
    pub(super) fn disconnected(&mut self) {
        self.hand_over();
        self.tell(Event::Closed);
    }

    /// Enough of what the handler said is written that it may say more.
    pub(super) fn writable(&self) {
        self.tell(Event::Writable);
    }

    fn tell(&self, event: Event) {
        self.jobs.push(Job { session: self.id, handler: self.handler, event });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn relay() -> (Relay, Arc<Jobs>) {
        let jobs = Arc::new(Jobs::default());
        let relay = Relay::new(7, 3, Arc::clone(&jobs), Instant::now());
        assert_eq!(events(&jobs), [Event::Open]);
        (relay, jobs)
    }

    fn events(jobs: &Jobs) -> Vec<Event> {
        jobs.take(Duration::ZERO).unwrap().into_iter().map(|job| job.event).collect()
    }

    #[test]
    fn what_one_read_brought_is_handed_over_together_and_stops_the_reading() {
        let (mut relay, jobs) = relay();
        let now = Instant::now();
        relay.input(Bytes::from_static(b"a"), now);
        relay.end_of_read(now, false);
        assert_eq!(relay.wake_at(), Some(now + GATHERING));
        relay.text_input("b".to_owned(), now);
        assert!(relay.has_room());
        relay.end_of_read(now + GATHERING, false);
        assert_eq!(relay.wake_at(), None);
        let inputs = vec![Input::Binary(Bytes::from_static(b"a")), Input::Text("b".to_owned())];
        assert_eq!(events(&jobs), [Event::Inputs(inputs)]);
        assert!(!relay.has_room());
        relay.resume();
        assert!(relay.has_room());
    }

    #[test]
    fn a_read_is_bounded() {
        let (mut relay, jobs) = relay();
        let now = Instant::now();
        relay.input(Bytes::from(vec![0; READ_BYTES]), now);
        assert!(!relay.has_room());
        relay.end_of_read(now, false);
        assert_eq!(events(&jobs).len(), 1);
    }

    #[test]
    fn what_comes_after_the_end_is_read_and_ignored() {
        let (mut relay, jobs) = relay();
        relay.respond(Response::Close(1000, String::new()));
        let now = Instant::now();
        relay.input(Bytes::from_static(b"a"), now);
        relay.end_of_read(now, true);
        relay.disconnected();
        assert_eq!(events(&jobs), [Event::Closed]);
        assert_eq!(relay.next_output(), Some(Output::Close(1000, String::new())));
        assert_eq!(relay.next_output(), None);
    }
}
