//! The settings of the connections under test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    core::{
        backoff::BackoffPolicy, frame::Limits, inbound::Dialect, inbox::HIGH_WATER_BYTES,
        session::SessionConfig,
    },
    net::{
        proxy::ProxyConfig,
        settings::{Address, Settings},
        tls::{Trust, client_config},
        transport::TransportConfig,
    },
};

/// What the client of a server is made with: raw, no token, no throttle, quick to come back.
pub(crate) fn settings(address: SocketAddr) -> Settings {
    let patience = Duration::from_secs(20);
    let policy = BackoffPolicy {
        initial: Duration::from_millis(5),
        cap: Duration::from_millis(20),
        ..BackoffPolicy::default()
    };
    Settings {
        address: Address::Url { url: format!("ws://{address}/"), query: Vec::new() },
        transport: Arc::new(TransportConfig {
            tls: client_config(&Trust::Insecure.into()).unwrap(),
            proxy: ProxyConfig::None,
        }),
        headers: Vec::new(),
        own_headers: Vec::new(),
        secrets: Arc::new([]),
        token: None,
        session: Arc::new(SessionConfig {
            reconnect: Some(policy),
            open_timeout: patience,
            ..SessionConfig::default()
        }),
        throttle_interval: Duration::ZERO,
        max_buffering: None,
        read_ahead: HIGH_WATER_BYTES,
        open_timeout: patience,
        ping_interval: None,
        ping_timeout: None,
        busy_timeout: Some(Duration::ZERO),
        close_timeout: patience,
        limits: Limits::default(),
        max_input_size: usize::MAX,
        dialect: Dialect::Raw,
    }
}
