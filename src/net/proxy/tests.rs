use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};

use super::*;
use crate::net::{
    testing::{direct, header, read_request, serve, target, websocket_echo},
    transport::TransportConfig,
    upgrade::open_websocket,
};

fn environment(variables: &[(&str, &str)]) -> ProxyConfig {
    let variables: HashMap<_, _> =
        variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    ProxyConfig::from_variables(|name| variables.get(name).cloned())
}

fn chosen(config: &ProxyConfig, url: &str) -> Option<String> {
    let proxy = config.on_the_way_to(&Target::parse(url).unwrap()).unwrap()?;
    Some(format!("{}:{}", proxy.host, proxy.port))
}

#[test]
fn proxy_addresses_are_parsed() {
    let proxy = Proxy::parse("http://us%40er:p%3Ass@proxy.example:3128/").unwrap();
    assert_eq!((proxy.scheme, proxy.host.as_str(), proxy.port), (ProxyScheme::Http, "proxy.example", 3128));
    assert_eq!(proxy.login, Some(("us@er".into(), "p:ss".into())));
    assert_eq!(format!("{proxy:?}"), "Http proxy proxy.example:3128 with a login");
    let proxy = Proxy::parse("SOCKS5://[::1]").unwrap();
    assert_eq!((proxy.scheme, proxy.host.as_str(), proxy.port), (ProxyScheme::Socks5, "::1", 1080));
    assert_eq!(Proxy::parse("proxy:8080").unwrap().port, 8080);
    for bad in [
        "https://p:1",
        "ftp://p",
        "http://",
        "http://p:x",
        "http://p:99999",
        "http://[::1",
        "http://%zz@p",
        "http://a b",
        "http://host:3128:user:secret",
        "http://[host:user:secret]",
        "socks5://user:sec/ret@host",
        "http://secret#:x@host",
        "http://sec?ret:x@host:3128",
    ] {
        let error = Proxy::parse(bad).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption, "{bad}");
        assert!(!error.message.contains("secret") && !error.message.contains("user:sec"), "{bad}: {error}");
    }
    for (v6, port) in [("::1", 80), ("[::1]:81", 81), ("[fe80::1%eth0]", 80), ("fe80::1%eth0", 80)] {
        assert_eq!(Proxy::parse(v6).unwrap().port, port, "{v6}");
    }
}

#[test]
fn the_environment_is_read_as_other_tools_read_it() {
    let config = environment(&[
        ("HTTPS_PROXY", "http://tls:1"),
        ("http_proxy", "http://plain:2"),
        ("HTTP_PROXY", "http://no:3"),
    ]);
    assert_eq!(chosen(&config, "wss://fal.run/").as_deref(), Some("tls:1"));
    assert_eq!(chosen(&config, "https://fal.run/").as_deref(), Some("tls:1"));
    assert_eq!(chosen(&config, "http://fal.run/").as_deref(), Some("plain:2"));
    let config = environment(&[("ALL_PROXY", "socks5h://all:4"), ("https_proxy", " ")]);
    assert_eq!(chosen(&config, "wss://fal.run/").as_deref(), Some("all:4"));
    let config = environment(&[("HTTP_PROXY", "http://evil:5"), ("REQUEST_METHOD", "GET")]);
    assert_eq!(chosen(&config, "ws://fal.run/"), None);
    assert_eq!(chosen(&config, "http://fal.run/"), None);
    assert_eq!(chosen(&environment(&[]), "wss://fal.run/"), None);
}

