//! The I/O threads: each runs a current-thread tokio runtime and any number of connections.
//!
//! They start with the first connection, stop at exit within a bounded time, and are started anew in a forked
//! child, where the parent's threads do not exist. They never take the GIL.

use std::{
    future::poll_fn,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread::{JoinHandle, ThreadId},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{
    process::PerProcess,
    schedule, spin,
    wakeups::{self, Wakeups},
};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::Mutex,
};

/// The polls of busy connections that pass before the others' sockets have theirs. A poll reads up to 2 MiB: with
/// tokio's own 61 a connection could wait for a hundred megabytes of another's.
const EVENT_INTERVAL: u32 = 8;

/// The variable that says how many I/O threads share the connections: `FAL_REALTIME_IO_THREADS`, 1 by default.
const THREADS_VARIABLE: &str = "FAL_REALTIME_IO_THREADS";
const MAX_THREADS: usize = 64;

/// The parent's pool is leaked in a forked child, not dropped: its threads are not there to be joined.
static POOL: PerProcess<IoThreadPool> = PerProcess::new(IoThreadPool::new);

/// The error for whatever is used in another process than the one that made it.
pub fn forked() -> Error {
    Error::new(
        ErrorKind::Forked,
        "this connection belongs to the parent process; after a fork, make a new client and connect again",
    )
}

struct IoThreadPool {
    threads: Mutex<Vec<Option<IoThread>>>,
    next: AtomicUsize,
    stopped: AtomicBool,
    /// The thread on which the interpreter leaves.
    leaving: OnceLock<ThreadId>,
}

impl IoThreadPool {
    fn new() -> Self {
        let count = std::env::var(THREADS_VARIABLE).ok().and_then(|value| value.parse().ok()).unwrap_or(1);
        Self {
            threads: Mutex::new((0..count.clamp(1, MAX_THREADS)).map(|_| None).collect()),
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            leaving: OnceLock::new(),
        }
    }
}

struct IoThread {
    io: Io,
    stop: Arc<Stop>,
    join: JoinHandle<()>,
}

/// A way to an I/O thread.
#[derive(Debug, Clone)]
pub struct Io {
    handle: Handle,
    wakeups: Arc<Wakeups>,
}

impl Io {
    /// Runs a future on the thread.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// The tokio runtime of the thread.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Wakes a task of the thread.
    pub fn wake(&self, task: Waker) {
        self.wakeups.wake(task);
    }
}

#[derive(Debug, Default)]
struct Stop {
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Stop {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}

/// The I/O thread for the next connection; starts it when it is not running yet.
pub fn io() -> Result<Io> {
    schedule::schedule()?;
    let pool = POOL.get();
    if pool.stopped.load(Ordering::Acquire) {
        return Err(Error::closed(1001, "the interpreter is exiting"));
    }
    let mut threads = pool.threads.lock();
    let index = pool.next.fetch_add(1, Ordering::Relaxed) % threads.len();
    let Some(slot) = threads.get_mut(index) else {
        return Err(Error::closed(1001, "there is no I/O thread"));
    };
    if let Some(thread) = slot {
        return Ok(thread.io.clone());
    }
    let thread = start(index)?;
    let io = thread.io.clone();
    *slot = Some(thread);
    Ok(io)
}

fn start(index: usize) -> Result<IoThread> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Handshake { status: None },
            format!("the I/O thread could not be started: {error}"),
        )
        .transient()
    };
    let wakeups = Arc::new(Wakeups::default());
    let stop = Arc::new(Stop::default());
    let (tell, started) = mpsc::sync_channel(1);
    let (for_thread, stop_for_thread) = (wakeups.clone(), stop.clone());
    let join = std::thread::Builder::new()
        .name(format!("fal-realtime-{index}"))
        .spawn(move || {
            #[cfg(unix)]
            block_signals();
            wakeups::adopt(for_thread.clone());
            let built = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .event_interval(EVENT_INTERVAL)
                .on_thread_park(wakeups::before_sleep)
                .on_thread_unpark(wakeups::after_sleep)
                .max_blocking_threads(16)
                .thread_keep_alive(Duration::from_secs(5))
                .build();
            match built {
                Ok(runtime) => {
                    let _ = tell.send(Ok(runtime.handle().clone()));
                    if let Some(limit) = spin::limit() {
                        runtime.spawn(spin::spin(limit));
                    }
                    runtime.block_on(run(&for_thread, &stop_for_thread));
                    // A name lookup may hang in a blocking thread: it must not hold up the exit.
                    runtime.shutdown_background();
                    // What the last turn marked ready, and what the tasks did that were dropped just now.
                    wakeups::notify_ready();
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            }
        })
        .map_err(failed)?;
    let handle =
        started.recv().map_err(|_| failed(std::io::Error::other("the thread ended")))?.map_err(failed)?;
    Ok(IoThread { io: Io { handle, wakeups }, stop, join })
}

/// Runs until the thread is asked to stop.
async fn run(wakeups: &Wakeups, stop: &Stop) {
    poll_fn(|context| {
        wakeups.set_unpark(context.waker());
        *stop.waker.lock() = Some(context.waker().clone());
        if stop.asked.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Signals are for Python's main thread, where a system gives them to any.
#[cfg(unix)]
fn block_signals() {
    // SAFETY: `set` is initialised by `sigfillset` before it is read, and the mask concerns this thread only.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// The interpreter is leaving, on another thread than this one: this one is a daemon thread that will be cut off.
pub fn is_leaving_elsewhere() -> bool {
    let pool = POOL.existing();
    pool.and_then(|pool| pool.leaving.get()).is_some_and(|thread| *thread != std::thread::current().id())
}

/// Ends the I/O threads: what they ran is dropped. Waits for at most `patience`. Nothing starts afterwards.
pub fn shutdown(patience: Duration) {
    let pool = POOL.get();
    pool.leaving.get_or_init(|| std::thread::current().id());
    pool.stopped.store(true, Ordering::Release);
    let threads: Vec<_> = pool.threads.lock().iter_mut().filter_map(Option::take).collect();
    for thread in &threads {
        thread.stop.ask();
    }
    let until = Instant::now() + patience;
    for thread in threads {
        while !thread.join.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.join.is_finished() {
            let _ = thread.join.join();
        }
    }
}

#[cfg(test)]
mod tests;
