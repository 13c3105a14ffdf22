#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::{
    core::{
        frame::{FrameReader, Kind, Limits, Message, Role},
        outbox::Lane,
        stats::Stats,
    },
    net::{handle::Connection, intake::Intake, settings::Dialect, testing::settings},
};

/// Both ends of a connection whose first end has little room for what is not read.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(32 << 10).unwrap();
    let connecting = socket.connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connecting, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

fn taken(pen: Pen, message: Outgoing) -> Taken {
    Taken { message, pen, link: 0, io: crate::net::runtime::io().unwrap() }
}

fn message(id: u8, size: usize) -> Outgoing {
    Outgoing { payload: vec![id; size].into(), kind: Kind::Binary, request: None }
}

/// A connection with an active link, number 0, one of whose messages a sender has taken.
fn connection() -> (std::sync::Arc<Connection>, Outgoing) {
    let connection = Connection::new(settings(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
    let key = connection.add_request("a").unwrap();
    let mut inner = connection.shared().lock();
    inner.set_state(State::Active);
    let outgoing = Outgoing { request: Some(key), ..message(1, 100) };
    inner.outbox.accept(Instant::now(), outgoing, Lane::Direct).unwrap();
    let outgoing = inner.outbox.take().unwrap();
    inner.loan = Loan::Taken { wanted: false, request: Some(key) };
    drop(inner);
    (connection, outgoing)
}

/// Written, failed and pending, and whether the request has failed.
fn fate(connection: &Connection, request: crate::core::inbox::RequestKey) -> (u64, u64, u64, bool) {
    let Stats { accepted, written, failed, pending, .. } = connection.stats();
    assert_eq!(accepted, written + failed + pending);
    (written, failed, pending, connection.has_failed(request))
}

#[tokio::test]
async fn what_becomes_of_a_message_depends_on_how_much_left_and_on_the_link() {
    // How much of the frame left; whether its link is there, and the connection open.
    for (left, is_there, is_open, expected) in [
        ("all", true, true, (1, 0, 0, false)),
        ("all, unflushed", true, true, (1, 0, 0, false)),
        ("all, unflushed", false, true, (1, 0, 0, true)),
        ("all", false, true, (1, 0, 0, true)),
        ("all", false, false, (1, 0, 0, true)),
        ("some", true, true, (0, 0, 1, false)),
        ("some", false, true, (0, 1, 0, true)),
        ("some", false, false, (0, 1, 0, true)),
        ("none", true, true, (0, 0, 1, false)),
        ("none", false, true, (0, 0, 1, false)),
        ("none", false, false, (0, 1, 0, true)),
    ] {
        let ((connection, message), (client, _server)) = (connection(), pair().await);
        let request = message.request.unwrap();
        let what = match left {
            "all" => What::Written { message, flushed: true },
            "all, unflushed" => What::Written { message, flushed: false },
            "some" => What::Begun(Begun { frame: vec![0; 106], at: 50, message }),
            _ => What::Untouched(message),
        };
        let mut inner = connection.shared().lock();
        if !is_there {
            inner.link += 1;
        }
        if !is_open {
            inner.finish(None);
        }
        inner.settle_shortcut(Outcome { pen: Pen::Tcp(client.into_split().1), link: 0, what });
        assert_eq!(matches!(inner.loan, Loan::Free(_)), is_there, "whose pen it is");
        let goes_on = is_there && ["some", "all, unflushed"].contains(&left);
        assert_eq!(inner.unfinished.is_some(), goes_on, "the link goes on");
        assert_eq!(inner.outbox.is_queued(), left == "none" && is_open, "it is sent again");
        drop(inner);
        assert_eq!(fate(&connection, request), expected, "{left} left, {is_there}, {is_open}");
    }
}

#[tokio::test]
async fn a_request_whose_error_comes_before_its_sender_is_back_is_failed_by_it() {
    for is_written in [true, false] {
        let ((connection, message), (client, _server)) = (connection(), pair().await);
        let request = message.request.unwrap();
        let mut intake = Intake::new(Dialect::Fal);
        intake.take(
            Kind::Text,
            r#"{"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "out of memory"}"#.into(),
        );
        let what =
            if is_written { What::Written { message, flushed: true } } else { What::Untouched(message) };
        let mut inner = connection.shared().lock();
        assert_eq!(intake.deliver(&mut inner), Interest::ANSWERS);
        inner.settle_shortcut(Outcome { pen: Pen::Tcp(client.into_split().1), link: 0, what });
        drop(inner);
        let expected = if is_written { (1, 0, 0, true) } else { (0, 1, 0, true) };
        assert_eq!(fate(&connection, request), expected, "written: {is_written}");
        let error = connection.take_answer(request).unwrap().unwrap_err();
        assert_eq!(error.message, "INTERNAL_ERROR: out of memory");
    }
}

#[tokio::test]
async fn a_sender_writes_what_there_is_room_for() {
    let (client, server) = pair().await;
    let (_read, half) = client.into_split();
    let (mut pen, mut whole, mut begun) = (Pen::Tcp(half), 0, None);
    for id in 0..=u8::MAX {
        let outcome = taken(pen, message(id, LARGE - 1)).write();
        pen = outcome.pen;
        match outcome.what {
            What::Written { flushed, .. } => {
                assert!(flushed);
                whole += 1;
            }
            What::Begun(Begun { frame, at, message }) => {
                begun = Some((frame, at, message));
                break;
            }
            What::Untouched(_) => panic!("there was room for a part of {whole}, and for nothing of the next"),
        }
    }
    let (frame, at, begun) = begun.expect("the peer never reads, so some frame does not fit");
    assert!(at > 0 && at < frame.len());
    assert_eq!(begun.payload.to_vec(), vec![whole; LARGE - 1], "as it was");
    let Outcome { what: What::Untouched(next), .. } = taken(pen, message(whole + 1, LARGE - 1)).write()
    else {
        panic!("there is no room");
    };
    assert_eq!(next.payload.to_vec(), vec![whole + 1; LARGE - 1], "as it was");

    // What follows the bytes that were taken makes the frames whole.
    let (mut reader, mut arrived) = (FrameReader::new(Limits::default(), Role::Server), Vec::new());
    let sent = usize::from(whole) * frame.len() + at;
    while arrived.len() < sent {
        server.readable().await.unwrap();
        let _ = server.try_read_buf(&mut arrived);
    }
    arrived.extend_from_slice(&frame[at..]);
    let mut bytes = arrived.as_slice();
    for id in 0..=whole {
        match reader.feed(&mut bytes).unwrap() {
            Some(Message::Data { payload, .. }) => assert_eq!(payload, vec![id; LARGE - 1]),
            other => panic!("no message: {other:?}"),
        }
    }
    assert!(bytes.is_empty());
}
