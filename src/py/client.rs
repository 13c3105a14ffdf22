//! `_core.Client`: what connections of one client share: credentials, transport, tokens.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    awaitable,
    errors::py_result,
    options::{Options, own_header, own_headers},
    stats::PyTotals,
    token_provider::Provider,
    token_request::Minted,
};
use crate::{
    core::{
        endpoint::validate_base_url,
        inbound::Dialect,
        token::{Credentials, Scheme, Secret},
    },
    error::{Error, ErrorKind, Result},
    net::{
        handle::Connection,
        proxy::ProxyConfig,
        settings::{Address, Settings},
        tls,
        token::TokenStore,
        totals::Totals,
        transport::TransportConfig,
    },
};

mod tls_arguments;
mod tokens;

use tls_arguments::TlsArguments;
use tokens::no_credentials;

/// The client, which its connections share.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Client {
    credentials: Option<Credentials>,
    /// What of them no error is to repeat.
    secrets: Arc<[Secret]>,
    /// If more can be said than that there are none.
    why_no_credentials: String,
    base_url: String,
    token_url: String,
    proxy_url: Option<String>,
    user_agent: String,
    transport: Arc<TransportConfig>,
    tokens: Arc<TokenStore>,
    /// Function -> [`Provider`], held weakly.
    providers: Py<PyAny>,
    /// The sums over its connections.
    totals: Arc<Totals>,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (*, credentials, bearer, why_no_credentials, base_url, token_url, proxy, trust_env, proxy_url, tls, user_agent, totals, tokens_of = None))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // keyword-only, called by the facade
    fn new(
        py: Python<'_>,
        credentials: Option<String>,
        bearer: bool,
        why_no_credentials: String,
        base_url: &str,
        token_url: &str,
        proxy: Option<&str>,
        trust_env: bool,
        proxy_url: Option<String>,
        tls: TlsArguments,
        user_agent: String,
        totals: &PyTotals,
        tokens_of: Option<PyRef<'_, Self>>,
    ) -> PyResult<Self> {
        let (tokens, providers) = if let Some(other) = tokens_of {
            (other.tokens.clone(), other.providers.clone_ref(py))
        } else {
            let providers = py.import("weakref")?.getattr("WeakValueDictionary")?.call0()?.unbind();
            (Arc::new(TokenStore::new()), providers)
        };
        let totals = totals.0.clone();
        let made = || -> Result<Self> {
            let proxy = match proxy {
                Some(url) => ProxyConfig::explicit(url)?,
                None if trust_env => ProxyConfig::environment(),
                None => ProxyConfig::None,
            };
            let tls = tls::client_config(&tls.into())?;
            let credentials = credentials.map(|secret| Credentials {
                scheme: if bearer { Scheme::Bearer } else { Scheme::Key },
                secret: secret.into(),
            });
            Ok(Self {
                secrets: credentials.iter().flat_map(Credentials::secrets).map(Secret::from).collect(),
                credentials,
                why_no_credentials,
                base_url: validate_base_url(base_url, &["ws", "wss"])?,
                token_url: validate_url("rest_url", token_url)?,
                proxy_url: proxy_url.map(|url| validate_url("proxy_url", &url)).transpose()?,
                user_agent,
                transport: Arc::new(TransportConfig { tls, proxy }),
                tokens,
                providers,
                totals,
            })
        };
        py_result(py, py.detach(made))
    }

    /// An awaitable of the app id with its path, and a token for it.
    #[pyo3(signature = (app, path, expiration, body))]
    fn mint_token<'py>(
        &self,
        py: Python<'py>,
        app: &str,
        path: Option<&str>,
        expiration: f64,
        body: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wish = self.wish(py, app, path, expiration, body)?;
        awaitable::future(py, async move { Ok(wish.granted().await) })
    }

    /// The app id with its path, and a token for it, in blocking form.
    #[pyo3(signature = (app, path, expiration, body))]
    fn mint_token_blocking(
        &self,
        py: Python<'_>,
        app: &str,
        path: Option<&str>,
        expiration: f64,
        body: Option<&str>,
    ) -> PyResult<Minted> {
        let wish = self.wish(py, app, path, expiration, body)?;
        awaitable::wait(py, wish.granted())
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> std::result::Result<(), pyo3::PyTraverseError> {
        visit.call(&self.providers)
    }

    fn __repr__(&self) -> String {
        format!("<Client {}>", self.base_url)
    }
}

