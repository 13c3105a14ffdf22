//! What the HTTP side answers with, and whether a request names the server's key.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};

use super::shared::Shared;

/// An answer whose body is there already.
pub(super) type Answer = Response<Full<Bytes>>;

/// Close the TCP connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer, as told")]
pub(super) struct Unanswered;

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
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An error in fal's form.
pub(super) fn detail(status: StatusCode, detail: &str) -> Answer {
    json_answer(status, &json!({ "detail": detail }))
}
