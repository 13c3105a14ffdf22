//! tungstenite reads what we write, and we read what it writes.

use std::io::{self, Cursor, Read, Write};

use tokio_tungstenite::tungstenite::{
    Message as Theirs, WebSocket,
    protocol::{
        CloseFrame, Role as TheirRole,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

use super::{
    super::{Control, Message, MessageKind, close_payload, write_control, write_small},
    binary, client, feed_all, text,
};

/// A stream that reads what it was made with and keeps what is written.
struct Pipe {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.input.read(buf)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite(input: Vec<u8>) -> WebSocket<Pipe> {
    let pipe = Pipe { input: Cursor::new(input), output: Vec::new() };
    WebSocket::from_raw_socket(pipe, TheirRole::Server, None)
}

const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 200_001];

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 13) as u8).collect()
}

#[test]
fn tungstenite_reads_what_we_write() {
    let mut wire = Vec::new();
    for len in SIZES {
        write_small(&mut wire, MessageKind::Binary, &payload(len), [1, 2, 3, len as u8]);
    }
    write_small(&mut wire, MessageKind::Text, "κόσμε".as_bytes(), [4; 4]);
    write_control(&mut wire, Control::Ping, b"ping", [5; 4]);
    write_control(&mut wire, Control::Pong, &[6; 125], [6; 4]);
    write_control(&mut wire, Control::Close, &close_payload(1001, "going"), [7; 4]);

    let mut socket = tungstenite(wire);
    for len in SIZES {
        assert_eq!(socket.read().unwrap(), Theirs::binary(payload(len)), "{len} bytes");
    }
    assert_eq!(socket.read().unwrap(), Theirs::text("κόσμε"));
    assert_eq!(socket.read().unwrap(), Theirs::Ping("ping".into()));
    assert_eq!(socket.read().unwrap(), Theirs::Pong(vec![6; 125].into()));
    let close = CloseFrame { code: CloseCode::Away, reason: "going".into() };
    assert_eq!(socket.read().unwrap(), Theirs::Close(Some(close)));
}

#[test]
fn we_read_what_tungstenite_writes() {
    let mut socket = tungstenite(Vec::new());
    for len in SIZES {
        socket.send(Theirs::binary(payload(len))).unwrap();
    }
    socket.send(Theirs::text("κόσμε")).unwrap();
    socket.send(Theirs::Ping("ping".into())).unwrap();
    let fragments = [(&b"one "[..], Data::Binary, false), (b"message", Data::Continue, true)];
    for (bytes, data, last) in fragments {
        socket.send(Theirs::Frame(Frame::message(bytes, OpCode::Data(data), last))).unwrap();
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    socket.send(Theirs::Close(Some(close))).unwrap();

    let mut expected: Vec<_> = SIZES.iter().map(|&len| binary(&payload(len))).collect();
    expected.extend([
        text("κόσμε"),
        Message::Ping("ping".into()),
        binary(b"one message"),
        Message::Close { code: 1000, reason: "done".into() },
    ]);
    assert_eq!(feed_all(&mut client(), &socket.get_ref().output), Ok(expected));
}
