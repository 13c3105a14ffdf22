//! Lets the crate ask which Python it is built for (`cfg(Py_3_14)` and the like), as PyO3 itself does.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
