use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::*;
use crate::net::{
    head::MAX_HEAD_BYTES,
    testing::{accept, direct, header as field, read_request, serve, target, websocket_echo},
};

/// A server that answers every request with `answer`, made from the request's head, and keeps the connection
/// open.
async fn answering(answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> SocketAddr {
    serve(move |mut stream, _| {
        let answer = answer.clone();
        async move {
            let (head, _) = read_request(&mut stream).await;
            let _ = stream.write_all(answer(&head).as_bytes()).await;
            let _ = stream.read(&mut [0; 1]).await;
        }
    })
    .await
}

async fn error_of(answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> Error {
    let address = answering(answer).await;
    open_websocket(&target(address), &[], &direct()).await.unwrap_err()
}

/// The correct answer with `from` replaced.
async fn error_with(from: &'static str, to: &'static str) -> Error {
    error_of(move |head| {
        let right = accept(head);
        assert!(right.contains(from));
        right.replace(from, to)
    })
    .await
}

fn status(error: &Error) -> Option<u16> {
    let ErrorKind::Handshake { status } = error.kind else { panic!("{error:?}") };
    status
}

#[tokio::test]
async fn the_request_is_as_the_rfc_wants_it_and_leftover_bytes_are_kept() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = answering(move |head| {
        sender.send(head.to_owned()).unwrap();
        accept(head) + "frame"
    })
    .await;
    let headers = [(http::header::AUTHORIZATION, HeaderValue::from_static("Key id:secret"))];
    let opened = open_websocket(&target(address), &headers, &direct()).await.unwrap();
    assert_eq!(&opened.leftover[..], b"frame");
    let head = receiver.recv().unwrap();
    assert!(head.starts_with("GET /app?fal_jwt_token=top-secret-token HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "host"), Some(address.to_string()));
    assert_eq!(field(&head, "upgrade").as_deref(), Some("websocket"));
    assert_eq!(field(&head, "connection").as_deref(), Some("Upgrade"));
    assert_eq!(field(&head, "sec-websocket-version").as_deref(), Some("13"));
    assert_eq!(field(&head, "sec-websocket-key").unwrap().len(), 24);
    assert_eq!(field(&head, "authorization").as_deref(), Some("Key id:secret"));
}

#[tokio::test]
async fn keys_differ() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = answering(move |head| {
        sender.send(field(head, "sec-websocket-key").unwrap()).unwrap();
        accept(head)
    })
    .await;
    for _ in 0..2 {
        open_websocket(&target(address), &[], &direct()).await.unwrap();
    }
    assert_ne!(receiver.recv().unwrap(), receiver.recv().unwrap());
}

#[tokio::test]
async fn lawful_variations_are_accepted() {
    for (from, to) in [
        ("Upgrade: websocket", "upgrade:  WebSocket "),
        ("Connection: Upgrade", "Connection: keep-alive, uPGRADE"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("HTTP/1.1 101", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101"),
    ] {
        let address = answering(move |head| accept(head).replace(from, to)).await;
        open_websocket(&target(address), &[], &direct()).await.unwrap();
    }
}

#[tokio::test]
async fn unlawful_answers_are_refused_for_good() {
    for (from, to, what) in [
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x", "Sec-WebSocket-Accept"),
        ("Sec-WebSocket-Accept: ", "Accept: ", "Sec-WebSocket-Accept"),
        ("Upgrade: websocket", "Upgrade: h2c", "Upgrade: websocket"),
        ("Connection: Upgrade", "Connection: upgraded", "Connection: Upgrade"),
        ("Upgrade: w", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: w", "an extension"),
        ("Upgrade: w", "Sec-WebSocket-Protocol: chat\r\nUpgrade: w", "a subprotocol"),
        ("HTTP/1.1", "HTTP/1.0", "HTTP/1.0"),
    ] {
        let error = error_with(from, to).await;
        assert_eq!(status(&error), Some(101));
        assert!(error.message.contains(what), "{error}");
        assert!(!error.transient, "{error}");
    }
}

#[tokio::test]
async fn the_server_may_choose_one_of_the_subprotocols_that_were_offered() {
    let answered = |fields: &'static str| async move {
        let address =
            answering(move |head| accept(head).replace("Upgrade: w", &format!("{fields}Upgrade: w"))).await;
        let headers = [(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v2.api, v1.api"))];
        open_websocket(&target(address), &headers, &direct()).await
    };
    for (fields, chosen) in [("", None), ("Sec-WebSocket-Protocol:  v1.api \r\n", Some("v1.api"))] {
        assert_eq!(answered(fields).await.unwrap().subprotocol.as_deref(), chosen);
    }
    for (fields, what) in [
        ("Sec-WebSocket-Protocol: V1.API\r\n", "a subprotocol that was not offered"),
        ("Sec-WebSocket-Protocol: v2.api, v1.api\r\n", "a subprotocol that was not offered"),
        ("Sec-WebSocket-Protocol:\r\n", "a subprotocol that was not offered"),
        ("Sec-WebSocket-Protocol: v2.api\r\nSec-WebSocket-Protocol: v1.api\r\n", "more than one subprotocol"),
    ] {
        let error = answered(fields).await.unwrap_err();
        assert!(error.message.contains(what) && !error.transient, "{error}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    for garbage in ["SSH-2.0-OpenSSH_9.9\r\n", "HTTP/1.1 10x\r\n\r\n", "\u{16}\u{3}\u{1}\n"] {
        let error = error_of(|_| garbage.to_owned()).await;
        assert_eq!(status(&error), None);
        assert!(error.message.contains("not HTTP"), "{error}");
    }
}

#[tokio::test]
async fn endless_heads_are_cut() {
    let one_line = error_of(|_| format!("HTTP/1.1 101 X\r\nX: {}", "y".repeat(MAX_HEAD_BYTES))).await;
    assert!(one_line.message.contains("larger than 16384 bytes"), "{one_line}");
    let many = error_of(|_| format!("HTTP/1.1 101 X\r\n{}", "X: y\r\n".repeat(101))).await;
    assert!(many.message.contains("more than 100 header fields"), "{many}");
    let interim = error_of(|_| "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000)).await;
    assert!(interim.message.contains("larger than 16384 bytes"), "{interim}");
}

#[tokio::test]
async fn redirects_are_refused_and_said_so() {
    let error =
        error_of(|_| "HTTP/1.1 302 Found\r\nLocation: ws://evil/\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert_eq!(status(&error), Some(302));
    assert!(error.message.contains("redirects are not followed"), "{error}");
    assert!(!error.transient);
}

#[tokio::test]
async fn refusals_keep_their_status_and_quote_their_body_without_secrets() {
    for (code, passes) in [(200, false), (401, false), (403, false), (404, false), (429, true), (503, true)] {
        let answer = format!(
            "HTTP/1.1 {code} X\r\nContent-Length: 35\r\n\r\nbad token\n top-secret-token of me-12345 and more"
        );
        let address = answering(move |_| answer.clone()).await;
        let headers = [(http::header::AUTHORIZATION, HeaderValue::from_static("Key me-12345:abc"))];
        let error = open_websocket(&target(address), &headers, &direct()).await.unwrap_err();
        assert_eq!(status(&error), Some(code));
        assert_eq!(error.transient, passes, "{error}");
        assert!(error.message.contains("bad token *** of ***"), "{error}");
        assert!(!format!("{error:?}").contains("top-secret-token"));
    }
}

#[tokio::test]
async fn chunked_bodies_are_read_too() {
    let error = error_of(|_| {
        "HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nno such\r\n4\r\n app\r\n0\r\n\r\n".into()
    })
    .await;
    assert!(error.message.ends_with("status 400: no such"), "{error}");
}

#[tokio::test]
async fn a_long_body_is_cut() {
    let error = error_of(|_| format!("HTTP/1.1 500 X\r\n\r\n{}", "z".repeat(100_000))).await;
    assert!(error.message.len() < EXCERPT_BYTES + 100, "{}", error.message.len());
}

#[tokio::test]
async fn a_dribbled_answer_is_accepted() {
    let address = serve(|mut stream, _| async move {
        stream.set_nodelay(true).unwrap();
        let (head, _) = read_request(&mut stream).await;
        for byte in accept(&head).bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    assert!(open_websocket(&target(address), &[], &direct()).await.unwrap().leftover.is_empty());
}

#[tokio::test]
async fn a_connection_that_breaks_may_be_tried_again() {
    for part in ["", "HTTP/1.1 101 Switching"] {
        let address = serve(move |mut stream: TcpStream, _| async move {
            read_request(&mut stream).await;
            stream.write_all(part.as_bytes()).await.unwrap();
        })
        .await;
        let error = open_websocket(&target(address), &[], &direct()).await.unwrap_err();
        assert!(error.transient && status(&error).is_none(), "{error:?}");
    }
}

#[tokio::test]
async fn dropping_the_opening_closes_the_socket() {
    let (closed, mut seen) = tokio::sync::mpsc::channel(1);
    let address = serve(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            closed.send(stream.read(&mut [0; 1]).await.unwrap()).await.unwrap();
        }
    })
    .await;
    let (target, config) = (target(address), direct());
    let opening = open_websocket(&target, &[], &config);
    assert!(tokio::time::timeout(Duration::from_millis(50), opening).await.is_err());
    assert_eq!(seen.recv().await, Some(0));
}

#[tokio::test]
async fn an_open_websocket_carries_bytes() {
    let address = serve(|stream, _| websocket_echo(stream)).await;
    let mut stream = open_websocket(&target(address), &[], &direct()).await.unwrap().stream;
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[test]
fn an_opening_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let target = Target::parse("wss://fal.run/").unwrap();
    is_send(&open_websocket(&target, &[], &direct()));
}