#[test]
fn a_websocket_has_variables_of_its_own() {
    let mut variables = vec![
        ("WSS_PROXY", "http://wss:1"),
        ("WS_PROXY", "http://ws:2"),
        ("SOCKS_PROXY", "socks5://socks:3"),
        ("HTTPS_PROXY", "http://https:4"),
        ("HTTP_PROXY", "http://http:5"),
        ("ALL_PROXY", "http://all:6"),
    ];
    // What an address goes through, as one variable after the other is taken away.
    let orders = [
        ("wss://fal.run/", vec!["wss:1", "socks:3", "socks:3", "https:4", "all:6", "all:6"]),
        ("ws://fal.run/", vec!["ws:2", "ws:2", "socks:3", "https:4", "http:5", "all:6"]),
        ("https://fal.run/", vec!["https:4", "https:4", "https:4", "https:4", "all:6", "all:6"]),
        ("http://fal.run/", vec!["http:5", "http:5", "http:5", "http:5", "http:5", "all:6"]),
    ];
    for step in 0..6 {
        let config = environment(&variables);
        for (url, order) in &orders {
            assert_eq!(chosen(&config, url).as_deref(), Some(order[step]), "{url} without {step} variables");
        }
        variables.remove(0);
    }
}

#[test]
fn socks_proxy_names_a_socks_proxy_whatever_its_scheme() {
    for (value, scheme, address) in [
        ("http://socks:1080", ProxyScheme::Socks5h, "socks:1080"),
        ("socks", ProxyScheme::Socks5h, "socks:1080"),
        ("me:pass@socks:7", ProxyScheme::Socks5h, "socks:7"),
        ("socks5://socks", ProxyScheme::Socks5, "socks:1080"),
    ] {
        let config = environment(&[("socks_proxy", value)]);
        let proxy = config.on_the_way_to(&Target::parse("wss://fal.run/").unwrap()).unwrap().unwrap();
        assert_eq!(
            (proxy.scheme, format!("{}:{}", proxy.host, proxy.port).as_str()),
            (scheme, address),
            "{value}"
        );
    }
    let config = environment(&[("SOCKS_PROXY", "socks4://secret@x")]);
    let error = config.on_the_way_to(&Target::parse("wss://fal.run/").unwrap()).unwrap_err();
    assert!(error.message.starts_with("SOCKS_PROXY: ") && !error.message.contains("secret"), "{error}");
}

#[test]
fn a_bad_variable_fails_only_who_would_use_it() {
    let config = environment(&[("HTTPS_PROXY", "ftp://secret@x")]);
    assert_eq!(chosen(&config, "http://fal.run/"), None);
    let error = config.on_the_way_to(&Target::parse("wss://fal.run/").unwrap()).unwrap_err();
    assert!(error.message.starts_with("HTTPS_PROXY: ") && !error.message.contains("secret"), "{error}");
}

#[test]
fn no_proxy_names_hosts_suffixes_ports_and_networks() {
    for (list, url, excepted) in [
        ("*", "wss://fal.run/", true),
        ("fal.run", "wss://fal.run/", true),
        ("FAL.run", "wss://rest.Fal.Run/", true),
        (".fal.run", "wss://fal.run/", true),
        ("*.fal.run", "wss://a.fal.run/", true),
        ("fal.run", "wss://notfal.run/", false),
        ("x, fal.run:444", "wss://fal.run:444/", true),
        ("fal.run:444", "wss://fal.run/", false),
        ("127.0.0.1", "wss://127.0.0.1/", true),
        ("127.0.0.0/8", "wss://127.9.9.9/", true),
        ("127.0.0.0/8", "wss://128.0.0.1/", false),
        ("0.0.0.0/0", "wss://1.2.3.4/", true),
        ("0.0.0.0/0", "wss://[2001::1]/", false),
        ("fd00::/8", "wss://[fd12::1]/", true),
        ("::/0", "wss://[fd12::1]/", true),
        ("[::1]:443", "wss://[::1]/", true),
        ("10.0.0.0/33", "wss://10.0.0.0/", false),
        ("", "wss://fal.run/", false),
    ] {
        let config = environment(&[("https_proxy", "http://p:1"), ("no_proxy", list)]);
        assert_eq!(chosen(&config, url).is_none(), excepted, "{list} {url}");
    }
}

