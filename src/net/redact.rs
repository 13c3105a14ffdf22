//! Repeats what a server said without the secrets that it was told.

use std::ops::Range;

use base64::{
    Engine,
    engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use memchr::memmem::Finder;

mod known;
mod matching;

pub(super) use known::KnownSecrets;
pub(crate) use known::{in_query, sent_in};
use matching::{cut_off, occurrences};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::endpoint::percent_encode;

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
    fn secrets_are_overwritten_in_their_place() {
        let secrets = ["topsecret", "Key", "othersecret"];
        let bytes = Bytes::from_static(b"\xc1topsecret, topsecre\xff topsecretothersecret");
        assert_eq!(overwrite(bytes, secrets), b"\xc1*********, topsecre\xff ********************"[..]);
        let bytes = Bytes::from_static(b"Key only");
        assert_eq!(overwrite(bytes.clone(), secrets).as_ptr(), bytes.as_ptr(), "it was not copied");
        assert_eq!(overwrite(Bytes::new(), secrets), b""[..]);
    }
}
