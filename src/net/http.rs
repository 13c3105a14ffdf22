//! One bounded HTTP request on a connection of its own: what the token request needs, and no more.

use std::{future::Future, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::error::{Error, ErrorKind, Result};

use super::{
    awaited,
    target::Target,
    transport::{TransportConfig, connect},
};

/// The time limit of a whole request, where the caller has no other.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body that is accepted.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The answer to a request.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Its status, which may be that of a failure.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

/// Posts a JSON body and returns the answer, whatever its status.
///
/// Redirects are not followed: they are answers like any other. The time limit holds for everything, DNS
/// included. Fails with [`ErrorKind::Handshake`] if the connection cannot be made, with [`ErrorKind::Api`] of
/// status 0 if no complete answer came (transient but for an answer that is malformed or larger than
/// [`MAX_BODY_BYTES`]).
pub async fn post_json(
    target: &Target,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
    config: &TransportConfig,
    timeout: Duration,
) -> Result<HttpAnswer> {
    let exchange = exchange(target, headers, body, config);
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
        let silent = awaited::missing()
            .map_or_else(|| format!("{} did not answer", target.host), |error| error.to_string());
        Err(no_answer(format!("{silent} within {timeout:?}")).transient())
    })
}

async fn exchange(
    target: &Target,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
    config: &TransportConfig,
) -> Result<HttpAnswer> {
    let mut request = Request::post(target.path_and_query.as_str())
        .header(header::HOST, target.authority.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body)).map_err(|error| {
        Error::new(ErrorKind::InvalidOption, "the request is not valid HTTP").with_source(error)
    })?;

    let stream = connect(target, config).await?;
    let host = &target.host;
    let broken = |error: hyper::Error| {
        let answer = no_answer(format!("the request to {host} failed: {error}"));
        let answer = if error.is_parse() { answer } else { answer.transient() };
        answer.with_source(error)
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_BODY_BYTES)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                no_answer(format!("the answer of {host} is larger than {MAX_BODY_BYTES} bytes"))
            } else {
                no_answer(format!("the answer of {host} broke off: {error}")).transient()
            }
        })?;
        Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    };
    drive(connection, answer).await
}

/// Polls the connection beside the exchange, so that no task is needed, and with it nothing outlives this
/// future.
async fn drive<T>(connection: impl Future<Output = hyper::Result<()>>, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        value = &mut answer => return value,
        // The answer holds its own view of the error.
        _ = connection => {}
    }
    answer.await
}

fn no_answer(message: String) -> Error {
    Error::new(ErrorKind::Api { status: 0 }, message)
}

#[cfg(test)]
mod tests;
