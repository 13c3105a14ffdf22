//! The schedule of who reads for event loops: as is best, or, for tests and as a way out, as the environment says.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

/// `auto` (the default), `io-thread` or `alternate`.
const VARIABLE: &str = "FAL_REALTIME_DRIVER";

/// The schedule: who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// The loop's thread while it comes, else the I/O thread.
    Auto,
    /// The I/O thread alone, as for loops that watch no descriptors.
    IoThread,
    /// Like `Auto`, and the I/O thread takes over again and again without reason.
    Alternate,
}

impl Schedule {
    fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "" | "auto" => Self::Auto,
            "io-thread" => Self::IoThread,
            "alternate" => Self::Alternate,
            _ => return None,
        })
    }
}

/// The schedule that the environment asks for; read once.
pub(super) fn schedule() -> Result<Schedule> {
    static SCHEDULE: OnceLock<std::result::Result<Schedule, String>> = OnceLock::new();
    let read = || {
        let value = std::env::var(VARIABLE).unwrap_or_default();
        Schedule::parse(&value).ok_or(value)
    };
    SCHEDULE.get_or_init(read).clone().map_err(|value| {
        let message = format!("{VARIABLE} is {value:?}, but must be auto, io-thread or alternate");
        Error::new(ErrorKind::InvalidOption, message)
    })
}

/// A loop's sockets may be read on its own thread.
#[cfg_attr(any(not(target_os = "linux"), fal_realtime_no_poller), allow(dead_code))] // nobody else reads there
pub(super) fn allows_loops() -> bool {
    !matches!(schedule(), Ok(Schedule::IoThread))
}

/// Whether who reads is to change without reason.
#[cfg_attr(any(not(target_os = "linux"), fal_realtime_no_poller), allow(dead_code))] // nobody else reads there
pub(super) fn alternates() -> bool {
    matches!(schedule(), Ok(Schedule::Alternate))
}
