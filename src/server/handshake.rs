//! The WebSocket handshake: who may open which app, and the step from HTTP to a session.

use std::{sync::Arc, time::Instant};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        AUTHORIZATION, CONNECTION, COOKIE, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{core::endpoint::MAX_BUFFERING, net::head::lists_token};

use super::{
    apps::{App, Handler, Route},
    byte_stream::ByteStream,
    cold_start::Cold,
    connection::Connection,
    conversation::{Begin, Conversation},
    faults::{Begun, Refusal},
    query,
    records::{Credential, HandshakeRecord},
    registry::Entry,
    relay::Relay,
    reply::{self, Answer, detail, key_is_right},
    session::Session,
    shared::Shared,
};

/// The query's parameter that holds the token.
const TOKEN: &str = "fal_jwt_token";

/// A connection's read buffer in bytes. Small: there may be ten thousand of them.
const READ_BUFFER: usize = 8 << 10;

/// Results are gathered up to so many bytes before they are written.
const WRITE_BUFFER: usize = 64 << 10;

/// The verdict on a handshake: what it is to become.
enum Verdict {
    Open(Arc<App>),
    /// Accept, then say no.
    RefuseInBand,
    Refuse(StatusCode, &'static str),
    /// As uvicorn does for a route that an app does not have.
    NoSuchRoute,
    /// As it was planned.
    Planned(Refusal),
}

/// Answers a handshake; a successful one goes on as a [`Connection`].
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let query = query::parse(request.uri().query().unwrap_or_default());
    let delay = shared.faults.handshake_delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let verdict = judge(shared, &request, &query);
    let status = match &verdict {
        Verdict::Refuse(status, _) => *status,
        Verdict::NoSuchRoute => StatusCode::FORBIDDEN,
        Verdict::Planned(refusal) => {
            StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Verdict::Open(_) | Verdict::RefuseInBand => StatusCode::SWITCHING_PROTOCOLS,
    };
    let record = Arc::new(record(&request, query, status));
    shared.records.handshakes.push(Arc::clone(&record));
    match verdict {
        Verdict::Planned(refusal) => reply::refusal(refusal, "told to refuse"),
        Verdict::Refuse(status, reason) => {
            let mut answer = detail(status, reason);
            if status == StatusCode::UPGRADE_REQUIRED {
                answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            answer
        }
        Verdict::NoSuchRoute => {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::FORBIDDEN;
            answer
        }
        Verdict::Open(app) => accept(shared, request, Some(app), record),
        Verdict::RefuseInBand => accept(shared, request, None, record),
    }
}

fn judge(shared: &Shared, request: &Request<Incoming>, query: &[(String, String)]) -> Verdict {
    let path = request.uri().path();
    let route = shared.apps.resolve(path);
    let app = if let Route::To(app) = &route { Some(app.name.as_str()) } else { None };
    if let Some(refusal) = shared.faults.next_refusal(app) {
        return Verdict::Planned(refusal);
    }
    let headers = request.headers();
    if *request.method() != Method::GET
        || !has_token(headers, UPGRADE.as_str(), "websocket")
        || !has_token(headers, CONNECTION.as_str(), "upgrade")
        || !headers.contains_key(SEC_WEBSOCKET_KEY)
    {
        return Verdict::Refuse(StatusCode::BAD_REQUEST, "not a WebSocket handshake");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Verdict::Refuse(StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13");
    }
    let app = match route {
        Route::To(app) => app,
        Route::Unknown => return Verdict::NoSuchRoute,
        Route::UnknownApp => return Verdict::Refuse(StatusCode::NOT_FOUND, "no such app"),
    };
    let authorized = match find(query, TOKEN) {
        Some(token) => shared.tokens.lock().verify(Instant::now(), token, path),
        None => key_is_right(shared, request).unwrap_or(false),
    };
    if !authorized {
        return if shared.config.refuse_in_band {
            Verdict::RefuseInBand
        } else {
            Verdict::Refuse(StatusCode::UNAUTHORIZED, "Unauthorized")
        };
    }
    let max_buffering = find(query, "max_buffering").map(|number| number.parse().unwrap_or(0));
    if max_buffering.is_some_and(|number| !MAX_BUFFERING.contains(&number)) {
        return Verdict::Refuse(StatusCode::BAD_REQUEST, "max_buffering must be an integer from 1 to 60");
    }
    // The real server takes no notice of it: an app's own `buffering` is what counts.
    Verdict::Open(app)
}

fn find<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Whether a header that lists tokens lists `token`.
fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    lists_token(headers.get_all(name).iter().map(HeaderValue::as_bytes), token)
}

fn record(
    request: &Request<Incoming>,
    mut query: Vec<(String, String)>,
    status: StatusCode,
) -> HandshakeRecord {
    let credential = if find(&query, TOKEN).is_some() {
        Credential::Token
    } else if request.headers().contains_key(AUTHORIZATION) {
        Credential::Key
    } else {
        Credential::None
    };
    query.retain(|(name, _)| name != TOKEN);
    let headers = request.headers().iter().filter(|(name, _)| **name != AUTHORIZATION && **name != COOKIE);
    let headers = headers
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    HandshakeRecord {
        path: request.uri().path().to_owned(),
        query,
        headers,
        credential,
        status: status.as_u16(),
    }
}

/// Switches protocols. The connection is in the registry before the client knows, so that no control misses it.
/// Without an app it is opened to say no.
fn accept(
    shared: &Arc<Shared>,
    mut request: Request<Incoming>,
    app: Option<Arc<App>>,
    record: Arc<HandshakeRecord>,
) -> Answer {
    let key = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .map_or_else(String::new, |key| derive_accept_key(key.as_bytes()));
    let Ok(accept_key) = HeaderValue::from_str(&key) else {
        return detail(StatusCode::BAD_REQUEST, "not a WebSocket handshake");
    };
    let entry = shared.registry.enter(app.as_ref().map(|app| app.name.clone()), record);
    shared.records.connections_total.add(1);
    let upgrade = hyper::upgrade::on(&mut request);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            run(shared, upgraded, entry, app).await;
        }
    });
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept_key);
    answer
}

