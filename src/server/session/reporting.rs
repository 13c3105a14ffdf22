//! The messages of a session beside its results: timings and the end, in the words of the real server.

use std::time::Duration;

use serde_json::json;

use super::{Output, Session, Work};

impl Session {
    /// Says how long an input took, if the app does.
    pub(super) fn emit_timings(&mut self, took: Duration) {
        if self.options.emit_timings {
            let timing = took.as_secs_f64();
            self.emit_json(r#"{"type":"x-fal-message","action":"timings","timing":"#, json!(timing));
        }
    }

    /// The normal end, in the words of the real server.
    pub(super) fn end(&mut self) {
        let reason = json!("no inputs, reconnect when needed!");
        self.emit_json(r#"{"type":"x-fal-error","error":"TIMEOUT","reason":"#, reason);
        self.close();
    }

    /// The end that an error brings about.
    pub(super) fn fail(&mut self, reason: &str) {
        self.emit_json(r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"#, json!(reason));
        self.close();
    }

    fn close(&mut self) {
        self.outputs.push(Output::Close(1000, String::new()));
        self.work = Work::Ended;
        self.deadline = None;
        self.inputs.clear();
        self.input_bytes = 0;
    }

    /// Emits the JSON object that begins with `head`, in the order of keys that the real server has.
    fn emit_json(&mut self, head: &str, value: serde_json::Value) {
        self.outputs.push(Output::Text(format!("{head}{value}}}")));
    }
}
