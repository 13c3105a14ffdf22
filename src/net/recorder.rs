//! Records what passes on a connection into a file: whoever drives the link leaves messages in a bounded queue, a
//! thread of the recording writes them. Nobody waits for the disk: what finds no room is counted, and told.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(super) use self::events::{Close, Event};
use self::writing::FileWriter;
use super::{process, redact::Finders, report};
use crate::{
    core::{
        frame::MessageKind,
        inbound::Dialect,
        message::{Outgoing, Received},
    },
    sync::Mutex,
};

mod events;
mod starting;
mod writing;

pub use starting::{NotStarted, THREAD};

/// The bytes of messages that may wait to be written.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// The bytes from which on they are written at once.
const URGENT_BYTES: usize = MAX_QUEUED_BYTES / 4;
/// The bytes that a message counts for besides its payload.
const MESSAGE_BYTES: usize = 128;
/// How long what comes is gathered before it is written: so much is lost if the process is killed.
const GATHERING: Duration = Duration::from_millis(50);

/// The entries that are to be written.
enum What {
    Sent(Outgoing),
    Received(Received),
    Event(Event),
    /// The secrets that must not be in the file from here on.
    Secrets(Finders),
}

/// Something with its time, in nanoseconds since the recording began.
struct Entry {
    at: u64,
    bytes: usize,
    what: What,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The bytes in `entries`, and of what is being written.
    bytes: usize,
    /// The thread sleeps until something comes.
    is_idle: bool,
    /// Nothing more is taken.
    has_ended: bool,
    /// Nothing more is written: the file is whole, or as much of it as could be.
    is_written: bool,
    /// Since the last entry so much found no room.
    dropped: (u64, u64),
    error: Option<Arc<io::Error>>,
}

/// The connection that a recording is about, and its file.
pub(super) struct About {
    /// The connection, as it is named; holds no secret.
    pub(super) app: String,
    pub(super) dialect: Dialect,
    pub(super) path: PathBuf,
}

/// One recording.
pub struct Recorder {
    about: About,
    began: Instant,
    queue: Mutex<Queue>,
    filled: Condvar,
    written: Condvar,
    messages: AtomicU64,
    dropped: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: u32,
}

