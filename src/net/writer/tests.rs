#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::core::{
    frame::{FrameReader, Limits, Message, MessageKind, Role},
    payload::Payload,
};

/// Takes so many bytes and then no more.
struct Pipe {
    room: usize,
    bytes: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn message(id: u8, size: usize) -> Outgoing {
    // Of a large one some is borrowed.
    let borrowed = if size < LARGE_BYTES { 0 } else { size / 3 };
    let payload = Payload::new(vec![id; size - borrowed], vec![(size / 2, vec![id; borrowed].into())]);
    Outgoing { payload, kind: MessageKind::Binary, request: None }
}

/// A message as it was pulled.
fn is(message: &Outgoing, id: u8, size: usize) -> bool {
    message.payload.to_vec() == vec![id; size]
}

/// Writes all that there is room for, a large message piece by piece.
fn write(writer: &mut Writer, pipe: &mut Pipe, room: usize) -> (bool, Written) {
    pipe.room = room;
    let mut written = Written::default();
    loop {
        match writer.write(pipe, &mut written).unwrap() {
            Progress::Done => return (true, written),
            Progress::Blocked => return (false, written),
            Progress::More => {}
        }
    }
}

/// What the peer reads: the first byte of each message, 'P' and 'O' for ping and pong, 'C' for a close frame.
fn read(pipe: &Pipe) -> Vec<u8> {
    let (mut reader, mut bytes) = (FrameReader::new(Limits::default(), Role::Server), pipe.bytes.as_slice());
    std::iter::from_fn(|| reader.feed(&mut bytes).unwrap())
        .map(|message| match message {
            Message::Data { payload, .. } => payload[0],
            Message::Ping(_) => b'P',
            Message::Pong(_) => b'O',
            Message::Close { .. } => b'C',
        })
        .collect()
}

fn writer_with(sizes: &[usize]) -> Writer {
    let mut writer = Writer::default();
    for (id, size) in sizes.iter().enumerate() {
        assert!(writer.wants(*size));
        writer.pull(message(id as u8, *size));
    }
    writer.frame();
    writer
}

#[test]
fn what_was_not_begun_can_be_sent_again_in_its_order_and_unmasked() {
    // One whole frame (6 + 100 bytes), and half of the next.
    let (mut writer, mut pipe) = (writer_with(&[100, 100, 100, 100]), Pipe { room: 0, bytes: Vec::new() });
    let (done, written) = write(&mut writer, &mut pipe, 106 + 50);
    assert!(!done && written.messages == 1 && written.bytes == 100);
    assert!(!writer.wants(1), "nothing is pulled into a buffer that is partly written");
    let leftover = writer.abandon(written);
    assert_eq!(leftover.torn, [None]);
    assert!(is(&leftover.untouched[0], 2, 100) && is(&leftover.untouched[1], 3, 100));
    assert_eq!(leftover.untouched.len(), 2);
}

#[test]
fn a_large_message_is_untouched_until_its_first_byte_and_torn_from_then_on() {
    const SIZE: usize = 1 << 20;
    for (room, torn) in [(0, 0), (1, 1), (SIZE, 1)] {
        let (mut writer, mut pipe) = (writer_with(&[SIZE]), Pipe { room: 0, bytes: Vec::new() });
        assert!(!writer.wants(1));
        assert!(!write(&mut writer, &mut pipe, room).0);
        let leftover = writer.abandon(Written::default());
        assert_eq!(leftover.torn.len(), torn);
        assert!(leftover.untouched.iter().all(|message| is(message, 0, SIZE)));
        assert_eq!(leftover.untouched.len(), 1 - torn);
    }
}

#[test]
fn a_control_frame_goes_before_a_large_message_or_behind_it_but_never_into_it() {
    for (begun, answering, order) in
        [(0, false, [b'O', 0]), (0, true, [b'O', 0]), (10, false, [0, b'O']), (10, true, [0, b'O'])]
    {
        let (mut writer, mut pipe) = (writer_with(&[1 << 20]), Pipe { room: 0, bytes: Vec::new() });
        write(&mut writer, &mut pipe, begun);
        if answering {
            writer.push_pong(Bytes::from_static(b"x"));
        } else {
            writer.push_control(Control::Pong, b"x");
        }
        let (done, written) = write(&mut writer, &mut pipe, usize::MAX);
        assert!(done && written.messages == 1);
        assert_eq!(read(&pipe), order);
    }
}

#[test]
fn the_close_frame_is_the_last() {
    let (mut writer, mut pipe) = (writer_with(&[10, 20]), Pipe { room: 0, bytes: Vec::new() });
    writer.close(1000, Box::default());
    writer.push_control(Control::Pong, b"");
    assert!(write(&mut writer, &mut pipe, usize::MAX).0);
    assert_eq!(read(&pipe), [0, 1, b'O', b'C']);
}

#[test]
fn after_a_retraction_only_what_had_begun_is_finished() {
    for (room, read_by_peer, kept) in [
        (0, &[b'C'][..], &[0, 1, 2][..]),
        (1, &[0, b'C'], &[1, 2]),
        (106, &[0, b'C'], &[1, 2]),
        (107, &[0, 1, b'C'], &[2]),
    ] {
        let (mut writer, mut pipe) = (writer_with(&[100, 100, 100]), Pipe { room: 0, bytes: Vec::new() });
        let (_, before) = write(&mut writer, &mut pipe, room);
        writer.retract();
        writer.push_control(Control::Close, &close_payload(1000, ""));
        let (done, after) = write(&mut writer, &mut pipe, usize::MAX);
        assert!(done);
        assert_eq!(read(&pipe), read_by_peer, "room for {room}");
        assert_eq!(before.messages + after.messages, read_by_peer.len() - 1);
        let leftover = writer.abandon(Written::default());
        assert_eq!(leftover.torn, []);
        assert!(leftover.untouched.iter().zip(kept).all(|(message, id)| is(message, *id, 100)));
        assert_eq!(leftover.untouched.len(), kept.len());
    }
}

#[test]
fn a_retracted_large_message_is_whole_again() {
    let (mut writer, mut pipe) = (writer_with(&[1 << 20]), Pipe { room: 0, bytes: Vec::new() });
    writer.retract();
    writer.push_control(Control::Close, &close_payload(1000, ""));
    assert!(write(&mut writer, &mut pipe, usize::MAX).0);
    assert_eq!(read(&pipe), [b'C']);
    assert!(is(&writer.abandon(Written::default()).untouched[0], 0, 1 << 20));
}

#[test]
fn answers_to_pings_do_not_pile_up() {
    let (mut writer, mut pipe) = (Writer::default(), Pipe { room: 0, bytes: Vec::new() });
    let pings = 100_000_u32;
    for ping in 0..pings {
        writer.push_pong(Bytes::copy_from_slice(&ping.to_be_bytes()));
        if ping % 1000 == 0 {
            assert!(!write(&mut writer, &mut pipe, 1).0);
        }
    }
    assert!(writer.staging.capacity() <= 2 * (STAGING_BYTES + LARGE_BYTES), "{}", writer.staging.capacity());
    assert!(write(&mut writer, &mut pipe, usize::MAX).0);
    let (mut reader, mut bytes) = (FrameReader::new(Limits::default(), Role::Server), pipe.bytes.as_slice());
    let mut last = None;
    while let Some(message) = reader.feed(&mut bytes).unwrap() {
        last = Some(message);
    }
    assert_eq!(last, Some(Message::Pong(Bytes::copy_from_slice(&(pings - 1).to_be_bytes()))));
}
