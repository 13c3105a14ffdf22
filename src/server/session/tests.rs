//! The session's rules, without sockets; each was seen of the real server first.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::server::config::AppOptions;

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    session: Session,
    now: Instant,
}

impl Rig {
    fn new(builtin: Builtin, options: AppOptions) -> Self {
        let now = Instant::now();
        Self { session: Session::new(builtin, options, Arc::default(), now), now }
    }

    fn builtin(builtin: Builtin) -> Self {
        Self::new(builtin, AppOptions { session_timeout: Some(10 * SECOND), ..AppOptions::default() })
    }

    fn input(&mut self, value: &serde_json::Value) -> Bytes {
        let input = Bytes::from(rmp_serde::to_vec(value).unwrap());
        self.session.input(input.clone(), self.now);
        input
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.next_output(self.now)).collect()
    }

    /// All outputs, results decoded.
    fn shown(&mut self) -> Vec<String> {
        let show = |output| match output {
            Output::Binary(result) => {
                rmp_serde::from_slice::<serde_json::Value>(&result).unwrap().to_string()
            }
            Output::Text(text) => text,
            Output::Close(code, _) => code.to_string(),
            Output::End => "the end".to_owned(),
        };
        self.outputs().into_iter().map(show).collect()
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

const TIMEOUT: &str =
    r#"{"type":"x-fal-error","error":"TIMEOUT","reason":"no inputs, reconnect when needed!"}"#;

fn internal_error(reason: &str) -> String {
    format!(r#"{{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"{reason}"}}"#)
}

#[test]
fn echo_gives_back_the_very_bytes() {
    let mut rig = Rig::builtin(Builtin::Echo);
    let input = rig.input(&json(r#"{"prompt":"a cat","request_id":"1"}"#));
    assert_eq!(rig.outputs(), [Output::Binary(input)]);
}

#[test]
fn unary_inputs_are_processed_one_at_a_time_in_order() {
    let mut rig = Rig::builtin(Builtin::Echo);
    rig.input(&json(r#"{"i":0,"delay":2}"#));
    rig.input(&json(r#"{"i":1}"#));
    assert_eq!(rig.outputs(), []);
    assert_eq!(rig.session.wake_at(), Some(rig.now + 2 * SECOND));
    rig.now += 2 * SECOND;
    assert_eq!(rig.shown(), [r#"{"delay":2,"i":0}"#, r#"{"i":1}"#]);
}

#[test]
fn a_full_buffer_drops_the_oldest_waiting_input_silently() {
    let options = AppOptions { buffering: Some(2), ..AppOptions::default() };
    let mut rig = Rig::new(Builtin::Echo, options);
    rig.input(&json(r#"{"i":0,"delay":1}"#));
    assert_eq!(rig.outputs(), []);
    for i in 1..8 {
        rig.input(&json(&format!(r#"{{"i":{i},"delay":1}}"#)));
    }
    let mut results = Vec::new();
    for _ in 0..5 {
        rig.now += SECOND;
        results.extend(rig.shown());
    }
    assert_eq!(results, [r#"{"delay":1,"i":0}"#, r#"{"delay":1,"i":6}"#, r#"{"delay":1,"i":7}"#]);
}

#[test]
fn of_a_burst_that_comes_with_one_read_an_idle_server_keeps_the_newest() {
    let options = AppOptions { buffering: Some(2), ..AppOptions::default() };
    let mut rig = Rig::new(Builtin::Echo, options);
    for i in 0..8 {
        rig.input(&json(&format!(r#"{{"i":{i}}}"#)));
    }
    assert_eq!(rig.shown(), [r#"{"i":6}"#, r#"{"i":7}"#]);
}

#[test]
fn an_idle_unary_session_times_out() {
    let mut rig = Rig::builtin(Builtin::Echo);
    rig.now += 9 * SECOND;
    rig.input(&json("{}"));
    assert_eq!(rig.outputs().len(), 1);
    rig.now += 9 * SECOND;
    assert_eq!(rig.outputs(), []);
    rig.now += SECOND;
    assert_eq!(rig.shown(), [TIMEOUT, "1000"]);
}

#[test]
fn what_is_processed_when_the_inputs_end_may_finish() {
    let mut rig = Rig::builtin(Builtin::Echo);
    rig.input(&json(r#"{"delay":15}"#));
    assert_eq!(rig.outputs(), []);
    rig.now += 15 * SECOND;
    assert_eq!(rig.shown(), [r#"{"delay":15}"#, TIMEOUT, "1000"]);
}

#[test]
fn what_takes_twice_the_session_timeout_fails_without_a_reason() {
    let mut rig = Rig::builtin(Builtin::Echo);
    rig.input(&json(r#"{"delay":25}"#));
    rig.now += 10 * SECOND;
    assert_eq!(rig.outputs(), []);
    rig.now += 10 * SECOND;
    assert_eq!(rig.shown(), [internal_error(""), "1000".to_owned()]);
}

#[test]
fn a_stream_never_reads_what_comes_with_its_input() {
    let mut rig = Rig::builtin(Builtin::Stream);
    rig.input(&json(r#"{"count":1}"#));
    rig.session.text_input();
    rig.session.input(Bytes::from_static(b"\xc1 is no msgpack"), rig.now);
    assert_eq!(rig.shown()[1..], [TIMEOUT, "1000"]);
}

#[test]
fn a_text_message_ends_the_session() {
    for builtin in [Builtin::Echo, Builtin::Image, Builtin::Stream, Builtin::Collect, Builtin::Bidi] {
        let mut rig = Rig::builtin(builtin);
        rig.session.text_input();
        assert_eq!(rig.shown(), [internal_error("'bytes'"), "1000".to_owned()]);
        rig.input(&json("{}"));
        assert_eq!(rig.outputs(), []);
    }
}

#[test]
fn an_input_that_is_not_msgpack_ends_the_session() {
    let mut rig = Rig::builtin(Builtin::Echo);
    rig.session.input(Bytes::from_static(b"\x81\xa1"), rig.now);
    assert_eq!(rig.shown(), [internal_error("Unpack failed: incomplete input"), "1000".to_owned()]);
}

#[test]
fn a_stream_gives_its_results_then_ends() {
    let mut rig = Rig::builtin(Builtin::Stream);
    rig.input(&json(r#"{"count":2,"delay":1,"request_id":"7"}"#));
    assert_eq!(rig.outputs(), []);
    rig.session.text_input(); // nobody reads it
    rig.now += SECOND;
    assert_eq!(rig.shown(), [r#"{"count":2,"index":0,"request_id":"7"}"#]);
    rig.now += SECOND;
    assert_eq!(rig.shown(), [r#"{"count":2,"index":1,"request_id":"7"}"#, TIMEOUT, "1000"]);
}

#[test]
fn a_long_stream_does_not_pile_up_in_memory() {
    let mut rig = Rig::builtin(Builtin::Stream);
    rig.input(&json(r#"{"count":1000000,"size":1000}"#));
    assert!(rig.session.outputs.bytes < output::MAX_UNWRITTEN_BYTES + 2000);
    assert_eq!(rig.outputs().len(), 1_000_002);
}

#[test]
fn collect_answers_once_after_the_final_input() {
    let mut rig = Rig::builtin(Builtin::Collect);
    rig.input(&json(r#"{"part":1}"#));
    assert_eq!(rig.outputs(), []);
    rig.input(&json(r#"{"final":true,"request_id":5}"#));
    assert_eq!(rig.shown(), [r#"{"count":2,"request_id":5,"size":27}"#, TIMEOUT, "1000"]);
}

#[test]
fn collect_answers_too_when_inputs_stop_coming() {
    let mut rig = Rig::builtin(Builtin::Collect);
    rig.input(&json("{}"));
    rig.now += 10 * SECOND;
    assert_eq!(rig.shown(), [r#"{"count":1,"size":1}"#, TIMEOUT, "1000"]);
}

#[test]
fn bidi_answers_each_input_until_the_end() {
    let mut rig = Rig::builtin(Builtin::Bidi);
    rig.input(&json(r#"{"a":1,"request_id":"x"}"#));
    rig.input(&json(r#"{"a":2}"#));
    rig.input(&json(r#"{"end":true}"#));
    let first = r#"{"index":0,"input":{"a":1,"request_id":"x"},"request_id":"x"}"#;
    assert_eq!(rig.shown(), [first, r#"{"index":1,"input":{"a":2}}"#, TIMEOUT, "1000"]);
}

#[test]
fn timings_follow_each_unary_result() {
    let options = AppOptions { emit_timings: true, ..AppOptions::default() };
    let mut rig = Rig::new(Builtin::Echo, options);
    rig.input(&json(r#"{"delay":0.5}"#));
    assert_eq!(rig.outputs(), []);
    rig.now += SECOND / 2;
    assert_eq!(rig.shown()[1], r#"{"type":"x-fal-message","action":"timings","timing":0.5}"#);
}

#[test]
fn timings_follow_a_server_stream_once() {
    let options = AppOptions { emit_timings: true, ..AppOptions::default() };
    let mut rig = Rig::new(Builtin::Stream, options);
    rig.input(&json("{}"));
    let timings = r#"{"type":"x-fal-message","action":"timings","timing":0.0}"#;
    assert_eq!(rig.shown()[3..], [timings, TIMEOUT, "1000"]);
}

#[test]
fn a_field_of_another_type_counts_as_missing() {
    let mut rig = Rig::builtin(Builtin::Stream);
    rig.input(&json(r#"{"count":"five","delay":[1],"size":{"a":1},"request_id":{"any":["value"]}}"#));
    let result = |index| format!(r#"{{"count":3,"index":{index},"request_id":{{"any":["value"]}}}}"#);
    assert_eq!(rig.shown(), [result(0), result(1), result(2), TIMEOUT.to_owned(), "1000".to_owned()]);
}

#[test]
fn an_input_that_is_no_map_is_an_error() {
    for builtin in Builtin::ALL.map(|(_, builtin)| builtin) {
        let mut rig = Rig::builtin(builtin);
        rig.input(&json("[1,true]"));
        assert_eq!(rig.shown(), [internal_error("Expected a dict as input"), "1000".to_owned()]);
    }
}

#[test]
fn any_value_is_carried_and_any_depth_that_msgpack_takes() {
    /// A map around an array around an array...
    fn nested(levels: usize) -> Vec<u8> {
        let mut input = b"\x81\xa1a".to_vec();
        input.extend(std::iter::repeat_n(0x91, levels - 1));
        input.extend(b"\xd6\x05\0\0\0\x01");
        input
    }
    for levels in [1, 500, 1024] {
        for builtin in [Builtin::Echo, Builtin::Image, Builtin::Stream, Builtin::Bidi] {
            let mut rig = Rig::builtin(builtin);
            let input = nested(levels);
            rig.session.input(Bytes::from(input.clone()), rig.now);
            let outputs = rig.outputs();
            let Some(Output::Binary(result)) = outputs.first() else {
                panic!("{builtin:?} {levels}: {outputs:?}")
            };
            if matches!(builtin, Builtin::Echo | Builtin::Bidi) {
                assert!(result.ends_with(&input), "{builtin:?} {levels}");
            }
        }
    }
}
