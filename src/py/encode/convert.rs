//! Values of other than exact builtin types: what they are encoded as.

use std::ffi::CStr;

use pyo3::{
    exceptions::PyBufferError,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDateTime, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType},
};

use super::{
    buffer::Buffer,
    failure::{Failure, Outcome},
};
use crate::py::codec::{ext::ExtType, timestamp::Timestamp};

/// What is accepted, for the error message.
const ACCEPTED: &str = "None, bool, int, float, str, bytes-like objects, list, tuple, dict, dataclasses, models with \
                        model_dump(), Enum, UUID, datetime, NumPy scalars and ExtType";

/// What to encode for a value.
pub(super) enum Converted<'py> {
    /// This other value, of any type.
    Value(Bound<'py, PyAny>),
    /// A map with these entries.
    Map(Bound<'py, PyDict>),
    /// The value itself, as an array.
    List(Bound<'py, PyList>),
    /// The value itself, as an array.
    Tuple(Bound<'py, PyTuple>),
    /// The value itself, which is an instance of a subclass of `str`.
    Str,
    /// The value itself, which is an instance of a subclass of `int`.
    Int,
    /// A float.
    Float(f64),
    /// A timestamp extension.
    Timestamp(Timestamp),
    /// An extension.
    Ext(Bound<'py, ExtType>),
    /// The bytes of this buffer.
    Buffer(Buffer<'py>),
}

/// Finds out what to encode for `value`. May run Python code.
pub(super) fn convert<'py>(value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    let py = value.py();
    if let Ok(ext) = value.cast::<ExtType>() {
        return Ok(Converted::Ext(ext.clone()));
    }
    // Before the subclasses of builtins: an Enum may be one, and its value is what counts.
    if value.is_instance(enum_class(py)?)? {
        return Ok(Converted::Value(value.getattr(intern!(py, "value"))?));
    }
    match Numpy::of(&value.get_type()) {
        Numpy::Scalar => return numpy_scalar(value),
        Numpy::Array => {
            return Err(Failure::refused(
                "a NumPy array has no msgpack form; send its bytes (array.tobytes()) or its numbers (array.tolist())",
            ));
        }
        // Not by the buffer protocol either, which NumPy's scalars have.
        Numpy::Other => return Err(not_encodable(value)),
        Numpy::No => {}
    }
    if let Some(builtin) = builtin_subclass(value)? {
        return Ok(builtin);
    }
    if value.get_type().hasattr(intern!(py, "model_dump"))? {
        return Ok(Converted::Value(value.call_method0(intern!(py, "model_dump"))?));
    }
    if value.get_type().hasattr(intern!(py, "__dataclass_fields__"))? {
        return dataclass(value).map(Converted::Map);
    }
    if let Ok(datetime) = value.cast::<PyDateTime>() {
        return match Timestamp::from_datetime(datetime)? {
            Some(timestamp) => Ok(Converted::Timestamp(timestamp)),
            None => Err(Failure::refused(
                "a naive datetime names no instant; attach a timezone, for example \
                 value.replace(tzinfo=timezone.utc)",
            )),
        };
    }
    if value.is_instance(uuid_class(py)?)? {
        return Ok(Converted::Value(value.str()?.into_any()));
    }
    match Buffer::of(value) {
        Ok(Some(buffer)) => Ok(Converted::Buffer(buffer)),
        Ok(None) => Err(not_encodable(value)),
        Err(error) if error.is_instance_of::<PyBufferError>(py) => {
            Err(Failure::refused(error.value(py).to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn builtin_subclass<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Converted<'py>>> {
    Ok(Some(if value.is_instance_of::<PyString>() {
        Converted::Str
    } else if value.is_instance_of::<PyInt>() {
        Converted::Int
    } else if let Ok(float) = value.cast::<PyFloat>() {
        Converted::Float(float.value())
    } else if let Ok(dict) = value.cast::<PyDict>() {
        // A subclass may keep another order (OrderedDict), or other entries, than its base.
        let entries = PyDict::new(value.py());
        for entry in dict.call_method0(intern!(value.py(), "items"))?.try_iter()? {
            let (key, item) = entry?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            entries.set_item(key, item)?;
        }
        Converted::Map(entries)
    } else if let Ok(list) = value.cast::<PyList>() {
        Converted::List(list.clone())
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        Converted::Tuple(tuple.clone())
    } else {
        return Ok(None);
    }))
}

fn dataclass<'py>(value: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyDict>> {
    static FIELDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let entries = PyDict::new(py);
    for field in FIELDS.import(py, "dataclasses", "fields")?.call1((value,))?.try_iter()? {
        let name = field?.getattr(intern!(py, "name"))?.cast_into::<PyString>().map_err(PyErr::from)?;
        entries.set_item(&name, value.getattr(&name)?)?;
    }
    Ok(entries)
}

fn enum_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    ENUM.import(py, "enum", "Enum")
}

fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    UUID.import(py, "uuid", "UUID")
}

/// What a type has to do with NumPy, which is told by names, so that NumPy need not be there.
enum Numpy {
    No,
    Array,
    /// A number, a bool or a string.
    Scalar,
    /// A NumPy scalar without a Python counterpart that would keep its meaning, such as `datetime64`.
    Other,
}

impl Numpy {
    fn of(class: &Bound<'_, PyType>) -> Self {
        for base in class.mro().iter() {
            let Ok(base) = base.cast_into::<PyType>() else { continue };
            // SAFETY: every type has a name, which lives as long as the type; a type that is defined in C names
            // its module in it.
            let name = unsafe { CStr::from_ptr((*base.as_type_ptr()).tp_name) };
            match name.to_bytes() {
                b"numpy.ndarray" => return Self::Array,
                b"numpy.datetime64" | b"numpy.timedelta64" | b"numpy.void" => return Self::Other,
                b"numpy.number" | b"numpy.bool" | b"numpy.bool_" | b"numpy.character" => return Self::Scalar,
                _ => {}
            }
        }
        Self::No
    }
}

fn numpy_scalar<'py>(value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    let item = value.call_method0(intern!(value.py(), "item"))?;
    // `longdouble` has no counterpart and answers itself.
    if matches!(Numpy::of(&item.get_type()), Numpy::No) {
        return Ok(Converted::Value(item));
    }
    item.extract::<f64>().map(Converted::Float).map_err(|_| not_encodable(value))
}

#[cold]
fn not_encodable(value: &Bound<'_, PyAny>) -> Failure {
    match value.get_type().qualname() {
        Ok(kind) => {
            Failure::refused(format!("cannot encode object of type '{kind}'; accepted are {ACCEPTED}"))
        }
        Err(error) => error.into(),
    }
}

/// A short form of `value` for an error message.
pub(super) fn shown(value: &Bound<'_, PyAny>) -> String {
    const MOST: usize = 40;
    match value.repr() {
        Ok(repr) => {
            let repr = repr.to_string_lossy();
            let short: String = repr.chars().take(MOST).collect();
            if short.len() < repr.len() { format!("{short}…") } else { short }
        }
        Err(_) => "this key".to_owned(),
    }
}
