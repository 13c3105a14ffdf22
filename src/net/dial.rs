//! From a host name to a TCP connection: its addresses, each tried in turn (RFC 8305).
//!
//! Nothing here gives up by itself: the caller bounds the whole opening and drops the future, which closes the socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::net::TcpStream;

use super::lookup;
use crate::error::{Error, Result};

/// The time that one address may stay silent before the next one is tried beside it (RFC 8305, section 5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);
/// An address that has been silent for so long is called anew. TCP by itself repeats a call after ever longer gaps, of
/// half a minute and more: so long could it take to notice that a network has healed.
const REDIAL_DELAY: Duration = Duration::from_secs(5);
/// A peer that vanished while nothing is sent is noticed by TCP after 30 s and then every 10 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// A TCP connection to `host`, with Nagle's algorithm off and keepalive on.
pub(crate) async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream> {
    let addresses = resolve(host, port).await?;
    let tcp = connect_any(interleave(addresses)).await.map_err(|error| {
        let message = format!("connecting to {host} port {port} failed: {error}");
        Error::not_opened(message).transient().with_source(error)
    })?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    // Neither is worth failing for.
    let _ = tcp.set_nodelay(true);
    let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    Ok(tcp)
}

/// All addresses of a host.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failure =
        |reason: &str| Error::not_opened(format!("the host name {host} cannot be resolved: {reason}"));
    match lookup::lookup(host, port).await {
        Ok(addresses) if addresses.is_empty() => Err(failure("it has no address")),
        Ok(addresses) => Ok(addresses),
        Err(error) => {
            let message = error.to_string();
            let failure = failure(&message).with_source(error);
            Err(if is_no_such_name(&message) { failure } else { failure.transient() })
        }
    }
}

/// Whether the resolver says that the name does not exist, rather than that it could not be asked. The
/// standard library keeps only the text. Elsewhere than on Linux "not known" is also the answer of a machine
/// that is offline.
fn is_no_such_name(message: &str) -> bool {
    cfg!(target_os = "linux")
        && ["not known", "does not resolve", "No address associated"]
            .iter()
            .any(|text| message.contains(text))
}

/// Alternates between the families, beginning with that of the first address (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut ordered = Vec::with_capacity(preferred.len() + other.len());
    loop {
        let (a, b) = (preferred.next(), other.next());
        if a.is_none() && b.is_none() {
            return ordered;
        }
        ordered.extend(a.into_iter().chain(b));
    }
}

/// The first connection that succeeds; the next address joins in when one fails or is silent for a while. The
/// error is that of the first address that failed.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(call(address));
        } else if attempts.is_empty() {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
        }
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => { failure.get_or_insert(error); }
            },
            () = tokio::time::sleep(NEXT_ADDRESS_DELAY), if waiting.len() > 0 => {}
        }
    }
}

/// Connects to an address, however long it is silent.
async fn call(address: SocketAddr) -> io::Result<TcpStream> {
    loop {
        if let Ok(answer) = tokio::time::timeout(REDIAL_DELAY, TcpStream::connect(address)).await {
            return answer;
        }
    }
}

#[cfg(test)]
mod tests;
