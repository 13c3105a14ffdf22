//! A token for the caller's own use, such as a browser that it serves.

use std::sync::Arc;

use pyo3::{prelude::*, types::PyTuple};

use super::errors::py_result;
use crate::{error::Result, net::token::TokenSource};

/// A token that is wanted.
pub(super) struct Wish {
    pub(super) app_path: String,
    pub(super) source: Arc<dyn TokenSource>,
}

impl Wish {
    pub(super) async fn granted(self) -> Minted {
        Minted(self.source.fetch().await.map(|token| (self.app_path, token)))
    }
}

/// The outcome of a token request: an error becomes an exception where there is the GIL.
pub(super) struct Minted(Result<(String, String)>);

impl<'py> IntoPyObject<'py> for Minted {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        py_result(py, self.0)?.into_pyobject(py)
    }
}
