//! The default source of tokens: fal's token endpoint.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use serde_json::{Map, Value};

use super::source::TokenSource;
use crate::{
    core::token::{Credentials, Secret},
    error::{Error, ErrorKind, Result},
    net::{
        awaited::Awaited,
        http::{DEFAULT_TIMEOUT, HttpAnswer, post_json},
        redact::{in_query, quote},
        refusal::refusal,
        report,
        target::Target,
        transport::TransportConfig,
    },
    sync::Mutex,
};

mod body;
mod retry;

use body::{body, token_in};
pub use retry::RetryPolicy;
use retry::{PATIENCE, is_retried, nobody_listens};

/// The address at which tokens are minted by default.
pub const DEFAULT_URL: &str = "https://rest.fal.ai/tokens/";
/// The lifetime of a token of the default mint.
pub const DEFAULT_EXPIRATION: Duration = Duration::from_secs(120);
const TARGET_URL: HeaderName = HeaderName::from_static("x-fal-target-url");

/// The configuration of the mint: how tokens are made.
#[derive(Debug, Clone)]
pub struct MintConfig {
    /// The token endpoint.
    pub url: String,
    /// The address of a proxy to which the request is sent instead, with the endpoint in the header `x-fal-target-url`.
    pub proxy_url: Option<String>,
    /// The credentials that go into `Authorization`, but not to `proxy_url`, which adds its own.
    pub credentials: Option<Credentials>,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The body of the request in place of `{"allowed_apps": ["{alias}"], "token_expiration":
    /// "{token_expiration}"}`.
    ///
    /// In every string of it, at any depth, `{alias}` and `{app_path}` are replaced; a string that is exactly
    /// `{token_expiration}` becomes the number of seconds. Keys are left alone.
    pub body: Option<Map<String, Value>>,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// The time limit of one attempt.
    pub timeout: Duration,
}

impl MintConfig {
    /// The defaults, with these credentials.
    pub fn new(credentials: Option<Credentials>, user_agent: impl Into<String>) -> Self {
        Self {
            url: DEFAULT_URL.to_owned(),
            proxy_url: None,
            credentials,
            user_agent: user_agent.into(),
            body: None,
            retry: RetryPolicy::default(),
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// The request for a token: what it is to be good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintRequest {
    /// The app's alias.
    pub alias: String,
    /// The app id with its path: `owner/alias/realtime`.
    pub app_path: String,
    /// How long the token is to live; sent in whole seconds, rounded up.
    pub expiration: Duration,
}

/// Mints a token, with retries, unless the endpoint wants to be left alone for longer than a few seconds.
///
/// Fails with [`ErrorKind::Authentication`] after 401 and 403, with [`ErrorKind::Api`] after any other answer
/// that holds no token, and with [`ErrorKind::Api`] of status 0 when no answer came.
///
/// `failed` hears of each failure that is followed by a retry.
pub async fn mint(
    config: &MintConfig,
    transport: &TransportConfig,
    request: &MintRequest,
    failed: impl Fn(&Error),
) -> Result<String> {
    let prepared = Prepared::new(config, request)?;
    let mut retry = 0;
    loop {
        let error = match prepared.attempt(config, transport).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let retries = if nobody_listens(&error) { config.retry.retries.min(1) } else { config.retry.retries };
        let wanted = error.retry_after().unwrap_or_default();
        if retry >= retries || !is_retried(&error) || wanted > PATIENCE {
            return Err(error);
        }
        let jitter = fastrand::f64() * 2.0 - 1.0;
        let delay = config.retry.delay(retry, jitter).max(wanted);
        failed(&error);
        tokio::time::sleep(delay).await;
        retry += 1;
    }
}

/// A request, ready to be sent as often as needed.
struct Prepared {
    target: Target,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Prepared {
    fn new(config: &MintConfig, request: &MintRequest) -> Result<Self> {
        let value = |what: &str, text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                let message = format!("{what} holds characters that no HTTP header may hold");
                Error::new(ErrorKind::InvalidOption, message)
            })
        };
        let mut headers = vec![(header::USER_AGENT, value("the user agent", &config.user_agent)?)];
        // A proxy adds the key that it has: ours is none of its business.
        let credentials = config.credentials.as_ref().filter(|_| config.proxy_url.is_none());
        if let Some(credentials) = credentials {
            let mut authorization = value("the credentials", &credentials.authorization())?;
            authorization.set_sensitive(true);
            headers.push((header::AUTHORIZATION, authorization));
        }
        let target = Target::parse(config.proxy_url.as_ref().unwrap_or(&config.url))?;
        if config.proxy_url.is_some() {
            Target::parse(&config.url)?;
            headers.push((TARGET_URL, value("the token address", &config.url)?));
        }
        let body = body(config.body.as_ref(), request).to_string().into();
        Ok(Self { target, headers, body })
    }

