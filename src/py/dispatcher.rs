//! The dispatcher of an event loop: wakes the loop once for all of its connections that have something, by one
//! descriptor.
//!
//! The I/O thread puts the number of a connection into a queue and, if the queue was empty, makes the descriptor
//! readable; it never needs the GIL. The loop then calls [`Dispatcher::drain`], which lets each connection that has
//! something hand it out.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use pyo3::{exceptions::PyNotImplementedError, intern, prelude::*, sync::PyOnceLock};

use super::{
    borrowed_bytes,
    errors::{no_thread, to_py},
    wake_fd::WakeFd,
};
use crate::{
    error::Error,
    net::{driven::Side, poller::Poller, wakeups},
    sync::{Condvar, Mutex},
};

mod queue;

pub(super) use queue::QueueSlot;
use queue::{LoopWaker, Queue};

/// The name of the threads that wake loops.
const WAKER: &str = "fal-realtime-wake";

/// A connection of a loop: a weak reference to it, and how it hands out what it has.
struct Member {
    weak: Py<PyAny>,
    hand_out: HandOut,
}

/// Lets a connection hand out what it has. It is given `None` for one that was collected.
pub(super) type HandOut = fn(&Bound<'_, PyAny>) -> PyResult<()>;

/// One event loop's end of the queue. The loop owns it, through `add_reader`; it knows connections weakly.
#[pyclass(frozen, weakref, module = "fal_realtime._core")]
pub(super) struct Dispatcher {
    queue: Arc<Queue>,
    /// The sockets of the loop's connections, where the loop can watch them.
    poller: Option<Arc<Poller>>,
    connections: Mutex<HashMap<u64, Member>>,
    next: AtomicU64,
}

#[pymethods]
impl Dispatcher {
    /// Lets every connection that has something hand it out. Called by the loop, out of which an error is raised.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        borrowed_bytes::let_go(py);
        if let Some(poller) = &self.poller {
            wakeups::without_notifying(|| read(py, poller));
        }
        if self.queue.woken.load(Ordering::Acquire) {
            if let LoopWaker::Watched(wake_fd) = &self.queue.waker {
                wake_fd.clear();
            }
            // Whatever was marked ready before a wakeup that this clears is in the list by now.
            self.queue.woken.store(false, Ordering::Release);
        }
        let mut ready = std::mem::take(&mut *self.queue.ready.lock()).into_iter();
        while let Some(number) = ready.next() {
            let member = self.connections.lock().get(&number).map(|it| (it.weak.clone_ref(py), it.hand_out));
            let Some((weak, hand_out)) = member else { continue };
            let Ok(connection) = weak.bind(py).call0() else { continue };
            if let Err(exit) = hand_out(&connection) {
                // The others have their turn if the loop runs again, as it does when it shuts down.
                self.queue.put_back(ready);
                return Err(exit);
            }
        }
        Ok(())
    }
}

impl Dispatcher {
    /// Adds a connection. It leaves when it is collected.
    pub(super) fn add(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, PyAny>,
        hand_out: HandOut,
    ) -> PyResult<Arc<QueueSlot>> {
        let py = slf.py();
        let this = slf.get();
        let number = this.next.fetch_add(1, Ordering::Relaxed);
        let weak = weak_reference(py)?.call1((connection,))?.unbind();
        this.connections.lock().insert(number, Member { weak, hand_out });
        Ok(Arc::new(QueueSlot { queue: this.queue.clone(), number }))
    }

    /// Takes a connection out.
    pub(super) fn remove(&self, place: &QueueSlot) {
        let removed = self.connections.lock().remove(&place.number);
        // Dropped outside of the lock: this may run Python code.
        drop(removed);
    }

