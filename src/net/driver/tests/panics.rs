//! Defects of our own: whatever thread they show on, they are errors of the connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_tungstenite::tungstenite::Message;

use super::harness::{Client, Server, echo, next_data, send, until};
use crate::{
    core::{inbox::Item, session::State},
    error::{Error, ErrorKind},
    net::{
        handle::{Connection, Interest},
        token::{SharedToken, TokenSource},
        wakeups::Notify,
    },
};

/// Panics when it is told for the first time, on the thread that tells.
#[derive(Default)]
struct Defect {
    has_shown: AtomicBool,
}

impl Notify for Defect {
    fn mark_ready(&self) {
        assert!(self.has_shown.swap(true, Ordering::AcqRel), "a defect for the test");
    }

    fn notify(&self) {}
}

fn with_defect(client: &Client) -> Arc<Defect> {
    let defect = Arc::new(Defect::default());
    client.connection.set_notify(defect.clone());
    client.connection.arm(Interest::ITEMS, Interest::NONE, State::Idle);
    defect
}

async fn ended(connection: &Connection) -> Error {
    until("the end", || connection.state() == State::Closed).await;
    let failure = connection.failure().expect("it failed");
    let text = "internal error: the connection's task panicked: a defect for the test";
    assert!(failure.message.contains(text), "{failure}");
    assert!(matches!(failure.kind, ErrorKind::Closed { code: 1006, .. }), "{failure:?}");
    failure
}

#[tokio::test]
async fn a_panic_while_reading_ends_the_connection_with_the_reason_and_the_accounts_balance() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.receive();
    let request = client.request("asked");
    let mut socket = server.accept().await;
    assert_eq!(next_data(&mut socket).await.unwrap(), b"asked");
    let defect = with_defect(&client);
    send(&mut socket, Message::binary(b"a result".to_vec())).await;
    ended(&client.connection).await;
    assert!(defect.has_shown.load(Ordering::Acquire));
    assert!(client.connection.take_answer(request).unwrap().is_err());
    assert!(client.is_refused());
    assert_eq!(client.stats().pending, 0);
    assert_eq!(next_data(&mut socket).await, None, "its socket is closed");
    // What came before is there.
    assert!(matches!(client.connection.pop().unwrap().what, Item::Result(_)));
}

#[tokio::test]
async fn other_connections_of_the_thread_go_on_after_a_panic() {
    let server = Server::new().await;
    let (one, other) = (Client::new(server.settings()), Client::new(server.settings()));
    other.receive();
    other.send(b"before");
    tokio::spawn(echo(server.accept().await));
    assert_eq!(other.result().await, b"before");
    one.receive();
    one.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    one.state(State::Active).await;
    with_defect(&one);
    send(&mut socket, Message::binary(b"a result".to_vec())).await;
    ended(&one.connection).await;
    other.send(b"after");
    assert_eq!(other.result().await, b"after");
    other.connection.close();
}

#[tokio::test]
async fn a_panic_in_the_driver_itself_ends_the_connection_with_the_reason() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    let defect = Arc::new(Defect::default());
    client.connection.set_notify(defect.clone());
    // The first change of state is the driver's to tell.
    client.connection.arm(Interest::STATE, Interest::NONE, State::Idle);
    client.connection.open(false).unwrap();
    ended(&client.connection).await;
    assert!(defect.has_shown.load(Ordering::Acquire));
}

/// A source of tokens that panics at first.
#[derive(Default)]
struct Source {
    has_shown: AtomicBool,
}

impl TokenSource for Source {
    fn fetch(&self) -> std::pin::Pin<Box<dyn Future<Output = crate::error::Result<String>> + Send>> {
        assert!(self.has_shown.swap(true, Ordering::AcqRel), "a defect for the test");
        Box::pin(std::future::ready(Ok("a-token".into())))
    }

    fn expiration(&self) -> Option<std::time::Duration> {
        None
    }
}

#[tokio::test]
async fn a_panic_while_a_token_is_fetched_fails_that_fetch_alone() {
    let token = SharedToken::new(Arc::new(Source::default()));
    let failure = token.get(None).await.unwrap_err();
    assert!(failure.message.contains("panicked: a defect for the test"), "{failure}");
    assert_eq!(token.get(None).await.unwrap().0.expose(), "a-token");
}
