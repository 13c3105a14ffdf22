//! Reports of what happens to connections beside the way of messages, in words, for whoever keeps a log. Rare: at
//! openings, losses and failures. Knows no logging library: whoever has one takes the records.

use std::sync::OnceLock;

/// One event.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Worth knowing in operation, not only while debugging.
    pub is_notable: bool,
    /// What happened, with the connection that it happened to. Holds no secret.
    pub text: String,
}

type Take = Box<dyn Fn(LogRecord) + Send + Sync>;

static TAKE: OnceLock<Take> = OnceLock::new();

/// Says who takes the records of this process, on whatever thread they come from, without blocking it. The first one
/// stays.
pub fn give_to(take: Take) {
    let _ = TAKE.set(take);
}

/// Something happened that is worth knowing in operation.
pub(super) fn notable(text: impl FnOnce() -> String) {
    record(true, text);
}

/// Something happened that helps to find out what went on.
pub(super) fn debug(text: impl FnOnce() -> String) {
    record(false, text);
}

fn record(is_notable: bool, text: impl FnOnce() -> String) {
    if let Some(take) = TAKE.get() {
        take(LogRecord { is_notable, text: text() });
    }
}
