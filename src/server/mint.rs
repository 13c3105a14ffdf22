//! The token endpoint.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::{Request, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::json;

use super::{
    config::TokenForm,
    faults::MintFate,
    records::MintRecord,
    reply::{Answer, Unanswered, detail, json_answer, key_is_right, refusal},
    shared::Shared,
};

/// The largest body that is read.
const BODY_LIMIT: usize = 64 << 10;

/// The lifetime of a token whose request names none, in seconds.
const DEFAULT_LIFETIME: f64 = 120.0;

/// Names the real address of a request that goes through a proxy.
const TARGET_URL: &str = "x-fal-target-url";

/// Whether a POST is a token request: by its path, or because the server is used as the proxy of one.
pub(super) fn is_addressed_by(request: &Request<Incoming>) -> bool {
    matches!(request.uri().path().trim_end_matches('/'), "/tokens" | "/tokens/realtime")
        || request.headers().contains_key(TARGET_URL)
}

/// Answers a token request.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Unanswered> {
    shared.records.mint_requests.add(1);
    let path = request.uri().path().to_owned();
    let target_url =
        request.headers().get(TARGET_URL).map(|url| String::from_utf8_lossy(url.as_bytes()).into_owned());
    // A proxy adds the key itself, so what comes through one may lack it.
    let authorized = key_is_right(shared, &request).unwrap_or(target_url.is_some());
    let body =
        Limited::new(request.into_body(), BODY_LIMIT).collect().await.map_err(|_| Unanswered)?.to_bytes();

    tokio::time::sleep(shared.faults.mint_delay()).await;
    let answer = match shared.faults.next_mint() {
        MintFate::Dropped => Err(Unanswered),
        MintFate::Failed(failure) => {
            let known =
                StatusCode::from_u16(failure.status).ok().and_then(|status| status.canonical_reason());
            Ok(refusal(failure, known.unwrap_or("told to fail")))
        }
        MintFate::Served if !authorized => Ok(detail(StatusCode::UNAUTHORIZED, "Authentication is required")),
        MintFate::Served => Ok(mint(shared, &body)),
    };
    let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    let body = String::from_utf8_lossy(&body).into_owned();
    shared.records.mints.push(MintRecord { path, body, target_url, status });
    answer
}

/// What a token request asks for, in the words of both of fal's APIs.
#[derive(Deserialize)]
struct TokenRequest {
    app: Option<String>,
    allowed_apps: Option<Vec<String>>,
    token_expiration: Option<f64>,
    duration: Option<f64>,
}

fn mint(shared: &Shared, body: &[u8]) -> Answer {
    let Some((apps, lifetime)) = read_wish(body) else {
        let wanted = "a JSON object with allowed_apps, a list of strings, or app, a string, and token_expiration or duration, seconds";
        return detail(StatusCode::UNPROCESSABLE_ENTITY, wanted);
    };
    let token = shared.tokens.lock().issue(Instant::now(), apps, lifetime);
    shared.records.tokens_minted.add(1);
    let body = match shared.config.token_form {
        TokenForm::String => json!(token),
        TokenForm::Detail => json!({ "detail": token }),
        TokenForm::Token => json!({ "token": token }),
    };
    json_answer(StatusCode::OK, &body)
}

/// The apps and the lifetime that a body asks for; `None` when it is not as it should be.
fn read_wish(body: &[u8]) -> Option<(Vec<String>, Duration)> {
    let request: TokenRequest = serde_json::from_slice(body).ok()?;
    let apps = request.app.map(|app| vec![app]).or(request.allowed_apps)?;
    let seconds = request.token_expiration.or(request.duration).unwrap_or(DEFAULT_LIFETIME);
    // A day and more is no one's wish; it also keeps the arithmetic of instants safe.
    let lifetime = Duration::try_from_secs_f64(seconds.min(86_400.0)).ok()?;
    Some((apps, lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_both_apis_are_understood() {
        let wish = |body: &str| read_wish(body.as_bytes());
        let apps = vec!["echo".to_owned()];
        assert_eq!(
            wish(r#"{"allowed_apps":["echo"],"token_expiration":60}"#),
            Some((apps.clone(), Duration::from_secs(60)))
        );
        assert_eq!(
            wish(r#"{"allowed_apps":["echo"],"duration":0.5}"#),
            Some((apps.clone(), Duration::from_millis(500)))
        );
        assert_eq!(wish(r#"{"app":"echo","duration":120}"#), wish(r#"{"allowed_apps":["echo"]}"#));
        assert_eq!(wish(r#"{"allowed_apps":["echo"]}"#), Some((apps, Duration::from_secs(120))));
    }

    #[test]
    fn what_is_not_a_wish_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"allowed_apps":"echo"}"#,
            r#"{"allowed_apps":[1]}"#,
            r#"{"allowed_apps":[],"duration":-1}"#,
        ] {
            assert_eq!(read_wish(body.as_bytes()), None, "{body}");
        }
    }
}
