//! A session whose app is not warm yet: what the client sends waits, and nothing is answered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{config::MAX_WAITING_BYTES, jobs::Input};

/// How long an app takes to its first result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdStart {
    /// From the opening of a session on.
    pub takes: Duration,
    /// The first session warms the app for all others; else each session has a cold start of its own.
    pub once: bool,
}

/// The inputs that wait for the app.
#[derive(Debug)]
pub(super) struct Cold {
    until: Instant,
    inputs: VecDeque<Input>,
    bytes: usize,
}

impl Cold {
    pub(super) fn new(until: Instant) -> Self {
        Self { until, inputs: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Takes a message.
    pub(super) fn take(&mut self, input: Input) {
        self.bytes += input.weight();
        self.inputs.push_back(input);
    }

    /// Whether another message may be read.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_WAITING_BYTES
    }

    /// What came meanwhile, once the app is warm; to be taken once.
    pub(super) fn inputs_if_warm(&mut self, now: Instant) -> Option<VecDeque<Input>> {
        (self.until <= now).then(|| std::mem::take(&mut self.inputs))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn inputs_wait_in_their_order_until_the_app_is_warm() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut cold = Cold::new(later);
        let inputs = || [Input::Binary(Bytes::from_static(b"a")), Input::Text("b".to_owned())];
        for input in inputs() {
            cold.take(input);
        }
        assert_eq!(cold.inputs_if_warm(now), None);
        assert_eq!(cold.inputs_if_warm(later), Some(inputs().into()));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut cold = Cold::new(Instant::now());
        assert!(cold.has_room());
        cold.take(Input::Binary(Bytes::from(vec![0; MAX_WAITING_BYTES])));
        assert!(!cold.has_room());
    }
}
