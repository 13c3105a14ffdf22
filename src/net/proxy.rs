//! The proxy on the way to a host, if any: explicit, or from the environment as other tools read it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use crate::{
    core::token::Secret,
    error::{Error, ErrorKind, Result},
};

use super::target::Target;

/// The proxy settings of a client.
#[derive(Debug, Clone, Default)]
pub enum ProxyConfig {
    /// Connect directly.
    #[default]
    None,
    /// This proxy for every connection.
    Explicit(Proxy),
    /// What the environment said when it was read.
    Environment(Arc<EnvironmentProxies>),
}

impl ProxyConfig {
    /// The proxy at `url` for every connection: `http://`, `socks5://` (names are resolved here) or
    /// `socks5h://` (names are resolved by the proxy), each with optional `user:password@`.
    pub fn explicit(url: &str) -> Result<Self> {
        Proxy::parse(url).map(Self::Explicit)
    }

    /// Reads the variables now; of each the lower-case name wins. The first that is set counts:
    ///
    /// | address | variables |
    /// |---|---|
    /// | `wss://` | `WSS_PROXY`, `SOCKS_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` |
    /// | `ws://` | `WS_PROXY`, `SOCKS_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` |
    /// | `https://` | `HTTPS_PROXY`, `ALL_PROXY` |
    /// | `http://` | `HTTP_PROXY`, `ALL_PROXY` |
    ///
    /// A WebSocket prefers SOCKS to CONNECT, and the proxy for TLS to the other one, since RFC 6455 (4.1) says so; the
    /// order is that of the `websockets` package, where `ALL_PROXY` is not read. `NO_PROXY` excepts from all. A value
    /// that is not acceptable is reported by the connection that would use it.
    pub fn environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| read(name).filter(|value| !value.trim().is_empty());
        let either = |lower: &str, upper: &str| {
            let name = if set(lower).is_some() { lower } else { upper };
            set(name).map(|url| (name.to_owned(), url))
        };
        let all = either("all_proxy", "ALL_PROXY");
        let tls = either("https_proxy", "HTTPS_PROXY");
        // Under CGI, HTTP_PROXY is whatever the request's `Proxy:` header says (CVE-2016-5385).
        let plain = match read("REQUEST_METHOD") {
            Some(_) => set("http_proxy").map(|url| ("http_proxy".to_owned(), url)),
            None => either("http_proxy", "HTTP_PROXY"),
        };
        let socks = either("socks_proxy", "SOCKS_PROXY").map(|(name, url)| (name, as_socks(&url)));
        let wss = either("wss_proxy", "WSS_PROXY").or_else(|| socks.clone()).or_else(|| tls.clone());
        let ws = either("ws_proxy", "WS_PROXY").or(socks).or_else(|| tls.clone()).or_else(|| plain.clone());
        let first = |found: Option<(String, String)>| {
            let (name, url) = found.or_else(|| all.clone())?;
            Some(Proxy::parse(&url).map_err(|mut error| {
                error.message = format!("{name}: {}", error.message);
                error
            }))
        };
        let no_proxy = either("no_proxy", "NO_PROXY").map(|(_, list)| list).unwrap_or_default();
        Self::Environment(Arc::new(EnvironmentProxies {
            wss: first(wss),
            ws: first(ws),
            https: first(tls),
            http: first(plain),
            exceptions: no_proxy.split(',').filter_map(Exception::parse).collect(),
        }))
    }

    /// The proxy on the way to `target`.
    pub(crate) fn on_the_way_to(&self, target: &Target) -> Result<Option<&Proxy>> {
        let environment = match self {
            Self::None => return Ok(None),
            Self::Explicit(proxy) => return Ok(Some(proxy)),
            Self::Environment(environment) => environment,
        };
        let proxy = match (target.websocket, target.tls) {
            (true, true) => &environment.wss,
            (true, false) => &environment.ws,
            (false, true) => &environment.https,
            (false, false) => &environment.http,
        };
        match proxy {
            None => Ok(None),
            Some(_) if environment.exceptions.iter().any(|exception| exception.covers(target)) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(error)) => Err(error.clone()),
        }
    }
}

/// `SOCKS_PROXY` holds the address of a SOCKS proxy, whatever scheme is written before it: `http://` is what some
/// settings of the desktop write.
fn as_socks(url: &str) -> String {
    let url = url.trim();
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("socks5h://{rest}"),
        Some(_) => url.to_owned(),
        None => format!("socks5h://{url}"),
    }
}

