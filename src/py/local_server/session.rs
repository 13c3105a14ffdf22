//! `LocalSession` of `fal_realtime._core`: one open connection of a `LocalServer`.

use bytes::Bytes;
use pyo3::prelude::*;

use super::arguments::{check_close_code, close_after};
use crate::server::{HandshakeRecord, SessionHandle};

/// A handshake: path, query, headers, credential, status.
pub(super) type PyHandshake = (String, Vec<(String, String)>, Vec<(String, String)>, &'static str, u16);

pub(super) fn py_handshake(record: &HandshakeRecord) -> PyHandshake {
    let HandshakeRecord { path, query, headers, credential, status } = record.clone();
    (path, query, headers, credential.name(), status)
}

/// An open connection, or one that was.
#[pyclass(frozen, module = "fal_realtime._core")]
pub(super) struct LocalSession(pub(super) SessionHandle);

#[pymethods]
impl LocalSession {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn app(&self) -> &str {
        self.0.app()
    }

    fn handshake(&self) -> PyHandshake {
        py_handshake(self.0.handshake())
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    #[getter]
    fn messages_received(&self) -> u64 {
        self.0.messages_received()
    }

    #[getter]
    fn messages_sent(&self) -> u64 {
        self.0.messages_sent()
    }

    fn send_binary(&self, data: &[u8]) {
        self.0.send_binary(Bytes::copy_from_slice(data));
    }

    fn send_text(&self, text: &str) {
        self.0.send_text(text.to_owned());
    }

    fn close(&self, code: u16, reason: &str) -> PyResult<()> {
        check_close_code(code)?;
        self.0.close(code, reason);
        Ok(())
    }

    fn close_after(
        &self,
        messages: Option<u64>,
        code: Option<u16>,
        reason: &str,
        counted: &str,
    ) -> PyResult<()> {
        self.0.close_after(close_after(messages, code, reason, counted)?);
        Ok(())
    }

    fn drop_connection(&self, abrupt: bool) {
        self.0.drop_connection(abrupt);
    }

    fn set_paused(&self, is_paused: bool) {
        self.0.set_paused(is_paused);
    }

    fn set_silent(&self, is_silent: bool) {
        self.0.set_silent(is_silent);
    }
}
