//! The codec against itself: what was decoded can be encoded, and decoding that gives the same again. The second
//! encoding is compared with the first byte by byte, since a NaN is not equal to itself.
#![no_main]

use fal_realtime::fuzzing::{decode, encode};
use fal_realtime_fuzz::{assert_raised, with_python};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    with_python(|py| {
        let Ok(value) = decode(py, data) else { return };
        let first = match encode(value.bind(py)) {
            Ok(first) => first,
            Err(error) => return assert_raised(py, &error, "EncodeError"),
        };
        let again = decode(py, &first).unwrap_or_else(|error| panic!("{error}: {first:02x?}"));
        let second = encode(again.bind(py)).unwrap_or_else(|error| panic!("{error}: {first:02x?}"));
        assert_eq!(first, second);
    });
});
