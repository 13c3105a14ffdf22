//! The ends of connections, and what comes after.

use std::{process::Command, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::harness::{
    Client, PATIENCE, Server, frame, next_close, next_data, number, numbered, send, soon, until,
};
use crate::{
    core::{inbound::Dialect, inbox::Item, session::State},
    error::ErrorKind,
    net::{handle::Interest, io_thread},
};

const TIMEOUT: &str =
    r#"{"type":"x-fal-error","error":"TIMEOUT","reason":"no inputs, reconnect when needed!"}"#;
const INTERNAL_ERROR: &str = r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"it raised"}"#;

fn normal() -> Message {
    Message::Close(Some(CloseFrame { code: 1000.into(), reason: "".into() }))
}

#[tokio::test]
async fn closing_flushes_the_queue_and_then_sends_1000() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    client.state(State::Active).await;
    // More than the buffers on the way hold.
    for i in 0..600 {
        client.send(&numbered(i, 20_000));
    }
    client.connection.close();
    assert_eq!(client.connection.state(), State::Closing);
    assert!(client.is_refused());
    for i in 0..600 {
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    assert_eq!(next_close(&mut socket).await, 1000);
    assert_eq!(client.failure_code().await, None);
    assert_eq!(client.stats().written, 600);
}

#[tokio::test]
async fn closing_while_a_large_message_is_being_written_finishes_it_first() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    client.state(State::Active).await;
    client.send(&numbered(7, 8 << 20));
    client.connection.close();
    let payload = next_data(&mut socket).await.unwrap();
    assert_eq!((number(&payload), payload.len()), (7, 8 << 20));
    assert_eq!(next_close(&mut socket).await, 1000);
    assert_eq!(client.failure_code().await, None);
    assert_eq!(client.stats().written, 1);
}

#[tokio::test]
async fn closing_gives_up_when_the_server_does_not_answer() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.close_timeout = Duration::from_millis(50);
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let _silent = server.accept().await;
    client.state(State::Active).await;
    client.connection.close();
    assert_eq!(client.failure_code().await, None);
}

#[tokio::test]
async fn closing_with_reading_paused_sends_what_is_queued_first() {
    const SENT: u64 = 500;
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.receive();
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    // As much as the high-water mark, so that what follows stays in the socket.
    for i in 0..64 {
        send(&mut socket, Message::binary(numbered(i, 1 << 20))).await;
    }
    until("the high-water mark", || client.stats().received_pending >= 64).await;
    send(&mut socket, Message::binary(numbered(64, 1_000))).await;
    for i in 0..SENT {
        client.send(&numbered(i, 10_000));
    }
    client.connection.close();
    for i in 0..SENT {
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    assert_eq!(next_close(&mut socket).await, 1000);
    assert_eq!(client.failure_code().await, None);
    assert_eq!((client.stats().written, client.stats().failed), (SENT, 0));
    // What was received stays to be taken.
    assert_eq!(number(&client.result().await), 0);
}

#[tokio::test]
async fn what_is_sent_when_the_session_is_known_to_be_over_goes_to_the_next() {
    let server = Server::new().await;
    let mut settings = server.settings_without_reconnect();
    settings.dialect = Dialect::Fal;
    let client = Client::new(settings);
    client.send(b"\x80");
    let mut first = server.accept().await;
    assert_eq!(next_data(&mut first).await.unwrap(), b"\x80");
    client.drained().await;
    // Neither wakes the driver: it reads the end and finds the message in one turn.
    first.get_mut().try_write(&frame(0x81, TIMEOUT.as_bytes())).unwrap();
    client.put(b"\x81");
    // Enough for it to do so. (Together with the close frame the end would be another case.)
    tokio::time::sleep(Duration::from_millis(20)).await;
    send(&mut first, normal()).await;
    let mut second = server.accept().await;
    assert_eq!(next_data(&mut second).await.unwrap(), b"\x81");
    client.connection.close();
}

#[tokio::test]
async fn a_timeout_leads_to_idle_and_the_next_message_opens_again() {
    let server = Server::new().await;
    let mut settings = server.settings_without_reconnect();
    settings.dialect = Dialect::Fal;
    let client = Client::new(settings);
    for life in 0..3 {
        client.send(b"\x80");
        let mut socket = server.accept().await;
        assert_eq!(next_data(&mut socket).await.unwrap(), b"\x80");
        send(&mut socket, Message::binary(b"\x80".as_slice())).await;
        assert_eq!(client.result().await, b"\x80");
        send(&mut socket, Message::text(TIMEOUT)).await;
        send(&mut socket, normal()).await;
        assert_eq!(next_close(&mut socket).await, 1000);
        client.state(State::Idle).await;
        assert_eq!(client.stats().reconnects, life);
    }
    assert!(client.connection.pop().is_none(), "the end of a unary session is no news");
    client.connection.close();
    assert_eq!(client.failure_code().await, None);
}

#[tokio::test]
async fn what_is_sent_after_the_timeout_goes_to_the_next_socket() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.dialect = Dialect::Fal;
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    send(&mut socket, Message::binary(b"\x80".as_slice())).await;
    send(&mut socket, Message::text(TIMEOUT)).await;
    heard(&mut socket).await;
    client.send(b"\x81\xa1a\x01");
    // Nor does it wait until the server has closed.
    assert_eq!(next_close(&mut socket).await, 1000, "it was written to a session that is over");
    let mut socket = server.accept().await;
    assert_eq!(next_data(&mut socket).await.unwrap(), b"\x81\xa1a\x01");
    client.connection.close();
}

