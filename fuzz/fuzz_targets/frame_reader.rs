//! The frame reader: the same bytes give the same messages and the same violation however they are cut, and it never
//! holds more than its limits allow.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BufMut as _;
use fal_realtime::core::frame::{FrameReader, Limits, Message, Role, Violation};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_message_size: 1 << 20, max_frame_size: 1 << 19, max_fragments: 64 };
/// What a reader may hold beyond one message: room to grow, and a control frame.
const SLACK: usize = (1 << 18) + (64 << 10);

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    server: bool,
    /// Sizes of the pieces, used in turn; 0 stands for "all that is left".
    cuts: [u8; 4],
    /// Payload of each large piece goes straight into the reader, as the link does it.
    direct: bool,
    wire: &'a [u8],
}

type Outcome = (Vec<Message>, Option<Violation>);

fn drain(reader: &mut FrameReader, mut piece: &[u8], out: &mut Outcome) {
    loop {
        match reader.feed(&mut piece) {
            Ok(Some(message)) => out.0.push(message),
            Ok(None) => {
                assert!(piece.is_empty(), "{} bytes left over", piece.len());
                return;
            }
            Err(violation) => {
                out.1 = Some(violation);
                return;
            }
        }
    }
}

/// As much of the piece as the reader takes without a copy.
fn put_direct(reader: &mut FrameReader, piece: &[u8]) -> usize {
    let Some(mut room) = reader.direct() else { return 0 };
    let taken = piece.len().min(room.remaining_mut());
    room.put_slice(&piece[..taken]);
    taken
}

fn read(case: &Case<'_>, cut: bool) -> Outcome {
    let role = if case.server { Role::Server } else { Role::Client };
    let mut reader = FrameReader::new(LIMITS, role);
    let mut out = (Vec::new(), None);
    let mut rest = case.wire;
    let mut cuts = case.cuts.iter().cycle();
    while !rest.is_empty() && out.1.is_none() {
        let size = match cuts.next() {
            Some(0) | None => rest.len(),
            _ if !cut => rest.len(),
            Some(&size) => rest.len().min(usize::from(size)),
        };
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        let taken = if cut && case.direct { put_direct(&mut reader, piece) } else { 0 };
        if taken > 0 {
            drain(&mut reader, &[], &mut out);
        }
        let piece = &piece[taken..];
        if out.1.is_none() {
            drain(&mut reader, piece, &mut out);
        }
        assert!(reader.buffered() <= LIMITS.max_message_size + SLACK, "holds {}", reader.buffered());
    }
    out
}

fuzz_target!(|case: Case<'_>| {
    let (whole, cut) = (read(&case, false), read(&case, true));
    assert_eq!(whole.1, cut.1);
    assert_eq!(whole.0, cut.0);
    for message in whole.0 {
        if let Message::Data { payload, .. } = message {
            assert!(payload.len() <= LIMITS.max_message_size);
        }
    }
});
