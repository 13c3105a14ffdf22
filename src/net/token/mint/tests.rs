use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::net::testing::{direct, header as field, read_request, serve};

fn request() -> MintRequest {
    MintRequest {
        alias: "lcm".into(),
        app_path: "fal-ai/lcm/realtime".into(),
        expiration: DEFAULT_EXPIRATION,
    }
}

fn config(url: String) -> MintConfig {
    let retry = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    MintConfig { url, retry, ..MintConfig::new(Some(Credentials::key("id:s3cr3t-key")), "tests/1") }
}

fn body_of(error: &Error) -> &str {
    error.refusal().map_or("", |said| said.body.as_str())
}

/// A token endpoint that gives `answers` in turn (the last one again and again), as (status, body); 0 closes
/// the connection. Also counts the requests.
async fn endpoint(answers: &'static [(u16, &'static str)]) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = serve(move |mut stream, number| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            read_request(&mut stream).await;
            let (status, body) = answers[number.min(answers.len() - 1)];
            if status > 0 {
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (format!("http://{address}/tokens/"), count)
}

async fn minted(answers: &'static [(u16, &'static str)]) -> (Result<String>, usize) {
    let (url, count) = endpoint(answers).await;
    let result = mint(&config(url), &direct(), &request(), |_| {}).await;
    (result, count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn every_form_of_answer_holds_the_token() {
    for answers in [
        &[(200, "\"a.b.c\"")],
        &[(201, "{\"detail\": \"a.b.c\"}")],
        &[(200, " {\"token\": \"a.b.c\", \"detail\": \"x\"} ")],
    ] {
        let (token, count) = minted(answers).await;
        assert_eq!((token.unwrap().as_str(), count), ("a.b.c", 1));
    }
}

#[tokio::test]
async fn other_answers_hold_none_and_are_not_shown() {
    for answers in [
        &[(200, "")],
        &[(200, "\"\"")],
        &[(200, "{\"token\": 5}")],
        &[(200, "[\"abc\"]")],
        &[(200, "abc")],
        &[(200, "\"a b\\r\\nX: abc\"")],
    ] {
        let (token, count) = minted(answers).await;
        let error = token.unwrap_err();
        assert_eq!((&error.kind, body_of(&error)), (&ErrorKind::Api { status: 200 }, ""));
        assert!(error.message.contains("holds no token") && !error.message.contains("abc"), "{error}");
        assert_eq!(count, 1);
    }
}

#[tokio::test]
async fn refused_credentials_are_an_authentication_error_at_once() {
    for answers in [&[(401, "who?")], &[(403, "no")]] {
        let (token, count) = minted(answers).await;
        assert_eq!((&token.unwrap_err().kind, count), (&ErrorKind::Authentication, 1));
    }
}

#[tokio::test]
async fn passing_failures_are_retried_three_times() {
    let (token, count) = minted(&[(429, ""), (0, ""), (503, ""), (200, "\"t\"")]).await;
    assert_eq!((token.unwrap().as_str(), count), ("t", 4));
    let (token, count) = minted(&[(502, ""), (504, "busy")]).await;
    let error = token.unwrap_err();
    assert_eq!((&error.kind, body_of(&error), count), (&ErrorKind::Api { status: 504 }, "busy", 4));
    assert!(error.transient);
}

#[tokio::test]
async fn lasting_failures_are_not_retried_and_hide_the_credentials() {
    let (token, count) = minted(&[(422, "bad key id:s3cr3t-key"), (200, "\"t\"")]).await;
    let error = token.unwrap_err();
    assert_eq!((&error.kind, body_of(&error), count), (&ErrorKind::Api { status: 422 }, "bad key ***", 1));
    assert!(!error.transient && !format!("{error:?}").contains("s3cr3t"));
    let (token, count) = minted(&[(307, "")]).await;
    assert!(token.unwrap_err().message.contains("redirects are not followed"));
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_dead_endpoint_is_an_api_error_without_status() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = mint(&config(format!("http://{closed}/")), &direct(), &request(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Api { status: 0 });
    assert!(error.transient);
}

/// The head and the body of the request that `change` leads to.
async fn sent(change: impl FnOnce(&mut MintConfig, String)) -> (String, Value) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let address = serve(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            sender.send(read_request(&mut stream).await).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\"t\"").await.unwrap();
        }
    })
    .await;
    let mut config = config(format!("http://{address}/tokens/"));
    change(&mut config, format!("http://{address}/proxy"));
    mint(&config, &direct(), &request(), |_| {}).await.unwrap();
    let (head, body) = receiver.recv().await.unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_default_request_names_the_alias_only() {
    let (head, body) = sent(|_, _| {}).await;
    assert!(head.starts_with("POST /tokens/ HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "authorization").as_deref(), Some("Key id:s3cr3t-key"));
    assert_eq!(field(&head, "user-agent").as_deref(), Some("tests/1"));
    assert_eq!(field(&head, "x-fal-target-url"), None);
    assert_eq!(body, json!({"allowed_apps": ["lcm"], "token_expiration": 120}));
}

#[tokio::test]
async fn a_proxy_url_gets_the_request_and_the_real_address() {
    let (head, _) = sent(|config, proxy| {
        config.url = DEFAULT_URL.to_owned();
        config.proxy_url = Some(proxy);
    })
    .await;
    assert!(head.starts_with("POST /proxy HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "x-fal-target-url").as_deref(), Some(DEFAULT_URL));
    assert_eq!(field(&head, "authorization"), None, "it has a key of its own");
}

#[tokio::test]
async fn a_refusal_keeps_the_id_of_the_request() {
    let address = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        let answer = b"HTTP/1.1 404 X\r\nX-Fal-Request-Id: id-7 s3cr3t-key\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let error = mint(&config(format!("http://{address}/")), &direct(), &request(), |_| {}).await.unwrap_err();
    assert!(error.refusal().is_some_and(|said| said.request_id == "id-7 ***"), "{error:?}");
}

#[tokio::test]
async fn a_body_of_ones_own_is_filled_in() {
    let Value::Object(template) = json!({
        "allowed_apps": ["{app_path}", "x/{alias}"],
        "duration": "{token_expiration}",
        "nested": {"n": 1, "{alias}": null}
    }) else {
        unreachable!()
    };
    let (_, body) = sent(|config, _| config.body = Some(template)).await;
    let filled = json!({
        "allowed_apps": ["fal-ai/lcm/realtime", "x/lcm"],
        "duration": 120,
        "nested": {"n": 1, "{alias}": null}
    });
    assert_eq!(body, filled);
}

#[tokio::test]
async fn bad_options_are_reported_without_their_value() {
    let mut bad = config("http://127.0.0.1:1/".into());
    bad.credentials = Some(Credentials::key("id:s3cr3t\n"));
    let error = mint(&bad, &direct(), &request(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidOption);
    assert!(!format!("{error:?} {bad:?}").contains("s3cr3t"));
    let error = mint(&config("rest.fal.ai".into()), &direct(), &request(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidOption);
}

#[test]
fn delays_double_up_to_the_cap_with_a_quarter_of_jitter() {
    let policy = RetryPolicy::default();
    let millis = |retry, jitter| policy.delay(retry, jitter).as_millis();
    let steady = [0, 1, 2, 4, 5, 40].map(|retry| millis(retry, 0.0));
    assert_eq!(steady, [1_000, 2_000, 4_000, 16_000, 30_000, 30_000]);
    assert_eq!([-1.0, 1.0].map(|jitter| millis(1, jitter)), [1_500, 2_500]);
}