    async fn attempt(&self, config: &MintConfig, transport: &TransportConfig) -> Result<String> {
        let answer =
            post_json(&self.target, &self.headers, self.body.clone(), transport, config.timeout).await;
        let answer = answer.map_err(no_answer)?;
        if (200..300).contains(&answer.status)
            && let Some(token) = token_in(&answer.body)
        {
            return Ok(token);
        }
        Err(self.refused(config, &answer))
    }

    fn refused(&self, config: &MintConfig, answer: &HttpAnswer) -> Error {
        let (host, status) = (&self.target.host, answer.status);
        let addresses = std::iter::once(&config.url).chain(&config.proxy_url);
        let in_queries: Vec<_> = addresses.flat_map(|url| in_query(url)).collect();
        let secrets = || {
            let credentials = config.credentials.iter().flat_map(Credentials::secrets);
            credentials.chain(in_queries.iter().map(Secret::expose))
        };
        let without_key = |text: &str, limit| quote(text, secrets(), limit);
        let body = String::from_utf8_lossy(&answer.body);
        // What may be a token in a form that we do not know is not shown.
        let body = if (200..300).contains(&status) { "" } else { &body };
        let said = refusal(|name| answer.headers.get(name).map(HeaderValue::as_bytes), body, without_key);
        let redirect = if (300..400).contains(&status) { "; redirects are not followed" } else { "" };
        let message = match status {
            401 | 403 => {
                let message = format!(
                    "{host} refused the credentials with status {status}; check that the key is valid and may \
                     use this app"
                );
                return Error::new(ErrorKind::Authentication, message).with_refusal(said);
            }
            400 if config.proxy_url.is_some() => {
                let wanted = config.url.split_once("://").map_or(config.url.as_str(), |(_, rest)| rest);
                let wanted = wanted.split('?').next().unwrap_or_default();
                format!(
                    "{host} (proxy_url) did not pass the token request on, and answered with status 400: a stock \
                     @fal-ai/server-proxy does so unless {wanted} is in its allowedUrlPatterns"
                )
            }
            200..300 => format!("the answer of {host} to the token request holds no token (status {status})"),
            _ => format!("{host} refused the token request with status {status}{redirect}"),
        };
        let error = Error::new(ErrorKind::Api { status }, message).with_refusal(said);
        if matches!(status, 408 | 425 | 429 | 500..) { error.transient() } else { error }
    }
}

/// The failure of the transport, as the failure of the API that it is to the caller.
fn no_answer(mut error: Error) -> Error {
    if matches!(error.kind, ErrorKind::Handshake { .. }) {
        error.kind = ErrorKind::Api { status: 0 };
    }
    error
}

/// The default mint for one app, as a [`TokenSource`].
#[derive(Clone)]
pub struct Mint {
    context: Arc<MintContext>,
}

struct MintContext {
    config: MintConfig,
    transport: TransportConfig,
    request: MintRequest,
    /// Why the newest attempt of a request under way failed.
    last_failure: Mutex<Option<Error>>,
    /// The answer that the attempt under way waits for.
    awaited: Awaited,
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint").field("request", &self.context.request).finish_non_exhaustive()
    }
}

impl Mint {
    /// A source of tokens for `request`.
    pub fn new(config: MintConfig, transport: TransportConfig, request: MintRequest) -> Self {
        let (last_failure, awaited) = (Mutex::default(), Awaited::default());
        Self { context: Arc::new(MintContext { config, transport, request, last_failure, awaited }) }
    }
}

impl TokenSource for Mint {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String>> + Send>> {
        let context = Arc::clone(&self.context);
        Box::pin(async move {
            *context.last_failure.lock() = None;
            let failed = |error: &Error| {
                report::notable(|| format!("{}: no token, trying again: {error}", context.request.app_path));
                *context.last_failure.lock() = Some(error.clone());
            };
            let minting = mint(&context.config, &context.transport, &context.request, failed);
            let minted = context.awaited.by(minting).await;
            // Whoever fetches has the outcome.
            *context.last_failure.lock() = None;
            minted
        })
    }

    fn last_failure(&self) -> Option<Error> {
        let failed = self.context.last_failure.lock().clone();
        failed.or_else(|| self.context.awaited.missing().map(no_answer))
    }

    fn expiration(&self) -> Option<Duration> {
        Some(self.context.request.expiration)
    }
}

#[cfg(test)]
mod tests;
