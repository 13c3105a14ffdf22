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
mod builtin_inputs;
mod builtin_results;
mod byte_stream;
mod cold_start;
mod config;
mod connection;
mod controls;
mod conversation;
mod faults;
mod handshake;
mod http;
mod images;
mod jobs;
mod mint;
pub(crate) mod msgpack;
mod orders;
mod per_app;
mod query;
mod records;
mod registry;
mod relay;
mod reply;
mod session;
mod session_handle;
mod shared;
mod tally;
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

use tokio::sync::mpsc;

pub use self::{
    apps::Builtin,
    cold_start::ColdStart,
    config::{AppOptions, ServerConfig, TokenForm},
    faults::{CloseAfter, Counted, Refusal},
    jobs::{Event, Input, Job, Response},
    records::{Credential, HandshakeRecord, MintRecord},
    reply::is_header,
    session_handle::SessionHandle,
};
use self::{apps::Handler, shared::Shared, thread::Command, tls::CaFile};

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
        self.shared.apps.insert(name, Handler::Builtin(builtin), options);
    }

    /// Serves an app as `name` whose handler takes its [`Job`]s from [`Server::take_jobs`], with this number.
    pub fn add_external(&self, name: &str, handler: u32) {
        self.shared.apps.insert(name, Handler::External(handler), AppOptions::default());
    }

    /// Whether an app is served under this name.
    pub fn has_app(&self, name: &str) -> bool {
        self.shared.apps.contains(name)
    }

    /// Waits for jobs and takes all there are, in order; empty after `timeout`, `None` once the server stops.
    pub fn take_jobs(&self, timeout: Duration) -> Option<Vec<Job>> {
        self.shared.jobs.take(timeout)
    }

    /// Gives a session what its external handler says. When `false`, the handler must wait for [`Event::Writable`]
    /// before it says more, or its client is gone: then [`Event::Closed`] was or will be told.
    pub fn respond(&self, session: u64, response: Response) -> bool {
        self.shared.registry.respond(session, response)
    }

    /// A session's handler has taken all inputs that it was told of: the socket may be read again.
    pub fn resume(&self, session: u64) {
        self.shared.registry.resume(session);
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
    pub fn handshakes(&self) -> Vec<Arc<HandshakeRecord>> {
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
