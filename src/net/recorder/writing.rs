//! The file of a recording: which channel a message goes to, and what of it is not to be seen.

use std::{
    fs::File,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{About, Close, Entry, Event, What};
use crate::{
    core::{
        frame::MessageKind,
        inbound::Dialect,
        mcap::McapWriter,
        payload::{Cursor, Payload},
    },
    net::redact::Finders,
};

/// The bytes of a chunk, unless a message is larger.
const CHUNK_BYTES: usize = 1 << 20;
const LIBRARY: &str = concat!("fal-realtime ", env!("CARGO_PKG_VERSION"));
/// Changes when a reader has to know.
const FORMAT_VERSION: &str = "1";

/// The channels of a recording.
struct Channels {
    sent: [u16; 2],
    received: [u16; 2],
    control: u16,
}

pub(super) struct FileWriter {
    file: File,
    mcap: McapWriter,
    channels: Channels,
    /// When the recording began, in nanoseconds since 1970.
    began: u64,
    sessions: u64,
    secrets: Finders,
}

impl FileWriter {
    pub(super) fn new(file: File, about: &About) -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let mut mcap = McapWriter::new(LIBRARY);
        let metadata =
            [("version", FORMAT_VERSION), ("app", &about.app), ("started_unix_ns", &began.to_string())];
        mcap.metadata("fal_realtime.recording", &metadata);
        let channels = Channels::of(&mut mcap, about);
        Self { file, mcap, channels, began, sessions: 0, secrets: Finders::none() }
    }

    pub(super) fn write(&mut self, entry: Entry) -> io::Result<()> {
        let time = self.began + entry.at;
        match entry.what {
            What::Sent(message) => {
                let channel = of_kind(self.channels.sent, message.kind);
                self.message(channel, time, |out| append(out, &message.payload));
            }
            What::Received(message) => {
                let channel = of_kind(self.channels.received, message.kind);
                self.message(channel, time, |out| out.extend_from_slice(&message.payload));
            }
            What::Event(event) => {
                let text = self.in_json(event);
                self.message(self.channels.control, time, |out| out.extend_from_slice(text.as_bytes()));
            }
            What::Secrets(secrets) => {
                self.secrets = secrets;
            }
        }
        if self.mcap.chunk_bytes() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands all of it to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.mcap.end_chunk();
        self.write_out()
    }

    /// Ends the file.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.mcap.finish();
        self.write_out()
    }

    fn write_out(&mut self) -> io::Result<()> {
        let mut written = Ok(());
        self.mcap.take(|bytes| written = self.file.write_all(bytes));
        written
    }

    fn message(&mut self, channel: u16, time: u64, content: impl FnOnce(&mut Vec<u8>)) {
        let secrets = &self.secrets;
        self.mcap.message(channel, time, |out| {
            let start = out.len();
            content(out);
            if let Some(content) = out.get_mut(start..) {
                secrets.overwrite(content);
            }
        });
    }

    fn in_json(&mut self, event: Event) -> String {
        let json = match event {
            Event::Start { state } => {
                self.sessions = u64::from(matches!(state, "active" | "closing"));
                serde_json::json!({"event": "start", "state": state})
            }
            Event::Open { subprotocol } => {
                self.sessions += 1;
                serde_json::json!({"event": "open", "session": self.sessions, "subprotocol": subprotocol})
            }
            Event::Close(Close { by, code, reason }) => {
                let (session, by) = (self.sessions, by.name());
                serde_json::json!({"event": "close", "session": session, "by": by, "code": code, "reason": reason})
            }
            Event::Dropped { messages, bytes } => {
                serde_json::json!({"event": "dropped", "messages": messages, "bytes": bytes})
            }
        };
        json.to_string()
    }
}

impl Channels {
    fn of(mcap: &mut McapWriter, about: &About) -> Self {
        let encodings = match about.dialect {
            Dialect::Fal | Dialect::Relayed => ["msgpack", "json"],
            Dialect::Custom | Dialect::Raw => ["application/octet-stream", "text/plain"],
        };
        let app = about.app.as_str();
        let mut add = |direction: &str, kind: &str, encoding: &str| {
            let metadata = [("app", app), ("direction", direction), ("kind", kind)];
            mcap.channel(&format!("{app}/{direction}"), encoding, &metadata)
        };
        let mut both =
            |direction| [add(direction, "binary", encodings[0]), add(direction, "text", encodings[1])];
        let (sent, received) = (both("sent"), both("received"));
        Self { sent, received, control: add("control", "control", "json") }
    }
}

fn of_kind([binary, text]: [u16; 2], kind: MessageKind) -> u16 {
    match kind {
        MessageKind::Binary => binary,
        MessageKind::Text => text,
    }
}

fn append(out: &mut Vec<u8>, payload: &Payload) {
    let mut cursor = Cursor::default();
    while let Some(bytes) = cursor.advance(payload, usize::MAX) {
        out.extend_from_slice(bytes);
    }
}