    /// The dispatcher of a loop, made at its first connection.
    pub(super) fn of<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let registry = registry(py)?;
        let found = registry.call_method1(intern!(py, "get"), (event_loop,))?;
        if let Ok(dispatcher) = found.cast_into::<Self>() {
            return Ok(dispatcher);
        }
        let made = Self::watched(py, event_loop).or_else(|error| {
            if error.is_instance_of::<PyNotImplementedError>(py) {
                Self::threaded(py, event_loop)
            } else {
                Err(error)
            }
        })?;
        registry.set_item(event_loop, &made)?;
        Ok(made)
    }

    fn new(py: Python<'_>, waker: LoopWaker, poller: Option<Arc<Poller>>) -> PyResult<Bound<'_, Self>> {
        let queue = Arc::new(Queue { ready: Mutex::new(Vec::new()), woken: AtomicBool::new(false), waker });
        let (connections, next) = (Mutex::new(HashMap::new()), AtomicU64::new(0));
        Bound::new(py, Self { queue, poller, connections, next })
    }

    /// The sockets of the loop's connections, if the loop watches them.
    pub(super) fn poller(&self) -> Option<&Arc<Poller>> {
        self.poller.as_ref()
    }

    fn watched<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let wake_fd = WakeFd::new().map_err(|error| not_woken(py, error))?;
        let poller = poller_for(&wake_fd).map_err(|error| not_woken(py, error))?;
        let descriptor = match poller.as_ref().and_then(|poller| poller.descriptor()) {
            Some(descriptor) => descriptor,
            // A system without one is as a loop that watches none.
            None => {
                wake_fd.descriptor().map_err(|error| PyNotImplementedError::new_err(error.to_string()))?
            }
        };
        let this = Self::new(py, LoopWaker::Watched(wake_fd), poller)?;
        event_loop
            .call_method1(intern!(py, "add_reader"), (descriptor, this.getattr(intern!(py, "drain"))?))?;
        Ok(this)
    }

    /// For loops without `add_reader`, such as Windows' default one.
    fn threaded<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let waker = LoopWaker::Thread {
            woken: Mutex::new(false),
            condition: Condvar::new(),
            over: AtomicBool::new(false),
        };
        let this = Self::new(py, waker, None)?;
        let queue = this.get().queue.clone();
        let weak_loop = weak_reference(py)?.call1((event_loop,))?.unbind();
        let weak_self = weak_reference(py)?.call1((&this,))?.unbind();
        let thread = std::thread::Builder::new().name(WAKER.into());
        let running = thread.spawn(move || {
            while queue.wait() {
                // Not attached any more: the interpreter is exiting.
                let alive = super::attach(|py| call_drain(py, &weak_loop, &weak_self)).unwrap_or(false);
                if !alive {
                    break;
                }
            }
        });
        running.map_err(|error| no_thread(py, WAKER, &error))?;
        Ok(this)
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        if let Some(poller) = &self.poller {
            poller.end();
        }
        if let LoopWaker::Thread { over, .. } = &self.queue.waker {
            over.store(true, Ordering::Release);
            self.queue.woken.store(false, Ordering::Release);
            self.queue.notify();
        }
    }
}

/// The error where the system has no descriptor or thread left for a loop's first connection.
fn not_woken(py: Python<'_>, error: std::io::Error) -> PyErr {
    let message = format!("nothing could be opened that wakes the event loop for its connections: {error}");
    to_py(py, &Error::not_opened(message).transient().unprocessed().with_source(error))
}

/// The poller for a loop that is called by `wake_fd`, if there can be one.
#[cfg(all(target_os = "linux", not(fal_realtime_no_poller)))]
fn poller_for(wake_fd: &WakeFd) -> std::io::Result<Option<Arc<Poller>>> {
    Poller::for_loop(wake_fd.as_fd())
}

#[cfg(not(all(target_os = "linux", not(fal_realtime_no_poller))))]
#[allow(clippy::unnecessary_wraps)] // elsewhere there is one, which may fail
fn poller_for(_wake_fd: &WakeFd) -> std::io::Result<Option<Arc<Poller>>> {
    Ok(None)
}

/// Reads what the sockets of the loop have.
fn read(py: Python<'_>, poller: &Poller) {
    let mut much = Vec::new();
    for link in poller.poll() {
        if link.reads_much() {
            much.push(link);
        } else {
            link.on_readable(Side::Caller);
        }
    }
    if !much.is_empty() {
        py.detach(|| {
            wakeups::without_notifying(|| much.iter().for_each(|link| link.on_readable(Side::Caller)));
        });
    }
}

/// Asks the loop to call `drain`. False when there is no loop any more.
fn call_drain(py: Python<'_>, weak_loop: &Py<PyAny>, weak_self: &Py<PyAny>) -> bool {
    let event_loop = weak_loop.bind(py).call0();
    let this = weak_self.bind(py).call0();
    let (Ok(event_loop), Ok(this)) = (event_loop, this) else { return false };
    if event_loop.is_none() || this.is_none() {
        return false;
    }
    let Ok(drain) = this.getattr(intern!(py, "drain")) else { return false };
    // The one error that is expected is that the loop was closed.
    event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (drain,)).is_ok()
}

/// `weakref.ref`.
pub(super) fn weak_reference(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static REF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    REF.import(py, "weakref", "ref")
}

/// Loop -> dispatcher. Holds neither: the loop's own reader does.
fn registry(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static REGISTRY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    REGISTRY
        .get_or_try_init(py, || Ok(py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?.unbind()))
        .map(|registry| registry.bind(py))
}
