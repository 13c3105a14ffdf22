//! The kinds of operation, one for each method that returns an operation.

use pyo3::{exceptions::PyException, prelude::*};

use crate::{
    core::{
        inbox::Unmatched,
        message::{Outgoing, RequestKey},
    },
    net::handle::AwaitedOpening,
    py::decoding::Decoding,
};

/// The kind of an operation: what is wanted.
pub(in crate::py) enum OperationKind {
    Send(Option<Outgoing>),
    /// Boxed, so that operations of the other kinds are small.
    Request(Box<Request>),
    Receive {
        what: Wanted,
        timeout: Option<f64>,
    },
    Open {
        /// Since it was asked to open.
        opening: Option<AwaitedOpening>,
    },
    /// With the number of failures that others had been told when the waiting began.
    Drain {
        told_before: Option<u64>,
    },
    /// Nothing under way any more.
    Finish,
    Closed,
    /// What went wrong at the call. It is raised where the call is awaited, as by any coroutine.
    Failed(Box<Failed>),
}

/// Which result is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::py) enum Wanted {
    /// The oldest.
    Next,
    /// The oldest, by an iteration.
    Iterated,
    /// The newest; older ones are dropped.
    Newest,
}

/// An operation that failed before it began, by the name of its method.
pub(in crate::py) struct Failed {
    pub(super) name: &'static str,
    pub(super) error: Option<PyErr>,
}

/// A message that is sent, and the answer to it.
pub(in crate::py) struct Request {
    pub(super) message: Option<Outgoing>,
    pub(super) id: String,
    /// Since it is pending.
    pub(super) key: Option<RequestKey>,
    pub(super) timeout: Option<f64>,
    /// Results that belong to no request and had come when it began.
    pub(super) unmatched_before: Unmatched,
    /// The answer, in an asynchronous decoder.
    pub(super) decoding: Option<Decoding>,
}

impl OperationKind {
    /// The operation `name`, or its failure.
    pub(in crate::py) fn or_failed(
        py: Python<'_>,
        name: &'static str,
        kind: PyResult<Self>,
    ) -> PyResult<Self> {
        kind.or_else(|error| {
            // Ctrl-C and its like wait for nobody.
            if !error.is_instance_of::<PyException>(py) {
                return Err(error);
            }
            Ok(Self::Failed(Box::new(Failed { name, error: Some(error) })))
        })
    }

    /// The method that it is of.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Send(_) => "send",
            Self::Request(_) => "request",
            Self::Receive { what: Wanted::Next, .. } => "recv",
            Self::Receive { what: Wanted::Iterated, .. } => "__anext__",
            Self::Receive { what: Wanted::Newest, .. } => "latest",
            Self::Open { .. } => "open",
            Self::Drain { .. } => "drain",
            Self::Finish => "_finished",
            Self::Closed => "wait_closed",
            Self::Failed(failed) => failed.name,
        }
    }

    pub(in crate::py) fn request(message: Outgoing, id: String, timeout: Option<f64>) -> Self {
        Self::Request(Box::new(Request {
            message: Some(message),
            id,
            key: None,
            timeout,
            unmatched_before: Unmatched::default(),
            decoding: None,
        }))
    }
}
