//! Reports of what happens to connections beside the way of messages, in words, for whoever keeps a log. Rare: at
//! openings, losses and failures. Knows no logging library: whoever has one takes the records.

use std::sync::OnceLock;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It helps to find out what went on.
    Debug,
    /// It is worth knowing in operation.
    Info,
    /// The program is probably not what it was meant to be.
    Warning,
}

/// One event.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// How much it matters.
    pub level: Level,
    /// The event in words, with the connection that it happened to. Holds no secret.
    pub text: String,
}

type Take = Box<dyn Fn(LogRecord) + Send + Sync>;

static TAKE: OnceLock<Take> = OnceLock::new();

/// Says who takes the records of this process, on whatever thread they come from, without blocking it. The first one
/// stays.
pub fn give_to(take: Take) {
    let _ = TAKE.set(take);
}

/// The program does what it was probably not meant to do.
pub(super) fn warning(text: impl FnOnce() -> String) {
    record(Level::Warning, text);
}

/// Something happened that is worth knowing in operation.
pub(super) fn notable(text: impl FnOnce() -> String) {
    record(Level::Info, text);
}

/// Something happened that helps to find out what went on.
pub(super) fn debug(text: impl FnOnce() -> String) {
    record(Level::Debug, text);
}

fn record(level: Level, text: impl FnOnce() -> String) {
    if let Some(take) = TAKE.get() {
        take(LogRecord { level, text: text() });
    }
}
