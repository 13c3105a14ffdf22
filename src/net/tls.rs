//! TLS: whom to trust, and what to say when trust fails.
//!
//! rustls keeps no buffer that is not in use: an idle connection was measured at 8.4 KB of heap, one that has just
//! read 16 KiB records at 37 KB until its next read begins. So no buffer limit is set.
//!
//! The crypto provider is always named (`ring`): the process-wide default of rustls belongs to the
//! application.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

use crate::error::{Error, ErrorKind, Result};

/// Whose certificates are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The machine's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace them); on a machine without any,
    /// those of Mozilla that are built in.
    #[default]
    System,
    /// Only the authorities in this PEM file.
    CaFile(PathBuf),
    /// Anybody's. For tests on the own machine only: whoever sits on the way reads the key and the messages.
    Insecure,
}

/// The TLS configuration for `trust`: TLS 1.2 and 1.3, session resumption, no client certificate.
///
/// That of [`Trust::System`] is made once a process, since reading the machine's authorities takes
/// milliseconds.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match trust {
        Trust::System => {
            if let Some(config) = SYSTEM.get() {
                return Ok(Arc::clone(config));
            }
            let config = with_roots(system_roots())?;
            Ok(Arc::clone(SYSTEM.get_or_init(|| config)))
        }
        Trust::CaFile(path) => with_roots(file_roots(path)?),
        Trust::Insecure => {
            let verifier = Arc::new(AcceptAnything(provider()));
            let builder = builder()?.dangerous().with_custom_certificate_verifier(verifier);
            Ok(Arc::new(finish(builder.with_no_client_auth())))
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| invalid("TLS cannot be configured").with_source(error))
}

fn with_roots(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    Ok(Arc::new(finish(builder()?.with_root_certificates(roots).with_no_client_auth())))
}

/// HTTP/1.1 is what the upgrade needs: a server that would rather speak HTTP/2 must know.
fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Errors of single files are of no use to the caller: what counts is whether anything was found.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn file_roots(path: &PathBuf) -> Result<RootCertStore> {
    let unreadable = |error: rustls_pki_types::pem::Error| {
        invalid(format!("the CA file {} cannot be read: {error}", path.display())).with_source(error)
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?).map_err(|error| {
            invalid(format!("the CA file {} holds a bad certificate: {error}", path.display()))
                .with_source(error)
        })?;
    }
    if roots.is_empty() {
        return Err(invalid(format!("the CA file {} holds no certificate in PEM form", path.display())));
    }
    Ok(roots)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

/// The error of a TLS handshake with `host`, in plain words. `UnexpectedEof`, resets and the like are
/// transient, what TLS itself found wrong is not.
pub(crate) fn explain(host: &str, error: io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let message = match tls {
        Some(tls) => format!("TLS with {host} failed: {}", reason(tls)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => format!(
            "TLS with {host} was broken off: the server closed the connection (it may not speak TLS 1.2 or 1.3)"
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
        Bad::UnknownIssuer => {
            "the server's certificate is from an unknown authority (SSL_CERT_FILE or a CA file can name it)"
                .into()
        }
        Bad::NotValidForName => "the server's certificate is for another host".into(),
        Bad::NotValidForNameContext { presented, .. } => {
            format!("the server's certificate is for another host ({})", presented.join(", "))
        }
        Bad::Revoked => "the server's certificate has been revoked".into(),
        Bad::BadSignature => "the signature of the server's certificate is wrong".into(),
        other => format!("the server's certificate is not acceptable ({other})"),
    }
}

fn alert_reason(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => "the server refuses TLS 1.2 and 1.3".into(),
        AlertDescription::HandshakeFailure => "the server accepts none of the ciphers offered".into(),
        AlertDescription::UnrecognisedName => "the server does not know this host name".into(),
        AlertDescription::CertificateRequired => "the server wants a client certificate".into(),
        other => format!("the server refused with the alert {other:?}"),
    }
}

/// Checks signatures, so that the handshake is sound, but not whose certificate it is.
#[derive(Debug)]
struct AcceptAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