/// The proxies that the environment names, by the scheme of the address.
#[derive(Debug)]
pub struct EnvironmentProxies {
    wss: Option<Result<Proxy>>,
    ws: Option<Result<Proxy>>,
    https: Option<Result<Proxy>>,
    http: Option<Result<Proxy>>,
    exceptions: Vec<Exception>,
}

/// The protocol that a proxy is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyScheme {
    /// HTTP CONNECT.
    Http,
    /// SOCKS5; names are resolved here.
    Socks5,
    /// SOCKS5; names are resolved by the proxy.
    Socks5h,
}

/// One proxy. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(crate) scheme: ProxyScheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: Option<(String, Secret)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} proxy {}:{}", self.scheme, self.host, self.port)?;
        if self.login.is_some() { f.write_str(" with a login") } else { Ok(()) }
    }
}

impl Proxy {
    fn parse(url: &str) -> Result<Self> {
        let url = url.trim();
        // The URL itself is in no message: it may hold a password.
        let invalid = |what: &str| Error::new(ErrorKind::InvalidOption, format!("the proxy address {what}"));
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyScheme::Http, 80),
            "socks5" => (ProxyScheme::Socks5, 1080),
            "socks5h" | "socks" => (ProxyScheme::Socks5h, 1080),
            "https" => {
                return Err(invalid("is https://: TLS to the proxy itself is not supported, use http://"));
            }
            _ => return Err(invalid("must start with http://, socks5:// or socks5h://")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A login ends at the last `@`, but an authority before the first of these: what is cut off may be most of it.
        if rest.get(authority.len()..).is_some_and(|rest| rest.contains('@')) {
            return Err(invalid(
                "has a login with / ? or # in it, which must be percent-encoded there (%2F %3F %23)",
            ));
        }
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (host, port) =
            split_port(address).ok_or_else(|| invalid("must be scheme://[user:password@]host[:port]"))?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(invalid("has no acceptable host"));
        }
        let login = match login {
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let decode =
                    |text| percent_decode(text).ok_or_else(|| invalid("has a login that is badly encoded"));
                Some((decode(user)?, Secret::from(decode(password)?)))
            }
            None => None,
        };
        Ok(Self { scheme, host: host.to_owned(), port: port.unwrap_or(default_port), login })
    }
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address. `None` if it is none of these.
fn split_port(address: &str) -> Option<(&str, Option<u16>)> {
    // A zone may be behind it.
    let is_v6 = |host: &str| host.split('%').next().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').filter(|(host, _)| is_v6(host))?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match address.split_once(':') {
        // Else it may be `host:port:user:password`, as some sellers of proxies write it.
        Some((_, rest)) if rest.contains(':') => is_v6(address).then_some((address, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((address, None)),
    }
}

pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// One entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
enum Exception {
    /// `*`: no proxy at all.
    Everything,
    /// A network (`10.0.0.0/8`) or a single address.
    Network(IpAddr, u8),
    /// A host and everything below it (`fal.run`, `.fal.run`, `*.fal.run`), maybe on one port only.
    Host(String, Option<u16>),
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((network, bits)) = entry.split_once('/') {
            let address: IpAddr = network.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            return (bits <= width(address)).then_some(Self::Network(address, bits));
        }
        let (host, port) = split_port(&entry)?;
        if let (Ok(address), None) = (host.parse::<IpAddr>(), port) {
            return Some(Self::Network(address, width(address)));
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let host = host.strip_prefix('.').unwrap_or(host);
        (!host.is_empty()).then(|| Self::Host(host.to_owned(), port))
    }

    fn covers(&self, target: &Target) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network, bits) => {
                target.host.parse().is_ok_and(|ip| in_network(ip, *network, *bits))
            }
            Self::Host(host, port) => {
                let name = target.host.trim_end_matches('.');
                port.is_none_or(|port| port == target.port)
                    && name.len().checked_sub(host.len()).is_some_and(|cut| {
                        name.as_bytes()[cut..].eq_ignore_ascii_case(host.as_bytes())
                            && (cut == 0 || name.as_bytes()[cut - 1] == b'.')
                    })
            }
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    // Both families as 128 bits; the leading 96 bits of a mapped IPv4 address are the same for all of them.
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    };
    let bits = u32::from(bits) + if network.is_ipv4() { 96 } else { 0 };
    (number(address) ^ number(network)).checked_shr(128 - bits).is_none_or(|difference| difference == 0)
}

#[cfg(test)]
mod tests;
