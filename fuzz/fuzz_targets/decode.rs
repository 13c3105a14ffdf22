//! The decoders: bytes of any kind become an object or a `DecodeError`, and nothing else.
#![no_main]

use fal_realtime::fuzzing::{decode, decode_json};
use fal_realtime_fuzz::{assert_raised, with_python};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    with_python(|py| {
        if let Err(error) = decode(py, data) {
            assert_raised(py, &error, "DecodeError");
        }
        if let Ok(text) = std::str::from_utf8(data)
            && let Err(error) = decode_json(py, text)
        {
            assert_raised(py, &error, "DecodeError");
        }
    });
});
