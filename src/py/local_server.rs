//! `LocalServer` of `fal_realtime._core`: the embedded server for `fal_realtime.testing`, which documents it to users.
//!
//! Conversion only. Waits give up the GIL; the server's own thread never takes it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::prelude::*;

use super::errors::py_result;
use crate::{
    core::endpoint::Endpoint,
    server::{Builtin, ColdStart, MintRecord, Response, Server, ServerConfig},
};

mod arguments;
mod job;
mod packer;
mod session;

use arguments::{check_close_code, close_after, duration, invalid, options, refusal};
use job::{PyJob, py_job};
use session::{LocalSession, PyHandshake, py_handshake};

/// The interval at which a wait checks for Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LocalServer>()?;
    module.add_class::<LocalSession>()?;
    module.add_function(wrap_pyfunction!(packer::encode_as_packer, module)?)?;
    module.add_function(wrap_pyfunction!(packer::decode_as_packer, module)?)
}

/// A running server. It stops when told or when nobody refers to it any more.
#[pyclass(frozen, module = "fal_realtime._core")]
struct LocalServer(Server);

/// A token request: path, body, target URL, status.
type PyMint = (String, String, Option<String>, u16);

#[pymethods]
impl LocalServer {
    #[new]
    #[pyo3(signature = (
        *, key, host, port, tls, token_form, refuse_in_band, session_timeout, buffering, emit_timings, max_message_size
    ))]
    #[expect(clippy::too_many_arguments, reason = "the options of the wrapper")]
    fn new(
        py: Python<'_>,
        key: String,
        host: &str,
        port: u16,
        tls: bool,
        token_form: &str,
        refuse_in_band: bool,
        session_timeout: Option<f64>,
        buffering: Option<usize>,
        emit_timings: bool,
        max_message_size: usize,
    ) -> PyResult<Self> {
        let config = ServerConfig {
            host: host.parse().map_err(|_| invalid("host", host, "an IP address"))?,
            port,
            key,
            tls,
            token_form: arguments::token_form(token_form)?,
            refuse_in_band,
            builtin: options(session_timeout, buffering, emit_timings)?,
            max_message_size,
        };
        Ok(Self(py.detach(|| Server::start(config))?))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.address().port()
    }

    #[getter]
    fn ca_file(&self) -> Option<String> {
        self.0.ca_file().map(|path| path.to_string_lossy().into_owned())
    }

    /// Refuses the name of an app that no client could ask for.
    #[staticmethod]
    fn check_name(py: Python<'_>, name: &str) -> PyResult<()> {
        py_result(py, Endpoint::parse_raw(name, None)).map(drop)
    }

    #[pyo3(signature = (name, builtin, *, session_timeout, buffering, emit_timings))]
    fn add_builtin(
        &self,
        name: &str,
        builtin: &str,
        session_timeout: Option<f64>,
        buffering: Option<usize>,
        emit_timings: bool,
    ) -> PyResult<()> {
        let Some(app) = Builtin::named(builtin) else {
            let names = Builtin::ALL.map(|(name, _)| name).join(", ");
            return Err(invalid("builtin", builtin, &format!("one of {names}")));
        };
        self.0.add_builtin(name, app, options(session_timeout, buffering, emit_timings)?);
        Ok(())
    }

    fn add_handler(&self, name: &str, handler: u32) {
        self.0.add_external(name, handler);
    }

    #[pyo3(signature = (timeout))]
    fn take_jobs(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Vec<PyJob>>> {
        let timeout = duration("timeout", timeout)?;
        let Some(jobs) = py.detach(|| self.0.take_jobs(timeout)) else { return Ok(None) };
        Ok(Some(jobs.into_iter().map(|job| py_job(py, job)).collect()))
    }

    fn send_to(&self, py: Python<'_>, session: u64, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let response = arguments::response(message)?;
        Ok(py.detach(|| self.0.respond(session, response)))
    }

    fn close_session(&self, session: u64, code: u16, reason: String) {
        self.0.respond(session, Response::Close(code, reason));
    }

    fn end_session(&self, session: u64) {
        self.0.respond(session, Response::End);
    }

    fn inputs_taken(&self, session: u64) {
        self.0.resume(session);
    }

    fn drop_connections(&self, abrupt: bool) {
        self.0.drop_connections(abrupt);
    }

    fn close_all(&self, code: u16, reason: &str) -> PyResult<()> {
        check_close_code(code)?;
        self.0.close_all(code, reason);
        Ok(())
    }

    fn send_binary(&self, data: &[u8]) {
        self.0.send_binary(Bytes::copy_from_slice(data));
    }

    fn send_text(&self, text: &str) {
        self.0.send_text(text);
    }

    fn refuse(
        &self,
        status: Option<u16>,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
        count: Option<u64>,
        app: Option<&str>,
    ) -> PyResult<()> {
        let app = self.served(app)?;
        let refusal = status.map(|status| refusal(status, headers, body)).transpose()?;
        self.0.refuse(app, refusal, count);
        Ok(())
    }

    fn set_silent(&self, is_silent: bool, app: Option<&str>) -> PyResult<()> {
        self.0.set_silent(self.served(app)?, is_silent);
        Ok(())
    }

    fn cold_start(&self, seconds: f64, once: bool, app: Option<&str>) -> PyResult<()> {
        let takes = duration("seconds", seconds)?;
        let cold = (!takes.is_zero()).then_some(ColdStart { takes, once });
        self.0.set_cold_start(self.served(app)?, cold);
        Ok(())
    }

    fn close_after(
        &self,
        messages: Option<u64>,
        code: Option<u16>,
        reason: &str,
        counted: &str,
        app: Option<&str>,
    ) -> PyResult<()> {
        let app = self.served(app)?;
        self.0.close_after(app, close_after(messages, code, reason, counted)?);
        Ok(())
    }

    fn sessions(&self, app: Option<&str>) -> PyResult<Vec<LocalSession>> {
        Ok(self.0.sessions(self.served(app)?).into_iter().map(LocalSession).collect())
    }

    fn set_paused(&self, paused: bool) {
        self.0.set_paused(paused);
    }

    fn expire_tokens(&self) {
        self.0.expire_tokens();
    }

    fn mint_failures(
        &self,
        count: u32,
        status: Option<u16>,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
    ) -> PyResult<()> {
        let failure = status.map(|status| refusal(status, headers, body)).transpose()?;
        self.0.fail_mints(count, failure);
        Ok(())
    }

    fn mint_delay(&self, seconds: f64) -> PyResult<()> {
        self.0.set_mint_delay(duration("seconds", seconds)?);
        Ok(())
    }

    fn handshake_delay(&self, seconds: f64) -> PyResult<()> {
        self.0.set_handshake_delay(duration("seconds", seconds)?);
        Ok(())
    }

    fn stop_listening(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.stop_listening())?)
    }

    fn start_listening(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.start_listening())?)
    }

    #[pyo3(signature = (count, timeout))]
    fn wait_for_connections(&self, py: Python<'_>, count: usize, timeout: f64) -> PyResult<bool> {
        let deadline = Instant::now() + duration("timeout", timeout)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if py.detach(|| self.0.wait_for_connections(count, left.min(SIGNAL_INTERVAL))) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            py.check_signals()?;
        }
    }

    #[getter]
    fn connections(&self) -> usize {
        self.0.connections()
    }

    #[getter]
    fn connections_total(&self) -> u64 {
        self.0.connections_total()
    }

    #[getter]
    fn tokens_minted(&self) -> u64 {
        self.0.tokens_minted()
    }

    #[getter]
    fn mint_requests(&self) -> u64 {
        self.0.mint_requests()
    }

    #[getter]
    fn messages_received(&self) -> u64 {
        self.0.messages_received()
    }

    #[getter]
    fn messages_sent(&self) -> u64 {
        self.0.messages_sent()
    }

    #[getter]
    fn pings_received(&self) -> u64 {
        self.0.pings_received()
    }

    fn handshakes(&self) -> Vec<PyHandshake> {
        self.0.handshakes().iter().map(|record| py_handshake(record)).collect()
    }

    fn mints(&self) -> Vec<PyMint> {
        let tuple = |MintRecord { path, body, target_url, status }| (path, body, target_url, status);
        self.0.mints().into_iter().map(tuple).collect()
    }
}

impl LocalServer {
    /// The name of an app that is served; without one, none.
    fn served<'a>(&self, app: Option<&'a str>) -> PyResult<Option<&'a str>> {
        match app.map(|app| app.trim_matches('/')) {
            Some(name) if !self.0.has_app(name) => {
                Err(invalid("app", name, "the name of an app that is served"))
            }
            name => Ok(name),
        }
    }
}
