//! The protocol on tokio: sockets, TLS, proxies, the token request, one task a connection. Knows no Python.

pub mod actor;
pub mod blocking;
pub mod gate;
pub mod handle;
mod head;
pub mod http;
mod intake;
mod link;
mod loan;
mod lookup;
mod mask_keys;
pub mod mint;
pub mod proxy;
mod redact;
pub mod report;
pub mod runtime;
pub mod settings;
mod socket;
mod spin;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token_store;
pub mod transport;
mod tunnel;
pub mod upgrade;
pub mod wakes;
mod writer;
