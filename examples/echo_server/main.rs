//! The echo server that `./bench` measures clients against, made to cost as little as possible.
//!
//! It answers each WebSocket message with the same payload, on `ws://` and `wss://`, one thread by default. A path
//! that contains `/image` is answered with the realistic image result of the protocol page instead. Beside that:
//! `POST` (the token request) answers a token, `GET /stats` says what the server itself has used.
//!
//! Prints one line of JSON with its ports and ends when its standard input does.
//! Options: `--ca FILE` (where to write the CA certificate), `--threads N`.

use std::{
    cell::RefCell,
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Instant,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

mod frames;
use frames::{Echo, Reply};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// One buffer a thread, large enough to take what a socket holds in one system call: no memory a connection.
const READ_CHUNK: usize = 256 * 1024;
/// Answers that the client does not take are kept up to this much; past it the server stops reading.
const MAX_BACKLOG: usize = 256 * 1024 * 1024;
/// Longest request head and body that is accepted.
const MAX_REQUEST: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_CHUNK]);
}

/// What `GET /stats` reports.
struct Stats {
    started: Instant,
    threads: usize,
}

type Accepted = (TcpStream, Option<TlsAcceptor>);

fn main() -> Result<(), AnyError> {
    let threads: usize = option("--threads").map_or(Ok(1), |value| value.parse())?;
    let tls = tls_acceptor(option("--ca").as_deref())?;
    let stats = Arc::new(Stats { started: Instant::now(), threads });

    let mut workers = Vec::new();
    for _ in 0..threads.max(1) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let stats = stats.clone();
        thread::spawn(move || worker(inbox, &stats));
        workers.push(sender);
    }
    let plain = accept_on(None, workers.clone())?;
    let secure = accept_on(Some(tls), workers)?;
    println!(r#"{{"ws": {}, "wss": {}}}"#, plain.port(), secure.port());

    // The parent holds our standard input open for as long as it wants us.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn option(name: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != name).nth(1)
}

/// A server side TLS configuration with a certificate of a CA made for this run, which is written to `ca_file`.
fn tls_acceptor(ca_file: Option<&str>) -> Result<TlsAcceptor, AnyError> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "fal-realtime bench CA");
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut leaf = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    if let Some(path) = ca_file {
        fs::write(path, ca_certificate.pem())?;
    }
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    // Every client gets the same cipher (AES-256-GCM), whatever it would prefer: TLS libraries differ in that.
    config.ignore_client_order = true;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts on a thread of its own and deals the connections out to the workers.
fn accept_on(
    tls: Option<TlsAcceptor>,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
) -> io::Result<SocketAddr> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(16 * 1024)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for worker in workers.iter().cycle() {
            match listener.accept() {
                Ok((stream, _)) => drop(worker.send((stream, tls.clone()))),
                Err(error) => eprintln!("echo_server: accept: {error}"),
            }
        }
    });
    Ok(address)
}

fn worker(mut inbox: mpsc::UnboundedReceiver<Accepted>, stats: &Arc<Stats>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        while let Some((stream, tls)) = inbox.recv().await {
            let stats = stats.clone();
            tokio::spawn(async move {
                // A client that goes away in the middle is no news here.
                let _ = serve(stream, tls, &stats).await;
            });
        }
    });
    Ok(())
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, stats: &Stats) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    match tls {
        None => answer(stream, stats).await,
        Some(tls) => answer(tls.accept(stream).await?, stats).await,
    }
}

/// HTTP until one request asks for an upgrade.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, stats: &Stats) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        let Some(head) = read_until(&mut stream, &mut input, head_length).await? else { return Ok(()) };
        let text = String::from_utf8_lossy(&input[..head]).into_owned();
        let length = header(&text, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let request = head + length;
        if read_until(&mut stream, &mut input, |input| (input.len() >= request).then_some(()))
            .await?
            .is_none()
        {
            return Ok(());
        }
        input.drain(..request);
        if let Some(key) = header(&text, "sec-websocket-key") {
            let accept = derive_accept_key(key.as_bytes());
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(response.as_bytes()).await?;
            stream.flush().await?;
            let path = text.split_whitespace().nth(1).unwrap_or_default();
            let reply = if path.contains("/image") { Reply::Image } else { Reply::Same };
            return echo(stream, &input, reply).await;
        }
        let body = if text.starts_with("POST") { r#""bench-token""#.to_owned() } else { stats_json(stats) };
        let length = body.len();
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(response.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// Reads until `found` answers; `None` when the client left first.
async fn read_until<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    input: &mut Vec<u8>,
    found: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    loop {
        if let Some(result) = found(input) {
            return Ok(Some(result));
        }
        if input.len() > MAX_REQUEST || stream.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
}

fn head_length(input: &[u8]) -> Option<usize> {
    memchr::memmem::find(input, b"\r\n\r\n").map(|at| at + 4)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Both directions in one poll: what is there is read before anything is written, so that answers leave in few
/// system calls, and a client that sends without reading is never blocked by us.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    early: &[u8],
    reply: Reply,
) -> io::Result<()> {
    let mut echo = Echo::new(reply);
    echo.feed(early)?;
    std::future::poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| frames::poll(&mut stream, &mut echo, scratch, cx))
    })
    .await?;
    stream.shutdown().await
}

fn stats_json(stats: &Stats) -> String {
    let wall = stats.started.elapsed().as_secs_f64();
    format!(r#"{{"wall": {wall:.6}, "cpu": {:.6}, "threads": {}}}"#, cpu_seconds(), stats.threads)
}

/// CPU time of this process, user and system.
fn cpu_seconds() -> f64 {
    // SAFETY: an all-zero `rusage` is a valid value, and `getrusage` only writes into the one that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
