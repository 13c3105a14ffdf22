//! The limit: what a `tokio-tungstenite` client reaches without Python and without a codec.
//!
//! Sends one ready-made payload and counts what comes back, for `./bench`. Prints one line of JSON.
//! Options: `--address HOST:PORT`, `--ca FILE` (then over TLS), `--path PATH`, `--payload FILE`, `--window N` (in
//! flight on each connection; with one on one connection the latencies are measured), `--connections N`,
//! `--warmup SECONDS`, `--seconds SECONDS`.

use std::{
    cell::RefCell,
    env,
    fmt::Write as _,
    fs,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::LocalSet,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

type AnyError = Box<dyn std::error::Error>;

/// What the connections have measured so far, together.
#[derive(Default)]
struct Meter {
    messages: u64,
    latencies: Option<Vec<Duration>>,
}

fn main() -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run())
}

fn option(name: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, default: f64) -> Result<f64, AnyError> {
    Ok(option(name).map_or(Ok(default), |value| value.parse())?)
}

async fn run() -> Result<(), AnyError> {
    let address = option("--address").ok_or("--address is missing")?;
    let path = option("--path").unwrap_or_else(|| "/".into());
    let payload = Bytes::from(fs::read(option("--payload").ok_or("--payload is missing")?)?);
    let window = number("--window", 1.0)? as usize;
    let connections = number("--connections", 1.0)? as usize;
    let warmup = Duration::from_secs_f64(number("--warmup", 0.2)?);
    let seconds = Duration::from_secs_f64(number("--seconds", 1.0)?);
    let tls = option("--ca").map(|ca| connector(&ca)).transpose()?;

    let meter = Rc::new(RefCell::new(Meter::default()));
    for _ in 0..connections {
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let (payload, meter) = (payload.clone(), meter.clone());
        if let Some(tls) = &tls {
            let stream = tls.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
            let (socket, _) = client_async(format!("wss://{address}{path}"), stream).await?;
            tokio::task::spawn_local(ping_pong(socket, payload, window, meter));
        } else {
            let (socket, _) = client_async(format!("ws://{address}{path}"), stream).await?;
            tokio::task::spawn_local(ping_pong(socket, payload, window, meter));
        }
    }

    tokio::time::sleep(warmup).await;
    {
        let mut meter = meter.borrow_mut();
        meter.messages = 0;
        meter.latencies = (window * connections == 1).then(Vec::new);
    }
    let (started, cpu) = (Instant::now(), cpu_seconds());
    tokio::time::sleep(seconds).await;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);

    let mut meter = meter.borrow_mut();
    let messages = meter.messages.max(1) as f64;
    let mut report = format!(
        r#"{{"rate": {:.3}, "messages": {}, "cpu_us": {:.4}, "wall": {wall:.6}"#,
        messages / wall,
        meter.messages,
        cpu / messages * 1e6
    );
    if let Some(latencies) = &mut meter.latencies {
        latencies.sort_unstable();
        for (name, share) in [("p50_us", 0.50), ("p99_us", 0.99)] {
            let index = (latencies.len().saturating_sub(1) as f64 * share) as usize;
            let value = latencies.get(index).ok_or("nothing came back")?.as_secs_f64() * 1e6;
            write!(report, r#", "{name}": {value:.3}"#)?;
        }
    }
    println!("{report}}}");
    Ok(())
}

fn connector(ca: &str) -> Result<tokio_rustls::TlsConnector, AnyError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// Keeps `window` messages in flight: takes everything that is there, answers it, and flushes once.
async fn ping_pong<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    payload: Bytes,
    window: usize,
    meter: Rc<RefCell<Meter>>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    for _ in 0..window {
        socket.feed(Message::Binary(payload.clone())).await?;
    }
    socket.flush().await?;
    let mut sent = Instant::now();
    while let Some(first) = socket.next().await {
        first?;
        let mut received = 1;
        while received < window {
            let Some(Some(next)) = socket.next().now_or_never() else { break };
            next?;
            received += 1;
        }
        {
            let mut meter = meter.borrow_mut();
            meter.messages += received as u64;
            let now = Instant::now();
            if let Some(latencies) = &mut meter.latencies {
                latencies.push(now - sent);
            }
            sent = now;
        }
        for _ in 0..received {
            socket.feed(Message::Binary(payload.clone())).await?;
        }
        socket.flush().await?;
    }
    Ok(())
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
