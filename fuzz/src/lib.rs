//! What the targets that need Python share: an interpreter that knows the package's exceptions.

use std::{ffi::CString, sync::Once};

use pyo3::prelude::*;

/// Runs `work` with an interpreter in which the package's exceptions can be imported. The package itself is not:
/// it would load a second, uninstrumented copy of the code that is being fuzzed.
pub fn with_python<T>(work: impl for<'py> FnOnce(Python<'py>) -> T) -> T {
    static PREPARED: Once = Once::new();
    Python::attach(|py| {
        PREPARED.call_once(|| {
            let code = format!(
                "import sys, types\n\
                 package = types.ModuleType('fal_realtime')\n\
                 package.__path__ = [{:?}]\n\
                 sys.modules['fal_realtime'] = package\n\
                 import fal_realtime._for_core\n",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../python/fal_realtime")
            );
            py.run(&CString::new(code).expect("no zero byte"), None, None).expect("the package's exceptions");
        });
        work(py)
    })
}

/// A message that is refused must be refused with this exception and no other.
pub fn assert_raised(py: Python<'_>, error: &PyErr, name: &str) {
    let found = error.get_type(py).name().map(|name| name.to_string());
    assert!(found.as_deref().is_ok_and(|found| found == name), "{error} is no {name}");
}
