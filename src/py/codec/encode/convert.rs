//! Values of other than exact builtin types: what they are encoded as.

use pyo3::{
    exceptions::{PyBufferError, PyTypeError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{
        PyByteArray, PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PyList, PyMemoryView,
        PyString, PyTime, PyTuple, PyType,
    },
};

use self::classes::Class;
use super::{
    buffer::Buffer,
    failure::{EncodeFailure, Outcome},
};
use crate::py::codec::{ext::ExtType, timestamp::Timestamp};

mod classes;
mod iso;
mod models;

/// The accepted types, for the error message.
const ACCEPTED: &str = "None, bool, int, float, str, bytes-like objects, sequences, sets, mappings, dataclasses, \
                        pydantic models, msgspec and attrs classes, Enum, UUID, Decimal, dates and times, paths, \
                        URLs, NumPy scalars and ExtType";

/// The value to encode for another.
pub(super) enum Converted<'py> {
    /// This other value, of any type.
    Value(Bound<'py, PyAny>),
    /// A map with these entries.
    Map(Bound<'py, PyDict>),
    /// An array of these items.
    List(Bound<'py, PyList>),
    /// An array of these items.
    Tuple(Bound<'py, PyTuple>),
    /// The value itself, which is an instance of a subclass of `str`.
    Str,
    /// The value itself, which is an instance of a subclass of `int`.
    Int,
    /// A float.
    Float(f64),
    /// A str.
    Text(String),
    /// A timestamp extension.
    Timestamp(Timestamp),
    /// An extension.
    Ext(Bound<'py, ExtType>),
    /// The bytes of this buffer.
    Buffer(Buffer<'py>),
}

/// Finds out what to encode for `value`; with `timestamps`, an aware `datetime` is one. May run Python code.
pub(super) fn convert<'py>(value: &Bound<'py, PyAny>, timestamps: bool) -> Outcome<Converted<'py>> {
    let py = value.py();
    if let Some(moment) = moment(value, timestamps)? {
        return Ok(moment);
    }
    if let Ok(ext) = value.cast::<ExtType>() {
        return Ok(Converted::Ext(ext.clone()));
    }
    // Before the subclasses of builtins: an Enum may be one, and its value is what counts.
    if value.is_instance(enum_class(py)?)? {
        return Ok(Converted::Value(value.getattr(intern!(py, "value"))?));
    }
    match classes::of(&value.get_type())? {
        Class::Text => return Ok(Converted::Value(value.str()?.into_any())),
        Class::Attribute(name) => return Ok(Converted::Value(value.getattr(name)?)),
        Class::Ext { code, data } => return ext(value, code, data),
        Class::Timestamp => return Ok(Converted::Timestamp(Timestamp::from_msgpack(value)?)),
        Class::NumpyScalar => return numpy_scalar(value),
        Class::NumpyArray => {
            return Err(EncodeFailure::refused(
                "a NumPy array has no msgpack form; send its bytes (array.tobytes()) or its numbers (array.tolist())",
            ));
        }
        Class::Secret => {
            return Err(EncodeFailure::refused(
                "a secret is not sent unasked; send what value.get_secret_value() gives",
            ));
        }
        // Not by the buffer protocol either, which NumPy's scalars have.
        Class::Formless => return Err(not_encodable(value)),
        Class::Unknown => {}
    }
    if let Some(model) = models::convert(value)? {
        return Ok(model);
    }
    if let Some(builtin) = builtin_subclass(value)? {
        return Ok(builtin);
    }
    if let Some(fields) = models::dataclass(value)? {
        return Ok(fields);
    }
    match Buffer::of(value) {
        Ok(Some(buffer)) => return Ok(Converted::Buffer(buffer)),
        Ok(None) => {}
        Err(error) if error.is_instance_of::<PyBufferError>(py) => {
            return Err(EncodeFailure::refused(error.value(py).to_string()));
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(collection) = collection(value)? {
        return Ok(collection);
    }
    Err(not_encodable(value))
}

/// Finds out what Python's `msgpack` would pack for `value`; raises what it raises.
pub(super) fn convert_for_packer<'py>(value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    let class = value.get_type();
    match classes::of(&class)? {
        Class::Ext { code, data } => return ext(value, code, data),
        Class::Timestamp => return Ok(Converted::Timestamp(Timestamp::from_msgpack(value)?)),
        _ => {}
    }
    if let Some(builtin) = builtin_subclass(value)? {
        return Ok(builtin);
    }
    if (value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>())
        && let Some(buffer) = Buffer::of(value)?
    {
        if !buffer.is_contiguous() {
            return Err(PyBufferError::new_err("memoryview: underlying buffer is not C-contiguous").into());
        }
        return Ok(Converted::Buffer(buffer));
    }
    let name = String::from_utf8_lossy(classes::c_name(&class)).into_owned();
    Err(PyTypeError::new_err(format!("can not serialize '{name}' object")).into())
}

/// Dates, times and durations.
fn moment<'py>(value: &Bound<'py, PyAny>, timestamps: bool) -> Outcome<Option<Converted<'py>>> {
    Ok(Some(if let Ok(datetime) = value.cast::<PyDateTime>() {
        if timestamps {
            return match Timestamp::from_datetime(datetime)? {
                Some(timestamp) => Ok(Some(Converted::Timestamp(timestamp))),
                None => Err(EncodeFailure::refused(
                    "a naive datetime names no instant, which a timestamp does; attach a timezone, for example \
                     value.replace(tzinfo=timezone.utc)",
                )),
            };
        }
        Converted::Text(iso::datetime(datetime)?)
    } else if let Ok(date) = value.cast::<PyDate>() {
        Converted::Text(iso::date(date))
    } else if let Ok(time) = value.cast::<PyTime>() {
        Converted::Text(iso::time(time)?)
    } else if let Ok(duration) = value.cast::<PyDelta>() {
        Converted::Text(iso::duration(duration))
    } else {
        return Ok(None);
    }))
}

fn builtin_subclass<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Converted<'py>>> {
    Ok(Some(if value.is_instance_of::<PyString>() {
        Converted::Str
    } else if value.is_instance_of::<PyInt>() {
        Converted::Int
    } else if let Ok(float) = value.cast::<PyFloat>() {
        Converted::Float(float.value())
    } else if value.is_instance_of::<PyDict>() {
        // A subclass may keep another order (OrderedDict), or other entries, than its base.
        Converted::Map(entries(value)?)
    } else if let Ok(list) = value.cast::<PyList>() {
        Converted::List(list.clone())
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        Converted::Tuple(tuple.clone())
    } else {
        return Ok(None);
    }))
}

/// The collections of `collections.abc`: sets, mappings and sequences that are no builtins.
fn collection<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Converted<'py>>> {
    static CLASSES: [PyOnceLock<Py<PyType>>; 3] = [const { PyOnceLock::new() }; 3];
    let py = value.py();
    let is = |index: usize, name| -> PyResult<bool> {
        value.is_instance(CLASSES[index].import(py, "collections.abc", name)?)
    };
    if is(0, "Mapping")? {
        return Ok(Some(Converted::Map(entries(value)?)));
    }
    if is(1, "Set")? || is(2, "Sequence")? {
        let items = PyList::empty(py);
        for item in value.try_iter()? {
            items.append(item?)?;
        }
        return Ok(Some(Converted::List(items)));
    }
    Ok(None)
}

/// The pairs that the `items()` of a mapping are.
fn entries<'py>(mapping: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyDict>> {
    let py = mapping.py();
    let entries = PyDict::new(py);
    for entry in mapping.call_method0(intern!(py, "items"))?.try_iter()? {
        let (key, item) = entry?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        entries.set_item(key, item)?;
    }
    Ok(entries)
}

