//! What the rest of the crate calls; `tests/unit/test_msgpack_and_json.py` tests what is encoded.
#![allow(clippy::unwrap_used)]

use std::ffi::CStr;

use pyo3::{prelude::*, types::PyDict};

use super::{encode, encode_with_request_id};
use crate::py::codec::decode::decode;

const EXCEPTIONS: &CStr = c"
class EncodeError(ValueError): pass
class DecodeError(ValueError): pass
";

/// Runs `test` with the value of the Python expression `source`.
fn with_value(source: &CStr, test: impl FnOnce(Python<'_>, &Bound<'_, PyAny>)) {
    Python::initialize();
    Python::attach(|py| {
        // Stands in for the Python part of the package, which `cargo test` does not install.
        let modules = py.import("sys").unwrap().getattr("modules").unwrap();
        for name in [c"fal_realtime", c"fal_realtime._for_core"] {
            let module = PyModule::from_code(py, EXCEPTIONS, c"exceptions.py", name).unwrap();
            modules.set_item(name.to_str().unwrap(), module).unwrap();
        }
        test(py, &py.eval(source, None, None).unwrap());
    });
}

fn entry<'py>(message: &Bound<'py, PyAny>, key: &str) -> Bound<'py, PyAny> {
    message.cast::<PyDict>().unwrap().get_item(key).unwrap().unwrap()
}

fn error_of(source: &CStr) -> String {
    let mut message = String::new();
    with_value(source, |py, value| {
        message = encode_with_request_id(py, value, "new").unwrap_err().value(py).to_string();
    });
    message
}

#[test]
fn large_bytes_are_lent_and_everything_else_is_copied() {
    with_value(
        c"{'a': b'x' * 400_000, 'b': [b'y' * 16_384, {'c': 'z' * 400_000}], 'd': b'w' * 16_383}",
        |py, value| {
            let message = encode(py, value).unwrap();
            assert!(message.len() > 832_000);
            let copied = message.len() - 400_000 - 16_384;
            // A recycled buffer may be somewhat larger.
            assert!((copied..copied * 4 / 3).contains(&message.own_capacity()), "{copied}");
            assert!(decode(py, &message.to_vec()).unwrap().bind(py).eq(value).unwrap());
        },
    );
}

#[test]
fn several_bulk_strings_share_one_allocation() {
    with_value(c"{'a': 'x' * 400_000, 'b': ['y' * 400_000, {'c': 'z' * 400_000}]}", |py, value| {
        let message = encode(py, value).unwrap();
        assert!(message.len() > 1_200_000);
        // A recycled buffer may be somewhat larger.
        assert!(message.own_capacity() < 1_600_000);
    });
}

#[test]
fn a_missing_request_id_is_added_and_the_input_left_alone() {
    with_value(c"{'prompt': 'cat'}", |py, value| {
        let (message, id) = encode_with_request_id(py, value, "new").unwrap();
        let decoded = decode(py, &message.to_vec()).unwrap().into_bound(py);
        assert_eq!(id, "new");
        assert_eq!(entry(&decoded, "request_id").to_string(), "new");
        assert_eq!(entry(&decoded, "prompt").to_string(), "cat");
        assert_eq!(value.len().unwrap(), 1);
    });
}

#[test]
fn a_request_id_of_none_counts_as_missing() {
    with_value(c"{'request_id': None, 'prompt': 'cat'}", |py, value| {
        let (message, id) = encode_with_request_id(py, value, "new").unwrap();
        let decoded = decode(py, &message.to_vec()).unwrap().into_bound(py);
        assert_eq!(id, "new");
        assert_eq!(message.to_vec()[0], 0x82);
        assert_eq!(entry(&decoded, "request_id").to_string(), "new");
        assert!(entry(value, "request_id").is_none());
    });
}

#[test]
fn a_request_id_of_the_input_is_kept() {
    with_value(c"{'request_id': 'own', 'prompt': 'cat'}", |py, value| {
        let (message, id) = encode_with_request_id(py, value, "new").unwrap();
        assert_eq!(id, "own");
        assert!(decode(py, &message.to_vec()).unwrap().bind(py).eq(value).unwrap());
    });
}

#[test]
fn sixteen_entries_take_the_longer_header() {
    with_value(c"{str(i): i for i in range(15)}", |py, value| {
        let (message, _) = encode_with_request_id(py, value, "new").unwrap();
        assert_eq!(message.to_vec()[..3], [0xde, 0, 16]);
    });
}

#[test]
fn dict_like_inputs_carry_a_request_id_too() {
    for source in [
        c"__import__('collections').OrderedDict(seed=1)",
        c"__import__('dataclasses').make_dataclass('Input', ['seed'])(1)",
        c"type('Model', (), {'model_dump': lambda self: {'seed': 1}})()",
    ] {
        with_value(source, |py, value| {
            let (message, id) = encode_with_request_id(py, value, "new").unwrap();
            let decoded = decode(py, &message.to_vec()).unwrap().into_bound(py);
            assert_eq!(entry(&decoded, "request_id").to_string(), id);
            assert_eq!(entry(&decoded, "seed").extract::<i64>().unwrap(), 1);
        });
    }
}

#[test]
fn other_inputs_cannot_carry_a_request_id() {
    for source in [c"[1]", c"'text'", c"None", c"b'x'", c"1.5"] {
        let message = error_of(source);
        assert!(message.contains("request() needs a dict-like input"), "{message}");
    }
}

#[test]
fn a_request_id_that_is_no_str_is_refused() {
    assert_eq!(
        error_of(c"{'request_id': 7}"),
        "input.request_id: it must be a str, not an object of type 'int'"
    );
    assert!(error_of(c"{'request_id': '\\ud800'}").contains("lone surrogate"));
}
