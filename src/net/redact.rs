//! Repeats what a server said without the secrets that it was told.

use std::{ops::Range, sync::Arc};

use base64::{
    Engine,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
    },
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use memchr::memmem::Finder;

use super::proxy::percent_decode;
use crate::{
    core::{endpoint::TOKEN_PARAMETER, token::Secret},
    error::{Error, ErrorKind},
};

mod matching;

use matching::{cut_off, occurrences};

/// Base64 with or without its padding.
const STANDARD_PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Shorter parts of a credential are not secrets but words (`Key`), and would only garble the text.
const SECRET_BYTES: usize = 8;

/// At most the first `limit` bytes of `text`, with every secret in it replaced by `***`, however it is spelled, even
/// one that the end of `text` cuts off.
pub(crate) fn quote<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let bytes = text.as_bytes();
    let mut places = Vec::new();
    for secret in spellings(secrets) {
        places.extend(occurrences(bytes, &Finder::new(&secret)));
        places.extend(cut_off(bytes, secret.as_bytes(), SECRET_BYTES));
    }
    let mut quoted = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for place in merged(places) {
        quoted.extend_from_slice(bytes.get(from..place.start).unwrap_or_default());
        quoted.extend_from_slice(b"***");
        from = place.end;
    }
    quoted.extend_from_slice(bytes.get(from..).unwrap_or_default());
    let mut text = String::from_utf8_lossy(&quoted).into_owned();
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The same places in their order, those that overlap as one.
fn merged(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_unstable_by_key(|place| place.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for place in places {
        match merged.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => merged.push(place),
        }
    }
    merged
}

/// The secrets as they are, and in Base64. Escapes are found wherever they are.
fn spellings<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut spellings = Vec::new();
    for secret in secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES) {
        spellings.push(secret.to_owned());
        for before in 0..3 {
            spellings
                .extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|base64| inside(base64, before, secret)));
        }
    }
    spellings.dedup();
    spellings
}

/// The part of a secret in Base64 that is always the same, when so many bytes (modulo 3) are before it: not the letters
/// that its neighbours share.
fn inside(base64: &GeneralPurpose, before: usize, secret: &str) -> String {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.bytes()).collect();
    let encoded = base64.encode(&bytes);
    encoded.get((before * 8).div_ceil(6)..bytes.len() * 8 / 6).unwrap_or_default().to_owned()
}

/// The secrets, to be overwritten in many texts.
pub(super) struct Finders(Vec<Finder<'static>>);

impl Finders {
    fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(spellings(secrets).iter().map(|secret| Finder::new(secret).into_owned()).collect())
    }

    /// None.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        self.0.iter().flat_map(|finder| occurrences(text, finder)).collect()
    }

    /// Overwrites every secret in `text` with asterisks, however it is spelled. All else stays in its place, so that it
    /// can be decoded as before.
    pub(super) fn overwrite(&self, text: &mut [u8]) {
        for place in self.places(text) {
            if let Some(found) = text.get_mut(place) {
                found.fill(b'*');
            }
        }
    }
}

/// `bytes` with every secret in it overwritten; without a secret in it, it is what it was.
fn overwrite<'a>(bytes: Bytes, secrets: impl IntoIterator<Item = &'a str>) -> Bytes {
    let finders = Finders::new(secrets);
    if finders.places(&bytes).is_empty() {
        return bytes;
    }
    let mut overwritten = bytes.to_vec();
    finders.overwrite(&mut overwritten);
    overwritten.into()
}

/// The secrets of a request: what its query and its headers hold.
pub(crate) fn sent_in(path_and_query: &str, headers: &[(HeaderName, HeaderValue)]) -> Vec<Secret> {
    let mut secrets = in_query(path_and_query);
    secrets.extend(in_headers(headers));
    secrets
}

/// The values of a query, as they are sent and as the server reads them; of what has none, the name.
pub(crate) fn in_query(path_and_query: &str) -> Vec<Secret> {
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    query.split('&').flat_map(in_pair).collect()
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
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let is_token = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == TOKEN_PARAMETER);
    query.split('&').filter(is_token).flat_map(in_pair).collect()
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
pub(super) struct KnownSecrets {
    of_client: Arc<[Secret]>,
    /// A few: each is looked for in all that is recorded.
    tokens: Sent,
    in_headers: Sent,
    /// The other values of queries, which may be secret, and may be words that are in any message.
    in_queries: Sent,
}

impl KnownSecrets {
    /// The secrets of the client.
    pub(super) fn new(of_client: Arc<[Secret]>) -> Self {
        let [tokens, in_headers, in_queries] = [8, 64, 64].map(Sent::at_most);
        Self { of_client, tokens, in_headers, in_queries }
    }

    /// A request with these is sent to the server.
    pub(super) fn are_sent(&mut self, path_and_query: &str, headers: &[(HeaderName, HeaderValue)]) {
        self.tokens.add(token_in(path_and_query));
        self.in_headers.add(in_headers(headers));
        self.in_queries.add(in_query(path_and_query));
    }

    /// The credentials, to be overwritten in many messages.
    pub(super) fn finders(&self) -> Finders {
        Finders::new(self.credentials().map(Secret::expose))
    }

