//! Quotes what a server said without the secrets that it was told.

use http::{HeaderName, HeaderValue, header};

/// Shorter parts of a credential are not secrets but words (`Key`), and would only garble the text.
const SECRET_BYTES: usize = 8;

/// At most the first `limit` bytes of `text`, with every secret in it replaced by `***`, even one that the end of
/// `text` cuts off.
pub(crate) fn quote<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let mut text = text.to_owned();
    for secret in secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES) {
        text = text.replace(secret, "***");
        let begins = |length: &usize| secret.get(..*length).is_some_and(|start| text.ends_with(start));
        if let Some(length) = (SECRET_BYTES..secret.len()).rev().find(begins) {
            text.truncate(text.len() - length);
            text.push_str("***");
        }
    }
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The credentials in the headers of a request, and their parts.
pub(crate) fn credentials(headers: &[(HeaderName, HeaderValue)]) -> impl Iterator<Item = &str> {
    headers
        .iter()
        .filter(|(name, _)| *name == header::AUTHORIZATION)
        .filter_map(|(_, value)| value.to_str().ok())
        .flat_map(|value| value.split([' ', ':']))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn secrets_are_replaced_wherever_they_are_cut() {
        let secrets = ["top-secret-token", "Key"];
        assert_eq!(quote("Key top-secret-token, top-secret-tok", secrets, 99), "Key ***, ***");
        assert_eq!(quote("top-secret-token!", secrets, 2), "**");
        assert_eq!(quote("top-sec", secrets, 99), "top-sec", "too little to be of use to anybody");
        assert_eq!(quote("aé", [], 2), "a");
    }
}
