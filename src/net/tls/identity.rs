//! The client's identity: its certificate and its key.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
    pem::{Error as PemError, PemObject},
};

use super::{invalid, malformed::pem_reason};
use crate::{
    core::token::Secret,
    error::{Error, Result},
};

/// The files of a client's certificate and its key, in PEM form.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those of the authorities between it and what the server knows.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The password that the key is encrypted with.
    pub password: Option<Secret>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate").field(&self.certificate).finish()
    }
}

/// The identity that a server is shown.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn read(from: &ClientCertificate) -> Result<Self> {
        let unreadable = |error: PemError| malformed(&from.certificate, "cannot be read", &error);
        let chain = CertificateDer::pem_file_iter(&from.certificate)
            .map_err(unreadable)?
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        if chain.is_empty() {
            let message =
                format!("client_cert: {} holds no certificate in PEM form", from.certificate.display());
            return Err(invalid(message));
        }
        Ok(Self { chain, key: read_key(&from.key, from.password.as_ref())? })
    }
}

fn read_key(path: &Path, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>> {
    let text = std::fs::read_to_string(path).map_err(|error| bad(path, "cannot be read", error))?;
    if let Some(start) = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return decrypt(path, text.get(start..).unwrap_or_default(), password);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        let message = format!(
            "client_cert: the key in {} is encrypted in OpenSSL's old way; `openssl pkcs8 -topk8` makes it a PKCS #8 key",
            path.display()
        );
        return Err(invalid(message));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound => {
            invalid(format!("client_cert: {} holds no private key in PEM form", path.display()))
        }
        error => malformed(path, "holds no good private key", &error),
    })
}

/// A PKCS #8 key that a password protects; `pem` begins with it.
fn decrypt(path: &Path, pem: &str, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let Some(password) = password else {
        let message =
            format!("client_cert: the key in {} is encrypted, and no password was given", path.display());
        return Err(invalid(message));
    };
    let pem = pem.find(END).and_then(|end| pem.get(..end + END.len())).unwrap_or(pem);
    let (_, encrypted) =
        SecretDocument::from_pem(pem).map_err(|error| bad(path, "holds no good private key", error))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(encrypted.as_bytes())
        .map_err(|error| bad(path, "holds no good private key", error))?;
    let key = encrypted
        .decrypt(password.expose())
        .map_err(|error| bad(path, "holds a private key that this password does not decrypt", error))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn malformed(path: &Path, what: &str, error: &PemError) -> Error {
    invalid(format!("client_cert: {} {what}: {}", path.display(), pem_reason(error)))
}

fn bad(path: &Path, what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    invalid(format!("client_cert: {} {what}: {error}", path.display())).with_source(error)
}
