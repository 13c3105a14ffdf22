//! The options of TLS, as the facade gives them.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::{
    core::token::Secret,
    net::tls::{ClientCertificate, TlsOptions, Trust},
};

/// The options of TLS, as the facade gives them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct TlsArguments {
    insecure: bool,
    check_hostname: bool,
    /// PEM files and directories; `None`: the system's.
    ca: Option<Vec<PathBuf>>,
    /// Certificates in DER form, in their place.
    ca_der: Option<Vec<Vec<u8>>>,
    extra_ca: Vec<PathBuf>,
    client_cert: Option<(PathBuf, PathBuf, Option<String>)>,
}

impl From<TlsArguments> for TlsOptions {
    fn from(arguments: TlsArguments) -> Self {
        let trust = match arguments {
            TlsArguments { insecure: true, .. } => Trust::Insecure,
            TlsArguments { ca_der: Some(certificates), .. } => Trust::Certificates(certificates),
            TlsArguments { ca: Some(paths), .. } => Trust::Files(paths),
            _ => Trust::System,
        };
        let client_certificate = arguments.client_cert.map(|(certificate, key, password)| {
            ClientCertificate { certificate, key, password: password.map(Secret::from) }
        });
        Self {
            trust,
            extra: arguments.extra_ca,
            check_hostname: arguments.check_hostname,
            client_certificate,
        }
    }
}
