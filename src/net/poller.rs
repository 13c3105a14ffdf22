//! The sockets of one event loop, watched as one, and who reads them.
//!
//! ```text
//!   the loop   -- add_reader --> loop side { sockets, the loop's own descriptor }
//!                                   sockets { every open socket of the loop's connections, level-triggered }
//!   I/O thread -- AsyncFd -----> I/O side { sockets (off, once or always), sockets whose write is blocked }
//! ```
//!
//! Pollers nest, so that the loop calls us once a turn however many sockets are ready, and either side's view of the
//! sockets is switched with one system call. While the loop comes it reads; when it does not, the I/O thread does so
//! until it comes again. Exclusion does not rest on this: whoever drives a link holds its lock. Readiness is
//! level-triggered, so that what one side leaves is there for the other.

use std::{
    cell::OnceCell,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
};

use self::{
    epoll::{Epoll, When},
    links::Links,
    load::Load,
};
use super::{counters, driven::Driven, io_thread::Io, schedule};
use crate::{error::Result, sync::Mutex};

mod epoll;
mod left;
mod links;
mod load;
mod registration;
mod watch;

pub(super) use registration::Registration;

/// The thread that reads the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum DrivenBy {
    /// The loop's thread.
    Loop,
    /// The I/O thread, until the loop comes again.
    IoThread,
    /// The I/O thread, which also writes: the loop is saturated, and two threads get more through.
    Both,
    /// The I/O thread, since there is no loop.
    IoThreadAlways,
}

impl DrivenBy {
    fn from_u8(value: u8) -> Self {
        [Self::Loop, Self::IoThread, Self::Both]
            .get(usize::from(value))
            .copied()
            .unwrap_or(Self::IoThreadAlways)
    }
}

/// The key of the sockets in the I/O side; those of links are smaller.
const SOCKETS: u64 = u64::MAX;
/// The most links that are driven in one turn, so that the others of the thread come soon.
const LINKS_A_TURN: usize = 256;

/// The sockets of one event loop.
pub struct Poller {
    sockets: Epoll,
    loop_side: Option<Epoll>,
    io_side: Epoll,
    links: Mutex<Links>,
    /// [`DrivenBy`]; changed under `armed`.
    driver: AtomicU8,
    /// How the sockets are watched in the I/O side.
    armed: Mutex<When>,
    /// How many turns the loop has begun.
    turns: AtomicU64,
    load: Load,
    io: OnceLock<Io>,
    is_watched: AtomicBool,
    /// Links of which callers keep something back.
    held: Mutex<Vec<Arc<dyn Driven>>>,
    /// The I/O thread will poll what is held.
    sees_held: AtomicBool,
    /// Links whose output the I/O thread is to write.
    unwritten: Mutex<Vec<Arc<dyn Driven>>>,
    has_unwritten: AtomicBool,
    /// The I/O thread's task, once it runs.
    task: Mutex<Option<Waker>>,
    /// Notes that there is no loop any more.
    is_over: AtomicBool,
}

impl Poller {
    /// For a loop that watches [`Poller::descriptor`]. `wake_fd` is the descriptor by which it is called for other
    /// reasons.
    ///
    /// `None` where the I/O thread is to read for all loops.
    pub fn for_loop(wake_fd: impl AsFd) -> io::Result<Option<Arc<Self>>> {
        if !schedule::allows_loops() {
            return Ok(None);
        }
        let loop_side = Epoll::new()?;
        loop_side.add(wake_fd, SOCKETS, When::Readable)?;
        let this = Self::new(Some(loop_side), DrivenBy::Loop)?;
        if let Some(loop_side) = &this.loop_side {
            loop_side.add(&this.sockets, SOCKETS, When::Readable)?;
        }
        Ok(Some(Arc::new(this)))
    }

    /// For connections that belong to no loop, on their I/O thread, which reads them: one for all of them.
    pub(super) fn of_io_thread(io: &Io) -> Option<Arc<Self>> {
        thread_local! {
            static OWN: OnceCell<Option<Arc<Poller>>> = const { OnceCell::new() };
        }
        let made = || schedule::allows_loops().then(|| Self::for_io_thread(io.clone()).ok()).flatten();
        OWN.with(|own| own.get_or_init(made).clone())
    }

