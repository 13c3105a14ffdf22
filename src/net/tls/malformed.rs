//! What is wrong with a file of certificates or of a key, in words. They repeat nothing of the file: the libraries' own
//! words hold the line that they do not understand, which is the whole key where its line breaks were lost.

use rustls::CertificateError;
use rustls_pki_types::pem::Error as PemError;

/// The words for text that is not PEM.
pub(super) fn pem_reason(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } | PemError::IllegalSectionStart { .. } => {
            "`-----BEGIN …-----` and `-----END …-----` are not both there, each as a line of its own (the file is cut \
             short, or its line breaks were lost)"
                .into()
        }
        PemError::Base64Decode(_) => "what stands between BEGIN and END is not Base64".into(),
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "there is none in it".into(),
        PemError::SectionTooLarge => "it is too large".into(),
        _ => "it is not in PEM form".into(),
    }
}

/// The words for a certificate of the caller's that cannot be used.
pub(super) fn certificate_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "what the PEM form holds is no X.509 certificate".into()
        }
        other => other.to_string(),
    }
}
