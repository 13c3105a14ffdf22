//! The peek at a message's top level, and what follows from it: never panics, does not depend on who asks, loses
//! nothing.
#![no_main]

use bytes::Bytes;
use fal_realtime::core::{
    envelope::{Envelope, classify_binary, classify_text, control_text},
    frame::MessageKind,
    inbound::{Consequence, Dialect, Inbound},
};
use libfuzzer_sys::fuzz_target;

/// A message is one arrival, or a consequence for the session; in the raw mode it is a result.
fn take(kind: MessageKind, data: &[u8]) {
    for dialect in [Dialect::Fal, Dialect::Custom, Dialect::Raw] {
        for expects_answers in [false, true] {
            let mut inbound = Inbound::new(dialect);
            inbound.expects_answers = expects_answers;
            let consequence = inbound.take(kind, Bytes::copy_from_slice(data));
            let (results, others) = (inbound.plain().len(), inbound.arrivals().len());
            assert!(results + others == 1 || (results + others == 0 && consequence != Consequence::Nothing));
            assert!(dialect != Dialect::Raw || results == 1);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    take(MessageKind::Binary, data);
    if let Envelope::Timings { seconds } = classify_binary(data) {
        assert!(seconds.is_finite(), "{seconds}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    take(MessageKind::Text, data);
    let classified = classify_text(text);
    if let Envelope::Timings { seconds } = classified {
        assert!(seconds.is_finite(), "{seconds}");
    }
    // The quick look for control messages finds those that the full one finds.
    if let Some(control) = control_text(text) {
        assert_eq!(control, classified);
    }
});
