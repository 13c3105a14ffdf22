//! Native methods that introspection takes for what they are.
//!
//! `inspect.iscoroutinefunction`, and with it retry decorators and mocks, asks the code of a function; a method of a native
//! class has none, and no docstring or signature of its own. So the public classes hold, in the place of a native method, an
//! object that is called like it, without a Python frame between, and that has the attributes of a Python function: its
//! template, which is declared there and never run (see `_native.py`).

use std::{
    mem::{offset_of, size_of},
    ptr,
};

use pyo3::{exceptions::PySystemError, ffi, prelude::*, sync::PyOnceLock, types::PyType};

// SAFETY: the declaration is that of CPython's documentation, for all versions.
unsafe extern "C" {
    /// <https://docs.python.org/3/c-api/method.html#c.PyMethod_New>; PyO3 does not declare it.
    fn PyMethod_New(function: *mut ffi::PyObject, instance: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// The object. What its attributes are is the business of Python, which sets them.
#[repr(C)]
struct Method {
    base: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    native: *mut ffi::PyObject,
    dict: *mut ffi::PyObject,
}

/// Makes an object that is called like `native`, an unbound method.
#[pyfunction]
pub(super) fn method<'py>(py: Python<'py>, native: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let class = class(py)?.as_type_ptr();
    // SAFETY: `class` is the type below, whose instances are a `Method`; the allocation is checked, and zeroed behind its head.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        if let Some(method) = object.cast::<Method>().as_mut() {
            method.vectorcall = Some(vectorcall);
            method.native = native.clone().into_ptr();
        }
        Bound::from_owned_ptr_or_err(py, object)
    }
}

/// The type of the objects.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.get_or_try_init(py, || make_class(py)).map(|class| class.bind(py))
}

fn make_class(py: Python<'_>) -> PyResult<Py<PyType>> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    let mut members = [
        member(c"__vectorcalloffset__", offset_of!(Method, vectorcall)),
        member(c"__dictoffset__", offset_of!(Method, dict)),
        ffi::PyMemberDef::default(),
    ];
    let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut _),
        slot(ffi::Py_tp_descr_get, descr_get as *mut _),
        slot(ffi::Py_tp_dealloc, dealloc as *mut _),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    // `METHOD_DESCRIPTOR`: who calls it on an instance makes no bound method for that.
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_VECTORCALL | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
    let mut spec = ffi::PyType_Spec {
        name: c"fal_realtime._core.Method".as_ptr(),
        basicsize: size_of::<Method>() as i32,
        itemsize: 0,
        #[allow(clippy::unnecessary_cast)] // an `unsigned long`, which has 32 bits on Windows
        flags: flags as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: `spec` describes `Method`, whose first field is an object's head; CPython copies the slots and the members, and
    // the name is static.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))? };
    class
        .cast_into::<PyType>()
        .map(Bound::unbind)
        .map_err(|_| PySystemError::new_err("a type specification made no type"))
}

/// Calls the native method with the same arguments.
///
/// # Safety
///
/// `method` is a `Method`, and the rest is what the vectorcall protocol gives.
unsafe extern "C" fn vectorcall(
    method: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see above; `native` was set when the object was made.
    unsafe { ffi::PyObject_Vectorcall((*method.cast::<Method>()).native, arguments, count, names) }
}

/// Looked up on an instance it is a bound method, on the class itself.
///
/// # Safety
///
/// All are objects or null, as the descriptor protocol gives them.
unsafe extern "C" fn descr_get(
    method: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    _owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: see above.
    unsafe {
        if instance.is_null() {
            ffi::Py_INCREF(method);
            return method;
        }
        PyMethod_New(method, instance)
    }
}

/// Lets go of what it holds. It is no part of the garbage collector: the class that holds it lives as long as the module.
///
/// # Safety
///
/// `object` is a `Method` to which there is no reference any more.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: see above; an instance of a heap type holds a reference to its type.
    unsafe {
        let method = object.cast::<Method>();
        let class = ffi::Py_TYPE(object);
        ffi::Py_XDECREF((*method).native);
        ffi::Py_XDECREF((*method).dict);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}
