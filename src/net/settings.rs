//! The settings that a connection is made with.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{token::SharedToken, transport::TransportConfig};
use crate::core::{
    endpoint::Endpoint, frame::Limits, inbound::Dialect, session::SessionConfig, token::Secret,
};

/// The address at which the WebSocket is opened.
#[derive(Debug, Clone)]
pub enum Address {
    /// A fal app below a base URL.
    App {
        /// The app.
        endpoint: Endpoint,
        /// `wss://fal.run`, for example.
        base_url: String,
        /// Parameters of the caller's own.
        query: Vec<(String, String)>,
    },
    /// The URL of the caller's.
    Url {
        /// It, with its query.
        url: String,
        /// Parameters that are added to that.
        query: Vec<(String, String)>,
    },
}

impl Address {
    /// The name of what is there, for people: without the query, in which a secret may be.
    pub fn name(&self) -> String {
        match self {
            Self::App { endpoint, .. } => endpoint.app_path(),
            Self::Url { url, .. } => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        }
    }
}

/// The settings of a connection, which do not change.
#[derive(Clone)]
pub struct Settings {
    /// The address of the app or server.
    pub address: Address,
    /// Through what.
    pub transport: Arc<TransportConfig>,
    /// Sent with the opening handshake.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent with it too: the caller's own.
    pub own_headers: Vec<(HeaderName, HeaderValue)>,
    /// The client's own credentials, whether they are sent or not, which no error is to repeat.
    pub secrets: Arc<[Secret]>,
    /// The source of tokens, if they are used.
    pub token: Option<Arc<SharedToken>>,
    /// The state machine's part.
    pub session: Arc<SessionConfig>,
    /// The shortest time between two throttled messages; zero turns the throttle off.
    pub throttle_interval: Duration,
    /// Freshness instead of completeness: ring sizes, and what the server is told.
    pub max_buffering: Option<u8>,
    /// Bytes of results that may wait for the caller before the socket is no longer read.
    pub read_ahead: usize,
    /// How long one opening of the socket may take.
    pub open_timeout: Duration,
    /// The silence after which a ping is sent.
    pub ping_interval: Option<Duration>,
    /// The silence after a ping that means loss.
    pub ping_timeout: Option<Duration>,
    /// How much longer a server may be silent whose system acknowledges what is sent; `None`: for ever.
    pub busy_timeout: Option<Duration>,
    /// How long the closing handshake may take.
    pub close_timeout: Duration,
    /// The limits of what the peer may make us hold.
    pub limits: Limits,
    /// The bytes of the largest message that is sent.
    pub max_input_size: usize,
    /// How messages are told apart.
    pub dialect: Dialect,
}
