//! The Python extension module `fal_realtime._core`: registration only.

use pyo3::prelude::*;

mod codec;
mod decode;
mod encode;
mod local_server;

/// The native half of `fal_realtime`.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    codec::register(module)?;
    local_server::register(module)?;
    Ok(())
}
