//! Tunnels through a proxy: HTTP CONNECT (RFC 9110, section 9.3.6) and SOCKS5 (RFC 1928). Both end as a plain
//! TCP stream to the target.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::BytesMut;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_socks::{IntoTargetAddr, TargetAddr, tcp::Socks5Stream};

use crate::error::{Error, ErrorKind, Result};

use super::{
    awaited,
    dial::{connect_tcp, resolve},
    head::{HeadError, read_head},
    proxy::{Proxy, ProxyScheme},
    target::Target,
};

/// Opens a tunnel to `target` through `proxy`.
pub(crate) async fn open(proxy: &Proxy, target: &Target) -> Result<TcpStream> {
    // Nothing is known of the target before that.
    let silent =
        format!("{proxy:?} did not answer the request for a tunnel to {}:{}", target.host, target.port);
    awaited::answer(Error::not_opened(silent).transient(), tunnel(proxy, target)).await
}

async fn tunnel(proxy: &Proxy, target: &Target) -> Result<TcpStream> {
    match proxy.scheme {
        ProxyScheme::Http => http_connect(proxy, target).await,
        ProxyScheme::Socks5h => socks(proxy, (target.host.as_str(), target.port)).await,
        ProxyScheme::Socks5 => {
            let mut failure = Error::not_opened(format!("{} has no address", target.host));
            for address in resolve(&target.host, target.port).await? {
                match socks(proxy, address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
    }
}

/// A TCP connection to the proxy. An error names it as one: its address need not say what it is.
async fn reach(proxy: &Proxy) -> Result<TcpStream> {
    connect_tcp(&proxy.host, proxy.port).await.map_err(|error| {
        let message = format!("{proxy:?} cannot be reached: {error}");
        error.with_message(message)
    })
}

async fn http_connect(proxy: &Proxy, target: &Target) -> Result<TcpStream> {
    let mut stream = reach(proxy).await?;
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let port = target.port;
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some((user, password)) = &proxy.login {
        let login = BASE64.encode(format!("{user}:{}", password.expose()));
        request += "Proxy-Authorization: Basic ";
        request += &login;
        request += "\r\n";
    }
    request += "\r\n";
    let broken = |error: std::io::Error| {
        Error::not_opened(format!("{proxy:?} broke off: {error}")).transient().with_source(error)
    };
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut buffer = BytesMut::new();
    let head = read_head(&mut stream, &mut buffer).await.map_err(|error| match error {
        HeadError::Io(error) => broken(error),
        HeadError::Closed(_) => {
            Error::not_opened(format!("{proxy:?} closed the connection without an answer")).transient()
        }
        HeadError::Malformed(what) => {
            Error::not_opened(format!("the answer of {proxy:?} is not acceptable: {what}"))
        }
    })?;
    match head.status {
        200..=299 if buffer.is_empty() => Ok(stream),
        200..=299 => Err(Error::not_opened(format!("{proxy:?} sent data before the tunnel was used"))),
        // The second is tinyproxy's.
        status @ (407 | 401) => Err(Error::not_opened(format!(
            "{proxy:?} wants another login than the one it was given (status {status})"
        ))),
        status => {
            let error = Error::not_opened(format!(
                "{proxy:?} refused the tunnel to {host}:{port} with status {status}"
            ));
            Err(if status == 429 || status >= 500 { error.transient() } else { error })
        }
    }
}

async fn socks<'t>(proxy: &Proxy, target: impl IntoTargetAddr<'t>) -> Result<TcpStream> {
    let target: TargetAddr<'t> = target.into_target_addr().map_err(|error| {
        Error::new(ErrorKind::InvalidOption, format!("no address for a SOCKS proxy: {error}"))
    })?;
    let stream = reach(proxy).await?;
    let tunnel = match &proxy.login {
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password.expose()).await
        }
        None => Socks5Stream::connect_with_socket(stream, target).await,
    };
    tunnel.map(Socks5Stream::into_inner).map_err(|error| socks_error(proxy, error))
}

fn socks_error(proxy: &Proxy, error: tokio_socks::Error) -> Error {
    use tokio_socks::Error as Socks;
    let passes = matches!(
        error,
        Socks::Io(_)
            | Socks::ProxyServerUnreachable
            | Socks::GeneralSocksServerFailure
            | Socks::NetworkUnreachable
            | Socks::HostUnreachable
            | Socks::ConnectionRefused
            | Socks::TtlExpired
    );
    let failure = Error::not_opened(format!("{proxy:?} refused the tunnel: {error}")).with_source(error);
    if passes { failure.transient() } else { failure }
}
