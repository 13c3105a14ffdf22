//! The refusal of an HTTP answer, as far as it is kept: for the caller, and for whoever is asked about it.

use std::time::Duration;

use crate::error::Refusal;

/// Holds fal's id of a request, in its answer.
const REQUEST_ID: &str = "x-fal-request-id";
/// The header fields that say why, or whom to ask. All others are nobody's business, or secrets (`Set-Cookie`).
const HEADERS: [&str; 14] = [
    "cf-ray",
    "content-type",
    "date",
    "location",
    "ratelimit",
    "retry-after",
    "server",
    "via",
    "www-authenticate",
    "x-fal-error-type",
    REQUEST_ID,
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
];
/// The bytes of a header field that are kept.
const MAX_VALUE_BYTES: usize = 256;
/// The bytes of the body that are kept.
pub(super) const BODY_BYTES: usize = 2048;
/// The longest time that a server is left alone for: one that wants longer may be mistaken.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The refusal that an answer is. `value` gives the first value of a header field, `quote` at most so many bytes of a
/// text, without the secrets that were sent to the server.
pub(super) fn refusal<'a>(
    value: impl Fn(&'static str) -> Option<&'a [u8]>,
    body: &str,
    quote: impl Fn(&str, usize) -> String,
) -> Refusal {
    let text = |name| value(name).and_then(|value| std::str::from_utf8(value).ok());
    let header = |name: &'static str| {
        let said = text(name)?;
        // A redirect's query may hold a secret of the server's own.
        let said = if name == "location" { said.split(['?', '#']).next().unwrap_or_default() } else { said };
        Some((name.to_owned(), quote(said, MAX_VALUE_BYTES)))
    };
    Refusal {
        retry_after: text("retry-after").and_then(retry_after),
        request_id: quote(text(REQUEST_ID).unwrap_or_default(), MAX_VALUE_BYTES),
        headers: HEADERS.into_iter().filter_map(header).collect(),
        body: quote(body, BODY_BYTES),
    }
}

/// The time that a `Retry-After` names (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // More than fits is very long, too.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        at.duration_since(std::time::SystemTime::now()).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_the_fields_that_say_why_are_kept_and_no_secret() {
        let fields = [
            ("retry-after", "7"),
            ("x-fal-request-id", "id-7 top-secret"),
            ("location", "https://elsewhere/?code=theirs"),
            ("set-cookie", "theirs"),
            ("server", "\u{e9}"),
        ];
        let value = |name| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_bytes());
        let quote =
            |text: &str, limit: usize| text.replace("top-secret", "***").chars().take(limit).collect();
        let refusal = refusal(value, &"top-secret".repeat(1_000), quote);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(refusal.request_id, "id-7 ***");
        let kept: Vec<_> = refusal.headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(
            kept,
            [
                ("location", "https://elsewhere/"),
                ("retry-after", "7"),
                ("server", "\u{e9}"),
                ("x-fal-request-id", "id-7 ***"),
            ]
        );
        assert_eq!(refusal.body.len(), BODY_BYTES);
        assert!(!format!("{refusal:?}").contains("secret"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("99999999999999999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!((retry_after(""), retry_after("+7"), retry_after("-7")), (None, None, None));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