async fn run(shared: Arc<Shared>, upgraded: Upgraded, entry: Entry, app: Option<Arc<App>>) {
    // The stream itself, not behind hyper's dynamic dispatch.
    let Ok(parts) = upgraded.downcast::<TokioIo<ByteStream>>() else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(shared.config.max_message_size))
        .max_frame_size(Some(shared.config.max_message_size));
    let stream = parts.io.into_inner();
    let socket =
        WebSocketStream::from_partially_read(stream, parts.read_buf.into(), Role::Server, Some(config)).await;
    let now = Instant::now();
    let (conversation, planned) = match app {
        None => {
            let session = Session::refused(Arc::clone(&shared.images), now);
            (Conversation::Builtin(Box::new(session)), Begun::default())
        }
        Some(app) => {
            let planned = shared.faults.begin(&app.name, now);
            let begin = beginning(&shared, &app, entry.id);
            let conversation = match planned.warm_at {
                Some(warm_at) => Conversation::Cold(Cold::new(warm_at), Some(begin)),
                None => begin(now),
            };
            (conversation, planned)
        }
    };
    Connection::new(socket, shared, entry, conversation, planned).await;
}

/// The beginning of a session of the app, once that is warm.
fn beginning(shared: &Shared, app: &App, session: u64) -> Begin {
    let (handler, options) = (app.handler, app.options);
    let (images, jobs) = (Arc::clone(&shared.images), Arc::clone(&shared.jobs));
    Box::new(move |now| match handler {
        Handler::Builtin(builtin) => {
            Conversation::Builtin(Box::new(Session::new(builtin, options, images, now)))
        }
        Handler::External(handler) => Conversation::Handler(Relay::new(session, handler, jobs, now)),
    })
}
