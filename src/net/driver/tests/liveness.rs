//! Pings, pongs, and silence.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use super::harness::{Client, PATIENCE, Server, is_past, next_data, numbered, send, soon};
use crate::core::session::State;

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn pings_are_answered_while_nobody_takes() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    for i in 0..50_u64 {
        send(&mut socket, Message::binary(numbered(i, 100))).await;
        send(&mut socket, Message::Ping(i.to_be_bytes().to_vec().into())).await;
        let pong = soon("a pong", socket.next()).await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong(i.to_be_bytes().to_vec().into()));
    }
    assert_eq!(client.stats().received_pending, 50);
    client.connection.close();
}

#[tokio::test]
async fn a_silent_server_is_declared_lost_after_interval_and_timeout() {
    let server = Server::new().await;
    let mut settings = server.settings_without_reconnect();
    settings.ping_interval = Some(INTERVAL);
    settings.ping_timeout = Some(TIMEOUT);
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let before = Instant::now();
    // It is open, and nobody answers.
    let _silent = server.accept().await;
    assert_eq!(client.failure_code().await, Some(1006));
    assert!(is_past(before, INTERVAL + TIMEOUT), "too soon: {:?}", before.elapsed());
    assert!(!is_past(before, PATIENCE / 2), "too late: {:?}", before.elapsed());
}

#[tokio::test]
async fn a_server_that_answers_pings_is_kept() {
    let server = Server::new().await;
    let mut settings = server.settings_without_reconnect();
    settings.ping_interval = Some(Duration::from_millis(20));
    // A busy machine may be slow to answer; what is tested is that answers count.
    settings.ping_timeout = Some(PATIENCE);
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    for _ in 0..5 {
        let ping = soon("a ping", socket.next()).await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
    }
    assert_eq!(client.connection.state(), State::Active);
    client.connection.close();
}

#[tokio::test]
async fn a_lost_server_is_replaced_and_what_waited_is_sent() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.ping_interval = Some(INTERVAL);
    settings.ping_timeout = Some(TIMEOUT);
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    let _silent = server.accept().await;
    let mut socket = server.accept().await;
    client.send(b"a");
    assert_eq!(next_data(&mut socket).await.unwrap(), b"a");
    assert!(client.stats().reconnects >= 1);
    client.connection.close();
}
