//! The secrets that the server of a connection may know: what a request holds, and the client's own.

use std::sync::Arc;

use base64::{
    Engine,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use http::{HeaderName, HeaderValue, header};

use super::{Finders, SECRET_BYTES, overwrite, quote};
use crate::{
    core::{endpoint::TOKEN_PARAMETER, token::Secret},
    error::{Error, ErrorKind},
    net::proxy::percent_decode,
};

/// Base64 with or without its padding.
const STANDARD_PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The secrets of a request: what its query and its headers hold.
pub(crate) fn sent_in(path_and_query: &str, headers: &[(HeaderName, HeaderValue)]) -> Vec<Secret> {
    let mut secrets = in_query(path_and_query);
    secrets.extend(in_headers(headers));
    secrets
}

/// The values of a query, as they are sent and as the server reads them; of what has none, the name.
pub(crate) fn in_query(path_and_query: &str) -> Vec<Secret> {
    pairs(path_and_query).flat_map(in_pair).collect()
}

fn pairs(path_and_query: &str) -> impl Iterator<Item = &str> {
    path_and_query.split_once('?').map_or("", |(_, query)| query).split('&')
}

fn in_pair(pair: &str) -> Vec<Secret> {
    let value = match pair.split_once('=') {
        Some((name, "")) => name,
        Some((_, value)) => value,
        None => pair,
    };
    [Some(value.into()), percent_decode(value).map(Secret::from)].into_iter().flatten().collect()
}

/// The token in a query.
fn token_in(path_and_query: &str) -> Vec<Secret> {
    let is_token = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == TOKEN_PARAMETER);
    pairs(path_and_query).filter(is_token).flat_map(in_pair).collect()
}

/// The values of headers that are secret, their parts, and the login that they may hold in Base64.
fn in_headers(headers: &[(HeaderName, HeaderValue)]) -> Vec<Secret> {
    let is_secret = |name: &HeaderName, value: &HeaderValue| {
        *name == header::AUTHORIZATION || value.is_sensitive() || *name == header::SEC_WEBSOCKET_PROTOCOL
    };
    let mut secrets = Vec::new();
    for (_, value) in headers.iter().filter(|(name, value)| is_secret(name, value)) {
        let Ok(value) = value.to_str() else { continue };
        secrets.push(value.into());
        let parts = value.split([' ', ':', ',', ';', '=', '.', '"']);
        secrets.extend(parts.map(Secret::from));
        let login = value.split_once(' ').and_then(|(_, login)| STANDARD_PADDED_OR_NOT.decode(login).ok());
        let Some(login) = login.and_then(|login| String::from_utf8(login).ok()) else { continue };
        secrets.extend(login.split_once(':').map(|(_, password)| Secret::from(password)));
        secrets.push(login.into());
    }
    secrets
}

/// Secrets that were sent, the newest last. What earlier attempts have sent is forgotten, the oldest first.
#[derive(Debug)]
struct Sent {
    secrets: Vec<Secret>,
    most: usize,
}

impl Sent {
    const fn at_most(most: usize) -> Self {
        Self { secrets: Vec::new(), most }
    }

    fn add(&mut self, secrets: Vec<Secret>) {
        for secret in secrets.into_iter().filter(|secret| secret.expose().len() >= SECRET_BYTES) {
            self.secrets.retain(|known| *known != secret);
            self.secrets.push(secret);
        }
        let excess = self.secrets.len().saturating_sub(self.most);
        self.secrets.drain(..excess);
    }
}

/// The secrets that the server of a connection may know, for what it says: those that were sent to it, and the client's
/// own credentials, which it has from elsewhere or not at all.
#[derive(Debug)]
pub(in crate::net) struct KnownSecrets {
    of_client: Arc<[Secret]>,
    /// A few: each is looked for in all that is recorded.
    tokens: Sent,
    in_headers: Sent,
    /// The other values of queries, which may be secret, and may be words that are in any message.
    in_queries: Sent,
}

impl KnownSecrets {
    /// The secrets of the client.
    pub(in crate::net) fn new(of_client: Arc<[Secret]>) -> Self {
        let [tokens, in_headers, in_queries] = [8, 64, 64].map(Sent::at_most);
        Self { of_client, tokens, in_headers, in_queries }
    }

    /// A request with these is sent to the server.
    pub(in crate::net) fn are_sent(&mut self, path_and_query: &str, headers: &[(HeaderName, HeaderValue)]) {
        self.tokens.add(token_in(path_and_query));
        self.in_headers.add(in_headers(headers));
        self.in_queries.add(in_query(path_and_query));
    }

    /// The credentials, to be overwritten in many messages.
    pub(in crate::net) fn finders(&self) -> Finders {
        Finders::new(self.credentials().map(Secret::expose))
    }

