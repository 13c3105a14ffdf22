#![allow(clippy::unwrap_used, clippy::panic)]

use std::{net::Ipv4Addr, time::Duration};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::net::{
    testing::Authority,
    tls::{Trust, client_config},
};

trait Server: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Server for T {}

/// Both ends of a connection.
async fn pair(tls: bool, polled: bool) -> (Socket, Box<dyn Server>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    // Less than a test writes, whatever a system lets it grow to.
    client.set_send_buffer_size(256 << 10).unwrap();
    let connecting = client.connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connecting, listener.accept());
    let (client, server) = (client.unwrap(), accepted.unwrap().0);
    if !tls {
        return (Socket::new(Stream::Plain(client), polled).unwrap(), Box::new(server));
    }
    let acceptor = Authority::new().acceptor("localhost", |_| {});
    let connector = TlsConnector::from(client_config(&Trust::Insecure.into()).unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let (client, server) = tokio::join!(connector.connect(name, client), acceptor.accept(server));
    (Socket::new(Stream::Tls(Box::new(client.unwrap())), polled).unwrap(), Box::new(server.unwrap()))
}

/// Reads until the end, at most `piece` bytes at a time, and so many `beyond` them; after each turn nothing is left that
/// nobody would be called for.
async fn read_all(socket: &mut Socket, piece: usize, beyond: usize) -> Vec<u8> {
    let (mut arrived, mut room, mut next) =
        (Vec::new(), Vec::with_capacity(piece), Vec::with_capacity(beyond));
    loop {
        room.clear();
        next.clear();
        let mut place = (&mut room).limit(piece);
        let read = if beyond == 0 {
            socket.read_into(&mut place)
        } else {
            socket.read_beyond(&mut place, &mut (&mut next).limit(beyond))
        };
        match read {
            Ok(0) => return arrived,
            Ok(count) => {
                assert_eq!(count, room.len() + next.len());
                assert!(next.is_empty() || room.len() == piece, "the first room comes first");
                arrived.extend_from_slice(&room);
                arrived.extend_from_slice(&next);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(!socket.has_unread());
                tokio::time::sleep(Duration::from_micros(100)).await;
                socket.may_be_readable();
            }
            // The server is gone without a farewell of TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return arrived,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn whatever_was_sent_comes_once_and_in_order_until_the_end() {
    let sent: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    for (tls, polled) in [(false, true), (false, false), (true, true), (true, false)] {
        for (piece, beyond) in [(5, 0), (4096, 0), (3 * TLS_READ_BYTES, 0), (5, 2), (4096, 100), (100, 4096)]
        {
            let (mut socket, mut server) = pair(tls, polled).await;
            let writing = async {
                server.write_all(&sent).await.unwrap();
                server.shutdown().await.unwrap();
            };
            let ((), arrived) = tokio::join!(writing, read_all(&mut socket, piece, beyond));
            assert!(arrived == sent, "TLS {tls}, polled {polled}, in pieces of {piece} and {beyond}");
        }
    }
}

#[tokio::test]
async fn whatever_was_written_comes_once_and_in_order_however_slowly_it_is_read() {
    let sent: Vec<u8> = (0..12_000_000_u32).map(|number| (number % 251) as u8).collect();
    for (tls, polled) in [(false, true), (false, false), (true, true), (true, false)] {
        let (mut socket, mut server) = pair(tls, polled).await;
        let mut waits = 0;
        let writing = async {
            let mut rest = &sent[..];
            while !rest.is_empty() || socket.wants_write() {
                let outcome = match rest {
                    [] => socket.flush().map(|()| 0),
                    _ => socket.write(rest).inspect(|count| assert!(*count > 0, "nothing, and no error")),
                };
                match outcome {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        waits += 1;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let reading = async {
            let mut arrived = vec![0; sent.len()];
            for piece in arrived.chunks_mut(1 << 20) {
                tokio::time::sleep(Duration::from_millis(3)).await;
                server.read_exact(piece).await.unwrap();
            }
            arrived
        };
        let ((), arrived) = tokio::join!(writing, reading);
        assert!(arrived == sent, "TLS {tls}, polled {polled}");
        assert!(waits > 0, "the system took all at once");
    }
}

#[tokio::test]
async fn a_short_read_says_that_there_is_nothing_more_until_the_socket_may_be_readable_again() {
    let (mut socket, mut server) = pair(false, true).await;
    let mut room = Vec::with_capacity(64);
    for byte in [1, 2] {
        server.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        socket.may_be_readable();
        assert_eq!(socket.read_into(&mut (&mut room).limit(16)).unwrap(), 1);
        assert_eq!(socket.read_into(&mut (&mut room).limit(16)).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(room, [1, 2]);
}

#[tokio::test]
async fn one_read_fills_two_rooms_and_shows_that_there_is_nothing_more() {
    let (mut socket, mut server) = pair(false, true).await;
    server.write_all(&[1, 2, 3, 4, 5]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let (mut room, mut next) = (Vec::with_capacity(3), Vec::with_capacity(16));
    let mut read = || socket.read_beyond(&mut (&mut room).limit(3), &mut (&mut next).limit(16));
    assert_eq!(read().unwrap(), 5);
    assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((room, next), (vec![1, 2, 3], vec![4, 5]));
}

#[tokio::test]
async fn sockets_that_wait_share_one_buffer_for_tls() {
    let mut ends = Vec::new();
    for _ in 0..3 {
        let (mut socket, server) = pair(true, true).await;
        let mut room = Vec::with_capacity(16);
        let read = socket.read_into(&mut (&mut room).limit(16));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(socket.tls.as_ref().unwrap().records.capacity(), 0);
        ends.push((socket, server));
    }
    assert_eq!(RECORDS.with_borrow(Vec::capacity), TLS_READ_BYTES);
}