impl Recorder {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.about.path
    }

    /// The messages that were taken.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// The messages for which there was no room, or which failed to be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why nothing more is written.
    pub fn error(&self) -> Option<Arc<io::Error>> {
        self.belongs_here().then(|| self.queue.lock().error.clone()).flatten()
    }

    /// Whether what passes is recorded.
    pub fn is_open(&self) -> bool {
        self.belongs_here() && !self.queue.lock().has_ended
    }

    /// Takes nothing more; the thread writes what there is, and ends the file.
    pub fn end(&self) {
        if self.belongs_here() {
            self.queue.lock().has_ended = true;
            self.filled.notify_one();
        }
    }

    /// Waits until the file is written.
    pub fn wait(&self) {
        if self.belongs_here()
            && let Some(thread) = self.thread.lock().take()
        {
            let _ = thread.join();
        }
    }

    /// Waits until the file is written, at most so long. Answers whether it is.
    pub fn wait_at_most(&self, time: Duration) -> bool {
        if !self.belongs_here() {
            return true;
        }
        let waited = self.written.wait_timeout_while(self.queue.lock(), time, |queue| !queue.is_written);
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0.is_written
    }

    /// Whether the recorder belongs to this process: in a forked child there is no thread, and the locks may be held for ever.
    fn belongs_here(&self) -> bool {
        self.process == process::number()
    }

    // --- what passes ---

    /// A message was written to the socket, and is needed no more.
    pub(super) fn sent(&self, message: Outgoing) {
        let bytes = message.payload.len();
        self.take(bytes, true, || What::Sent(message));
    }

    /// A message came.
    pub(super) fn received(&self, kind: MessageKind, payload: &Bytes) {
        self.take(payload.len(), true, || What::Received(Received { kind, payload: payload.clone() }));
    }

    pub(super) fn event(&self, event: Event) {
        self.take(0, false, || What::Event(event));
    }

    /// Hides these secrets from here on.
    pub(super) fn hide(&self, secrets: Finders) {
        self.take(0, false, || What::Secrets(secrets));
    }

    fn take(&self, bytes: usize, is_message: bool, what: impl FnOnce() -> What) {
        let bytes = bytes + MESSAGE_BYTES;
        let mut queue = self.queue.lock();
        if queue.has_ended {
            return;
        }
        if is_message && queue.bytes > 0 && queue.bytes + bytes > MAX_QUEUED_BYTES {
            queue.dropped.0 += 1;
            queue.dropped.1 += (bytes - MESSAGE_BYTES) as u64;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // With the lock, so that times are in order.
        let at = self.began.elapsed().as_nanos() as u64;
        queue.tell_dropped(at);
        queue.entries.push_back(Entry { at, bytes, what: what() });
        let before = queue.bytes;
        queue.bytes += bytes;
        let wakes =
            std::mem::take(&mut queue.is_idle) || (before < URGENT_BYTES && queue.bytes >= URGENT_BYTES);
        drop(queue);
        if is_message {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
        if wakes {
            self.filled.notify_one();
        }
    }

    // --- the thread ---

    fn run(&self, file: File) {
        let mut entries = VecDeque::new();
        let mut writer = FileWriter::new(file, &self.about);
        loop {
            let has_ended = self.wait_for(&mut entries);
            let bytes = entries.iter().map(|entry: &Entry| entry.bytes).sum::<usize>();
            let written = entries.drain(..).try_for_each(|entry| self.write(&mut writer, entry));
            let written = written.and_then(|()| if has_ended { writer.finish() } else { writer.flush() });
            if let Err(error) = written {
                return self.fail(error);
            }
            if has_ended {
                return;
            }
            self.queue.lock().bytes -= bytes;
        }
    }

    /// Waits until there is something to be written, and takes it. Answers whether it is the last.
    fn wait_for(&self, entries: &mut VecDeque<Entry>) -> bool {
        let mut queue = self.queue.lock();
        while queue.entries.is_empty() && !queue.has_ended {
            queue.is_idle = true;
            queue = self.filled.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let gathers = |queue: &mut Queue| !queue.has_ended && queue.bytes < URGENT_BYTES;
        let waited = self.filled.wait_timeout_while(queue, GATHERING, gathers);
        let mut queue = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        if queue.has_ended {
            let at = self.began.elapsed().as_nanos() as u64;
            queue.tell_dropped(at);
        }
        std::mem::swap(&mut queue.entries, entries);
        queue.has_ended
    }

    fn write(&self, writer: &mut FileWriter, entry: Entry) -> io::Result<()> {
        if let What::Event(Event::Dropped { messages, .. }) = &entry.what {
            let (app, path) = (&self.about.app, self.about.path.display());
            report::notable(|| format!("{app}: {messages} messages found no room in the recording {path}"));
        }
        writer.write(entry)
    }

    /// Ends a recording whose file takes no more: the connection goes on without it.
    fn fail(&self, error: io::Error) {
        let (app, path) = (&self.about.app, self.about.path.display());
        report::notable(|| format!("{app}: the recording {path} ends early: {error}"));
        let mut queue = self.queue.lock();
        queue.has_ended = true;
        queue.error = Some(Arc::new(error));
        let left = std::mem::take(&mut queue.entries);
        queue.bytes = 0;
        drop(queue);
        drop(left);
    }
}

impl Queue {
    /// Says in its place that something found no room.
    fn tell_dropped(&mut self, at: u64) {
        if self.dropped.0 > 0 {
            let (messages, bytes) = std::mem::take(&mut self.dropped);
            self.bytes += MESSAGE_BYTES;
            let what = What::Event(Event::Dropped { messages, bytes });
            self.entries.push_back(Entry { at, bytes: MESSAGE_BYTES, what });
        }
    }
}
