//! The certificate of a TLS server: made at its start by an authority made for it alone, and forgotten at its end.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// The file with the authority's certificate, in PEM, for clients to trust; removed on drop.
#[derive(Debug)]
pub(super) struct CaFile {
    path: PathBuf,
    /// Whose it is: a fork of that process leaves it alone.
    process: u32,
}

impl CaFile {
    fn create(pem: &str) -> io::Result<Self> {
        let process = std::process::id();
        let name = format!("fal-realtime-ca-{process}-{:016x}.pem", fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        // Never through a file or link that someone else put there.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let created = Self { path, process };
        file.write_all(pem.as_bytes())?;
        Ok(created)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(&self) {
        if self.process == std::process::id() {
            // Nothing is to be done about a file that someone else removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What accepts TLS connections for `localhost`, the loopback addresses and `host`, and the file to trust it by.
pub(super) fn acceptor(host: IpAddr) -> io::Result<(TlsAcceptor, CaFile)> {
    let (authority, certificate, key) = certify(host).map_err(io::Error::other)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
        })
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), CaFile::create(&authority.pem())?))
}

fn certify(host: IpAddr) -> Result<(rcgen::Certificate, rcgen::Certificate, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "fal-realtime local server's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority = params.self_signed(&authority_key)?;

    let names = ["localhost".into(), "127.0.0.1".into(), "::1".into(), host.to_string()];
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "fal-realtime local server");
    // OpenSSL's strict checks, Python's default since 3.13, want it.
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(params, authority_key))?;
    Ok((authority, certificate, key))
}
