use tokio::net::TcpListener;

use super::*;

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