    fn for_io_thread(io: Io) -> io::Result<Arc<Self>> {
        let this = Self::new(None, DrivenBy::IoThreadAlways)?;
        let _ = this.io.set(io);
        Ok(Arc::new(this))
    }

    fn new(loop_side: Option<Epoll>, driver: DrivenBy) -> io::Result<Self> {
        let (sockets, io_side) = (Epoll::new()?, Epoll::new()?);
        let armed = if driver == DrivenBy::Loop { When::ReadableOnce } else { When::Readable };
        io_side.add(&sockets, SOCKETS, armed)?;
        Ok(Self {
            sockets,
            loop_side,
            io_side,
            links: Mutex::default(),
            driver: AtomicU8::new(driver as u8),
            armed: Mutex::new(armed),
            turns: AtomicU64::new(0),
            load: Load::default(),
            io: OnceLock::new(),
            is_watched: AtomicBool::new(false),
            held: Mutex::default(),
            sees_held: AtomicBool::new(false),
            unwritten: Mutex::default(),
            has_unwritten: AtomicBool::new(false),
            task: Mutex::new(None),
            is_over: AtomicBool::new(false),
        })
    }

    /// The descriptor that the loop is to watch for being readable.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.loop_side.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The I/O thread that stands in for the loop; all connections of a loop have the same one.
    pub(super) fn io(&self, choose: impl FnOnce() -> Result<Io>) -> Result<Io> {
        if let Some(io) = self.io.get() {
            return Ok(io.clone());
        }
        let io = choose()?;
        Ok(self.io.get_or_init(|| io).clone())
    }

    fn driven_by(&self) -> DrivenBy {
        DrivenBy::from_u8(self.driver.load(Ordering::Acquire))
    }

    // --- the loop's side ---

    /// A turn of the loop begins: answers the links whose sockets are readable.
    pub fn poll(&self) -> Vec<Arc<dyn Driven>> {
        self.turns.fetch_add(1, Ordering::Release);
        self.load.note_loop();
        match self.driven_by() {
            DrivenBy::Both => return Vec::new(),
            DrivenBy::IoThread => {
                self.hand_over(DrivenBy::Loop, When::Off);
                counters::GIVEN_BACK.add();
            }
            DrivenBy::Loop | DrivenBy::IoThreadAlways => {}
        }
        self.ready()
    }

    /// The links whose sockets are readable.
    fn ready(&self) -> Vec<Arc<dyn Driven>> {
        // Of one socket alone it need not be asked which.
        if let Some(only) = self.links.lock().only_armed() {
            return vec![only];
        }
        let mut keys = Vec::new();
        if self.sockets.poll(&mut keys, LINKS_A_TURN).is_err() {
            return Vec::new();
        }
        let links = self.links.lock();
        keys.iter().filter_map(|key| links.get(*key)).collect()
    }

    /// Another side reads from now on.
    fn hand_over(&self, driver: DrivenBy, watch: When) {
        let mut armed = self.armed.lock();
        let before = DrivenBy::from_u8(self.driver.swap(driver as u8, Ordering::AcqRel));
        if let Some(loop_side) = &self.loop_side
            && (before == DrivenBy::Both) != (driver == DrivenBy::Both)
        {
            let watch = if driver == DrivenBy::Both { When::Off } else { When::Readable };
            let _ = loop_side.modify(&self.sockets, SOCKETS, watch);
        }
        self.arm(&mut armed, watch);
    }

    fn arm(&self, armed: &mut When, watch: When) {
        // A shot that was fired is to be loaded again.
        if *armed != watch || watch == When::ReadableOnce {
            *armed = watch;
            // Fails only without memory. Whoever polls next finds what is readable.
            let _ = self.io_side.modify(&self.sockets, SOCKETS, watch);
        }
    }

    /// The loop is gone.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.wake_task();
    }

    /// The I/O thread writes what callers send.
    pub(super) fn writes_on_io_thread(&self) -> bool {
        self.driven_by() == DrivenBy::Both
    }

    /// A turn has read so many bytes.
    pub(super) fn note_read(&self, bytes: usize) {
        self.load.note_read(bytes);
    }

    // --- the I/O thread's task ---

    fn set_task(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    fn wake_task(&self) {
        let task = self.task.lock().clone();
        if let (Some(task), Some(io)) = (task, self.io.get()) {
            io.wake(task);
        }
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("driver", &self.driven_by()).finish_non_exhaustive()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io_side.as_fd()
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.io_side.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
