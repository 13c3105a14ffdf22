//! What a server is started with.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// The bytes of inputs that wait for an app past which its socket is not read.
pub(super) const MAX_WAITING_BYTES: usize = 64 << 20;

/// The form of the token endpoint's answer; all three are seen in the wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenForm {
    /// A bare JSON string.
    #[default]
    String,
    /// `{"detail": token}`.
    Detail,
    /// `{"token": token}`.
    Token,
}

/// Options of [`Server::start`](super::Server::start).
#[derive(Clone)]
pub struct ServerConfig {
    /// The address to listen on; loopback unless told.
    pub host: IpAddr,
    /// The port; 0 (the default) lets the system choose a free one.
    pub port: u16,
    /// The key that `Authorization: Key …` must name.
    pub key: String,
    /// Whether to serve `https` and `wss`, with a certificate made at the start.
    pub tls: bool,
    /// The form of the token endpoint's answer.
    pub token_form: TokenForm,
    /// Refuse bad credentials inside an accepted WebSocket (`{"status":"error","error":"Unauthorized"}`, close 1008)
    /// instead of with HTTP 401.
    pub refuse_in_band: bool,
    /// How the built-in apps behave.
    pub builtin: AppOptions,
    /// The largest message that is taken, in bytes; a larger one ends the connection with close code 1009.
    pub max_message_size: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            key: "test-key".to_owned(),
            tls: false,
            token_form: TokenForm::default(),
            refuse_in_band: false,
            builtin: AppOptions::default(),
            max_message_size: 16 << 20,
        }
    }
}

// By hand: the key is a secret, even here.
impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Options of one app, as of fal's `@fal.realtime(…)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppOptions {
    /// End the session when no input came for so long; `None` (the default) never does.
    pub session_timeout: Option<Duration>,
    /// How many unary inputs wait at most while one is processed, the oldest dropped; `None` (the default) drops none.
    pub buffering: Option<usize>,
    /// Send an `x-fal-message` with the time that the app took after each result (unary) or stream (server streaming).
    pub emit_timings: bool,
}
