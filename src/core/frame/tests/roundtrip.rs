//! Any sequence of messages, fragmented and cut anywhere, reads back the same.

use proptest::{collection::vec, prelude::*};

use super::{
    super::{FrameReader, Limits, Message, MessageKind, Role},
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, read_cut, read_direct,
};

/// A message, and where it is cut into fragments (control messages are not).
#[derive(Debug, Clone)]
struct Sent {
    message: Message,
    cuts: Vec<usize>,
    /// Pings between its fragments.
    pings: bool,
}

fn message() -> impl Strategy<Value = Message> {
    let binary =
        prop_oneof![4 => vec(any::<u8>(), 0..300), 1 => (any::<u8>(), 0..90_000_usize).prop_map(large)];
    prop_oneof![
        3 => binary.prop_map(|payload| Message::Data { kind: MessageKind::Binary, payload: payload.into() }),
        2 => ".{0,40}".prop_map(|payload| Message::Data { kind: MessageKind::Text, payload: payload.into() }),
        1 => vec(any::<u8>(), 0..126).prop_map(|payload| Message::Ping(payload.into())),
        1 => vec(any::<u8>(), 0..126).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

fn large((seed, len): (u8, usize)) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

fn sent() -> impl Strategy<Value = Sent> {
    (message(), vec(any::<prop::sample::Index>(), 0..4), any::<bool>()).prop_map(|(message, cuts, pings)| {
        let len = match &message {
            Message::Data { payload, .. } => payload.len(),
            _ => 0,
        };
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
        cuts.sort_unstable();
        Sent { message, cuts, pings }
    })
}

/// Writes everything as frames, and answers them with the messages to expect.
fn write(all: &[Sent], key: Option<[u8; 4]>) -> (Vec<u8>, Vec<Message>) {
    let mut wire = Vec::new();
    let mut expected = Vec::new();
    for Sent { message, cuts, pings } in all {
        match message {
            Message::Data { kind, payload } => {
                let mut opcode = if *kind == MessageKind::Text { TEXT } else { BINARY };
                let mut start = 0;
                for &cut in cuts {
                    wire.extend(frame(opcode, &payload[start..cut], key));
                    if *pings {
                        wire.extend(frame(FIN | PING, b"between", key));
                        expected.push(Message::Ping("between".into()));
                    }
                    (opcode, start) = (CONTINUATION, cut);
                }
                wire.extend(frame(FIN | opcode, &payload[start..], key));
            }
            Message::Ping(payload) => wire.extend(frame(FIN | PING, payload, key)),
            Message::Pong(payload) => wire.extend(frame(FIN | PONG, payload, key)),
            Message::Close { .. } => unreachable!("added at the end"),
        }
        expected.push(message.clone());
    }
    wire.extend(frame(FIN | CLOSE, b"\x03\xE8bye", key));
    expected.push(Message::Close { code: 1000, reason: "bye".into() });
    (wire, expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        all in vec(sent(), 0..8),
        key in any::<Option<[u8; 4]>>(),
        sizes in vec(prop_oneof![1..20_usize, 1..50_000_usize], 1..10),
    ) {
        let (wire, expected) = write(&all, key);
        let role = if key.is_some() { Role::Server } else { Role::Client };
        let reader = || FrameReader::new(Limits::default(), role);
        let mut cycle = sizes.iter().copied().cycle();
        let mut cuts = || cycle.next().unwrap();

        prop_assert_eq!(&read_cut(&mut reader(), &wire, || usize::MAX).unwrap(), &expected);
        prop_assert_eq!(&read_cut(&mut reader(), &wire, || 1).unwrap(), &expected);
        prop_assert_eq!(&read_cut(&mut reader(), &wire, &mut cuts).unwrap(), &expected);
        prop_assert_eq!(&read_direct(&mut reader(), &wire, &mut cuts).unwrap(), &expected);
    }

    #[test]
    fn any_bytes_are_read_alike_however_cut(
        wire in vec(prop_oneof![any::<u8>(), prop::sample::select(vec![0x81_u8, 0x82, 0, 1, 2, 126, 0x88])], 0..200),
        size in 1..20_usize,
    ) {
        let limits = Limits { max_message_size: 64, max_frame_size: 64, max_fragments: 4 };
        let reader = || FrameReader::new(limits, Role::Client);
        let whole = read_cut(&mut reader(), &wire, || usize::MAX);
        let pieces = read_cut(&mut reader(), &wire, || size);
        prop_assert_eq!(whole, pieces);
    }
}
