//! The HTTP side: which request is a token request, which a WebSocket handshake.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::{handshake, mint, shared::Shared, stream::Stream};

pub(super) type Answer = Response<Full<Bytes>>;

/// Close the TCP connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer, as told")]
pub(super) struct Unanswered;

/// Serves one TCP connection until it ends or becomes a WebSocket.
pub(super) async fn serve(shared: Arc<Shared>, stream: Stream) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // What goes wrong here is the client's to notice.
    let _ = connection.await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Unanswered> {
    shared.faults.until_resumed().await;
    if hyper_upgrade_wanted(&request) {
        return Ok(handshake::answer(&shared, request).await);
    }
    if *request.method() == Method::POST && mint::is_addressed_by(&request) {
        return mint::answer(&shared, request).await;
    }
    Ok(detail(StatusCode::NOT_FOUND, "Not Found"))
}

fn hyper_upgrade_wanted(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(hyper::header::UPGRADE)
}

/// Whether the request names the server's key; `None` when it names none.
pub(super) fn key_is_right<B>(shared: &Shared, request: &Request<B>) -> Option<bool> {
    let value = request.headers().get(AUTHORIZATION)?;
    let key = value.to_str().ok().and_then(|value| value.strip_prefix("Key "));
    Some(key == Some(&shared.config.key))
}

/// An answer whose body is JSON.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

/// An error in fal's form.
pub(super) fn detail(status: StatusCode, detail: &str) -> Answer {
    json_answer(status, &json!({ "detail": detail }))
}
