//! The opening handshake of a WebSocket (RFC 6455, section 4), client side.
//!
//! Written here rather than taken from tungstenite, because that one accepts extensions that were not
//! offered, refuses `Connection: keep-alive, Upgrade`, and because a refusal should say what the server said.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::{
    core::token::Secret,
    error::{Error, ErrorKind, Result},
};

use super::{
    head::{Head, HeadError, read_head},
    redact::{quote, sent_in},
    refusal::refusal,
    target::Target,
    tls,
    transport::{Stream, TransportConfig, connect},
};

/// The bytes of a refusal's body that an error message quotes.
const EXCERPT_BYTES: usize = 512;
/// The time that a refusal's body is waited for.
const EXCERPT_WAIT: Duration = Duration::from_secs(1);
/// The bytes of it that are read, so that no secret is cut in two before it is recognised.
const READ_BYTES: usize = 8 * 1024;

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

/// Opens a WebSocket at `target`, with `headers` in the request, the offer of subprotocols among them.
///
/// Fails as [`connect`] does; where the server refused, the error holds the HTTP status.
pub async fn open_websocket(
    target: &Target,
    headers: &[(HeaderName, HeaderValue)],
    config: &TransportConfig,
) -> Result<Opened> {
    let mut stream = connect(target, config).await?;
    let upgraded = upgrade(&mut stream, target, headers).await?;
    Ok(Opened { stream, leftover: upgraded.leftover, subprotocol: upgraded.subprotocol })
}

/// The outcome of the request.
#[derive(Debug)]
pub(crate) struct Upgraded {
    /// The bytes that came behind the answer.
    pub(crate) leftover: Bytes,
    /// The subprotocol that the server chose, of those that `Sec-WebSocket-Protocol` among the headers offers.
    pub(crate) subprotocol: Option<String>,
}

/// Sends the request and checks the answer.
///
/// Fails with [`ErrorKind::Handshake`], with the status where the server refused.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &Target,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Upgraded> {
    let key = generate_key();
    let host = &target.host;
    let broken = |error: std::io::Error| {
        if matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>()) {
            // With TLS 1.3 the server's refusal may come behind our half of the handshake.
            return tls::explain(host, error);
        }
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            // TLS without a farewell; its text is for programmers.
            return Error::not_opened(format!("{host} closed the connection without an answer"))
                .transient()
                .with_source(error);
        }
        Error::not_opened(format!("{host} broke off the handshake: {error}")).transient().with_source(error)
    };
    stream.write_all(&request(target, headers, &key)).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;

    let mut buffer = BytesMut::new();
    let head = read_head(stream, &mut buffer).await.map_err(|error| match error {
        HeadError::Io(error) => broken(error),
        HeadError::Closed(false) => {
            Error::not_opened(format!("{host} closed the connection without an answer")).transient()
        }
        HeadError::Closed(true) => {
            Error::not_opened(format!("{host} closed the connection in the middle of its answer")).transient()
        }
        HeadError::Malformed(what) => {
            Error::not_opened(format!("the answer of {host} is not acceptable: {what}"))
        }
    })?;
    if head.status != 101 {
        let body = beginning_of_body(stream, &head, buffer).await;
        return Err(refused(target, headers, &head, &body));
    }
    let unacceptable = |what| {
        let kind = ErrorKind::Handshake { status: Some(101) };
        Error::new(kind, format!("the answer of {host} is not acceptable: {what}"))
    };
    check(&head, &key).map_err(unacceptable)?;
    let subprotocol = chosen(&head, headers).map_err(unacceptable)?;
    // A copy: the buffer of the head would be kept as long as the connection.
    Ok(Upgraded { leftover: Bytes::copy_from_slice(&buffer), subprotocol })
}

fn request(target: &Target, headers: &[(HeaderName, HeaderValue)], key: &str) -> Vec<u8> {
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        target.path_and_query, target.authority
    )
    .into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// RFC 6455, section 4.1, the client's checks of a 101 answer. We offer no extension.
