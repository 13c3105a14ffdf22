#![allow(clippy::unwrap_used)]

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Instant,
};

use super::{Connection, Drove};
use crate::net::test_settings::settings;

#[test]
fn nobody_else_drives_before_whoever_did_has_left() {
    let connection = Connection::new(settings(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))));
    let (wakeup, _waker) = UnixStream::pair().unwrap();
    let others = Cell::new(0);
    let another =
        || connection.drive_until(wakeup.as_fd(), Instant::now(), || true, |_| others.set(others.get() + 1));
    let leave = |_| assert_eq!(another(), Drove::Not);
    assert_eq!(connection.drive_until(wakeup.as_fd(), Instant::now(), || true, leave), Drove::Not);
    assert_eq!(others.get(), 0, "another thread was let in");
    another();
    assert_eq!(others.get(), 1);
}
