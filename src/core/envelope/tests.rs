use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Envelope, classify_binary, classify_binary_without_id, classify_text, control_text};

fn result(request_id: Option<&str>) -> Envelope<'_> {
    Envelope::Result { request_id: request_id.map(Cow::Borrowed) }
}

fn msgpack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

/// A map of one pair whose value is given in msgpack.
fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    let mut message = vec![0x81];
    rmp::encode::write_str(&mut message, key).unwrap();
    message.extend_from_slice(value);
    message
}

/// What the protocol says of a text message, written down a second time over a decoded value.
fn expected_of_text(value: &Value) -> Envelope<'static> {
    if value["status"] == "error" && value["error"] == "Unauthorized" {
        return Envelope::Unauthorized;
    }
    let is_bare = ["type", "status", "request_id"].iter().all(|key| value[*key].is_null());
    if is_bare && value["error"] == "Error while forwarding the request" {
        let reason = "Error while forwarding the request".into();
        return Envelope::Error { error: "GATEWAY_ERROR".into(), reason, request_id: None };
    }
    expected(value)
}

/// The same of a binary message.
fn expected(value: &Value) -> Envelope<'static> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let kind = text("type").unwrap_or_default();
    if kind == "x-fal-error" {
        let reason = text("reason").unwrap_or_default().into();
        let error = text("error").unwrap_or("UNKNOWN_ERROR".into());
        return if error == "TIMEOUT" {
            Envelope::EndOfSession { reason }
        } else {
            Envelope::Error { error: error.into(), reason, request_id: expected_id(value) }
        };
    }
    if kind.starts_with("x-fal-") {
        return match value["timing"].as_f64() {
            Some(seconds) if kind == "x-fal-message" && value["action"] == "timings" => {
                Envelope::Timings { seconds }
            }
            _ => Envelope::Control { action: text("action").unwrap_or(kind).into() },
        };
    }
    Envelope::Result { request_id: expected_id(value) }
}

fn expected_id(value: &Value) -> Option<Cow<'static, str>> {
    match &value["request_id"] {
        Value::String(text) => Some(text.clone().into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
        _ => None,
    }
}