async fn echoes(target: &Target, proxy: &str) -> Result<()> {
    let config = TransportConfig { proxy: ProxyConfig::explicit(proxy)?, ..direct() };
    let mut stream = open_websocket(target, &[], &config).await?.stream;
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    Ok(())
}

#[tokio::test]
async fn http_connect_tunnels_with_a_login() {
    let server = serve(|stream, _| websocket_echo(stream)).await;
    let proxy = serve(|mut stream, _| async move {
        let (head, _) = read_request(&mut stream).await;
        let wanted = format!("Basic {}", STANDARD.encode("me:pass"));
        if header(&head, "proxy-authorization") != Some(wanted) {
            stream.write_all(b"HTTP/1.1 407 X\r\n\r\n").await.unwrap();
            return;
        }
        let to = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    })
    .await;
    echoes(&target(server), &format!("http://me:pass@{proxy}")).await.unwrap();
    let error = echoes(&target(server), &format!("http://me:wrong-pass@{proxy}")).await.unwrap_err();
    assert!(error.message.contains("407") && !error.message.contains("wrong-pass"), "{error}");
    assert!(!error.transient);
    assert_eq!(error.kind, ErrorKind::Handshake { status: None });
}

#[tokio::test]
async fn refused_tunnels_are_reported() {
    for (answer, passes, words) in [
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", true, "status 502"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", false, "status 403"),
        ("HTTP/1.1 200 OK\r\n\r\nearly", false, "before the tunnel was used"),
        ("", true, "without an answer"),
        ("nonsense\r\n", false, "not HTTP"),
    ] {
        let proxy = serve(move |mut stream, _| async move {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let error = echoes(&target(proxy), &format!("http://{proxy}")).await.unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert_eq!(error.transient, passes, "{error}");
    }
}

/// A SOCKS5 proxy (RFC 1928 and 1929) that wants the login `me:pass` and goes to `server` whatever it is
/// asked; it reports the kind of address that it was asked for.
async fn socks_proxy(
    server: std::net::SocketAddr,
    kinds: tokio::sync::mpsc::Sender<u8>,
) -> std::net::SocketAddr {
    serve(move |mut stream, _| {
        let kinds = kinds.clone();
        async move {
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0; usize::from(greeting[1])];
            stream.read_exact(&mut methods).await.unwrap();
            if !methods.contains(&2) {
                stream.write_all(&[5, 0xFF]).await.unwrap();
                return;
            }
            stream.write_all(&[5, 2]).await.unwrap();
            let mut login = [0; 9];
            stream.read_exact(&mut login).await.unwrap();
            let right = &login == b"\x01\x02me\x04pass";
            stream.write_all(&[1, u8::from(!right)]).await.unwrap();
            if !right {
                return;
            }
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            let length = if request[3] == 3 { usize::from(stream.read_u8().await.unwrap()) } else { 4 };
            stream.read_exact(&mut vec![0; length + 2]).await.unwrap();
            kinds.send(request[3]).await.unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut server).await;
        }
    })
    .await
}

#[tokio::test]
async fn socks_tunnels_and_resolves_where_it_should() {
    let (kinds, mut seen) = tokio::sync::mpsc::channel(4);
    let server = serve(|stream, _| websocket_echo(stream)).await;
    let proxy = socks_proxy(server, kinds).await;
    let named = Target::parse(&format!("ws://nowhere.invalid:{}/", server.port())).unwrap();
    echoes(&named, &format!("socks5h://me:pass@{proxy}")).await.unwrap();
    assert_eq!(seen.recv().await, Some(3), "a name");
    echoes(&target(server), &format!("socks5://me:pass@{proxy}")).await.unwrap();
    assert_eq!(seen.recv().await, Some(1), "an IPv4 address");
    for login in ["", "me:no-p@"] {
        let error = echoes(&target(server), &format!("socks5://{login}{proxy}")).await.unwrap_err();
        assert!(!error.transient, "{error}");
    }
}
