//! The HTTP side: which request is a token request, which a WebSocket handshake.

use std::sync::Arc;

use hyper::{Method, Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

use super::{
    byte_stream::ByteStream,
    handshake, mint,
    reply::{Answer, Unanswered, detail},
    shared::Shared,
};

/// Serves one TCP connection until it ends or becomes a WebSocket.
pub(super) async fn serve(shared: Arc<Shared>, stream: ByteStream) {
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
