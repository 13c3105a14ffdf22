//! Verification that a server is whom it says it is.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{invalid, roots::Roots};
use crate::error::Result;

/// rustls' own rules, and two more: a certificate that the caller named is trusted where a server shows that very one,
/// though it be an authority's or of an unknown one, as one that was made with one line of `openssl` is; its dates and
/// its name are checked all the same. And the name need not be that of the host, if the caller says so.
#[derive(Debug)]
pub(super) struct Verifier {
    rules: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    are_built_in: bool,
    check_hostname: bool,
}

impl Verifier {
    pub(super) fn new(provider: Arc<CryptoProvider>, roots: Roots, check_hostname: bool) -> Result<Self> {
        let Roots { store, named, are_built_in } = roots;
        let rules = WebPkiServerVerifier::builder_with_provider(Arc::<RootCertStore>::new(store), provider)
            .build()
            .map_err(|error| invalid(format!("TLS cannot be configured: {error}")).with_source(error))?;
        Ok(Self { rules, named, are_built_in, check_hostname })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let verified =
            self.rules.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = match verified {
            // Both are found out after the dates were checked, and before the name is.
            Err(error)
                if (is_of_an_authority(&error) || is_unknown(&error)) && self.named.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
                    .map(|()| ServerCertVerified::assertion())
            }
            Err(error) if self.are_built_in && is_unknown(&error) => {
                let no_authorities = OtherError(Arc::new(NoAuthorities));
                Err(CertificateError::Other(no_authorities).into())
            }
            verified => verified,
        };
        match verified {
            // The last thing that is checked.
            Err(error) if !self.check_hostname && is_for_another_host(&error) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.rules.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.rules.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.supported_verify_schemes()
    }
}

fn is_of_an_authority(error: &TlsError) -> bool {
    let TlsError::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn is_unknown(error: &TlsError) -> bool {
    matches!(error, TlsError::InvalidCertificate(CertificateError::UnknownIssuer))
}

fn is_for_another_host(error: &TlsError) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// The certificate is of an authority that is unknown, on a machine that knows none.
#[derive(Debug)]
pub(super) struct NoAuthorities;

impl fmt::Display for NoAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown authority; this machine has no certificates of authorities")
    }
}

impl std::error::Error for NoAuthorities {}

/// Checks signatures, so that the handshake is sound, but not whose certificate it is.
#[derive(Debug)]
pub(super) struct AcceptAnything(Arc<CryptoProvider>);

impl AcceptAnything {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
