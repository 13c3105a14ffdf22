//! The peek at a message's top level: never panics, and what it says does not depend on who asks.
#![no_main]

use fal_realtime::core::envelope::{Inbound, classify_binary, classify_text, control_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Inbound::Timings { seconds } = classify_binary(data) {
        assert!(seconds.is_finite(), "{seconds}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let classified = classify_text(text);
    if let Inbound::Timings { seconds } = classified {
        assert!(seconds.is_finite(), "{seconds}");
    }
    // The quick look for control messages finds those that the full one finds.
    if let Some(control) = control_text(text) {
        assert_eq!(control, classified);
    }
});
