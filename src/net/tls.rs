//! TLS: whom to trust, who we are, and what to say when trust fails.
//!
//! rustls keeps no buffer that is not in use: an idle connection was measured at 8.4 KB of heap, one that has just
//! read 16 KiB records at 37 KB until its next read begins. So no buffer limit is set.
//!
//! The crypto provider is always named (`ring`): the process-wide default of rustls belongs to the
//! application.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, crypto::CryptoProvider};

use self::{
    identity::Identity,
    roots::Roots,
    verify::{AcceptAnything, Verifier},
};
use crate::error::{Error, ErrorKind, Result};

pub(crate) use self::explain::explain;
pub use self::identity::ClientCertificate;

mod explain;
mod identity;
mod malformed;
mod roots;
mod verify;

/// Whose certificates are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The machine's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace them); on a machine without any,
    /// those of Mozilla that are built in.
    #[default]
    System,
    /// Only those in these PEM files, and in the files of these directories.
    Files(Vec<PathBuf>),
    /// Only these, in DER form.
    Certificates(Vec<Vec<u8>>),
    /// Anybody's. For tests on the own machine only: whoever sits on the way reads the key and the messages.
    Insecure,
}

/// The options of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// PEM files, or directories of them, of authorities that are trusted beside those.
    pub extra: Vec<PathBuf>,
    /// The certificate must be for the host that is connected to.
    pub check_hostname: bool,
    /// The identity that a server is shown which asks who we are.
    pub client_certificate: Option<ClientCertificate>,
}

impl From<Trust> for TlsOptions {
    fn from(trust: Trust) -> Self {
        Self { trust, extra: Vec::new(), check_hostname: true, client_certificate: None }
    }
}

/// The TLS configuration for these options: TLS 1.2 and 1.3, session resumption.
///
/// That of the defaults is made once a process, since reading the machine's authorities takes
/// milliseconds.
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if *options != TlsOptions::from(Trust::System) {
        return make(options);
    }
    if let Some(config) = SYSTEM.get() {
        return Ok(Arc::clone(config));
    }
    let config = make(options)?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| config)))
}

fn make(options: &TlsOptions) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| invalid("TLS cannot be configured").with_source(error))?
        .dangerous();
    let builder = match Roots::new(&options.trust, &options.extra)? {
        None => builder.with_custom_certificate_verifier(Arc::new(AcceptAnything::new(provider()))),
        Some(roots) => {
            let verifier = Verifier::new(provider(), roots, options.check_hostname)?;
            builder.with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match &options.client_certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let Identity { chain, key } = Identity::read(certificate)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let why = match &error {
                    rustls::Error::InconsistentKeys(_) => "it is the key of another certificate".to_owned(),
                    other => other.to_string(),
                };
                invalid(format!("client_cert: the certificate and the key do not go together: {why}"))
                    .with_source(error)
            })?
        }
    };
    // HTTP/1.1 is what the upgrade needs: a server that would rather speak HTTP/2 must know.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

#[cfg(test)]
mod tests;
