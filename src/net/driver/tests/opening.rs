//! From the first message to the open socket.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::harness::{Client, Server, next_data, send, soon};
use crate::{
    core::{inbound::Dialect, session::State},
    error::{ErrorKind, Result},
    net::token::{SharedToken, TokenSource},
};

#[tokio::test]
async fn closing_while_connecting_opens_no_socket() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.send(b"a");
    client.state(State::Connecting).await;
    client.connection.close();
    assert_eq!(client.connection.state(), State::Closed);
    assert_eq!(client.stats().failed, 1);
    // The kernel may have connected already; the client hangs up before any handshake is answered.
    let mut tcp = server.accept_tcp().await;
    let mut request = Vec::new();
    soon("the end", tcp.read_to_end(&mut request)).await.ok();
    assert!(client.is_refused());
}

#[tokio::test]
async fn closing_before_anything_was_opened_needs_no_driver() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.close();
    assert_eq!(client.connection.state(), State::Closed);
    assert!(client.connection.open(true).is_err());
    client.connection.close();
}

#[tokio::test]
async fn the_first_socket_is_no_reconnect_however_many_attempts_it_took() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.send(b"a");
    for _ in 0..3 {
        drop(server.accept_tcp().await);
    }
    let mut socket = server.accept().await;
    assert_eq!(next_data(&mut socket).await.unwrap(), b"a");
    assert_eq!(client.stats().reconnects, 0);
    drop(socket);
    let _socket = server.accept().await;
    client.state(State::Active).await;
    assert_eq!(client.stats().reconnects, 1);
    client.connection.close();
}

#[tokio::test]
async fn an_eager_opening_fails_at_once() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(true).unwrap();
    let mut tcp = server.accept_tcp().await;
    let mut request = [0; 16];
    soon("the request", tcp.read_exact(&mut request)).await.unwrap();
    tcp.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    client.state(State::Closed).await;
    let failure = client.connection.failure().unwrap();
    assert_eq!(failure.kind, ErrorKind::Handshake { status: Some(503) });
}

#[tokio::test]
async fn an_opening_that_hangs_fails_after_the_open_timeout() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.open_timeout = Duration::from_millis(100);
    let client = Client::new(settings);
    client.connection.open(true).unwrap();
    let _silent = server.accept_tcp().await;
    client.state(State::Closed).await;
    assert_eq!(client.connection.failure().unwrap().kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn whoever_asks_while_it_is_open_has_an_opening_however_soon_that_ends() {
    let server = Server::new().await;
    let client = Client::new(server.settings_without_reconnect());
    assert_eq!(client.connection.open(true).unwrap(), 0);
    let socket = server.accept().await;
    client.state(State::Active).await;
    let before = client.connection.open(true).unwrap();
    drop(socket);
    client.state(State::Closed).await;
    assert!(client.connection.openings() > before);
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl TokenSource for Counting {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>> {
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(std::future::ready(Ok(format!("token {count}"))))
    }

    fn expiration(&self) -> Option<Duration> {
        None
    }
}

#[tokio::test]
async fn a_refusal_in_band_is_answered_by_one_new_token_and_then_by_an_authentication_error() {
    let server = Server::new().await;
    let source = Arc::new(Counting::default());
    let mut settings = server.settings();
    settings.dialect = Dialect::Fal;
    Arc::make_mut(&mut settings.session).use_token = true;
    settings.token = Some(SharedToken::new(source.clone()));
    let client = Client::new(settings);
    client.connection.open(false).unwrap();
    for _ in 0..2 {
        let mut socket = server.accept().await;
        send(&mut socket, Message::text(r#"{"status":"error","error":"Unauthorized"}"#)).await;
        assert!(next_data(&mut socket).await.is_none());
    }
    client.state(State::Closed).await;
    assert_eq!(client.connection.failure().unwrap().kind, ErrorKind::Authentication);
    assert_eq!(source.0.load(Ordering::SeqCst), 2);
}
