//! The sources of the tokens of a client's connections.

use std::{sync::Arc, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::Client;
use crate::{
    core::endpoint::Endpoint,
    error::{Error, ErrorKind, Result},
    net::{
        token::{
            SharedToken, TokenKey, TokenSource,
            mint::{DEFAULT_EXPIRATION, Mint, MintConfig, MintRequest},
        },
        transport::TransportConfig,
    },
    py::{
        errors::py_result,
        options::Options,
        token_provider::{Provider, PythonSource},
        token_request::Wish,
    },
};

impl Client {
    pub(super) fn provided_token(
        &self,
        provider: &Bound<'_, Provider>,
        endpoint: &Endpoint,
        expiration: Option<Duration>,
    ) -> PyResult<Arc<SharedToken>> {
        let app_path = endpoint.app_path();
        let source = PythonSource::new(provider, app_path.clone(), expiration)?;
        let key = TokenKey { app_path, provider: Some(provider.get().number()), expiration, body: None };
        Ok(self.tokens.shared(key, || Arc::new(source)))
    }

    pub(super) fn minted_token(
        &self,
        options: &Options,
        endpoint: &Endpoint,
        expiration: Option<Duration>,
    ) -> PyResult<Arc<SharedToken>> {
        let expiration = expiration.unwrap_or(DEFAULT_EXPIRATION);
        let source = self.mint(endpoint, expiration, options.token_body.as_deref())?;
        if self.has_no_credentials() {
            return Ok(SharedToken::new(source));
        }
        let key = TokenKey {
            app_path: endpoint.app_path(),
            provider: None,
            expiration: Some(expiration),
            body: options.token_body.clone(),
        };
        Ok(self.tokens.shared(key, || source))
    }

    fn has_no_credentials(&self) -> bool {
        self.credentials.is_none() && self.proxy_url.is_none()
    }

    /// The default source of tokens for an app.
    fn mint(
        &self,
        endpoint: &Endpoint,
        expiration: Duration,
        body: Option<&str>,
    ) -> PyResult<Arc<dyn TokenSource>> {
        let body = body.map(parse_body).transpose()?;
        if self.has_no_credentials() {
            return Ok(Arc::new(NoCredentials { expiration, why: self.why_no_credentials.clone() }));
        }
        let mut config = MintConfig::new(self.credentials.clone(), self.user_agent.clone());
        config.url.clone_from(&self.token_url);
        config.proxy_url.clone_from(&self.proxy_url);
        config.body = body;
        let app_path = endpoint.app_path();
        let request = MintRequest { alias: endpoint.alias().to_owned(), app_path, expiration };
        Ok(Arc::new(Mint::new(config, TransportConfig::clone(&self.transport), request)))
    }

    /// One token request for the caller's own use. It shares nothing with the connections.
    pub(super) fn wish(
        &self,
        py: Python<'_>,
        app: &str,
        path: Option<&str>,
        expiration: f64,
        body: Option<&str>,
    ) -> PyResult<Wish> {
        let endpoint = py_result(py, Endpoint::parse(app, path))?;
        let expiration = Duration::try_from_secs_f64(expiration)
            .map_err(|_| PyValueError::new_err("expiration is no number of seconds"))?;
        Ok(Wish { source: self.mint(&endpoint, expiration, body)?, app_path: endpoint.app_path() })
    }
}

fn parse_body(text: &str) -> PyResult<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_str(text)
        .map_err(|error| PyValueError::new_err(format!("token_body must be a JSON object: {error}")))
}

/// `why`: more than that, or nothing.
pub(super) fn no_credentials(why: &str, what_to_do: &str) -> Error {
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    Error::new(ErrorKind::Authentication, format!("there are no credentials{why}{what_to_do}"))
}

/// The source of a client without credentials: says so when a token is wanted.
struct NoCredentials {
    expiration: Duration,
    why: String,
}

impl TokenSource for NoCredentials {
    fn fetch(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<String>> + Send>> {
        let what_to_do = ": set FAL_KEY to a key from https://fal.ai/dashboard/keys, or pass credentials, \
                          a token_provider or a proxy_url";
        Box::pin(std::future::ready(Err(no_credentials(&self.why, what_to_do))))
    }

    fn expiration(&self) -> Option<Duration> {
        Some(self.expiration)
    }
}
