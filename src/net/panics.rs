//! Panics of our own code: a defect of the connection in whose work it shows, which ends with the reason, and not of
//! the thread, which has others to serve.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::{FutureExt, TryFutureExt};

use crate::error::Error;

/// Does `work`. What it leaves behind when it panics is not to be used as if nothing had happened.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| error(&*panic))
}

/// Catches a panic of a future likewise.
pub(super) fn caught_in<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, Error>> {
    // No `async fn`: that would keep room for `work` twice, in every connection's task.
    AssertUnwindSafe(work).catch_unwind().map_err(|panic| error(&*panic))
}

fn error(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::closed(1006, format!("internal error: the connection's task panicked: {text}"))
}
