//! `_core.Client`: what connections of one client share: credentials, transport, tokens.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, header};
use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    awaitable,
    errors::py_result,
    options::{Options, own_header, own_headers},
    stats::PyTotals,
    token_provider::{Provider, PythonSource},
    token_request::{Minted, Wish},
};
use crate::{
    core::{
        endpoint::{Endpoint, validate_base_url},
        inbound::Dialect,
        token::{Credentials, Scheme, Secret},
    },
    error::{Error, ErrorKind, Result},
    net::{
        handle::Connection,
        mint::{DEFAULT_EXPIRATION, Mint, MintConfig, MintRequest},
        proxy::ProxyConfig,
        settings::{Address, Settings},
        tls::{self, ClientCertificate, TlsOptions, Trust},
        token_store::{SharedToken, TokenKey, TokenSource, TokenStore},
        totals::Totals,
        transport::TransportConfig,
    },
};

/// The options of TLS, as the facade gives them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct TlsArguments {
    insecure: bool,
    check_hostname: bool,
    /// PEM files and directories; `None`: the system's.
    ca: Option<Vec<PathBuf>>,
    /// Certificates in DER form, in their place.
    ca_der: Option<Vec<Vec<u8>>>,
    extra_ca: Vec<PathBuf>,
    client_cert: Option<(PathBuf, PathBuf, Option<String>)>,
}

impl From<TlsArguments> for TlsOptions {
    fn from(arguments: TlsArguments) -> Self {
        let trust = match arguments {
            TlsArguments { insecure: true, .. } => Trust::Insecure,
            TlsArguments { ca_der: Some(certificates), .. } => Trust::Certificates(certificates),
            TlsArguments { ca: Some(paths), .. } => Trust::Files(paths),
            _ => Trust::System,
        };
        let client_certificate = arguments.client_cert.map(|(certificate, key, password)| {
            ClientCertificate { certificate, key, password: password.map(Secret::from) }
        });
        Self {
            trust,
            extra: arguments.extra_ca,
            check_hostname: arguments.check_hostname,
            client_certificate,
        }
    }
}

/// The client, which its connections share.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct Client {
    credentials: Option<Credentials>,
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
            Ok(Self {
                credentials: credentials.map(|secret| Credentials {
                    scheme: if bearer { Scheme::Bearer } else { Scheme::Key },
                    secret: secret.into(),
                }),
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

    /// The same in blocking form.
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
    /// What a connection with these options is made with. It is to keep the provider, which nobody else does.
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
                Address::Url(py_result(py, validate_url("url", url))?)
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

    fn provided_token(
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

    fn minted_token(
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
    fn wish(
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

fn header_value(name: &str, value: &str) -> PyResult<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| {
        PyValueError::new_err(format!("{name} holds characters that no header may hold: {value:?}"))
    })
}

/// `why`: more than that, or nothing.
fn no_credentials(why: &str, what_to_do: &str) -> Error {
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
        let what_to_do = ": set FAL_KEY, or pass credentials, a token_provider or a proxy_url";
        Box::pin(std::future::ready(Err(no_credentials(&self.why, what_to_do))))
    }

    fn expiration(&self) -> Option<Duration> {
        Some(self.expiration)
    }
}
