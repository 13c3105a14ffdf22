//! The certificates that are trusted: where they come from.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::{
    CertificateDer,
    pem::{Error as PemError, PemObject},
};

use super::{
    Trust, invalid,
    malformed::{certificate_reason, pem_reason},
};
use crate::error::Result;

/// The roots that are trusted.
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The certificates that the caller named: a server may show one of these very ones.
    pub(super) named: Vec<CertificateDer<'static>>,
    /// The machine has no authorities; those that are built in stand in for them.
    pub(super) are_built_in: bool,
}

impl Roots {
    /// The authorities that `trust` and `extra` name; `None` where nothing is checked.
    pub(super) fn new(trust: &Trust, extra: &[PathBuf]) -> Result<Option<Self>> {
        let mut roots = Self { store: RootCertStore::empty(), named: Vec::new(), are_built_in: false };
        match trust {
            Trust::Insecure => return Ok(None),
            Trust::System => roots.add_system(),
            Trust::Files(paths) => paths.iter().try_for_each(|path| roots.add_path("ssl", path))?,
            Trust::Certificates(certificates) => {
                for certificate in certificates {
                    roots.add(certificate.clone().into()).map_err(|error| {
                        let why = certificate_reason(&error);
                        invalid(format!("ssl: a certificate of the SSLContext cannot be used: {why}"))
                            .with_source(error)
                    })?;
                }
            }
        }
        extra.iter().try_for_each(|path| roots.add_path("extra_ca", path))?;
        Ok(Some(roots))
    }

    fn add_system(&mut self) {
        // Errors of single files are of no use to the caller: what counts is whether anything was found.
        self.store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if self.store.is_empty() {
            self.are_built_in = true;
            self.store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> std::result::Result<(), rustls::Error> {
        self.store.add(certificate.clone())?;
        self.named.push(certificate);
        Ok(())
    }

    /// A file, or all files of a directory that hold certificates; others in it are nobody's mistake.
    fn add_path(&mut self, option: &str, path: &Path) -> Result<()> {
        let unreadable = |error: std::io::Error| {
            invalid(format!("{option}: {} cannot be read: {error}", path.display())).with_source(error)
        };
        if !path.is_dir() {
            let pem = std::fs::read(path).map_err(unreadable)?;
            return self.add_pem(option, path, &pem);
        }
        let before = self.named.len();
        for entry in path.read_dir().map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if let Ok(pem) = std::fs::read(&file) {
                let _ = self.add_pem(option, &file, &pem);
            }
        }
        if self.named.len() == before {
            let message = format!("{option}: no file in {} holds a certificate in PEM form", path.display());
            return Err(invalid(message));
        }
        Ok(())
    }

    fn add_pem(&mut self, option: &str, path: &Path, pem: &[u8]) -> Result<()> {
        let bad = |what: &str, why: String| invalid(format!("{option}: {} {what}: {why}", path.display()));
        let before = self.named.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error: PemError| bad("is no good PEM file", pem_reason(&error)))?;
            self.add(certificate).map_err(|error| {
                bad("holds a bad certificate", certificate_reason(&error)).with_source(error)
            })?;
        }
        if self.named.len() == before {
            let message = format!("{option}: {} holds no certificate in PEM form", path.display());
            return Err(invalid(message));
        }
        Ok(())
    }
}
