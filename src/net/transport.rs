//! From an address to a byte stream: DNS, TCP, proxy, TLS.
//!
//! Nothing here gives up by itself: the caller bounds the whole opening and drops the future, which closes the
//! socket.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderName, HeaderValue, Uri};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::error::{Error, ErrorKind, Result};

use super::{lookup, proxy::ProxyConfig, tls, tunnel, upgrade};

/// How long one address may stay silent before the next one is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// An address that has been silent for so long is called anew. TCP by itself repeats a call after ever longer gaps, of half a
/// minute and more: so long could it take to notice that a network has healed.
const CALL_ANEW: Duration = Duration::from_secs(5);
/// A peer that vanished while nothing is sent is noticed by TCP after 30 s and then every 10 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Where to connect. Its `Debug` leaves out the query, which holds the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is used (`wss`, `https`).
    pub tls: bool,
    /// The host name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What goes into the `Host` header: the host, with the port where it is not the default one.
    pub authority: String,
    /// The path and query, at least `/`.
    pub path_and_query: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        write!(f, "{}{}{path}", if self.tls { "tls://" } else { "tcp://" }, self.authority)
    }
}

impl Target {
    /// Parses a `ws`, `wss`, `http` or `https` address without user and password.
    ///
    /// Fails with [`ErrorKind::InvalidOption`]; the message names the host at most.
    pub fn parse(url: &str) -> Result<Self> {
        let invalid = |what: &str| Error::new(ErrorKind::InvalidOption, format!("the address {what}"));
        let uri: Uri = url.parse().map_err(|error| invalid(&format!("is not a URL: {error}")))?;
        let tls = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(invalid("must start with wss://, ws://, https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("must not hold a user or password"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        let default_port = if tls { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().len() == authority.host().len() => default_port,
            None => return Err(invalid(&format!("has a bad port (host {host})"))),
        };
        let authority = match port {
            port if port == default_port => authority.host().to_owned(),
            port => format!("{}:{port}", authority.host()),
        };
        let path_and_query = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("") => "/".to_owned(),
            Some(path) if path.starts_with('?') => format!("/{path}"),
            Some(path) => path.to_owned(),
        };
        Ok(Self { tls, host, port, authority, path_and_query })
    }
}

/// A byte stream to a server.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How connections are made.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// See [`tls::client_config`].
    pub tls: Arc<rustls::ClientConfig>,
    /// The proxy on the way.
    pub proxy: ProxyConfig,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Opened {
    /// The stream, past the upgrade.
    pub stream: Stream,
    /// The bytes that came right behind the answer: the first of the WebSocket's.
    pub leftover: Bytes,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
}

/// Connects to `target`: resolves its name, tries all its addresses, goes through the proxy, and starts TLS.
///
/// Fails with [`ErrorKind::Handshake`]; the error is transient where another attempt may succeed.
pub async fn connect(target: &Target, config: &TransportConfig) -> Result<Stream> {
    let tcp = match config.proxy.on_the_way_to(target)? {
        Some(proxy) => tunnel::open(proxy, target).await?,
        None => connect_tcp(&target.host, target.port).await?,
    };
    if !target.tls {
        return Ok(Stream::Plain(tcp));
    }
    let name = ServerName::try_from(target.host.clone())
        .map_err(|error| failed(format!("{} is no valid host name", target.host)).with_source(error))?;
    match TlsConnector::from(Arc::clone(&config.tls)).connect(name, tcp).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => Err(tls::explain(&target.host, error)),
    }
}

/// Opens a WebSocket at `target`, with `headers` in the request, the offer of subprotocols among them.
///
/// Fails as [`connect`] does; where the server refused, the error holds the HTTP status.
pub async fn open_websocket(
    target: &Target,
    headers: &[(HeaderName, HeaderValue)],
    config: &TransportConfig,
) -> Result<Opened> {
    let mut stream = connect(target, config).await?;
    let upgraded = upgrade::upgrade(&mut stream, target, headers).await?;
    Ok(Opened { stream, leftover: upgraded.leftover, subprotocol: upgraded.subprotocol })
}

/// A TCP connection to `host`, with Nagle's algorithm off and keepalive on.
pub(crate) async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream> {
    let addresses = resolve(host, port).await?;
    let tcp = connect_any(interleave(addresses)).await.map_err(|error| {
        let message = format!("connecting to {host} port {port} failed: {error}");
        failed(message).transient().with_source(error)
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
    let failure = |reason: &str| failed(format!("the host name {host} cannot be resolved: {reason}"));
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
            () = tokio::time::sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
    }
}

/// Connects to an address, however long it is silent.
async fn call(address: SocketAddr) -> io::Result<TcpStream> {
    loop {
        if let Ok(answer) = tokio::time::timeout(CALL_ANEW, TcpStream::connect(address)).await {
            return answer;
        }
    }
}

/// The error of an opening that failed before the server answered.
pub(crate) fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Handshake { status: None }, message)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