/// Waits until the client has seen everything sent so far.
async fn heard(socket: &mut super::harness::Socket) {
    send(socket, Message::Ping(vec![7].into())).await;
    let pong = soon("a pong", socket.next()).await.unwrap().unwrap();
    assert!(matches!(pong, Message::Pong(_)), "{pong:?}");
}

#[tokio::test]
async fn closing_after_the_timeout_still_says_goodbye() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.dialect = Dialect::Fal;
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    send(&mut socket, Message::text(TIMEOUT)).await;
    heard(&mut socket).await;
    client.connection.close();
    assert_eq!(next_close(&mut socket).await, 1000);
    assert_eq!(client.failure_code().await, None);
}

#[tokio::test]
async fn the_end_of_a_stream_comes_behind_its_results() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.dialect = Dialect::Fal;
    Arc::make_mut(&mut settings.session).streaming = true;
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    send(&mut socket, Message::binary(b"\x80".as_slice())).await;
    send(&mut socket, Message::text(TIMEOUT)).await;
    send(&mut socket, normal()).await;
    assert_eq!(client.result().await, b"\x80");
    assert!(matches!(client.item().await, Item::End(_)));
    client.state(State::Idle).await;
}

#[tokio::test]
async fn an_internal_error_fails_the_requests_that_the_server_has() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.dialect = Dialect::Fal;
    let client = Client::new(settings);
    let key = client.request("a");
    let mut socket = server.accept().await;
    next_data(&mut socket).await.unwrap();
    send(&mut socket, Message::text(INTERNAL_ERROR)).await;
    send(&mut socket, normal()).await;
    let outcome = loop {
        match client.connection.take_answer(key) {
            Some(outcome) => break outcome,
            None => client.wait_for(Interest::ANSWERS).await,
        }
    };
    assert!(matches!(outcome.unwrap_err().kind, ErrorKind::Realtime { .. }));
    client.state(State::Idle).await;
}

#[tokio::test]
async fn a_violation_is_reported_behind_what_came_before_and_answered_with_its_code() {
    for (bytes, code) in [
        (frame(0x83, b""), 1002),         // a reserved opcode
        (frame(0xc2, b""), 1002),         // a reserved bit
        (frame(0x81, b"\xff\xff"), 1007), // not UTF-8
    ] {
        let server = Server::new().await;
        let client = Client::new(server.settings_without_reconnect());
        client.connection.open(false).unwrap();
        let mut socket = server.accept().await;
        let mut sent = frame(0x82, b"before");
        sent.extend(bytes);
        socket.get_mut().write_all(&sent).await.unwrap();
        assert_eq!(next_close(&mut socket).await, code);
        assert_eq!(client.failure_code().await, Some(code));
        assert_eq!(client.connection.last_close().map(|(code, _)| code), Some(code));
        assert_eq!(client.result().await, b"before");
        assert!(!client.connection.has_items(), "it is told once");
        assert_eq!(client.connection.end().unwrap().kind, ErrorKind::Protocol { code });
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_with_1009() {
    let server = Server::new().await;
    let mut settings = server.settings_without_reconnect();
    settings.limits.max_message_size = 1_000;
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    send(&mut socket, Message::binary(vec![0; 1_000])).await;
    send(&mut socket, Message::binary(vec![0; 1_001])).await;
    assert_eq!(next_close(&mut socket).await, 1009);
    assert_eq!(client.result().await.len(), 1_000);
    assert_eq!(client.failure_code().await, Some(1009));
    assert!(!client.connection.has_items(), "it is told once");
    let error = client.connection.end().unwrap();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(
        error.message.contains("1001 bytes, which is more than max_message_size (1000 bytes)"),
        "{error}"
    );
}

#[tokio::test]
async fn an_abnormal_close_without_a_policy_ends_the_connection_with_its_code() {
    let server = Server::new().await;
    let client = Client::new(server.settings_without_reconnect());
    client.send(b"a");
    let mut socket = server.accept().await;
    next_data(&mut socket).await.unwrap();
    let frame = CloseFrame { code: 1011.into(), reason: "it broke".into() };
    send(&mut socket, Message::Close(Some(frame))).await;
    assert_eq!(next_close(&mut socket).await, 1011);
    assert_eq!(client.failure_code().await, Some(1011));
    assert!(client.is_refused());
}

/// The I/O threads can be stopped only once a process, so this happens in one of its own.
#[test]
fn stopping_the_io_threads_ends_every_connection() {
    let name = "net::driver::tests::endings::in_a_process_of_its_own";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .spawn()
        .unwrap();
    let since = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > 2 * PATIENCE {
            child.kill().unwrap();
            panic!("the process hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success());
}

#[tokio::test]
#[ignore = "run by stopping_the_io_threads_ends_every_connection"]
async fn in_a_process_of_its_own() {
    let server = Server::new().await;
    let [active, connecting] = [Client::new(server.settings()), Client::new(server.settings())];
    active.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    active.state(State::Active).await;
    connecting.send(b"a");
    connecting.state(State::Connecting).await;
    let idle = Client::new(server.settings());

    io_thread::shutdown(PATIENCE);
    assert_eq!(active.failure_code().await, Some(1001));
    assert_eq!(connecting.failure_code().await, Some(1001));
    assert_eq!(connecting.stats().failed, 1);
    assert!(idle.is_refused(), "nothing starts afterwards");
    assert_eq!(idle.failure_code().await, Some(1001));
    assert_eq!(idle.stats().pending, 0, "what could not be started is not pending for ever");
    let mut rest = Vec::new();
    let _ = soon("the end of the socket", socket.get_mut().read_to_end(&mut rest)).await;
}
