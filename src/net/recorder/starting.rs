//! The start of a recording: its thread, and its file.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, atomic::AtomicU64, mpsc},
    time::Instant,
};

use super::{About, Recorder};
use crate::{net::process, sync::Mutex};

/// The name of the threads that write.
pub const THREAD: &str = "fal-recording";

/// Why there is no recording.
#[derive(Debug)]
pub enum NotStarted {
    /// The file cannot be made.
    File(io::Error),
    /// There is no thread that could write it.
    Thread(io::Error),
}

impl Recorder {
    /// Creates the file, in the place of one that is there, and begins.
    pub(in crate::net) fn start(about: About) -> Result<Arc<Self>, NotStarted> {
        let recorder = Arc::new(Self {
            about,
            began: Instant::now(),
            queue: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            messages: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            thread: Mutex::new(None),
            process: process::number(),
        });
        let (writer, thread) = (recorder.clone(), std::thread::Builder::new().name(THREAD.into()));
        let (give, taken) = mpsc::sync_channel(1);
        let running = thread.spawn(move || {
            // Else there is no file, and no recording.
            if let Ok(file) = taken.recv() {
                writer.run(file);
                writer.queue.lock().is_written = true;
                writer.written.notify_all();
            }
        });
        let running = running.map_err(NotStarted::Thread)?;
        // Not before: what it replaces would be lost for nothing.
        let _ = give.send(File::create(&recorder.about.path).map_err(NotStarted::File)?);
        *recorder.thread.lock() = Some(running);
        Ok(recorder)
    }
}
