//! Work that blocks, in a thread of its own: a thread that cannot be had is an error of whoever wants it, where tokio's own
//! pool panics.

use std::{io, thread::Builder};

use tokio::sync::oneshot;

/// Runs `work` in a thread of this name, and gives what it gave. Whoever waits may go; the work then ends by itself.
pub async fn run<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    start(name, move || {
        let _ = tell.send(work());
    })?;
    told.await.map_err(|_| io::Error::other("the thread ended without an answer"))
}

/// Starts `work` in a thread of this name.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name(name.to_owned()).spawn(work).map(drop)
}
