#!/usr/bin/env bash
# A rustls session that holds 64 KiB which are not sent yet takes nothing of the next write, and says Ok(0): `write_all`
# reports a failure on a connection that has none.
#
# Guess: the writer behaves as a non-blocking socket, whose buffer is full too, and says WouldBlock; or takes all it is given.
# Behaviour: `Writer::write` takes what its buffer has room for (64 KiB), then Ok(0), which std's
#   `write_all` and `copy` turn into WriteZero, "failed to write whole buffer". After `write_tls` there is room again.
# Versions: rustls 0.23.46 with ring, rcgen 0.14.10 (crates.io); seen with rustc 1.95.0.
# For users: who drives a session by hand writes what it holds to the socket before each write, or stops at Ok(0) and does
#   not take it for an error: it shows only where a peer reads slowly and a message is large.
#
# Output seen:
#   written at once: 65536 bytes, then 0
#   write_all of as much again: failed to write whole buffer
#   after write_tls: 65536 bytes
set -euo pipefail
command -v cargo > /dev/null || { echo "needs cargo and rustc" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo new --quiet --vcs none "$work/full"
cd "$work/full"
cargo add --quiet rustls@=0.23.46 --no-default-features --features ring,std
cargo add --quiet rcgen@=0.14.10 --no-default-features --features crypto,pem,ring
cat > src/main.rs <<'RUST'
use std::{io::Write, sync::Arc};

use rustls::{pki_types::PrivateKeyDer, ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// A session whose handshake is over, and its peer.
fn session() -> (ClientConnection, ServerConnection) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key);
    let mut server = ServerConnection::new(Arc::new(server.unwrap())).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        pass(&mut client, &mut server);
        pass(&mut server, &mut client);
    }
    (client, server)
}

/// What one has to send reaches the other.
fn pass<A, B, C, D>(from: &mut A, to: &mut C)
where
    A: std::ops::DerefMut<Target = rustls::ConnectionCommon<B>>,
    C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>,
    B: rustls::SideData,
    D: rustls::SideData,
{
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets().unwrap();
    }
}

fn main() {
    let (mut client, _server) = session();
    let message = vec![7; 1 << 20];
    let first = client.writer().write(&message).unwrap();
    let second = client.writer().write(&message).unwrap();
    println!("written at once: {first} bytes, then {second}");
    println!("write_all of as much again: {}", client.writer().write_all(&message[..first]).unwrap_err());
    while client.wants_write() {
        client.write_tls(&mut std::io::sink()).unwrap();
    }
    println!("after write_tls: {} bytes", client.writer().write(&message).unwrap());
}
RUST
cargo run --quiet > seen 2> log || { cat log >&2; exit 1; }
cat seen
expected='written at once: 65536 bytes, then 0
write_all of as much again: failed to write whole buffer
after write_tls: 65536 bytes'
[ "$(cat seen)" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
