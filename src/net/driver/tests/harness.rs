//! A client with a notify, and a server made of tungstenite.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use crate::{
    core::{
        frame::MessageKind,
        inbox::Item,
        message::{Outgoing, RequestKey},
        outbox::Lane,
        session::State,
        stats::Stats,
    },
    net::{
        handle::{Connection, Interest, Offered, Routes},
        settings::Settings,
        test_settings::settings,
        wakeups::Notify,
    },
};

/// Longer than anything here should take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Bounds a wait.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen in {PATIENCE:?}"))
}

/// Comes back at short intervals until something is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[derive(Default)]
struct TestNotifier(tokio::sync::Notify);

impl Notify for TestNotifier {
    fn mark_ready(&self) {}

    fn notify(&self) {
        self.0.notify_one();
    }
}

pub(super) struct Client {
    pub(super) connection: Arc<Connection>,
    notifier: Arc<TestNotifier>,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Self {
        let (connection, notifier) = (Connection::new(settings), Arc::new(TestNotifier::default()));
        connection.set_notify(notifier.clone());
        Self { connection, notifier }
    }

    /// Results are for somebody, who has not taken any yet.
    pub(super) fn receive(&self) {
        self.connection.set_routes(Routes { results: true, ..Routes::default() });
    }

    /// Waits for one of `interest`, unless it is there.
    pub(super) async fn wait_for(&self, interest: Interest) {
        // A change of state matters to whoever waits for anything.
        let seen = self.connection.state();
        if !self.connection.arm(interest.and(Interest::STATE), interest.and(Interest::STATE), seen) {
            soon("a wake", self.notifier.0.notified()).await;
        }
    }

    pub(super) fn try_send(&self, payload: &[u8]) -> Option<Outgoing> {
        match self.connection.offer(message(payload, None), Lane::Throttled).unwrap() {
            Offered::Accepted => None,
            Offered::Full(message) => Some(message),
        }
    }

    /// Sends, for which there must be room.
    pub(super) fn send(&self, payload: &[u8]) {
        assert!(self.try_send(payload).is_none(), "no room");
    }

    /// Puts a message into the queue without waking the driver.
    pub(super) fn put(&self, payload: &[u8]) {
        let mut inner = self.connection.shared.lock();
        inner.boxes.outbox.accept(std::time::Instant::now(), message(payload, None), Lane::Direct).unwrap();
    }

    /// A message is no longer accepted.
    pub(super) fn is_refused(&self) -> bool {
        self.connection.offer(message(b"late", None), Lane::Direct).is_err()
    }

    pub(super) fn request(&self, id: &str) -> RequestKey {
        let key = self.connection.add_request(id).unwrap();
        let offered = self.connection.offer(message(id.as_bytes(), Some(key)), Lane::Direct).unwrap();
        assert!(matches!(offered, Offered::Accepted));
        key
    }

    pub(super) async fn item(&self) -> Item {
        loop {
            match self.connection.pop() {
                Some(item) => return item.what,
                None => self.wait_for(Interest::ITEMS).await,
            }
        }
    }

    pub(super) async fn result(&self) -> Vec<u8> {
        match self.item().await {
            Item::Result(received) => received.payload.to_vec(),
            other => panic!("not a result: {other:?}"),
        }
    }

    pub(super) async fn state(&self, state: State) {
        until(state.name(), || self.connection.state() == state).await;
    }

    /// Waits until the state is `closed`. Answers the close code of the failure, if it failed.
    pub(super) async fn failure_code(&self) -> Option<u16> {
        self.state(State::Closed).await;
        let failure = self.connection.failure()?;
        let Some((code, _)) = failure.close() else { panic!("not closed: {failure:?}") };
        Some(code)
    }

    /// The counters, which must add up.
    pub(super) fn stats(&self) -> Stats {
        let s = self.connection.stats();
        assert_eq!(
            s.accepted,
            s.written + s.coalesced + s.dropped + s.failed + s.withdrawn + s.pending,
            "{s:?}"
        );
        assert_eq!(s.received, s.delivered + s.received_dropped + s.late + s.received_pending, "{s:?}");
        s
    }

    pub(super) async fn drained(&self) {
        until("the queue to be empty", || self.stats().pending == 0).await;
    }
}

pub(super) fn message(payload: &[u8], request: Option<RequestKey>) -> Outgoing {
    Outgoing { payload: payload.to_vec().into(), kind: MessageKind::Binary, request }
}

pub(super) type Socket = WebSocketStream<TcpStream>;

pub(super) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(super) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// What a client of this server is made with.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            open_timeout: PATIENCE,
            close_timeout: PATIENCE,
            ..settings(self.listener.local_addr().unwrap())
        }
    }

    pub(super) fn settings_without_reconnect(&self) -> Settings {
        let mut settings = self.settings();
        Arc::make_mut(&mut settings.session).reconnect = None;
        settings
    }

    pub(super) async fn accept_tcp(&self) -> TcpStream {
        soon("a connection", self.listener.accept()).await.unwrap().0
    }

    pub(super) async fn accept(&self) -> Socket {
        soon("the handshake", accept_async(self.accept_tcp().await)).await.unwrap()
    }
}

/// The next data message, or `None` when the connection ended, however it did.
pub(super) async fn next_data(socket: &mut Socket) -> Option<Vec<u8>> {
    loop {
        match soon("a message", socket.next()).await?.ok()? {
            Message::Binary(payload) => return Some(payload.to_vec()),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
            other => panic!("the client sent {other:?}"),
        }
    }
}

/// The code of the client's close frame, which must be the next message. Nothing may come behind it.
pub(super) async fn next_close(socket: &mut Socket) -> u16 {
    loop {
        match soon("a close frame", socket.next()).await.expect("no close frame").unwrap() {
            Message::Close(frame) => {
                // This answers it, if that is still to be done, and waits for the client to hang up.
                let end = soon("the end", socket.next()).await;
                assert!(end.as_ref().is_none_or(std::result::Result::is_err), "{end:?}");
                return frame.expect("a close frame without a code").code.into();
            }
            Message::Pong(_) => {}
            other => panic!("not a close frame: {other:?}"),
        }
    }
}

pub(super) async fn send(socket: &mut Socket, message: Message) {
    soon("sending", socket.send(message)).await.unwrap();
}

/// Bytes as a server's unmasked frame with this first byte; shorter than 126.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(payload.len()).unwrap()];
    bytes.extend_from_slice(payload);
    bytes
}

/// A message that holds its number.
pub(super) fn numbered(number: u64, size: usize) -> Vec<u8> {
    let mut payload = vec![0; size.max(8)];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Sends, once there is room, as a thread of the caller's does.
pub(super) fn send_from_thread(connection: &Arc<Connection>, payload: &[u8]) {
    let mut offered = message(payload, None);
    let until = Instant::now() + PATIENCE;
    while let Offered::Full(back) = connection.offer(offered, Lane::Direct).unwrap() {
        assert!(Instant::now() < until, "there was no room");
        offered = back;
        std::thread::yield_now();
    }
}

pub(super) fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[..8].try_into().unwrap())
}

/// Sends back whatever comes, until the end.
pub(super) async fn echo(mut socket: Socket) {
    while let Some(payload) = next_data(&mut socket).await {
        if socket.send(Message::binary(payload)).await.is_err() {
            return;
        }
    }
}

/// At least so long ago.
pub(super) fn is_past(since: Instant, time: Duration) -> bool {
    since.elapsed() >= time
}
