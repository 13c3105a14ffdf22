//! The frame reader: what it holds, and where the bytes go.

use bytes::BufMut;

use super::{
    super::{FrameReader, Limits, Message, Role},
    BINARY, CONTINUATION, FIN, PING, TEXT, binary, client, feed_all, frame, plain, read_cut, read_direct,
};
use crate::core::payload::LARGE_BYTES;

#[test]
fn the_rest_stays_in_the_input() {
    let wire = [plain(FIN | BINARY, b"one"), plain(FIN | PING, b"two"), vec![FIN | TEXT]].concat();
    let mut reader = client();
    let mut input = &wire[..];
    assert_eq!(reader.feed(&mut input), Ok(Some(binary(b"one"))));
    assert_eq!(input.len(), 2 + 3 + 1);
    assert_eq!(reader.feed(&mut input), Ok(Some(Message::Ping("two".into()))));
    assert_eq!(input, [FIN | TEXT]);
    assert_eq!(reader.feed(&mut input), Ok(None));
    assert!(input.is_empty());
}

#[test]
fn an_idle_reader_holds_nothing() {
    let mut reader = client();
    assert_eq!(reader.buffered(), 0);
    let wire = [
        plain(FIN | BINARY, &[7; 200]),
        plain(FIN | PING, &[7; 125]),
        plain(BINARY, &[7; 300]),
        plain(FIN | PING, b""),
        plain(FIN | CONTINUATION, &vec![7; 70_000]),
    ]
    .concat();
    for size in [1, 3, 1000, wire.len()] {
        assert_eq!(read_cut(&mut reader, &wire, || size).unwrap().len(), 4);
        assert_eq!(reader.buffered(), 0, "pieces of {size}");
    }
}

#[test]
fn a_declared_length_costs_nothing() {
    let limits = Limits { max_message_size: usize::MAX, max_frame_size: usize::MAX, max_fragments: 1 };
    for first in [FIN | BINARY, BINARY] {
        let mut reader = FrameReader::new(limits, Role::Client);
        let header = [&[first, 127][..], &(u64::MAX >> 1).to_be_bytes()].concat();
        assert_eq!(feed_all(&mut reader, &header), Ok(vec![]));
        let room = reader.direct().unwrap().remaining_mut();
        assert!(room <= 1 << 20, "{room}");
        let mut arrived = 0;
        while arrived < 4 << 20 {
            arrived += 10_000;
            assert_eq!(feed_all(&mut reader, &[0; 10_000]), Ok(vec![]));
            let bound = (1 << 20).max(2 * arrived);
            assert!(reader.buffered() <= bound, "{} held for {arrived}", reader.buffered());
        }
    }
}

#[test]
fn a_message_in_pieces_holds_its_length() {
    for len in [100, 70_000, 300_000, 3_000_000] {
        let wire = plain(FIN | BINARY, &vec![1; len]);
        let mut reader = client();
        assert_eq!(feed_all(&mut reader, &wire[..wire.len() - 1]), Ok(vec![]));
        // A recycled buffer may be somewhat larger than what is declared.
        assert!((len..=len + len / 4).contains(&reader.buffered()), "{} held for {len}", reader.buffered());
        assert_eq!(feed_all(&mut reader, &[1]), Ok(vec![binary(&vec![1; len])]));
    }
}

#[test]
fn fragments_do_not_pin_unused_room() {
    let mut wire = plain(BINARY, &[1; 1000]);
    for _ in 0..64 {
        wire.extend(plain(CONTINUATION, &[1; 1000]));
    }
    wire.extend(plain(FIN | CONTINUATION, b""));
    let messages = feed_all(&mut client(), &wire).unwrap();
    let [Message::Data { payload, .. }] = &messages[..] else { panic!("one message") };
    let held = Vec::from(payload.clone()).capacity();
    assert!(held <= payload.len() * 5 / 4, "{held}");
}

#[test]
fn direct_room_is_for_large_rests_of_data_frames() {
    let mut reader = client();
    assert!(reader.direct().is_none(), "idle");

    let wire = plain(FIN | BINARY, &vec![9; LARGE_BYTES + 10]);
    let header = 4;
    assert_eq!(feed_all(&mut reader, &wire[..header + 10]), Ok(vec![]));
    assert_eq!(reader.direct().unwrap().remaining_mut(), LARGE_BYTES, "no byte past the frame");
    reader.direct().unwrap().put_slice(&[9]);
    assert!(reader.direct().is_none(), "less than LARGE_BYTES is missing");
    assert_eq!(feed_all(&mut reader, &[]), Ok(vec![]));
    assert_eq!(feed_all(&mut reader, &[9; LARGE_BYTES - 1]), Ok(vec![binary(&[9; LARGE_BYTES + 10])]));

    assert_eq!(feed_all(&mut reader, &wire[..header]), Ok(vec![]));
    reader.direct().unwrap().put_slice(&wire[header..header + 5000]);
    reader.direct();
    assert_eq!(feed_all(&mut reader, &wire[header + 5000..]), Ok(vec![binary(&[9; LARGE_BYTES + 10])]));

    assert_eq!(feed_all(&mut reader, &plain(BINARY, &vec![9; LARGE_BYTES])), Ok(vec![]));
    assert!(reader.direct().is_none(), "between two fragments");
    assert_eq!(feed_all(&mut reader, &[FIN | PING, 125]), Ok(vec![]));
    assert!(reader.direct().is_none(), "in a control frame");
}

#[test]
fn direct_room_is_unmasked_and_checked_like_any() {
    let payload = "é".repeat(40_000);
    let wire = frame(FIN | TEXT, payload.as_bytes(), Some([1, 2, 3, 250]));
    for size in [4999, 20_001, 100_000] {
        let mut reader = FrameReader::new(Limits::default(), Role::Server);
        assert_eq!(read_direct(&mut reader, &wire, || size), Ok(vec![super::text(&payload)]));
    }

    let mut reader = client();
    let wire = plain(FIN | TEXT, payload.as_bytes());
    assert_eq!(feed_all(&mut reader, &wire[..1000]), Ok(vec![]));
    reader.direct().unwrap().put_slice(b"\xFF");
    assert_eq!(feed_all(&mut reader, &[]).unwrap_err().code, 1007);
}