/// A URL with a path, such as the token endpoint's; `name` is what the caller knows it by.
fn validate_url(name: &str, url: &str) -> Result<String> {
    match crate::net::target::Target::parse(url) {
        Ok(_) => Ok(url.to_owned()),
        Err(error) => {
            let message = format!("{name}: {}", error.message);
            Err(error.with_message(message))
        }
    }
}

impl Client {
    /// The settings of a connection with these options, and the provider of its tokens. It is to keep the provider,
    /// which nobody else does.
    pub(super) fn settings(
        &self,
        py: Python<'_>,
        options: &Options,
    ) -> PyResult<(Settings, Option<Py<Provider>>)> {
        let plain = options.plain(py)?;
        let mut headers = vec![(header::USER_AGENT, header_value("user_agent", &self.user_agent)?)];
        if !options.subprotocols.is_empty() {
            let offer = options.subprotocols.join(", ");
            headers.push(own_header(header::SEC_WEBSOCKET_PROTOCOL.as_str(), &offer)?);
        }
        let (mut token, mut provider) = (None, None);
        let address = match (&plain.endpoint, &options.url) {
            (Some(endpoint), _) => {
                if !options.use_jwt {
                    headers.push(py_result(py, self.authorization())?);
                } else if let Some(function) = &options.token_provider {
                    let found = Provider::of(py, &self.providers, function)?;
                    token = Some(self.provided_token(&found, endpoint, plain.token_expiration)?);
                    provider = Some(found.unbind());
                } else {
                    token = Some(self.minted_token(options, endpoint, plain.token_expiration)?);
                }
                Address::App {
                    endpoint: endpoint.clone(),
                    base_url: self.base_url.clone(),
                    query: options.query.clone(),
                }
            }
            // Neither key nor token: this goes to whom the caller names.
            (None, url) => {
                let url = url.as_deref().unwrap_or(&options.app);
                let url = py_result(py, validate_url("url", url))?;
                Address::Url { url, query: options.query.clone() }
            }
        };
        let dialect = match (options.raw, &options.decode_message) {
            (true, _) => Dialect::Raw,
            (false, Some(_)) => Dialect::Custom,
            (false, None) if options.decode => Dialect::Fal,
            (false, None) => Dialect::Relayed,
        };
        let settings = Settings {
            address,
            transport: self.transport.clone(),
            headers,
            own_headers: own_headers(&options.headers)?,
            secrets: self.secrets.clone(),
            token,
            session: Arc::new(plain.session),
            throttle_interval: plain.throttle_interval,
            max_buffering: plain.max_buffering,
            read_ahead: options.read_ahead,
            open_timeout: plain.open_timeout,
            ping_interval: plain.ping_interval,
            ping_timeout: plain.ping_timeout,
            busy_timeout: plain.busy_timeout,
            close_timeout: plain.close_timeout,
            limits: plain.limits,
            max_input_size: options.max_input_size,
            dialect,
        };
        Ok((settings, provider))
    }

    /// Counts a connection among those made with it.
    pub(super) fn count(&self, connection: &Arc<Connection>, app: &str) {
        connection.count_in(&self.totals, app);
    }

    fn authorization(&self) -> Result<(HeaderName, HeaderValue)> {
        let credentials = self.credentials.as_ref().ok_or_else(|| {
            no_credentials(
                &self.why_no_credentials,
                ", which use_jwt=False is to send: set FAL_KEY, or pass credentials",
            )
        })?;
        let mut value = HeaderValue::from_str(&credentials.authorization()).map_err(|_| {
            Error::new(ErrorKind::InvalidOption, "the credentials hold characters that no header may hold")
        })?;
        value.set_sensitive(true);
        Ok((header::AUTHORIZATION, value))
    }
}

fn header_value(name: &str, value: &str) -> PyResult<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| {
        PyValueError::new_err(format!("{name} holds characters that no header may hold: {value:?}"))
    })
}
