use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::testing::{direct, header as field, read_request, serve};

async fn post(answer: &'static str, timeout: Duration) -> Result<HttpAnswer> {
    let address = serve(move |mut stream, _| async move {
        let (head, body) = read_request(&mut stream).await;
        assert!(head.starts_with("POST /tokens/?a=b HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "content-type").as_deref(), Some("application/json"));
        assert_eq!(field(&head, "x-mine").as_deref(), Some("1"));
        assert_eq!(body, b"{}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if answer.is_empty() {
            let _ = stream.read(&mut [0; 1]).await;
        }
    })
    .await;
    let target = Target::parse(&format!("http://{address}/tokens/?a=b")).unwrap();
    let headers = [(HeaderName::from_static("x-mine"), HeaderValue::from_static("1"))];
    post_json(&target, &headers, Bytes::from_static(b"{}"), &direct(), timeout).await
}

#[tokio::test]
async fn answers_come_whatever_their_status_and_framing() {
    for (answer, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\"a\"", 200, "\"a\""),
        ("HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 503, "abc"),
        ("HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end"),
    ] {
        let answer = post(answer, DEFAULT_TIMEOUT).await.unwrap();
        assert_eq!((answer.status, answer.body), (status, Bytes::from(body)));
    }
}

#[tokio::test]
async fn silence_is_bounded() {
    let error = post("", Duration::from_millis(30)).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Api { status: 0, .. }));
    assert!(error.transient && error.message.contains("within 30ms"), "{error}");
}

#[tokio::test]
async fn broken_and_malformed_answers_are_told_apart() {
    for (answer, passes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", true),
        ("HTTP/1.1 200", true),
        ("SSH-2.0-OpenSSH\r\n\r\n", false),
    ] {
        let error = post(answer, DEFAULT_TIMEOUT).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Api { status: 0, .. }));
        assert_eq!(error.transient, passes, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let address = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let target = Target::parse(&format!("http://{address}/")).unwrap();
    let error = post_json(&target, &[], Bytes::new(), &direct(), DEFAULT_TIMEOUT).await.unwrap_err();
    assert!(error.message.contains("larger than 65536 bytes"), "{error}");
    assert!(!error.transient);
}