    /// `text` without the secrets.
    pub(super) fn quote(&self, text: &str) -> String {
        quote(text, self.secrets(), text.len())
    }

    /// An error that the server reported, without the secrets.
    pub(super) fn without(&self, mut error: Error) -> Error {
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
    use super::*;
    use crate::{core::endpoint::percent_encode, error::Refusal};

    #[test]
    fn secrets_are_replaced_wherever_they_are_cut() {
        let secrets = ["top-secret-token", "Key"];
        assert_eq!(quote("Key top-secret-token, top-secret-tok", secrets, 99), "Key ***, ***");
        assert_eq!(quote("top-secret-token!", secrets, 2), "**");
        assert_eq!(quote("top-sec", secrets, 99), "top-sec", "too little to be of use to anybody");
        assert_eq!(quote("aé", [], 2), "a");
    }

    #[test]
    fn a_secret_is_replaced_in_base64_whatever_is_around_it() {
        for around in ["", "a", "ab", "abc", "abcd"] {
            for secret in ["top-secret-token", "top-secret-key???", "top-secret-key????>>"] {
                let text = format!("{around}{secret}{around}");
                for base64 in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    let quoted = quote(&base64.encode(&text), [secret], 999);
                    assert!(
                        quoted.contains("***") && quoted.len() <= 2 * around.len() + 7,
                        "{text}: {quoted}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_secret_is_replaced_whichever_of_its_characters_are_percent_encoded() {
        let secret = "kid:SECRET/+SECRÉT";
        let every = secret.bytes().fold(String::new(), |every, byte| every + &format!("%{byte:02x}"));
        let mut upper = String::new();
        percent_encode(secret, &mut upper);
        for spelled in [secret, &every, &every.to_uppercase(), &upper, "%6bid%3aSECRET%2f+S%45CR%c3%89T"] {
            assert_eq!(quote(&format!("a%20b {spelled} c%"), [secret], 999), "a%20b *** c%", "{spelled}");
            let overwritten = overwrite(format!("%{spelled}!").into(), [secret]);
            assert_eq!(overwritten[..], *format!("%{}!", "*".repeat(spelled.len())).as_bytes(), "{spelled}");
            for cut in 1..6 {
                let cut = String::from_utf8_lossy(&spelled.as_bytes()[..spelled.len() - cut]).into_owned();
                if cut.is_char_boundary(cut.len()) && !cut.contains('\u{fffd}') {
                    assert_eq!(quote(&format!("say {cut}"), [secret], 999), "say ***", "{cut}");
                }
            }
        }
        assert_eq!(quote("to%2541ken", ["to%41ken"], 999), "***", "of one that looks percent-encoded");
        assert_eq!(quote("to%41ken", ["to%41ken"], 999), "***");
    }

    #[test]
    fn a_secret_is_replaced_whether_or_not_it_is_folded() {
        let secret = "kid:SECRET/+SECRET";
        let base64 = STANDARD_NO_PAD.encode(secret);
        for line_break in ["\n", "\r\n", "\\n", "\\r\\n", "%0A", "%0d%0a"] {
            for width in [1, 4, 7] {
                let fold = |text: &str| {
                    let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
                    lines.join(line_break)
                };
                assert_eq!(quote(&format!("a\nb {} c\n", fold(secret)), [secret], 999), "a\nb *** c\n");
                let quoted = quote(&fold(&base64), [secret], 999);
                assert!(quoted.starts_with("***") && quoted.len() < 6 + line_break.len(), "{quoted:?}");
                let cut = &fold(secret)[..fold(secret).len() - 3];
                assert!(quote(&format!("say {cut}"), [secret], 999).starts_with("say ***"), "{cut:?}");
            }
        }
    }

    #[test]
    fn a_secret_is_replaced_whichever_of_its_characters_are_escaped() {
        let secret = "say \"S\\E/C\" ré😀t";
        let json = serde_json::to_string(secret).expect("it is text");
        let json = json.trim_matches('"');
        let every =
            secret.encode_utf16().fold(String::new(), |every, unit| every + &format!("\\u{unit:04X}"));
        let form = json.replace(' ', "+");
        for spelled in [secret, json, &every, &every.to_lowercase().replace("\\u0073", "s"), &form] {
            assert_eq!(quote(&format!("a {spelled} b"), [secret], 999), "a *** b", "{spelled}");
            let cut = &every[..every.len() - 15];
            assert_eq!(quote(cut, [secret], 999), "***", "{cut}");
        }
        assert_eq!(quote("a+b%2", ["a b is long"], 999), "a+b%2", "too little of it");
    }

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
    fn secrets_are_overwritten_in_their_place() {
        let secrets = ["topsecret", "Key", "othersecret"];
        let bytes = Bytes::from_static(b"\xc1topsecret, topsecre\xff topsecretothersecret");
        assert_eq!(overwrite(bytes, secrets), b"\xc1*********, topsecre\xff ********************"[..]);
        let bytes = Bytes::from_static(b"Key only");
        assert_eq!(overwrite(bytes.clone(), secrets).as_ptr(), bytes.as_ptr(), "it was not copied");
        assert_eq!(overwrite(Bytes::new(), secrets), b""[..]);
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
