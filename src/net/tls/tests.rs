use std::{io, net::SocketAddr, path::Path};

use rcgen::{CertificateParams, date_time_ymd};
use rustls::AlertDescription;

use super::*;
use crate::net::{
    proxy::ProxyConfig,
    target::Target,
    testing::{Authority, serve, websocket_echo},
    transport::{Stream, TransportConfig},
    upgrade::open_websocket,
};

async fn tls_server(acceptor: tokio_rustls::TlsAcceptor) -> SocketAddr {
    serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                websocket_echo(stream).await;
            }
        }
    })
    .await
}

/// A file that is removed in the end.
struct TempFile(PathBuf);

impl TempFile {
    fn new(content: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("fal-realtime-{}-{}", std::process::id(), fastrand::u64(..)));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn open(address: SocketAddr, host: &str, trust: &Trust) -> Result<Stream> {
    let config = TransportConfig { tls: client_config(&trust.clone().into())?, proxy: ProxyConfig::None };
    let target = Target::parse(&format!("wss://{host}:{}/", address.port())).unwrap();
    open_websocket(&target, &[], &config).await.map(|opened| opened.stream)
}

async fn refusal(host: &str, alter: impl FnOnce(&mut CertificateParams)) -> Error {
    let authority = Authority::new();
    let ca = TempFile::new(&authority.pem());
    let address = tls_server(authority.acceptor("localhost", alter)).await;
    let error = open(address, host, &Trust::Files(vec![ca.0.clone()])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Handshake { status: None });
    error
}

#[tokio::test]
async fn a_named_authority_is_trusted() {
    let authority = Authority::new();
    let ca = TempFile::new(&authority.pem());
    let address = tls_server(authority.acceptor("localhost", |_| {})).await;
    let stream = open(address, "localhost", &Trust::Files(vec![ca.0.clone()])).await.unwrap();
    let Stream::Tls(stream) = stream else { panic!("no TLS") };
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn an_unknown_authority_is_refused_unless_insecure() {
    let address = tls_server(Authority::new().acceptor("localhost", |_| {})).await;
    let error = open(address, "localhost", &Trust::System).await.unwrap_err();
    assert!(error.message.contains("unknown authority"), "{error}");
    assert!(!error.transient);
    open(address, "localhost", &Trust::Insecure).await.unwrap();
}

#[tokio::test]
async fn bad_certificates_are_refused_in_plain_words() {
    let error = refusal("127.0.0.1", |_| {}).await;
    assert!(error.message.contains("for another host"), "{error}");
    let error = refusal("localhost", |params| params.not_after = date_time_ymd(2001, 1, 1)).await;
    assert!(error.message.contains("has expired"), "{error}");
    assert!(!error.transient);
    let error = refusal("localhost", |params| params.not_before = date_time_ymd(4000, 1, 1)).await;
    assert!(error.message.contains("not yet valid"), "{error}");
}

#[tokio::test]
async fn a_refusal_behind_the_handshake_is_named_too() {
    let address = tls_server(Authority::new().mutual_acceptor("localhost")).await;
    let error = open(address, "localhost", &Trust::Insecure).await.unwrap_err();
    assert!(error.message.contains("wants a client certificate"), "{error}");
    assert!(!error.transient);
}

#[tokio::test]
async fn a_server_without_tls_is_named_as_such() {
    let address = serve(|mut stream, _| async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await;
    })
    .await;
    let error = open(address, "localhost", &Trust::Insecure).await.unwrap_err();
    assert!(error.message.contains("does not speak TLS"), "{error}");
    assert!(!error.transient);
}

#[tokio::test]
async fn a_broken_handshake_may_be_tried_again() {
    let address = serve(|stream, _| async move { drop(stream) }).await;
    let error = open(address, "localhost", &Trust::Insecure).await.unwrap_err();
    assert!(error.transient, "{error}");
}

#[test]
fn refusals_of_the_version_are_named() {
    let alert = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
    assert!(
        explain("h", io::Error::new(io::ErrorKind::InvalidData, alert))
            .message
            .contains("refuses TLS 1.2 and 1.3")
    );
}

#[test]
fn bad_ca_files_are_bad_options() {
    let missing = client_config(&Trust::Files(vec![Path::new("/nowhere/ca.pem").into()]).into()).unwrap_err();
    let empty = TempFile::new("no certificate");
    let empty = client_config(&Trust::Files(vec![empty.0.clone()]).into()).unwrap_err();
    assert_eq!((&missing.kind, &empty.kind), (&ErrorKind::InvalidOption, &ErrorKind::InvalidOption));
    assert!(missing.message.contains("/nowhere/ca.pem"), "{missing}");
    assert!(empty.message.contains("holds no certificate"), "{empty}");
}

#[test]
fn the_system_configuration_is_made_once() {
    let config = || client_config(&Trust::System.into()).unwrap();
    assert!(Arc::ptr_eq(&config(), &config()));
}
