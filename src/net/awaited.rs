//! The answer that a piece of work waits for, of somebody on the way who may never give it: whoever gives the work up says
//! whose it was.

use std::sync::Arc;

use crate::{error::Error, sync::Mutex};

tokio::task_local! {
    /// That of the work which is being polled.
    static CURRENT: Awaited;
}

/// The answer that a piece of work waits for, if it waits for one.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaited(Arc<Mutex<Option<Error>>>);

impl Awaited {
    /// Does `work`, whose answers are noted here.
    pub(super) fn by<W: Future>(&self, work: W) -> impl Future<Output = W::Output> + use<W> {
        self.set(None);
        CURRENT.scope(self.clone(), work)
    }

    /// The error that says which answer has not come.
    pub(super) fn missing(&self) -> Option<Error> {
        self.0.lock().clone()
    }

    fn set(&self, missing: Option<Error>) {
        *self.0.lock() = missing;
    }
}

/// The answer that `work` gives; until then `missing` is the error of whoever gives the work up.
pub(super) async fn answer<W: Future>(missing: Error, work: W) -> W::Output {
    // Outside of such work nobody asks.
    let _ = CURRENT.try_with(|awaited| awaited.set(Some(missing)));
    let output = work.await;
    let _ = CURRENT.try_with(|awaited| awaited.set(None));
    output
}

/// The error that says which answer has not come to the work that is being polled.
pub(super) fn missing() -> Option<Error> {
    CURRENT.try_with(Awaited::missing).ok().flatten()
}
