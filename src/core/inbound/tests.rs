#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const DIALECTS: [Dialect; 3] = [Dialect::Fal, Dialect::Custom, Dialect::Raw];

/// What has arrived, as one list.
fn handed_over(inbound: &mut Inbound) -> Vec<Arrival> {
    let plain = std::mem::take(inbound.plain());
    let results = plain.into_iter().map(|numbered| match numbered.what {
        Item::Result(received) => Arrival::Result(received, None),
        Item::Error(_) | Item::End(_) => unreachable!("only results are plain"),
    });
    let mut all: Vec<_> = results.collect();
    all.extend(inbound.arrivals());
    inbound.rest();
    all
}

fn understood(
    dialect: Dialect,
    kind: MessageKind,
    payload: &[u8],
    expects_answers: bool,
) -> (Vec<Arrival>, Consequence) {
    let mut inbound = Inbound::new(dialect);
    inbound.expects_answers = expects_answers;
    let consequence = inbound.take(kind, Bytes::copy_from_slice(payload));
    (handed_over(&mut inbound), consequence)
}

fn text_of(message: &str) -> (Vec<Arrival>, Consequence) {
    understood(Dialect::Fal, MessageKind::Text, message.as_bytes(), false)
}

#[test]
fn control_messages_are_no_results() {
    let (arrivals, consequence) =
        text_of(r#"{"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "out of memory"}"#);
    assert_eq!(consequence, Consequence::SessionOver);
    let [Arrival::Realtime { error, fatal: true, about: None }] = &arrivals[..] else {
        panic!("{arrivals:?}")
    };
    assert_eq!(error.message, "INTERNAL_ERROR: out of memory");
    let (arrivals, consequence) = text_of(r#"{"type": "x-fal-error", "error": "INVALID"}"#);
    assert_eq!(consequence, Consequence::Nothing);
    assert!(matches!(&arrivals[..], [Arrival::Realtime { fatal: false, .. }]), "{arrivals:?}");
    let (arrivals, consequence) = text_of(r#"{"type": "x-fal-error", "error": "TIMEOUT"}"#);
    assert!(matches!(&arrivals[..], [Arrival::EndOfSession]), "{arrivals:?}");
    assert_eq!(consequence, Consequence::SessionOver);
    let (arrivals, consequence) = text_of(r#"{"status": "error", "error": "Unauthorized"}"#);
    assert!(arrivals.is_empty());
    assert_eq!(consequence, Consequence::Unauthorized);
    let (arrivals, _) = text_of(r#"{"type": "x-fal-message", "action": "timings", "timing": 0.5}"#);
    assert!(matches!(&arrivals[..], [Arrival::Timings(0.5)]), "{arrivals:?}");
}

#[test]
fn what_cannot_be_understood_is_an_error_in_its_place() {
    let mut inbound = Inbound::new(Dialect::Fal);
    for payload in [&b"\x01"[..], b"\xc1", b"\x02"] {
        inbound.take(MessageKind::Binary, Bytes::copy_from_slice(payload));
    }
    let kinds: Vec<_> = handed_over(&mut inbound)
        .iter()
        .map(|arrival| match arrival {
            Arrival::Result(received, _) => received.payload[0].to_string(),
            Arrival::Undecodable(error) | Arrival::Error(error) => format!("{:?}", error.kind),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["1", "Decode", "2"]);
}

#[test]
fn a_request_id_is_read_only_while_a_request_waits() {
    let payload = b"\x81\xaarequest_id\xa3abc";
    for (expects, id) in [(true, Some("abc")), (false, None)] {
        let (arrivals, _) = understood(Dialect::Fal, MessageKind::Binary, payload, expects);
        let [Arrival::Result(_, found)] = &arrivals[..] else { panic!("{arrivals:?}") };
        assert_eq!(found.as_deref(), id);
    }
}

proptest! {
    /// Whatever comes, it is one arrival or one consequence; a result is the message, byte by byte; and what the
    /// caller decodes itself is a result in any case.
    #[test]
    fn a_message_is_one_arrival_or_a_verdict(
        payload in proptest::collection::vec(any::<u8>(), 0..64), is_text: bool, expects: bool, dialect in 0..3_usize,
    ) {
        let (dialect, kind) = (DIALECTS[dialect], if is_text { MessageKind::Text } else { MessageKind::Binary });
        let payload = if is_text { String::from_utf8_lossy(&payload).into_owned().into_bytes() } else { payload };
        let (arrivals, consequence) = understood(dialect, kind, &payload, expects);
        prop_assert!(arrivals.len() <= 1);
        prop_assert!(!arrivals.is_empty() || consequence != Consequence::Nothing, "lost");
        if let [Arrival::Result(received, _)] = &arrivals[..] {
            prop_assert_eq!(&received.payload[..], &payload[..]);
            prop_assert_eq!(received.kind, kind);
            prop_assert_eq!(consequence, Consequence::Nothing);
        }
        if dialect == Dialect::Raw || (dialect == Dialect::Custom && !is_text) {
            prop_assert!(matches!(arrivals[..], [Arrival::Result(..)]));
        }
    }

    /// Messages come out in the order in which they went in, whatever is between them.
    #[test]
    fn order_is_kept(kinds in proptest::collection::vec(0..3_u8, 0..40)) {
        let mut inbound = Inbound::new(Dialect::Fal);
        inbound.expects_answers = true;
        for (number, kind) in (0..40_u8).zip(&kinds) {
            let consequence = match kind {
                0 => inbound.take(MessageKind::Binary, Bytes::copy_from_slice(&[number])),
                1 => inbound.take(MessageKind::Binary, [&b"\x82\xaarequest_id\xa1a\xa1n"[..], &[number]].concat().into()),
                _ => inbound.take(MessageKind::Text, format!(r#"{{"type":"x-fal-error","error":"{number}"}}"#).into()),
            };
            prop_assert_eq!(consequence, Consequence::Nothing);
        }
        let numbers: Vec<u8> = handed_over(&mut inbound)
            .iter()
            .map(|arrival| match arrival {
                Arrival::Result(received, _) => *received.payload.last().unwrap(),
                Arrival::Realtime { error, .. } => error.message.parse().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(numbers, (0..kinds.len() as u8).collect::<Vec<_>>());
    }
}
