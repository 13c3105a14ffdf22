//! Every rule of RFC 6455 that a peer can break, as tables.

use super::{
    super::{FrameReader, Limits, Message, Role},
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, client, feed_all, frame, plain, read_cut, text,
};
use crate::error::{Error, ErrorKind};

/// Reads `wire` whole and byte by byte; both must end in the same code.
fn refused(name: &str, limits: Limits, role: Role, wire: &[u8]) -> u16 {
    let mut reader = FrameReader::new(limits, role);
    let whole = feed_all(&mut reader, wire).expect_err(name);
    assert_eq!(reader.buffered(), 0, "{name}: a failed reader holds nothing");
    assert_eq!(feed_all(&mut reader, &plain(FIN | BINARY, b"x")), Err(whole), "{name}: failed for good");

    let single = read_cut(&mut FrameReader::new(limits, role), wire, || 1).expect_err(name);
    assert_eq!(whole.code, single.code, "{name}");
    whole.code
}

#[test]
fn a_violation_fails_with_its_code() {
    let long_16 = |len: u16| [&[FIN | BINARY, 126][..], &len.to_be_bytes()].concat();
    let long_64 = |len: u64| [&[FIN | BINARY, 127][..], &len.to_be_bytes()].concat();
    let mut cases: Vec<(String, Vec<u8>, u16)> = vec![
        ("fragmented ping".into(), plain(PING, b""), 1002),
        ("fragmented pong".into(), plain(PONG, b""), 1002),
        ("fragmented close".into(), plain(CLOSE, b""), 1002),
        ("ping of 126 bytes".into(), plain(FIN | PING, &[0; 126]), 1002),
        ("pong of 65,536 bytes".into(), plain(FIN | PONG, &vec![0; 65_536]), 1002),
        ("close of 126 bytes".into(), plain(FIN | CLOSE, &[3; 126]), 1002),
        ("masked".into(), frame(FIN | BINARY, b"x", Some([1, 2, 3, 4])), 1002),
        ("125 in 16 bits".into(), long_16(125), 1002),
        ("0 in 16 bits".into(), long_16(0), 1002),
        ("65,535 in 64 bits".into(), long_64(65_535), 1002),
        ("top bit of the length".into(), long_64(1 << 63), 1002),
        ("all bits of the length".into(), long_64(u64::MAX), 1002),
        ("continuation first".into(), plain(FIN | CONTINUATION, b"x"), 1002),
        (
            "continuation after a whole message".into(),
            [plain(FIN | TEXT, b"x"), plain(CONTINUATION, b"x")].concat(),
            1002,
        ),
        ("text inside a message".into(), [plain(TEXT, b"x"), plain(FIN | TEXT, b"x")].concat(), 1002),
        ("binary inside a message".into(), [plain(BINARY, b"x"), plain(BINARY, b"x")].concat(), 1002),
        ("close of one byte".into(), plain(FIN | CLOSE, &[3]), 1002),
        ("close reason not UTF-8".into(), plain(FIN | CLOSE, &[0x03, 0xE8, 0xFF]), 1007),
        ("close reason cut in a character".into(), plain(FIN | CLOSE, &[0x03, 0xE8, 0xC3]), 1007),
        ("text not UTF-8".into(), plain(FIN | TEXT, b"a\xFF"), 1007),
        ("text with a surrogate".into(), plain(FIN | TEXT, b"\xED\xA0\x80"), 1007),
        ("text overlong".into(), plain(FIN | TEXT, b"\xC0\xAF"), 1007),
        ("text ends in a character".into(), plain(FIN | TEXT, b"\xE2\x82"), 1007),
        (
            "fragmented text ends in a character".into(),
            [plain(TEXT, b"\xE2"), plain(FIN | CONTINUATION, b"\x82")].concat(),
            1007,
        ),
        ("over the limit of a message".into(), long_64((64 << 20) + 1), 1009),
        ("far over it".into(), long_64((1 << 63) - 1), 1009),
    ];
    for bit in [0x10, 0x20, 0x40] {
        cases.push((format!("reserved bit {bit:#x}"), plain(FIN | bit | BINARY, b""), 1002));
        cases.push((format!("reserved bit {bit:#x} of a ping"), plain(FIN | bit | PING, b""), 1002));
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        cases.push((format!("opcode {opcode:#x}"), plain(FIN | opcode, b""), 1002));
        cases.push((format!("opcode {opcode:#x}, not final"), plain(opcode, b"x"), 1002));
    }
    for (name, wire, code) in cases {
        assert_eq!(refused(&name, Limits::default(), Role::Client, &wire), code, "{name}");
    }
    let wire = plain(FIN | BINARY, b"x");
    assert_eq!(refused("unmasked", Limits::default(), Role::Server, &wire), 1002);
}

