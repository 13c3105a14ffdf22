//! The server's own thread: it listens, accepts and runs every task, on a runtime of its own.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::mpsc,
    time,
};
use tokio_rustls::TlsAcceptor;

use super::{byte_stream::ByteStream, http, orders::Order, shared::Shared};

/// Connections that wait to be accepted; ten thousand clients may come at once.
const BACKLOG: i32 = 8192;

/// How long a client may take for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stopping server waits for clients to answer its close frames.
const STOP_GRACE: Duration = Duration::from_millis(250);

/// The turns of busy connections that pass before the others' sockets are polled. A turn writes a batch; tokio's own
/// 61 of them let a client that is answered wait for half a second beside one that is streamed to.
const EVENT_INTERVAL: u32 = 8;

/// The commands to the thread.
pub(super) enum Command {
    /// Close the listening socket, then say so.
    StopListening(std_mpsc::Sender<io::Result<()>>),
    /// Listen on the same port again, then say so.
    StartListening(std_mpsc::Sender<io::Result<()>>),
    /// End; the sender is dropped when everything is gone.
    Stop(std_mpsc::Sender<io::Result<()>>),
}

/// Binds a listening socket. The port may be in `TIME_WAIT` from connections that are over.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows it would let two servers share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts the thread. It ends when told, or when `commands`' sender is dropped.
pub(super) fn spawn(
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    let address = listener.local_addr()?;
    let body = move || {
        let stop = runtime.block_on(async {
            let listener = TcpListener::from_std(listener).ok();
            Acceptor { shared, tls, address, listener }.run(commands).await
        });
        // Takes the remaining tasks with it, before `stop` is dropped.
        drop(runtime);
        drop(stop);
    };
    let builder = thread::Builder::new().name("fal-local-server".to_owned());
    let spawned = with_signals_blocked(|| builder.spawn(body)).map(drop);
    spawned.map_err(|error| io::Error::other(format!("the server's thread could not be started: {error}")))
}

/// Runs `spawn` so that the thread it starts takes no signals: they are the main thread's business.
#[cfg(unix)]
fn with_signals_blocked<T>(spawn: impl FnOnce() -> T) -> T {
    use std::mem::MaybeUninit;

    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid for writes; `all` is initialised by `sigfillset` before it is read, and `before`
    // is read only if `pthread_sigmask` succeeded and so has written it.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let spawned = spawn();
    if blocked {
        // SAFETY: `before` was written, as above; this thread gets back the mask that it had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    spawned
}

#[cfg(not(unix))]
fn with_signals_blocked<T>(spawn: impl FnOnce() -> T) -> T {
    spawn()
}

struct Acceptor {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Acceptor {
    /// Accepts until told to stop; gives what is to be dropped at the very end.
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) -> Option<std_mpsc::Sender<io::Result<()>>> {
        loop {
            let command = tokio::select! {
                biased;
                command = commands.recv() => command,
                accepted = accept(self.listener.as_ref()) => {
                    match accepted {
                        Ok(tcp) => self.serve(tcp),
                        // Out of descriptors, mostly: let some be given back.
                        Err(_) => time::sleep(Duration::from_millis(20)).await,
                    }
                    continue;
                }
            };
            match command {
                Some(Command::StopListening(done)) => {
                    self.listener = None;
                    let _ = done.send(Ok(()));
                }
                Some(Command::StartListening(done)) => {
                    let _ = done.send(self.listen());
                }
                Some(Command::Stop(stop)) => {
                    self.wind_up().await;
                    return Some(stop);
                }
                None => {
                    self.wind_up().await;
                    return None;
                }
            }
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(TcpListener::from_std(bind(self.address)?)?);
        }
        Ok(())
    }

    fn serve(&self, tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        let shared = Arc::clone(&self.shared);
        let Some(tls) = self.tls.clone() else {
            tokio::spawn(http::serve(shared, ByteStream::Plain(tcp)));
            return;
        };
        tokio::spawn(async move {
            shared.faults.until_resumed().await;
            if let Ok(Ok(stream)) = time::timeout(TLS_TIMEOUT, tls.accept(tcp)).await {
                http::serve(shared, ByteStream::Tls(Box::new(stream))).await;
            }
        });
    }

    /// Says goodbye to the clients, and gives them a moment to answer.
    async fn wind_up(&mut self) {
        self.listener = None;
        self.shared.jobs.close();
        self.shared.registry.tell_all(|| Order::Close(1001, String::new()));
        let deadline = time::Instant::now() + STOP_GRACE;
        while self.shared.registry.len() > 0 && time::Instant::now() < deadline {
            time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The next connection; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(tcp, _)| tcp),
        None => std::future::pending().await,
    }
}
