//! The embedded local server: fal's realtime protocol on loopback, for demos, tests and benches.
//!
//! It runs on a thread and a runtime of its own and never touches Python, so that neither a blocked event loop nor
//! the GIL ever blocks it. Its WebSocket implementation is tungstenite, not this crate's own: the client is tested
//! against someone else's reading of RFC 6455.
//!
//! A connection goes `thread` (accept) -> `http` -> `handshake` (who, which app) -> `connection` (the socket) with a
//! `session` (what fal's server does with inputs); `mint` gives the tokens. Controls reach connections through the
//! `registry`.

mod apps;
mod backlog;
mod builtin;
mod config;
mod connection;
mod conversation;
mod faults;
mod handshake;
mod http;
mod image;
mod jobs;
mod mint;
pub(crate) mod msgpack;
mod query;
mod record;
mod registry;
mod relay;
mod reply;
mod session;
mod shared;
mod stream;
mod thread;
mod tls;
mod tokens;

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

pub use self::{
    apps::Builtin,
    config::{AppOptions, ServerConfig, TokenForm},
    jobs::{Event, Input, Job, Response},
    record::{Credential, HandshakeRecord, MintRecord},
};
use self::{
    apps::{App, Handler},
    registry::Order,
    shared::Shared,
    thread::Command,
    tls::CaFile,
};

/// The longest that stopping takes; a thread that is not done by then is left behind.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running server. Every method may be called from any thread. It stops on drop.
pub struct Server {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    address: SocketAddr,
    ca_file: Option<CaFile>,
    stopped: AtomicBool,
    /// The process that started it: the thread does not exist in a fork of it.
    process: u32,
}

