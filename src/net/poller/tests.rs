#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use super::*;
use crate::net::{
    driven::{Held, Side},
    io_thread,
};

/// Longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link that reads what there is, and says who did.
struct Reader {
    socket: TcpStream,
    tell: mpsc::Sender<(Side, Vec<u8>)>,
}

impl Driven for Reader {
    fn on_readable(&self, side: Side) {
        let mut bytes = vec![0; 1024];
        if let Ok(count) = (&self.socket).read(&mut bytes) {
            bytes.truncate(count);
            let _ = self.tell.send((side, bytes));
        }
    }

    fn on_writable(&self) {}

    fn on_unwritten(&self) {}

    fn reads_much(&self) -> bool {
        false
    }

    fn on_held(&self) -> Held {
        Held::No
    }
}

struct Setup {
    poller: Arc<Poller>,
    reader: Arc<Reader>,
    registration: Registration,
    server: TcpStream,
    told: mpsc::Receiver<(Side, Vec<u8>)>,
    /// What the loop is called by for other reasons.
    _wake_fd: TcpStream,
}

/// A poller with one link; a loop's, if it is not the I/O thread's.
fn setup(of_a_loop: bool) -> Setup {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (wake_fd, io) =
        (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), io_thread::io().unwrap());
    let _ = listener.accept().unwrap();
    let poller = if of_a_loop {
        Poller::for_loop(wake_fd.as_fd()).unwrap().unwrap()
    } else {
        Poller::for_io_thread(io.clone()).unwrap()
    };
    poller.io(|| Ok(io)).unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (server, (tell, told)) = (listener.accept().unwrap().0, mpsc::channel());
    let reader = Arc::new(Reader { socket, tell });
    let mut registration = poller.register(reader.clone());
    registration.watch(&reader.socket, true, false).unwrap();
    Setup { poller, reader, registration, server, told, _wake_fd: wake_fd }
}

#[test]
fn a_loop_that_comes_reads_itself() {
    let mut it = setup(true);
    for number in 0..20 {
        it.server.write_all(&[number]).unwrap();
        while !it.poller.sockets.is_ready() {
            std::thread::yield_now();
        }
        it.poller.poll().iter().for_each(|link| link.on_readable(Side::Caller));
        assert_eq!(it.told.recv_timeout(PATIENCE).unwrap(), (Side::Caller, vec![number]));
    }
    assert_eq!(it.poller.driven_by(), DrivenBy::Loop);
}

#[test]
fn the_io_thread_reads_for_a_loop_that_does_not_come_until_it_comes() {
    let mut it = setup(true);
    for number in 0..3 {
        it.server.write_all(&[number]).unwrap();
        assert_eq!(it.told.recv_timeout(PATIENCE).unwrap(), (Side::IoThread, vec![number]));
    }
    assert_eq!(it.poller.driven_by(), DrivenBy::IoThread);
    assert!(it.poller.poll().len() <= 1, "the only link need not be asked whether it is ready");
    assert_eq!(it.poller.driven_by(), DrivenBy::Loop);
    // And again, once it stays away.
    it.server.write_all(&[9]).unwrap();
    assert_eq!(it.told.recv_timeout(PATIENCE).unwrap(), (Side::IoThread, vec![9]));
}

#[test]
fn without_a_loop_the_io_thread_reads() {
    let mut it = setup(false);
    it.server.write_all(b"x").unwrap();
    assert_eq!(it.told.recv_timeout(PATIENCE).unwrap(), (Side::IoThread, b"x".to_vec()));
}

#[test]
fn a_link_that_is_not_to_be_read_makes_nothing_ready_even_when_its_peer_is_gone() {
    let mut it = setup(true);
    it.registration.watch(&it.reader.socket, false, false).unwrap();
    it.server.write_all(b"x").unwrap();
    drop(it.server);
    std::thread::sleep(Duration::from_millis(20));
    assert!(!it.poller.sockets.is_ready());
    assert!(it.poller.poll().is_empty());
    it.registration.watch(&it.reader.socket, true, false).unwrap();
    assert!(it.poller.sockets.is_ready(), "what came meanwhile is still there");
}

#[test]
fn a_link_that_is_over_is_known_no_more() {
    let it = setup(true);
    it.registration.end(&it.reader.socket);
    assert!(it.poller.links.lock().is_empty());
    assert!(it.poller.poll().is_empty());
    assert_eq!(Arc::strong_count(&it.reader), 1);
}
