//! Callbacks, and those who wait: hands out what is there, on the loop. Wakes those who wait, and calls the callbacks,
//! a bounded number at a time.

use std::{
    task::Poll,
    time::{Duration, Instant},
};

use pyo3::{IntoPyObjectExt, call::PyCallArgs, exceptions::PyException, intern, prelude::*, types::PyDict};

mod reporting;
mod scheduling;
mod waking;

pub(super) use reporting::report_untold;
use reporting::{report, report_task, tell_loop};
pub(super) use scheduling::hand_out_soon;
use waking::wake_waiters;

use super::{
    base::Callbacks,
    callback_scope::CallbackScope,
    connection::AsyncConnection,
    contextvars::EnteredContext,
    errors::{error_or_none, to_py},
    facade,
};
use crate::core::{
    inbox::{Item, Next, Notice},
    message::Received,
    session::State,
};

/// Callbacks in one turn of the loop, so that others have their turn.
const CALLBACKS_A_TURN: usize = 128;
/// The time after which no other callback is called in the same turn of the loop.
const TURN_TIME: Duration = Duration::from_millis(10);

/// The callbacks that may still be called in this turn of the loop: one at least, however long it takes.
struct Budget {
    callbacks: usize,
    until: Instant,
}

impl Budget {
    fn of_a_turn() -> Self {
        Self { callbacks: CALLBACKS_A_TURN, until: Instant::now() + TURN_TIME }
    }

    fn is_spent(&self) -> bool {
        self.callbacks == 0 || (self.callbacks < CALLBACKS_A_TURN && Instant::now() >= self.until)
    }
}

/// Hands out what is there, and asks to be called again when there is more; answers whether there is.
///
/// An error is one that is to end the loop (see [`ends_the_loop`](super::errors::ends_the_loop)); should the loop run
/// again, delivery goes on.
pub(super) fn hand_out(connection: &Bound<'_, AsyncConnection>) -> PyResult<bool> {
    let this = connection.get();
    if this.base.net.check_process().is_err() {
        return Ok(false);
    }
    let mut budget = Budget::of_a_turn();
    let _scope = CallbackScope::of(&this.base.net);
    loop {
        if let Err(exit) = wake_waiters(connection).and_then(|()| call_back(connection, &mut budget)) {
            this.rearm();
            return Err(exit);
        }
        if !this.arm() {
            return Ok(false);
        }
        if budget.is_spent() {
            this.wake_loop();
            return Ok(true);
        }
    }
}

fn call_back(connection: &Bound<'_, AsyncConnection>, budget: &mut Budget) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    let replacements = this.base.replacements();
    let callbacks = this.base.callbacks(py);
    if callbacks.result.is_none() && !callbacks.any_notice() {
        return Ok(());
    }
    // Nor in the middle of one, should it run the loop: they come one after the other.
    if std::mem::replace(&mut this.waiting.lock().calling, true) {
        return Ok(());
    }
    let outcome = call_one_by_one(connection, &callbacks, replacements, budget);
    this.waiting.lock().calling = false;
    outcome
}

fn call_one_by_one(
    connection: &Bound<'_, AsyncConnection>,
    callbacks: &Callbacks,
    replacements: u64,
    budget: &mut Budget,
) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    // Left again however this ends.
    let _entered = callbacks.context.as_ref().map(|context| EnteredContext::new(py, context.bind(py)));
    // A callback may give the connection new ones: the next event is theirs.
    let are_current = || this.base.replacements() == replacements;
    while !budget.is_spent() && are_current() && this.waiting.lock().running.is_none() {
        let Some(outcome) = call_next(connection, callbacks) else { break };
        budget.callbacks -= 1;
        match outcome {
            Ok(None) => {}
            Ok(Some(awaitable)) => run(connection, callbacks, &awaitable)?,
            Err(error) => report(connection, error)?,
        }
    }
    Ok(())
}