impl Server {
    /// Starts a server; it accepts connections from now on.
    ///
    /// Errors are those of binding the address, of making the certificate and of starting the thread.
    pub fn start(config: ServerConfig) -> io::Result<Self> {
        let (tls, ca_file) =
            if config.tls { Some(tls::acceptor(config.host)?).unzip() } else { (None, None) };
        let listener = thread::bind(SocketAddr::new(config.host, config.port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let (commands, inbox) = mpsc::unbounded_channel();
        thread::spawn(Arc::clone(&shared), listener, tls, inbox)?;
        let process = std::process::id();
        Ok(Self { shared, commands, address, ca_file, stopped: AtomicBool::new(false), process })
    }

    /// Stops: clients get close code 1001, everything is gone when this returns. Takes at most two seconds, and
    /// nothing when it was stopped before.
    pub fn stop(&self) {
        if !self.stopped.swap(true, Ordering::AcqRel) && self.process == std::process::id() {
            self.shared.jobs.close();
            let _ = self.order_thread(Command::Stop);
            if let Some(ca_file) = &self.ca_file {
                ca_file.remove();
            }
        }
    }

    /// Gives the thread a command and waits until it is done, or the thread is gone.
    fn order_thread(&self, command: fn(std_mpsc::Sender<io::Result<()>>) -> Command) -> io::Result<()> {
        let (done, answer) = std_mpsc::channel();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the server is stopped");
        self.commands.send(command(done)).map_err(|_| gone())?;
        answer.recv_timeout(STOP_TIMEOUT).unwrap_or_else(|_| Err(gone()))
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file, in PEM, with the authority to trust; `None` without TLS. It is removed at the stop.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_ref().map(CaFile::path)
    }

    /// Serves a built-in app as `name` (`owner/alias`, or more segments).
    pub fn add_builtin(&self, name: &str, builtin: Builtin, options: AppOptions) {
        let handler = Handler::Builtin(builtin);
        self.shared.apps.insert(name, App { handler, options });
    }

    /// Serves an app as `name` whose handler takes its [`Job`]s from [`Server::take_jobs`], with this number.
    pub fn add_external(&self, name: &str, handler: u32) {
        let handler = Handler::External(handler);
        self.shared.apps.insert(name, App { handler, options: AppOptions::default() });
    }

    /// Waits for jobs and takes all there are, in order; empty after `timeout`, `None` once the server stops.
    pub fn take_jobs(&self, timeout: Duration) -> Option<Vec<Job>> {
        self.shared.jobs.take(timeout)
    }

    /// Gives a session what its external handler says. When `false`, the handler must wait for [`Event::Writable`] before
    /// it says more, or its client is gone: then [`Event::Closed`] was or will be told.
    pub fn respond(&self, session: u64, response: Response) -> bool {
        self.shared.registry.respond(session, response)
    }

    /// A session's handler has taken all inputs that it was told of: the socket may be read again.
    pub fn resume(&self, session: u64) {
        self.shared.registry.resume(session);
    }

    /// Closes every connection without a close frame: resets it if `abrupt`, else just ends it.
    pub fn drop_connections(&self, abrupt: bool) {
        self.shared.registry.tell_all(|| Order::Drop { abrupt });
    }

    /// Sends every connection a close frame. The reason is cut to the 123 bytes that fit.
    pub fn close_all(&self, code: u16, reason: &str) {
        let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        let reason = &reason[..end];
        self.shared.registry.tell_all(|| Order::Close(code, reason.to_owned()));
    }

    /// Sends every connection a binary message as it is.
    pub fn send_binary(&self, data: Bytes) {
        self.shared.registry.tell_all(|| Order::SendBinary(data.clone()));
    }

    /// Sends every connection a text message as it is.
    pub fn send_text(&self, text: &str) {
        self.shared.registry.tell_all(|| Order::SendText(text.to_owned()));
    }

    /// Refuses handshakes with this HTTP status from now on; `None` refuses no more.
    pub fn refuse(&self, status: Option<u16>) {
        self.shared.faults.set_refusal(status);
    }

    /// Stalls: no socket is read, so that pings, handshakes and token requests go unanswered; or goes on.
    pub fn set_paused(&self, paused: bool) {
        self.shared.faults.set_paused(paused);
        if !paused {
            self.shared.registry.tell_all(|| Order::Resume);
        }
    }

    /// Makes every token issued so far invalid, for handshakes to come.
    pub fn expire_tokens(&self) {
        self.shared.tokens.lock().expire_all();
    }

    /// Fails the next `count` token requests with this status; without one, closes their connections unanswered.
    pub fn fail_mints(&self, count: u32, status: Option<u16>) {
        self.shared.faults.fail_mints(count, status);
    }

    /// Answers token requests so much later.
    pub fn set_mint_delay(&self, delay: Duration) {
        self.shared.faults.set_mint_delay(delay);
    }

    /// Answers handshakes so much later.
    pub fn set_handshake_delay(&self, delay: Duration) {
        self.shared.faults.set_handshake_delay(delay);
    }

    /// Closes the listening socket: new connections are refused by the system. Open ones stay.
    pub fn stop_listening(&self) -> io::Result<()> {
        self.order_thread(Command::StopListening)
    }

    /// Listens again on the same port.
    pub fn start_listening(&self) -> io::Result<()> {
        self.order_thread(Command::StartListening)
    }

    /// How many WebSocket connections are open.
    pub fn connections(&self) -> usize {
        self.shared.registry.len()
    }

    /// Waits until exactly `count` connections are open; whether they were in time.
    pub fn wait_for_connections(&self, count: usize, timeout: Duration) -> bool {
        self.shared.registry.wait_for(count, timeout)
    }

    /// How many WebSocket connections were opened so far.
    pub fn connections_total(&self) -> u64 {
        self.shared.records.connections_total.get()
    }

    /// How many tokens were given out.
    pub fn tokens_minted(&self) -> u64 {
        self.shared.records.tokens_minted.get()
    }

    /// How many token requests came, answered or not.
    pub fn mint_requests(&self) -> u64 {
        self.shared.records.mint_requests.get()
    }

    /// How many messages came, without control frames.
    pub fn messages_received(&self) -> u64 {
        self.shared.records.messages_received.get()
    }

    /// How many messages were written, without control frames.
    pub fn messages_sent(&self) -> u64 {
        self.shared.records.messages_sent.get()
    }

    /// How many pings came.
    pub fn pings_received(&self) -> u64 {
        self.shared.records.pings_received.get()
    }

    /// The newest 10,000 handshakes.
    pub fn handshakes(&self) -> Vec<HandshakeRecord> {
        self.shared.records.handshakes.entries()
    }

    /// The newest 10,000 token requests.
    pub fn mints(&self) -> Vec<MintRecord> {
        self.shared.records.mints.entries()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
