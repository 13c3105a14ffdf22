//! The answers of the HTTP side, and whether a request names the server's key.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{faults::Refusal, shared::Shared};

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

/// A refusal as it was planned; without a body of its own it has fal's form, with `reason`.
pub(super) fn refusal(planned: Refusal, reason: &str) -> Answer {
    let status = StatusCode::from_u16(planned.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = match planned.body {
        None => detail(status, reason),
        Some(body) => {
            let mut answer = Response::new(Full::from(body));
            *answer.status_mut() = status;
            answer
        }
    };
    for (name, value) in planned.headers {
        // Both were checked when they were given.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

/// Whether an HTTP header may be named like this and have this value.
pub fn is_header(name: &str, value: &str) -> bool {
    HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok()
}

/// An error in fal's form.
pub(super) fn detail(status: StatusCode, detail: &str) -> Answer {
    json_answer(status, &json!({ "detail": detail }))
}