/// Calls the callback for the next thing that is there: what it returned to be awaited, if it did.
fn call_next<'py>(
    connection: &Bound<'py, AsyncConnection>,
    callbacks: &Callbacks,
) -> Option<PyResult<Option<Bound<'py, PyAny>>>> {
    let (this, py) = (connection.get(), connection.py());
    let next = if callbacks.result.is_some() {
        // What a receiver had decoded before there was an `on_result` comes first.
        match this.poll_decoded(py) {
            Poll::Pending => return None,
            Poll::Ready(Some(Ok(object))) => return Some(call(py, callbacks.result.as_ref(), object)),
            Poll::Ready(Some(Err(error))) if error.is_instance_of::<PyException>(py) => {
                return Some(on_error(connection, callbacks, error));
            }
            // Cancelled: the result is there again.
            Poll::Ready(Some(Err(_)) | None) => this.base.net.pop_any()?,
        }
    } else {
        Next::Notice(this.base.net.pop_notice()?)
    };
    Some(match next {
        Next::Item(item) => match item.what {
            Item::Result(received) => on_result(connection, callbacks, &received),
            Item::Error(error) => on_error(connection, callbacks, to_py(py, &error)),
            Item::End(_) => Ok(None),
        },
        Next::Notice(Notice::Error(error)) => on_error(connection, callbacks, to_py(py, &error)),
        Next::Notice(Notice::Timings(seconds)) => call(py, callbacks.timings.as_ref(), seconds),
        Next::Notice(Notice::State(state, reason)) if callbacks.with_reason => call_with(
            py,
            callbacks.state_change.as_ref(),
            (state.name(), error_or_none(py, reason.as_deref())),
        ),
        Next::Notice(Notice::State(state, _)) => call(py, callbacks.state_change.as_ref(), state.name()),
    })
}

/// Calls a callback. What it returns is awaited if it can be.
fn call<'py>(
    py: Python<'py>,
    callback: Option<&Py<PyAny>>,
    value: impl IntoPyObjectExt<'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    call_with(py, callback, (value.into_bound_py_any(py)?,))
}

fn call_with<'py>(
    py: Python<'py>,
    callback: Option<&Py<PyAny>>,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(callback) = callback else { return Ok(None) };
    let returned = callback.bind(py).call1(arguments)?;
    if returned.is_none() || !returned.hasattr(intern!(py, "__await__"))? {
        return Ok(None);
    }
    Ok(Some(returned))
}

fn on_result<'py>(
    connection: &Bound<'py, AsyncConnection>,
    callbacks: &Callbacks,
    received: &Received,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = connection.py();
    match connection.get().base.decode(py, received) {
        Ok((object, false)) => call(py, callbacks.result.as_ref(), object),
        Ok((decoding, true)) => {
            let finish = facade::get(py, "decode_then")?;
            let on_error = callbacks.error.as_ref().map(|callback| callback.clone_ref(py));
            finish.call1((decoding, &callbacks.result, on_error)).map(Some)
        }
        Err(error) if error.is_instance_of::<PyException>(py) => on_error(connection, callbacks, error),
        Err(error) => Err(error),
    }
}

fn on_error<'py>(
    connection: &Bound<'py, AsyncConnection>,
    callbacks: &Callbacks,
    error: PyErr,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = connection.py();
    if callbacks.error.is_some() {
        return call(py, callbacks.error.as_ref(), error);
    }
    // Nobody asked to be told, but nothing is lost in silence.
    tell_loop(py, connection.get(), error, "there is no on_error")?;
    Ok(None)
}

/// Runs what an asynchronous callback returned; delivery goes on when it is done.
fn run(
    connection: &Bound<'_, AsyncConnection>,
    callbacks: &Callbacks,
    awaitable: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (this, py) = (connection.get(), connection.py());
    let started = || -> PyResult<()> {
        let running = facade::get(py, "Running")?.call1((awaitable,))?;
        let task = running.call_method1(intern!(py, "start"), (this.event_loop(py)?,))?;
        this.waiting.lock().running = Some(task.clone().unbind());
        let done = connection.getattr(intern!(py, "_callback_done"))?;
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), &callbacks.context)?;
        task.call_method(intern!(py, "add_done_callback"), (done,), Some(&keywords))?;
        Ok(())
    };
    started().or_else(|error| report(connection, error))
}

/// An asynchronous callback is done: what it raised is reported, and delivery goes on.
pub(super) fn callback_done(
    connection: &Bound<'_, AsyncConnection>,
    task: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let this = connection.get();
    let running = this.waiting.lock().running.take();
    drop(running);
    let reported = report_task(connection, task);
    if this.base.state() == State::Closed {
        // At once: a turn of the loop later nobody may hold the connection any more.
        hand_out(connection)?;
    } else {
        this.wake_loop();
    }
    reported
}
