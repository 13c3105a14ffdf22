use tokio::net::TcpListener;

use super::*;
use crate::net::testing::direct;

fn fields(url: &str) -> (bool, String, u16, String, String) {
    let target = Target::parse(url).unwrap();
    (target.tls, target.host, target.port, target.authority, target.path_and_query)
}

fn of(tls: bool, host: &str, port: u16, authority: &str, path: &str) -> (bool, String, u16, String, String) {
    (tls, host.into(), port, authority.into(), path.into())
}

#[test]
fn addresses_are_parsed() {
    assert_eq!(fields("wss://fal.run/a/b?c=d"), of(true, "fal.run", 443, "fal.run", "/a/b?c=d"));
    assert_eq!(fields("https://fal.run:8443"), of(true, "fal.run", 8443, "fal.run:8443", "/"));
    assert_eq!(fields("ws://127.0.0.1:80/x"), of(false, "127.0.0.1", 80, "127.0.0.1", "/x"));
    assert_eq!(fields("http://[::1]:81?q"), of(false, "::1", 81, "[::1]:81", "/?q"));
    assert_eq!(fields("ws://[::1]/"), of(false, "::1", 80, "[::1]", "/"));
}

#[test]
fn bad_addresses_are_bad_options() {
    for bad in [
        "",
        "fal.run",
        "/path",
        "ftp://fal.run/",
        "wss://",
        "wss:///x",
        "wss://me:pw@fal.run/",
        "wss://h:/",
        "wss://h:99999/",
        "wss://h/a b",
        "wss://h/\r\nX: y",
        "wss://[::1/",
    ] {
        let error = Target::parse(bad).map(|target| format!("{target:?}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption, "{bad}");
        assert!(!error.message.contains("pw"), "{error}");
    }
}

#[test]
fn an_opening_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let target = Target::parse("wss://fal.run/").unwrap();
    is_send(&open_websocket(&target, &[], &direct()));
}

#[test]
fn the_query_is_not_shown() {
    let target = Target::parse("wss://fal.run/app?fal_jwt_token=secret").unwrap();
    assert_eq!(format!("{target:?}"), "tls://fal.run/app");
}

#[test]
fn addresses_alternate_between_the_families() {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let v6 = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
    let v4 = ["1.1.1.1:1", "2.2.2.2:1"].map(address);
    assert_eq!(interleave([&v6[..], &v4].concat()), [v6[0], v4[0], v6[1], v4[1], v6[2]]);
    assert_eq!(interleave(vec![v4[0], v4[1], v6[0]]), [v4[0], v6[0], v4[1]]);
    assert_eq!(interleave(vec![]), []);
}

#[tokio::test]
async fn a_refusing_address_is_passed_over() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = open.local_addr().unwrap();
    assert_eq!(connect_any(vec![closed, address]).await.unwrap().peer_addr().unwrap(), address);
    assert_eq!(connect_any(vec![closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(connect_any(vec![]).await.is_err());
}

#[tokio::test]
async fn a_refused_connection_is_transient_and_names_the_place() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::parse(&format!("ws://{closed}/?fal_jwt_token=secret")).unwrap();
    let error = connect(&target, &direct()).await.unwrap_err();
    assert!(error.transient);
    assert_eq!(error.kind, ErrorKind::Handshake { status: None });
    assert!(error.message.contains(&format!("127.0.0.1 port {}", closed.port())), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn sockets_send_at_once_and_stay_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = connect_tcp("localhost", listener.local_addr().unwrap().port()).await.unwrap();
    assert!(tcp.nodelay().unwrap());
    assert!(socket2::SockRef::from(&tcp).keepalive().unwrap());
}

#[test]
fn only_names_that_do_not_exist_are_hopeless() {
    assert!(!is_no_such_name("failed to lookup address information: Temporary failure in name resolution"));
    let hopeless = is_no_such_name("failed to lookup address information: Name or service not known");
    assert_eq!(hopeless, cfg!(target_os = "linux"));
}