/// Another package's extension type.
fn ext<'py>(value: &Bound<'py, PyAny>, code: &str, data: &str) -> Outcome<Converted<'py>> {
    let (code, data) = (value.getattr(code)?.extract::<i8>(), value.getattr(data)?);
    let data = match data.cast_into::<PyBytes>() {
        Ok(bytes) => Ok(bytes),
        Err(other) => match Buffer::of(&other.into_inner())? {
            Some(buffer) => PyBytes::new_with(value.py(), buffer.len(), |to| buffer.copy_to(to.as_mut_ptr())),
            None => return Err(not_encodable(value)),
        },
    }?;
    match code {
        Ok(code) => Ok(Converted::Ext(Bound::new(value.py(), ExtType { code, data: data.unbind() })?)),
        Err(_) => Err(EncodeFailure::refused("an extension's code must be from -128 to 127")),
    }
}

fn enum_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    ENUM.import(py, "enum", "Enum")
}

fn numpy_scalar<'py>(value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    let item = value.call_method0(intern!(value.py(), "item"))?;
    // `longdouble` has no counterpart and answers itself.
    if !matches!(classes::of(&item.get_type())?, Class::NumpyScalar | Class::Formless) {
        return Ok(Converted::Value(item));
    }
    item.extract::<f64>().map(Converted::Float).map_err(|_| not_encodable(value))
}

#[cold]
fn not_encodable(value: &Bound<'_, PyAny>) -> EncodeFailure {
    match value.get_type().qualname() {
        Ok(kind) => {
            EncodeFailure::refused(format!("cannot encode object of type '{kind}'; accepted are {ACCEPTED}"))
        }
        Err(error) => error.into(),
    }
}

/// A short form of `value` for an error message.
pub(super) fn shown(value: &Bound<'_, PyAny>) -> String {
    const MAX_SHOWN_CHARACTERS: usize = 40;
    match value.repr() {
        Ok(repr) => {
            let repr = repr.to_string_lossy();
            let short: String = repr.chars().take(MAX_SHOWN_CHARACTERS).collect();
            if short.len() < repr.len() { format!("{short}…") } else { short }
        }
        Err(_) => "this key".to_owned(),
    }
}
