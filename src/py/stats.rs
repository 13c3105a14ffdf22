//! The counters and durations of connections, as Python sees them.

use std::{sync::Arc, time::Duration};

use pyo3::{
    exceptions::PyValueError,
    intern,
    prelude::*,
    types::{PyDict, PyString, PyType},
};

use crate::{
    core::{
        histogram::{Bucket, Durations, Histogram},
        stats::Stats,
    },
    net::totals::Totals,
};

/// Counters as `connection.stats()` gives them.
pub(super) fn counters<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in [
        (intern!(py, "accepted"), stats.accepted),
        (intern!(py, "written"), stats.written),
        (intern!(py, "unanswered"), stats.unanswered),
        (intern!(py, "coalesced"), stats.coalesced),
        (intern!(py, "dropped"), stats.dropped),
        (intern!(py, "failed"), stats.failed),
        (intern!(py, "withdrawn"), stats.withdrawn),
        (intern!(py, "pending"), stats.pending),
        (intern!(py, "received"), stats.received),
        (intern!(py, "delivered"), stats.delivered),
        (intern!(py, "received_dropped"), stats.received_dropped),
        (intern!(py, "late"), stats.late),
        (intern!(py, "received_pending"), stats.received_pending),
        (intern!(py, "reconnects"), stats.reconnects),
        (intern!(py, "bytes_sent"), stats.bytes_sent),
        (intern!(py, "bytes_received"), stats.bytes_received),
        (intern!(py, "errors_dropped"), stats.errors_dropped),
    ] {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// The counters of several connections, which have counters of openings, too.
fn all_counters<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = counters(py, stats)?;
    dict.set_item(intern!(py, "openings"), stats.openings)?;
    dict.set_item(intern!(py, "opening_failures"), stats.opening_failures)?;
    Ok(dict)
}

/// `_core.Totals`: the sums over connections, over those that are gone too.
#[pyclass(frozen, name = "Totals", module = "fal_realtime._core")]
pub(super) struct PyTotals(pub(super) Arc<Totals>);

#[pymethods]
impl PyTotals {
    #[new]
    fn new() -> Self {
        Self(Totals::new())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = Totals::current(&self.0);
        let mut sum = Stats::default();
        py.detach(|| totals.by_app().values().for_each(|app| sum += app.stats));
        let dict = all_counters(py, &sum)?;
        let latencies = totals.latencies();
        for (name, histogram) in [
            (intern!(py, "request_latency"), &latencies.request),
            (intern!(py, "opening_time"), &latencies.opening),
            (intern!(py, "ping_latency"), &latencies.ping),
        ] {
            dict.set_item(name, LatencyHistogram::of(histogram))?;
        }
        Ok(dict)
    }

    /// By app: the counters, and how many connections are in which state.
    fn by_app<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = Totals::current(&self.0);
        let dict = PyDict::new(py);
        for (app, sums) in py.detach(|| totals.by_app()) {
            dict.set_item(PyString::new(py, &app), (all_counters(py, &sums.stats)?, sums.states))?;
        }
        Ok(dict)
    }
}

/// Durations in buckets, as they were when it was asked for.
#[pyclass(frozen, eq, hash, module = "fal_realtime")]
#[derive(PartialEq, Eq, Hash)]
pub(super) struct LatencyHistogram(Durations);

/// A bucket for Python: its edges in seconds, and how many durations are in it.
type PyBucket = (f64, f64, u64);

impl LatencyHistogram {
    fn of(histogram: &Histogram) -> Self {
        Self(histogram.snapshot())
    }
}

#[pymethods]
impl LatencyHistogram {
    #[new]
    #[pyo3(signature = (buckets = Vec::new(), sum = 0.0))]
    fn new(buckets: Vec<PyBucket>, sum: f64) -> PyResult<Self> {
        let read = |(above, to, count): PyBucket| {
            let [edge, another] = [above, to].map(Duration::try_from_secs_f64);
            Some(Bucket { above: edge.ok()?, to: another.ok()?, count })
        };
        let wrong = |above: f64, to: f64| {
            PyValueError::new_err(format!(
                "buckets must be those of a LatencyHistogram: it has none above {above} and up to {to} s"
            ))
        };
        let known = buckets
            .into_iter()
            .map(|bucket| read(bucket).ok_or_else(|| wrong(bucket.0, bucket.1)))
            .collect::<PyResult<Vec<_>>>()?;
        let sum = Duration::try_from_secs_f64(sum).map_err(|_| {
            PyValueError::new_err(format!("sum must be a number of seconds from 0 on, not {sum}"))
        })?;
        Durations::of(known, sum)
            .map(Self)
            .map_err(|bucket| wrong(bucket.above.as_secs_f64(), bucket.to.as_secs_f64()))
    }

    fn __add__(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> (Py<PyType>, (Vec<PyBucket>, f64)) {
        let durations = slf.get();
        (slf.get_type().unbind(), (durations.buckets(), durations.sum()))
    }

    /// How many durations were counted.
    #[getter]
    fn count(&self) -> u64 {
        self.0.count()
    }

    /// Their sum, in seconds.
    #[getter]
    fn sum(&self) -> f64 {
        self.0.sum().as_secs_f64()
    }

    /// The buckets that are not empty.
    #[getter]
    fn buckets(&self) -> Vec<PyBucket> {
        let buckets = self.0.buckets();
        buckets.map(|bucket| (bucket.above.as_secs_f64(), bucket.to.as_secs_f64(), bucket.count)).collect()
    }

    fn quantile(&self, q: f64) -> PyResult<Option<f64>> {
        if !(0.0..=1.0).contains(&q) {
            return Err(PyValueError::new_err(format!("q must be from 0 to 1, such as 0.99, not {q}")));
        }
        Ok(self.0.quantile(q).map(|duration| duration.as_secs_f64()))
    }

    fn __repr__(&self) -> String {
        let count = self.0.count();
        let said = [0.5, 0.99].map(|q| self.0.quantile(q));
        match said {
            [Some(median), Some(p99)] => {
                format!("<LatencyHistogram of {count}: p50 {median:?}, p99 {p99:?}>")
            }
            _ => "<LatencyHistogram of none>".to_owned(),
        }
    }
}
