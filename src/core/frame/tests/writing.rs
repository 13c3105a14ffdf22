//! The writer and the mask.

use super::{
    super::{
        Control, FrameReader, Limits, Message, MessageKind, Role, apply_mask, close_payload, extend_masked,
        rotate, write_control, write_header, write_small,
    },
    binary, feed_all,
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn server() -> FrameReader {
    FrameReader::new(Limits::default(), Role::Server)
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7) as u8).collect()
}

/// RFC 6455, section 5.7: a masked "Hello".
#[test]
fn the_example_of_the_rfc() {
    let expected = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    let mut out = Vec::new();
    write_small(&mut out, MessageKind::Text, b"Hello", KEY);
    assert_eq!(out, expected);
}

#[test]
fn a_frame_in_pieces_is_the_frame_in_one() {
    for len in [0, 1, 125, 126, 65_535, 65_536, 100_003] {
        let payload = payload(len);
        let mut whole = Vec::new();
        write_small(&mut whole, MessageKind::Binary, &payload, KEY);
        assert_eq!(feed_all(&mut server(), &whole), Ok(vec![binary(&payload)]), "{len} bytes");
        for step in [1, 2, 3, 64, 4099] {
            let mut pieces = Vec::new();
            write_header(&mut pieces, MessageKind::Binary, len, KEY);
            for (number, piece) in payload.chunks(step).enumerate() {
                extend_masked(&mut pieces, piece, rotate(KEY, number * step));
            }
            assert!(pieces == whole, "{len} bytes in steps of {step}");
        }
    }
}

#[test]
fn frames_are_appended() {
    let mut out = Vec::new();
    write_small(&mut out, MessageKind::Binary, b"one", KEY);
    write_control(&mut out, Control::Ping, b"two", KEY);
    write_control(&mut out, Control::Pong, &[3; 200], [9; 4]);
    write_control(&mut out, Control::Close, &close_payload(1000, "done"), KEY);
    let expected = vec![
        binary(b"one"),
        Message::Ping("two".into()),
        Message::Pong(vec![3; 125].into()),
        Message::Close { code: 1000, reason: "done".into() },
    ];
    assert_eq!(feed_all(&mut server(), &out), Ok(expected));
}

#[test]
fn close_payloads() {
    assert_eq!(close_payload(1000, ""), [0x03, 0xE8]);
    for code in [0, 999, 1004, 1005, 1006, 1015, 5000] {
        assert_eq!(close_payload(code, "lost"), b"", "{code} may not be written");
    }
    for (reason, kept) in [("x".repeat(123), 123), ("x".repeat(124), 123), ("é".repeat(70), 122)] {
        let payload = close_payload(4000, &reason);
        assert_eq!(&payload[2..], &reason.as_bytes()[..kept]);
    }
}

#[test]
fn large_payloads_are_masked_as_small_ones() {
    let source = payload((16 << 10) + 100);
    for start in 0..5 {
        for end in source.len() - 40..source.len() {
            let plain = &source[start..end];
            // At the end of what is allocated, and where it must be moved to grow.
            for room in [plain.len(), 0] {
                let mut out = Vec::with_capacity(1 + room);
                out.push(5);
                extend_masked(&mut out, plain, KEY);
                assert_eq!(out[0], 5);
                apply_mask(&mut out[1..], KEY);
                assert_eq!(out[1..], *plain);
            }
        }
    }
}

#[test]
fn masks_agree_with_the_definition() {
    let source = payload(300);
    for start in 0..5 {
        for end in start..source.len() {
            let plain = &source[start..end];
            let expected: Vec<u8> =
                plain.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            let mut in_place = source.clone();
            apply_mask(&mut in_place[start..end], KEY);
            assert_eq!(in_place[start..end], expected);
            assert_eq!(in_place[end..], source[end..]);

            let mut out = vec![5];
            extend_masked(&mut out, plain, KEY);
            assert_eq!(out[0], 5);
            assert_eq!(out[1..], expected);

            let (head, tail) = in_place[start..end].split_at_mut(plain.len() / 3);
            apply_mask(head, KEY);
            apply_mask(tail, rotate(KEY, head.len()));
            assert_eq!(in_place, source);
        }
    }
}
