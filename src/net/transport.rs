//! From a target to a byte stream: TCP or a tunnel through a proxy, and TLS.
//!
//! Nothing here gives up by itself: the caller bounds the whole opening and drops the future, which closes the
//! socket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::error::{Error, Result};

use super::{dial::connect_tcp, proxy::ProxyConfig, target::Target, tls, tunnel};

/// A byte stream to a server.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The configuration of the transport: how connections are made.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// See [`tls::client_config`].
    pub tls: Arc<rustls::ClientConfig>,
    /// The proxy on the way.
    pub proxy: ProxyConfig,
}

/// Connects to `target`: resolves its name, tries all its addresses, goes through the proxy, and starts TLS.
///
/// Fails with [`ErrorKind::Handshake`](crate::error::ErrorKind::Handshake); the error is transient where another
/// attempt may succeed.
pub async fn connect(target: &Target, config: &TransportConfig) -> Result<Stream> {
    let tcp = match config.proxy.on_the_way_to(target)? {
        Some(proxy) => tunnel::open(proxy, target).await?,
        None => connect_tcp(&target.host, target.port).await?,
    };
    if !target.tls {
        return Ok(Stream::Plain(tcp));
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|error| {
        Error::not_opened(format!("{} is no valid host name", target.host)).with_source(error)
    })?;
    match TlsConnector::from(Arc::clone(&config.tls)).connect(name, tcp).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => Err(tls::explain(&target.host, error)),
    }
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
