//! The state that every task of the server, and every thread that controls it, can reach.

use std::sync::Arc;

use crate::sync::Mutex;

use super::{
    apps::{Apps, Builtin, Handler},
    config::ServerConfig,
    faults::Faults,
    images::Images,
    jobs::Jobs,
    records::Records,
    registry::Registry,
    tokens::Tokens,
};

/// The server's state. No lock of it is held across an await or while another is taken.
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) apps: Apps,
    pub(super) tokens: Mutex<Tokens>,
    pub(super) faults: Faults,
    pub(super) records: Records,
    pub(super) registry: Arc<Registry>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) images: Arc<Images>,
}

impl Shared {
    pub(super) fn new(config: ServerConfig) -> Self {
        let apps = Apps::default();
        for (name, builtin) in Builtin::ALL {
            apps.insert(&format!("local/{name}"), Handler::Builtin(builtin), config.builtin);
        }
        Self {
            config,
            apps,
            tokens: Mutex::default(),
            faults: Faults::default(),
            records: Records::default(),
            registry: Arc::default(),
            jobs: Arc::default(),
            images: Arc::default(),
        }
    }
}
