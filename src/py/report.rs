//! Records of the network layer for Python's `logging`, logger `fal_realtime`.
//!
//! The I/O thread takes no GIL: records wait in a list, and a thread that lives as long as there are some hands them
//! over, in their order.

use std::collections::VecDeque;

use pyo3::{intern, prelude::*};

use crate::{
    net::{
        process::PerProcess,
        report::{self, Level, LogRecord},
    },
    sync::Mutex,
};

/// The most records that wait. When a burst brings more, the oldest go.
const MAX_WAITING_RECORDS: usize = 1_000;

#[derive(Default)]
struct WaitingRecords {
    records: VecDeque<LogRecord>,
    /// A thread hands them over.
    is_handing_over: bool,
}

/// The records of this process: at a fork another thread may have them, or be about to hand them over.
static WAITING: PerProcess<Mutex<WaitingRecords>> = PerProcess::new(Mutex::default);

/// From now on records go to `logging`.
pub(super) fn install() {
    report::give_to(Box::new(take));
}

fn take(record: LogRecord) {
    let waiting = WAITING.get();
    let mut all = waiting.lock();
    if all.records.len() >= MAX_WAITING_RECORDS {
        all.records.pop_front();
    }
    all.records.push_back(record);
    if std::mem::replace(&mut all.is_handing_over, true) {
        return;
    }
    drop(all);
    let thread = std::thread::Builder::new().name("fal-realtime-log".into());
    if thread.spawn(|| hand_over(waiting)).is_err() {
        // There are no threads to be had: the next record tries again.
        waiting.lock().is_handing_over = false;
    }
}

fn hand_over(waiting: &Mutex<WaitingRecords>) {
    loop {
        let records = {
            let mut all = waiting.lock();
            if all.records.is_empty() {
                all.is_handing_over = false;
                return;
            }
            std::mem::take(&mut all.records)
        };
        // `None`: the interpreter is leaving.
        if super::attach(|py| log(py, records)).is_none() {
            waiting.lock().is_handing_over = false;
            return;
        }
    }
}

fn log(py: Python<'_>, records: VecDeque<LogRecord>) {
    let logged = || -> PyResult<()> {
        // Nobody who has not imported it can have asked to see these records, and not every program needs it.
        if !py.import("sys")?.getattr("modules")?.contains("logging")? {
            return Ok(());
        }
        let logger = py.import("logging")?.call_method1("getLogger", ("fal_realtime",))?;
        for record in records {
            let level = match record.level {
                Level::Debug => intern!(py, "debug"),
                Level::Info => intern!(py, "info"),
                Level::Warning => intern!(py, "warning"),
            };
            logger.call_method1(level, ("%s", record.text))?;
        }
        Ok(())
    };
    if let Err(error) = logged() {
        error.write_unraisable(py, Some(intern!(py, "the log records of fal_realtime")));
    }
}
