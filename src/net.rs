//! The protocol on tokio: sockets, TLS, proxies, the token request, one task a connection. Knows no Python.

mod awaited;
pub mod blocking;
mod connection;
pub mod counters;
mod dial;
pub mod driven;
pub mod driver;
mod duty;
pub mod exit_gate;
pub mod fork_barrier;
pub mod handle;
pub(crate) mod head;
pub mod hooks;
pub mod http;
pub mod io_thread;
mod link;
mod lookup;
mod mask_keys;
mod panics;
#[cfg(all(target_os = "linux", not(fal_realtime_no_poller)))]
pub mod poller;
#[cfg(not(all(target_os = "linux", not(fal_realtime_no_poller))))]
#[path = "net/no_poller.rs"]
pub mod poller;
pub mod process;
pub mod proxy;
pub mod recorder;
mod redact;
mod refusal;
pub mod report;
mod schedule;
pub mod settings;
mod shared;
mod socket;
mod spin;
pub mod target;
#[cfg(test)]
pub(crate) mod test_settings;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;
pub mod totals;
pub mod transport;
mod tunnel;
pub mod upgrade;
pub mod wakeups;
mod writer;