fn error(error: &'static str, reason: &'static str, request_id: Option<&'static str>) -> Envelope<'static> {
    Envelope::Error { error: error.into(), reason: reason.into(), request_id: request_id.map(Into::into) }
}

#[test]
fn messages_of_the_protocol_in_both_forms() {
    let cases = [
        (
            json!({"type": "x-fal-message", "action": "timings", "timing": 0.25}),
            Envelope::Timings { seconds: 0.25 },
        ),
        (
            json!({"type": "x-fal-message", "action": "timings", "timing": 2}),
            Envelope::Timings { seconds: 2.0 },
        ),
        (
            json!({"type": "x-fal-message", "action": "timings", "timing": "2"}),
            Envelope::Control { action: "timings".into() },
        ),
        (json!({"type": "x-fal-message", "action": "later"}), Envelope::Control { action: "later".into() }),
        (json!({"type": "x-fal-message"}), Envelope::Control { action: "x-fal-message".into() }),
        (json!({"type": "x-fal-new", "timing": 1}), Envelope::Control { action: "x-fal-new".into() }),
        (
            json!({"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "it \"raised\""}),
            error("INTERNAL_ERROR", "it \"raised\"", None),
        ),
        (
            json!({"type": "x-fal-error", "error": "INVALID_INPUT", "reason": "seed", "request_id": "r"}),
            error("INVALID_INPUT", "seed", Some("r")),
        ),
        (
            json!({"type": "x-fal-error", "error": "INVALID_INPUT", "request_id": 7}),
            error("INVALID_INPUT", "", Some("7")),
        ),
        (json!({"type": "x-fal-error", "reason": {"a": [1]}}), error("UNKNOWN_ERROR", "", None)),
        (
            json!({"type": "x-fal-error", "error": "TIMEOUT", "reason": "no inputs, reconnect when needed!"}),
            Envelope::EndOfSession { reason: "no inputs, reconnect when needed!".into() },
        ),
        (json!({"status": "error", "error": "Unauthorized"}), Envelope::Unauthorized),
        (json!({"error": "Unauthorized", "a": 1, "status": "error"}), Envelope::Unauthorized),
        (json!({"status": "error", "error": "Other", "request_id": "r"}), result(Some("r"))),
        (json!({"status": "ok", "error": "Unauthorized"}), result(None)),
        (json!({"error": "Unauthorized"}), result(None)),
        (json!({"type": "image", "request_id": "r"}), result(Some("r"))),
        (json!({"type": 1}), result(None)),
        (json!({"nested": {"type": "x-fal-error", "request_id": "inner"}}), result(None)),
        (json!({"request_id": "7c1"}), result(Some("7c1"))),
        (json!({"request_id": "ü\n"}), result(Some("ü\n"))),
        (json!({"request_id": 42}), result(Some("42"))),
        (json!({"request_id": -42}), result(Some("-42"))),
        (json!({"request_id": u64::MAX}), result(Some("18446744073709551615"))),
        (json!({"request_id": i64::MIN}), result(Some("-9223372036854775808"))),
        (json!({"request_id": 1.5}), result(None)),
        (json!({"request_id": null}), result(None)),
        (json!({"request_id": true}), result(None)),
        (json!({"request_id": ["r"]}), result(None)),
        (json!({"request_id": {"r": "r"}}), result(None)),
        (json!({}), result(None)),
        (json!([{"type": "x-fal-error"}]), result(None)),
        (json!("x-fal-error"), result(None)),
        (json!(7), result(None)),
        (json!(-7), result(None)),
        (json!(7.5), result(None)),
        (json!(false), result(None)),
        (json!(null), result(None)),
    ];
    for (value, inbound) in cases {
        // A refusal is text: in msgpack the same is an app's result.
        let binary = if inbound == Envelope::Unauthorized { result(None) } else { inbound.clone() };
        assert_eq!(classify_binary(&msgpack(&value)), binary, "msgpack {value}");
        let text = value.to_string();
        assert_eq!(classify_text(&text), inbound, "{text}");
        let control = (!matches!(inbound, Envelope::Result { .. })).then_some(inbound);
        assert_eq!(control_text(&text), control, "{text}");
    }
}

#[test]
fn text_without_escapes_is_borrowed() {
    let binary = msgpack(&json!({"request_id": "abc"}));
    for inbound in [classify_binary(&binary), classify_text(r#"{"request_id": "abc"}"#)] {
        assert!(matches!(inbound, Envelope::Result { request_id: Some(Cow::Borrowed("abc")) }));
    }
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let text = r#"{"request_id": "a", "x": 1, "request_id": "b"}"#;
    assert_eq!(classify_text(text), result(Some("b")));
    let mut message = pair("request_id", &msgpack(&json!("a")));
    message.extend(&pair("request_id", &msgpack(&json!(null)))[1..]);
    message[0] = 0x82;
    assert_eq!(classify_binary(&message), result(None));
}

#[test]
fn floats_that_only_python_writes_hide_no_id() {
    for text in [
        r#"{"a":NaN,"request_id":"r"}"#,
        r#"{"a":[-Infinity,Infinity],"request_id":"r"}"#,
        r#"{"\"NaN":"Infinity \\","a":NaN,"request_id":"r"}"#,
    ] {
        assert_eq!(classify_text(text), result(Some("r")), "{text}");
    }
    let text = r#"{"type":"x-fal-error","error":"E","reason":"NaN","a":NaN}"#;
    assert_eq!(classify_text(text), error("E", "NaN", None));
    assert_eq!(classify_text("NaN"), result(None));
    for text in ["{NaN:1}", "Na", r#""NaN"#, "NaNNaN", r"\NaN"] {
        assert!(matches!(classify_text(text), Envelope::Malformed { .. }), "{text}");
    }
}

#[test]
fn text_that_is_not_json() {
    let texts = [
        "",
        " ",
        "{",
        "{\"a\":1",
        "{\"a\":1}x",
        "{\"a\":}",
        "[1",
        "nul",
        "{a:1}",
        "{\"request_id\":\"x}",
        "\u{feff}{}",
    ];
    for text in texts {
        assert_eq!(
            classify_text(text),
            Envelope::Malformed { why: "the text message is not JSON" },
            "{text}"
        );
        assert_eq!(control_text(text), None);
    }
    for text in ["x-fal-error", "Unauthorized", "{\"type\":\"x-fal-error\"", "see \"x-fal-\""] {
        assert_eq!(control_text(text), None, "{text}");
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    const DEPTH: usize = 100_000;
    for key in ["images", "request_id"] {
        let text = format!("{{\"{key}\":{}{}}}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        assert_eq!(classify_text(&text), result(None));
        let open = format!("{{\"{key}\":{}", "{\"a\":".repeat(DEPTH));
        assert!(matches!(classify_text(&open), Envelope::Malformed { .. }));

        let mut nested = vec![0x91; DEPTH];
        assert!(matches!(classify_binary(&pair(key, &nested)), Envelope::Malformed { .. }));
        nested.push(0xc0);
        assert_eq!(classify_binary(&pair(key, &nested)), result(None));
    }
    assert_eq!(classify_text(&("[".repeat(DEPTH) + &"]".repeat(DEPTH))), result(None));
    assert!(matches!(classify_text(&"[".repeat(DEPTH)), Envelope::Malformed { .. }));
}

/// One value of each of msgpack's markers, of each of their length classes.
fn every_marker() -> Vec<Vec<u8>> {
    let big = |header: &[u8], length: usize| [header, &vec![0xc1; length]].concat();
    vec![
        vec![0x00],
        vec![0x7f],
        vec![0x80],
        vec![0x82, 0xa1, b'a', 0x01, 0x02, 0x93, 1, 2, 3],
        vec![0x90],
        vec![0x92, 0x91, 0xc0, 0xa3, 1, 2, 3],
        vec![0xa0],
        big(&[0xbf], 31),
        vec![0xc0],
        vec![0xc2],
        vec![0xc3],
        big(&[0xc4, 0], 0),
        big(&[0xc4, 0xff], 0xff),
        big(&[0xc5, 0x01, 0x00], 0x100),
        big(&[0xc6, 0x00, 0x01, 0x00, 0x00], 0x10000),
        big(&[0xc7, 0x05], 1 + 5),
        big(&[0xc8, 0x01, 0x05], 1 + 0x105),
        big(&[0xc9, 0x00, 0x01, 0x00, 0x00], 1 + 0x10000),
        big(&[0xca], 4),
        big(&[0xcb], 8),
        big(&[0xcc], 1),
        big(&[0xcd], 2),
        big(&[0xce], 4),
        big(&[0xcf], 8),
        big(&[0xd0], 1),
        big(&[0xd1], 2),
        big(&[0xd2], 4),
        big(&[0xd3], 8),
        big(&[0xd4], 1 + 1),
        big(&[0xd5], 1 + 2),
        big(&[0xd6], 1 + 4),
        big(&[0xd7], 1 + 8),
        big(&[0xd8], 1 + 16),
        big(&[0xd9, 0xff], 0xff),
        big(&[0xda, 0x01, 0x00], 0x100),
        big(&[0xdb, 0x00, 0x01, 0x00, 0x00], 0x10000),
        [&[0xdc, 0x01, 0x00][..], &[0xc0; 0x100]].concat(),
        [&[0xdd, 0x00, 0x01, 0x00, 0x00][..], &vec![0xc0; 0x10000]].concat(),
        [&[0xde, 0x00, 0x10][..], &[0xc0; 0x20]].concat(),
        [&[0xdf, 0x00, 0x00, 0x00, 0x10][..], &[0xc0; 0x20]].concat(),
        vec![0xe0],
        vec![0xff],
    ]
}

#[test]
fn every_marker_is_skipped_as_key_and_as_value() {
    for value in every_marker() {
        let head = &value[..value.len().min(6)];
        for request_id_last in [true, false] {
            let (id, other) = (&pair("request_id", b"\xa1r")[1..], &pair("other", &value)[1..]);
            let pairs = if request_id_last { [other, id].concat() } else { [id, other].concat() };
            let message = [&[0x82][..], &pairs].concat();
            assert_eq!(classify_binary(&message), result(Some("r")), "as value: {head:x?}");
        }
        let message = [&[0x82][..], &value, &[0xc0], &pair("request_id", b"\xa1r")[1..]].concat();
        assert_eq!(classify_binary(&message), result(Some("r")), "as key: {head:x?}");
        // As the value of a key that matters: right after it must come the next pair.
        let message =
            [&[0x82][..], &pair("timing", &value)[1..], &pair("request_id", b"\xa1r")[1..]].concat();
        assert_eq!(classify_binary(&message), result(Some("r")), "as scalar: {head:x?}");
    }
}

#[test]
fn integers_and_floats_of_every_width() {
    let id = |value: &[u8]| match classify_binary(&pair("request_id", value)) {
        Envelope::Result { request_id } => request_id.map(Cow::into_owned),
        other => panic!("{other:?}"),
    };
    let cases: [(&[u8], &str); 12] = [
        (&[0x00], "0"),
        (&[0x7f], "127"),
        (&[0xcc, 0xff], "255"),
        (&[0xcd, 0xff, 0xfe], "65534"),
        (&[0xce, 0xff, 0xff, 0xff, 0xff], "4294967295"),
        (&[0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0], "9223372036854775808"),
        (&[0xff], "-1"),
        (&[0xe0], "-32"),
        (&[0xd0, 0x80], "-128"),
        (&[0xd1, 0x7f, 0xff], "32767"),
        (&[0xd2, 0xff, 0xff, 0xff, 0xfe], "-2"),
        (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
    ];
    for (value, digits) in cases {
        assert_eq!(id(value).as_deref(), Some(digits));
    }
    assert_eq!(id(&[0xc4, 1, b'r']), None, "bytes are no id");
    assert_eq!(id(&[0xa2, 0xff, 0xfe]), None, "neither is text that is not UTF-8");

    let mut timings = vec![0x83];
    timings.extend(&pair("type", &msgpack(&json!("x-fal-message")))[1..]);
    timings.extend(&pair("action", &msgpack(&json!("timings")))[1..]);
    timings.extend(&pair("timing", &[0xca, 0x3e, 0x80, 0, 0])[1..]);
    assert_eq!(classify_binary(&timings), Envelope::Timings { seconds: 0.25 });
}

#[test]
fn a_time_that_is_no_number_is_no_timing() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut timings = vec![0x83];
        timings.extend(&pair("type", &msgpack(&json!("x-fal-message")))[1..]);
        timings.extend(&pair("action", &msgpack(&json!("timings")))[1..]);
        timings.extend(&pair("timing", &[&[0xcb], &value.to_be_bytes()[..]].concat())[1..]);
        assert_eq!(classify_binary(&timings), Envelope::Control { action: "timings".into() });
    }
}

#[test]
fn lengths_are_never_trusted() {
    let cases: [&[u8]; 10] = [
        &[],
        &[0xc1],
        &[0x81],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xde, 0xff],
        &[0x81, 0xa1, b'a', 0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xa1, b'a', 0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xa1, b'a', 0xc9, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xdb, 0xff, 0xff, 0xff, 0xff, b'a'],
        &[0x81, 0xa1, b'a', 0x91, 0xc1],
    ];
    for message in cases {
        assert!(matches!(classify_binary(message), Envelope::Malformed { .. }), "{message:x?}");
    }
    // Maps of maps that each claim the most there can be: the claims must not add up to an overflow.
    let claims = [0xdf, 0xff, 0xff, 0xff, 0xff].repeat(1_000);
    assert!(matches!(classify_binary(&pair("a", &claims)), Envelope::Malformed { .. }));
}

#[test]
fn what_follows_the_top_level_value_is_left_to_the_decoder() {
    let mut message = msgpack(&json!({"request_id": "r"}));
    message.push(0xc1);
    assert_eq!(classify_binary(&message), result(Some("r")));
}

fn text_of_interest() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "x-fal-error",
            "x-fal-message",
            "x-fal-",
            "x-fal",
            "error",
            "ok",
            "Unauthorized",
            "TIMEOUT",
            "INTERNAL_ERROR",
            "timings",
            "",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,40}",
        "[\"\\\\\\n\u{1}a-z]{0,10}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["type", "status", "error", "reason", "action", "timing", "request_id"])
            .prop_map(str::to_owned),
        1 => "[a-z_]{0,12}",
        1 => "\\PC{0,40}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text_of_interest().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => (-100..100_i64).prop_map(Value::from),
        1 => (-1e6..1e6_f64).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..18).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value(), 0..20)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn agrees_with_the_decoders(value in prop_oneof![4 => object(), 1 => value()]) {
        let binary = msgpack(&value);
        prop_assert_eq!(&rmp_serde::from_slice::<Value>(&binary).unwrap(), &value);
        prop_assert_eq!(classify_binary(&binary), expected(&value));
        let without_id = match expected(&value) {
            Envelope::Result { .. } => Envelope::Result { request_id: None },
            other => other,
        };
        prop_assert_eq!(classify_binary_without_id(&binary), without_id);

        for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(classify_text(&text), expected_of_text(&value));
            let control = Some(expected_of_text(&value)).filter(|inbound| !matches!(inbound, Envelope::Result { .. }));
            prop_assert_eq!(control_text(&text), control);
        }
    }

    #[test]
    fn each_cut_of_a_map_is_malformed(value in object()) {
        let binary = msgpack(&value);
        for cut in 0..binary.len() {
            let inbound = classify_binary(&binary[..cut]);
            let is_malformed = matches!(inbound, Envelope::Malformed { .. });
            prop_assert!(is_malformed, "{} of {}: {:?}", cut, binary.len(), inbound);
        }
    }

    #[test]
    fn never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "\\PC{0,100}",
        pairs in 0x80..=0x8f_u8,
    ) {
        let _ = classify_binary(&bytes);
        let _ = classify_binary(&[&[pairs], &bytes[..]].concat());
        let _ = classify_binary(&pair("request_id", &bytes));
        let _ = classify_text(&text);
        let _ = classify_text(&String::from_utf8_lossy(&bytes));
        let _ = control_text(&format!("x-fal-{text}"));
    }

    /// Flipped bytes reach paths that random ones do not.
    #[test]
    fn never_panics_on_damaged_messages(value in object(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut binary = msgpack(&value);
        let at = at.index(binary.len());
        binary[at] = byte;
        let _ = classify_binary(&binary);
        let mut text = value.to_string().into_bytes();
        let at = at.min(text.len() - 1);
        text[at] = byte;
        let _ = classify_text(&String::from_utf8_lossy(&text));
    }
}

#[test]
fn the_gateways_refusal_is_an_error_and_an_apps_own_words_are_a_result() {
    let refusal = r#"{"error":"Error while forwarding the request"}"#;
    let error = error("GATEWAY_ERROR", "Error while forwarding the request", None);
    assert_eq!(classify_text(refusal), error);
    assert_eq!(control_text(refusal), Some(error));
    for own in [
        r#"{"error":"Error while forwarding the mail"}"#,
        r#"{"type":"error","error":"Error while forwarding the request"}"#,
        r#"{"status":"error","error":"Error while forwarding the request"}"#,
    ] {
        assert_eq!(classify_text(own), result(None), "{own}");
    }
    let with_id = r#"{"request_id":"a","error":"Error while forwarding the request"}"#;
    assert_eq!(classify_text(with_id), result(Some("a")));
    assert_eq!(
        classify_binary(&msgpack(&json!({"error": "Error while forwarding the request"}))),
        result(None)
    );
}
