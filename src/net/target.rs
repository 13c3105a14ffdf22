//! The target of a connection: an address, taken apart and checked.

use std::fmt;

use http::Uri;

use crate::error::{Error, ErrorKind, Result};

/// The target of a connection. Its `Debug` leaves out the query, which holds the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether it is a WebSocket (`wss`, `ws`).
    pub websocket: bool,
    /// Whether TLS is used (`wss`, `https`).
    pub tls: bool,
    /// The host name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The value of the `Host` header: the host, with the port where it is not the default one.
    pub authority: String,
    /// The path and query, at least `/`.
    pub path_and_query: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        write!(f, "{}{}{path}", if self.tls { "tls://" } else { "tcp://" }, self.authority)
    }
}

impl Target {
    /// Parses a `ws`, `wss`, `http` or `https` address without user and password.
    ///
    /// Fails with [`ErrorKind::InvalidOption`]; the message names the host at most.
    pub fn parse(url: &str) -> Result<Self> {
        let invalid = |what: &str| Error::new(ErrorKind::InvalidOption, format!("the address {what}"));
        let uri: Uri = url.parse().map_err(|error| invalid(&format!("is not a URL: {error}")))?;
        let (websocket, tls) = match uri.scheme_str() {
            Some("wss") => (true, true),
            Some("https") => (false, true),
            Some("ws") => (true, false),
            Some("http") => (false, false),
            _ => return Err(invalid("must start with wss://, ws://, https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("must not hold a user or password"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        let default_port = if tls { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().len() == authority.host().len() => default_port,
            None => return Err(invalid(&format!("has a bad port (host {host})"))),
        };
        let authority = match port {
            port if port == default_port => authority.host().to_owned(),
            port => format!("{}:{port}", authority.host()),
        };
        let path_and_query = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("") => "/".to_owned(),
            Some(path) if path.starts_with('?') => format!("/{path}"),
            Some(path) => path.to_owned(),
        };
        Ok(Self { websocket, tls, host, port, authority, path_and_query })
    }
}

#[cfg(test)]
mod tests;