fn check(head: &Head, key: &str) -> Result<(), String> {
    if !head.http11 {
        return Err("it is HTTP/1.0".into());
    }
    if !head.has_token("upgrade", "websocket") {
        return Err("it has no `Upgrade: websocket`".into());
    }
    if !head.has_token("connection", "upgrade") {
        return Err("it has no `Connection: Upgrade`".into());
    }
    let mut accepts = head.values("sec-websocket-accept");
    let accepted = accepts.next().is_some_and(|value| value == derive_accept_key(key.as_bytes()).as_bytes());
    if !accepted || accepts.next().is_some() {
        return Err("its Sec-WebSocket-Accept does not match the key that was sent".into());
    }
    if head.values("sec-websocket-extensions").next().is_some() {
        return Err("it selects an extension, but none was offered".into());
    }
    Ok(())
}

/// The subprotocol that the server chose; it may choose none. (RFC 6455, section 4.1: "if the response includes a
/// |Sec-WebSocket-Protocol| header field and this header field indicates the use of a subprotocol that was not present in
/// the client's handshake, the client MUST fail the WebSocket connection".)
fn chosen(head: &Head, headers: &[(HeaderName, HeaderValue)]) -> Result<Option<String>, String> {
    let mut chosen = head.values("sec-websocket-protocol");
    let Some(name) = chosen.next() else { return Ok(None) };
    if chosen.next().is_some() {
        return Err("it selects more than one subprotocol".into());
    }
    let offer = headers.iter().find(|(name, _)| *name == header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offer.map_or("", |(_, value)| value.to_str().unwrap_or_default());
    if offered.is_empty() {
        return Err("it selects a subprotocol, but none was offered".into());
    }
    let is_offered = offered.split(", ").find(|each| each.as_bytes() == name.trim_ascii());
    is_offered
        .map(|name| Some(name.to_owned()))
        .ok_or_else(|| "it selects a subprotocol that was not offered".into())
}

/// The error of an answer that is not 101.
fn refused(target: &Target, headers: &[(HeaderName, HeaderValue)], head: &Head, body: &str) -> Error {
    let secrets = sent_in(&target.path_and_query, headers);
    let quote = |text: &str, limit| quote(text, secrets.iter().map(Secret::expose), limit);
    let (host, status) = (&target.host, head.status);
    let mut message = format!("{host} refused the WebSocket with status {status}");
    match status {
        200..=299 => message.push_str(", which is no upgrade"),
        300..=399 => message.push_str("; redirects are not followed"),
        401 | 403 => message.push_str(" (are the credentials valid for it, and is the path right?)"),
        404 => message.push_str(" (is the app id, or the address, right?)"),
        _ => {}
    }
    let line = in_one_line(body);
    if !line.is_empty() {
        message.push_str(": ");
        message.push_str(&quote(&line, EXCERPT_BYTES));
    }
    let said = refusal(|name| head.values(name).next(), body, quote);
    let error = Error::new(ErrorKind::Handshake { status: Some(status) }, message).with_refusal(said);
    if matches!(status, 408 | 425 | 429 | 500..=599) { error.transient() } else { error }
}

/// The beginning of the body. Best effort: a body that is late or broken is cut.
async fn beginning_of_body<S: AsyncRead + Unpin>(stream: &mut S, head: &Head, mut body: BytesMut) -> String {
    let chunked = head.has_token("transfer-encoding", "chunked");
    let length =
        head.values("content-length").next().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let wanted = if chunked { READ_BYTES } else { length.unwrap_or(READ_BYTES).min(READ_BYTES) };
    let read = async {
        while body.len() < wanted {
            if !matches!(stream.read_buf(&mut body).await, Ok(count) if count > 0) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(EXCERPT_WAIT, read).await;
    let mut text: &[u8] = &body;
    if chunked && let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(text) {
        // The first chunk says enough.
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(text.len());
        text = &text[start..end];
    }
    String::from_utf8_lossy(text).into_owned()
}

fn in_one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
