//! Explanations of why a TLS handshake failed.

use std::io;

use rustls::{AlertDescription, CertificateError, OtherError};

use super::verify::NoAuthorities;
use crate::error::{Error, ErrorKind};

/// The error of a TLS handshake with `host`, in plain words. `UnexpectedEof`, resets and the like are
/// transient, what TLS itself found wrong is not.
pub(crate) fn explain(host: &str, error: io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let message = match tls {
        Some(tls) => format!("TLS with {host} failed: {}", reason(tls)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => format!(
            "TLS with {host} was broken off: the server closed the connection (it may not speak TLS 1.2 or 1.3, or have \
             a key of a kind that is not known here)"
        ),
        None => format!("TLS with {host} was broken off: {error}"),
    };
    let passes = matches!(tls, None | Some(rustls::Error::AlertReceived(AlertDescription::InternalError)));
    let failure = Error::new(ErrorKind::Handshake { status: None }, message).with_source(error);
    if passes { failure.transient() } else { failure }
}

fn reason(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(error) => certificate_reason(error),
        Tls::AlertReceived(alert) => alert_reason(*alert),
        Tls::PeerIncompatible(_) => {
            format!("the server offers no TLS version and cipher that are accepted here ({error})")
        }
        Tls::InvalidMessage(_) => format!("the server does not speak TLS on this port ({error})"),
        _ => error.to_string(),
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    use CertificateError as Bad;
    match error {
        Bad::Expired | Bad::ExpiredContext { .. } => "the server's certificate has expired".into(),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the server's certificate is not yet valid (is the clock right?)".into()
        }
        Bad::UnknownIssuer => "the server's certificate is from an unknown authority (ssl=, extra_ca= or SSL_CERT_FILE \
                               can name it)"
            .into(),
        Bad::NotValidForName => "the server's certificate is for another host".into(),
        Bad::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the server's certificate names no host: it has no subjectAltName, and its common name does not count".into()
        }
        Bad::NotValidForNameContext { presented, .. } => {
            // `DnsName("example.com")` -> `example.com`
            let names = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("the server's certificate is for another host ({names})")
        }
        Bad::Revoked => "the server's certificate has been revoked".into(),
        Bad::BadSignature => "the signature of the server's certificate is wrong".into(),
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => {
            "the server's certificate is for another purpose than a server's".into()
        }
        Bad::BadEncoding => "the server's certificate is malformed".into(),
        Bad::Other(other) => other_reason(other),
        other => format!("the server's certificate is not acceptable: {}", in_words(&format!("{other:?}"))),
    }
}

fn other_reason(error: &OtherError) -> String {
    if error.0.is::<NoAuthorities>() {
        return "the server's certificate is from an unknown authority. This machine has no certificates of authorities, \
                so that only those that are built in are known: install them (ca-certificates), or name them (ssl=, \
                extra_ca= or SSL_CERT_FILE)"
            .into();
    }
    match error.0.downcast_ref() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "the server shows an authority's certificate as its own, as one that it has signed itself often is: where it \
             is to be trusted, give that very certificate as ssl= or extra_ca="
                .into()
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "the server's certificate is of an old version of X.509: version 3 is needed".into()
        }
        Some(other) => {
            format!("the server's certificate is not acceptable: {}", in_words(&format!("{other:?}")))
        }
        None => format!("the server's certificate is not acceptable: {}", error.0),
    }
}

/// The name of a variant as the words that it is made of: `PathLenConstraintViolated(…)` -> `path len constraint
/// violated`.
fn in_words(debug: &str) -> String {
    let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let name = name.trim_end_matches("Context");
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn alert_reason(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => "the server refuses TLS 1.2 and 1.3".into(),
        AlertDescription::HandshakeFailure => "the server accepts none of the ciphers offered".into(),
        AlertDescription::UnrecognisedName => "the server does not know this host name".into(),
        AlertDescription::CertificateRequired => {
            "the server wants a client certificate (client_cert=)".into()
        }
        other => format!("the server refused: {}", in_words(&format!("{other:?}"))),
    }
}