#[test]
fn close_codes() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        let wire = plain(FIN | CLOSE, &code.to_be_bytes());
        assert_eq!(refused(&code.to_string(), Limits::default(), Role::Client, &wire), 1002, "{code}");
    }
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999_u16]) {
        let wire = plain(FIN | CLOSE, &[&code.to_be_bytes()[..], "adiós".as_bytes()].concat());
        let close = Message::Close { code, reason: "adiós".into() };
        assert_eq!(feed_all(&mut client(), &wire), Ok(vec![close]));
    }
    let none = Message::Close { code: 1005, reason: String::new() };
    assert_eq!(feed_all(&mut client(), &plain(FIN | CLOSE, b"")), Ok(vec![none]));
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = Limits { max_message_size: 10, max_frame_size: 6, max_fragments: 3 };
    let fits = [
        plain(BINARY, &[1; 6]),
        plain(CONTINUATION, &[2; 4]),
        plain(FIN | PING, &[0; 100]), // not counted
        plain(FIN | CONTINUATION, b""),
        plain(FIN | BINARY, &[3; 6]), // counted afresh
    ];
    let mut reader = FrameReader::new(limits, Role::Client);
    assert_eq!(feed_all(&mut reader, &fits.concat()).unwrap().len(), 3);

    let cases = [
        ("frame", vec![plain(FIN | BINARY, &[0; 7])]),
        ("message", vec![plain(BINARY, &[0; 6]), plain(FIN | CONTINUATION, &[0; 5])]),
        ("fragments", vec![plain(BINARY, b""), plain(0, b""), plain(0, b""), plain(FIN, b"")]),
    ];
    for (name, wire) in cases {
        assert_eq!(refused(name, limits, Role::Client, &wire.concat()), 1009, "{name}");
    }
}

#[test]
fn too_big_is_refused_from_the_header() {
    let limits = Limits { max_message_size: 200, ..Limits::default() };
    let mut reader = FrameReader::new(limits, Role::Client);
    assert_eq!(feed_all(&mut reader, &[FIN | BINARY, 126, 0]), Ok(vec![]));
    assert_eq!(feed_all(&mut reader, &[201]).unwrap_err().code, 1009);
}

/// Autobahn 6.4: "κόσμε", a code point past U+10FFFF, "edited". The fourth byte from the end of the good part is
/// still possible, the one after is not.
#[test]
fn bad_utf8_is_refused_at_its_byte() {
    let good = "κόσμε".as_bytes();
    let payload = [good, b"\xF4\x90\x80\x80edited"].concat();
    let bad = good.len() + 1;

    let mut reader = client();
    let wire = plain(FIN | TEXT, &payload);
    let header = wire.len() - payload.len();
    assert_eq!(read_cut(&mut reader, &wire[..header + bad], || 1), Ok(vec![]), "in one frame");
    assert_eq!(feed_all(&mut reader, &payload[bad..=bad]).unwrap_err().code, 1007);

    let mut reader = client();
    let wire = [plain(TEXT, &payload[..bad]), plain(CONTINUATION, &payload[bad..])].concat();
    let until = wire.len() - payload[bad..].len();
    assert_eq!(feed_all(&mut reader, &wire[..until]), Ok(vec![]), "over two frames");
    assert_eq!(feed_all(&mut reader, &payload[bad..=bad]).unwrap_err().code, 1007);
}

#[test]
fn a_character_may_be_cut_anywhere() {
    let payload = "aé€😀".as_bytes();
    for cut in 0..=payload.len() {
        let wire = [
            plain(TEXT, &payload[..cut]),
            plain(FIN | PONG, "é".as_bytes()),
            plain(FIN | CONTINUATION, &payload[cut..]),
        ];
        let expected = vec![Message::Pong("é".into()), text("aé€😀")];
        assert_eq!(feed_all(&mut client(), &wire.concat()), Ok(expected), "cut at {cut}");
    }
}

#[test]
fn nothing_is_read_after_a_close() {
    let mut reader = client();
    let wire = [plain(FIN | CLOSE, b""), plain(FIN | PING, b"late"), vec![0xFF; 9]].concat();
    assert_eq!(feed_all(&mut reader, &wire).unwrap().len(), 1);
    assert_eq!(feed_all(&mut reader, &[0xFF]), Ok(vec![]));
}

#[test]
fn a_violation_becomes_an_error_of_the_crate() {
    let violation = feed_all(&mut client(), &plain(FIN | TEXT, b"\xFF")).unwrap_err();
    let error = Error::from(violation);
    assert_eq!(error.kind, ErrorKind::Protocol { code: 1007 });
    assert_eq!(error.to_string(), "the peer broke the WebSocket protocol: text is not UTF-8 (code 1007)");
    assert!(!error.transient);
}
