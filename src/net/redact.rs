//! Repeats what a server said without the secrets that it was told.

use std::{ops::Range, sync::Arc};

use base64::{
    Engine,
    engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use crate::{
    core::{endpoint::percent_encode, token::Secret},
    error::{Error, ErrorKind},
};

mod matching;

use matching::{cut_off, occurrences};

/// Shorter parts of a credential are not secrets but words (`Key`), and would only garble the text.
const SECRET_BYTES: usize = 8;

/// At most the first `limit` bytes of `text`, with every secret in it replaced by `***`, however it is spelled, even
/// one that the end of `text` cuts off.
pub(crate) fn quote<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let bytes = text.as_bytes();
    let mut places = Vec::new();
    for secret in spellings(secrets) {
        places.extend(occurrences(bytes, secret.as_bytes()));
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

/// The secrets as they are, as some write them in JSON, and in Base64.
fn spellings<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut spellings = Vec::new();
    for secret in secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES) {
        spellings.extend([secret.to_owned(), secret.replace('/', "\\/")]);
        for before in 0..3 {
            spellings
                .extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|base64| inside(base64, before, secret)));
        }
    }
    spellings.dedup();
    spellings
}

/// The secrets as they are in an address, with the digits of either case.
fn percent_encoded<'a>(secrets: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = String> {
    secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES).flat_map(|secret| {
        let mut upper = String::new();
        percent_encode(secret, &mut upper);
        let mut digits = 0;
        let lower = upper.chars().map(|character| {
            let is_digit = digits > 0;
            digits = if character == '%' { 2 } else { digits - i32::from(is_digit) };
            if is_digit { character.to_ascii_lowercase() } else { character }
        });
        let lower = lower.collect();
        [upper, lower]
    })
}

/// The part of a secret in Base64 that is always the same, when so many bytes (modulo 3) are before it: not the letters
/// that its neighbours share.
fn inside(base64: &GeneralPurpose, before: usize, secret: &str) -> String {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.bytes()).collect();
    let encoded = base64.encode(&bytes);
    encoded.get((before * 8).div_ceil(6)..bytes.len() * 8 / 6).unwrap_or_default().to_owned()
}

/// `bytes` with every secret in it overwritten with asterisks, however it is spelled. All else stays in its place, so
/// that it can be decoded as before; without a secret in it, it is what it was.
fn overwrite<'a>(bytes: Bytes, secrets: impl IntoIterator<Item = &'a str>) -> Bytes {
    let places: Vec<_> =
        spellings(secrets).iter().flat_map(|secret| occurrences(&bytes, secret.as_bytes())).collect();
    if places.is_empty() {
        return bytes;
    }
    let mut overwritten = bytes.to_vec();
    for place in places {
        if let Some(found) = overwritten.get_mut(place) {
            found.fill(b'*');
        }
    }
    overwritten.into()
}

/// The credentials in the headers of a request, and their parts.
pub(crate) fn credentials(headers: &[(HeaderName, HeaderValue)]) -> impl Iterator<Item = &str> {
    headers
        .iter()
        .filter(|(name, value)| *name == header::AUTHORIZATION || value.is_sensitive())
        .filter_map(|(_, value)| value.to_str().ok())
        .flat_map(|value| value.split([' ', ':', ',']))
}

/// The secrets that the server of a connection may know, for what it says: those that were sent to it, and the client's
/// own credentials, which it has from elsewhere or not at all.
#[derive(Debug, Default)]
pub(super) struct KnownSecrets {
    /// The token of the current session.
    pub(super) token: Option<Secret>,
    credentials: Vec<Secret>,
    /// How many of them are sent in every session.
    own: usize,
    of_client: Arc<[Secret]>,
}

impl KnownSecrets {
    /// The secrets in these headers, and those of the client.
    pub(super) fn new(headers: &[(HeaderName, HeaderValue)], of_client: Arc<[Secret]>) -> Self {
        let credentials: Vec<_> = credentials(headers).map(Secret::from).collect();
        Self { token: None, own: credentials.len(), credentials, of_client }
    }

    /// Adds those in other headers, for this session.
    pub(super) fn add(&mut self, headers: &[(HeaderName, HeaderValue)]) {
        let known: Vec<_> = self.credentials.iter().map(Secret::expose).collect();
        let new: Vec<_> =
            credentials(headers).filter(|each| !known.contains(each)).map(Secret::from).collect();
        // Those of earlier sessions are forgotten: they may be many.
        self.credentials.truncate(self.own);
        self.credentials.extend(new);
    }

    /// The secrets as they may be spelled, for a text of which no place is looked at twice.
    pub(super) fn spellings(&self) -> Vec<String> {
        let mut all = spellings(self.secrets());
        all.extend(percent_encoded(self.secrets()));
        all
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
        self.of_client.iter().chain(&self.token).chain(&self.credentials).map(Secret::expose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

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
        let recorded: Vec<_> = percent_encoded(["kid:S3cret/+"]).collect();
        assert_eq!(recorded, ["kid%3AS3cret%2F%2B", "kid%3aS3cret%2f%2b"]);
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
        let secrets = KnownSecrets::new(&[], Arc::new(of_client));
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
        let mut secrets = KnownSecrets::new(&[(header::AUTHORIZATION, key)], Arc::new([]));
        secrets.token = Some("to/ken+1234".into());
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