    /// `text` without the secrets.
    pub(in crate::net) fn quote(&self, text: &str) -> String {
        quote(text, self.secrets(), text.len())
    }

    /// An error that the server reported, without the secrets.
    pub(in crate::net) fn without(&self, mut error: Error) -> Error {
        let clean = |text: &mut String| *text = self.quote(text);
        clean(&mut error.message);
        if let ErrorKind::Realtime { error, reason, payload } = &mut error.kind {
            clean(error);
            clean(reason);
            *payload = overwrite(std::mem::take(payload), self.secrets());
        }
        let Some(mut said) = error.refusal().cloned() else { return error };
        clean(&mut said.request_id);
        clean(&mut said.body);
        said.headers.iter_mut().for_each(|(_, value)| clean(value));
        error.with_refusal(said)
    }

    /// Those of the client first: their parts may be among the others, and leave the rest where the whole is.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        self.credentials().chain(&self.in_queries.secrets).map(Secret::expose)
    }

    fn credentials(&self) -> impl Iterator<Item = &Secret> {
        self.of_client.iter().chain(&self.tokens.secrets).chain(&self.in_headers.secrets)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::error::Refusal;

    #[test]
    fn the_secrets_of_a_request_are_what_its_query_and_headers_hold() {
        let header = |value| {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            (HeaderName::from_static("x-own"), value)
        };
        let basic = HeaderValue::from_static("Basic bWU6c2VjcmV0LXBhc3N3b3Jk");
        let plain = (header::USER_AGENT, HeaderValue::from_static("not-a-secret/1.0"));
        let protocol = (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("bearer.protocol-secret"));
        let headers = [
            header("correct horse staple"),
            header("a=cookie-secret; b=1"),
            (header::AUTHORIZATION, basic),
            plain,
            protocol,
        ];
        let sent =
            sent_in("/a/b?name=value-secret&bare-secret&empty-secret=&e=encoded%2Fsecret&n=1", &headers);
        let sent: Vec<_> = sent.iter().map(Secret::expose).collect();
        for secret in [
            "value-secret",
            "bare-secret",
            "empty-secret",
            "encoded%2Fsecret",
            "encoded/secret",
            "correct horse staple",
            "cookie-secret",
            "me:secret-password",
            "secret-password",
            "protocol-secret",
        ] {
            assert!(sent.contains(&secret), "{secret} is not among {sent:?}");
        }
        assert!(sent.iter().all(|secret| !secret.contains("not-a-secret")), "{sent:?}");
        let mut secrets = KnownSecrets::new(Arc::new([]));
        for number in 0..100 {
            secrets.are_sent(&format!("/?kept=kept-secret&new=secret-{number}"), &[]);
        }
        assert_eq!(secrets.in_queries.secrets.len(), secrets.in_queries.most);
        assert_eq!(secrets.quote("kept-secret secret-99 secret-98"), "*** *** ***");
    }

    #[test]
    fn a_refusal_is_rid_of_a_key_that_was_not_sent() {
        let of_client = ["id:some-secret".into(), "some-secret".into()];
        let secrets = KnownSecrets::new(Arc::new(of_client));
        let said = Refusal {
            request_id: "some-secret".into(),
            headers: vec![("location".into(), "/?key=id%3Asome-secret".into())],
            body: "id:some-secret and some-secret".into(),
            ..Refusal::default()
        };
        let error = secrets.without(Error::not_opened("refused: id:some-secret").with_refusal(said));
        assert_eq!(error.message, "refused: ***");
        let said = error.refusal().expect("it was given one");
        assert_eq!((said.request_id.as_str(), said.body.as_str()), ("***", "*** and ***"));
        assert_eq!(said.headers, [("location".to_owned(), "/?key=***".to_owned())]);
    }

    #[test]
    fn an_error_is_rid_of_the_token_and_the_key_however_they_are_spelled() {
        let key = HeaderValue::from_static("Key some-key-id:some-secret");
        let mut secrets = KnownSecrets::new(Arc::new([]));
        secrets.are_sent("/?fal_jwt_token=to%2Fken%2B1234", &[(header::AUTHORIZATION, key)]);
        let payload =
            Bytes::from_static(br#"{"reason":"to\/ken+1234","at":"to%2Fken%2B1234","key":"some-key-id"}"#);
        let kind = ErrorKind::Realtime { error: "E".into(), reason: "some-secret: no".into(), payload };
        let error = secrets.without(Error::new(kind, "E: some-secret: to/ken+1234"));
        assert_eq!(error.message, "E: ***: ***");
        let ErrorKind::Realtime { error, reason, payload } = &error.kind else { panic!("another kind") };
        assert_eq!((error.as_str(), reason.as_str()), ("E", "***: no"));
        assert_eq!(
            payload[..],
            br#"{"reason":"************","at":"***************","key":"***********"}"#[..]
        );
    }
}
