//! Objects with named fields: pydantic's models, msgspec's and attrs' classes, dataclasses.

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyList, PyString, PyTuple},
};

use super::{super::failure::Outcome, Converted};

/// The dict that a model is encoded as: its fields by the names that they have on the wire, with their values as Python
/// objects, so that `bytes` stay bytes.
pub(super) fn convert<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Converted<'py>>> {
    let py = value.py();
    let class = value.get_type();
    let has = |name: &Bound<'py, PyString>| class.hasattr(name);
    let by_alias = || {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "by_alias"), true)?;
        PyResult::Ok(options)
    };
    let pydantic = has(intern!(py, "__pydantic_serializer__"))?;
    let dumped = if has(intern!(py, "model_dump"))? {
        let options = if pydantic { Some(by_alias()?) } else { None };
        value.call_method(intern!(py, "model_dump"), (), options.as_ref())?
    } else if pydantic {
        // One of pydantic's dataclasses.
        let serializer = class.getattr(intern!(py, "__pydantic_serializer__"))?;
        serializer.call_method(intern!(py, "to_python"), (value,), Some(&by_alias()?))?
    } else if has(intern!(py, "__fields_set__"))? && has(intern!(py, "dict"))? {
        // Version 1 of pydantic.
        value.call_method(intern!(py, "dict"), (), Some(&by_alias()?))?
    } else if has(intern!(py, "__struct_encode_fields__"))? {
        return struct_fields(value).map(Some);
    } else if has(intern!(py, "__attrs_attrs__"))? {
        return attrs_fields(value).map(Some);
    } else {
        return Ok(None);
    };
    Ok(Some(Converted::Value(dumped)))
}

/// The fields of a dataclass.
pub(super) fn dataclass<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Converted<'py>>> {
    static FIELDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    if !value.get_type().hasattr(intern!(py, "__dataclass_fields__"))? {
        return Ok(None);
    }
    let fields = FIELDS.import(py, "dataclasses", "fields")?.call1((value,))?;
    named_fields(value, &fields).map(Some)
}

/// The fields of one of msgspec's structs.
fn struct_fields<'py>(value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    let py = value.py();
    let class = value.get_type();
    let tuple = |name| PyResult::Ok(class.getattr(name)?.cast_into::<PyTuple>()?);
    let names = tuple(intern!(py, "__struct_fields__"))?;
    let on_the_wire = tuple(intern!(py, "__struct_encode_fields__"))?;
    let config = class.getattr(intern!(py, "__struct_config__"))?;
    let tag = config.getattr(intern!(py, "tag"))?;
    if config.getattr(intern!(py, "array_like"))?.is_truthy()? {
        let items = PyList::empty(py);
        if !tag.is_none() {
            items.append(tag)?;
        }
        for name in names {
            items.append(value.getattr(name.cast::<PyString>().map_err(PyErr::from)?)?)?;
        }
        return Ok(Converted::List(items));
    }
    let entries = PyDict::new(py);
    if !tag.is_none() {
        entries.set_item(config.getattr(intern!(py, "tag_field"))?, tag)?;
    }
    for (name, on_the_wire) in names.iter().zip(on_the_wire) {
        let field = value.getattr(name.cast::<PyString>().map_err(PyErr::from)?)?;
        // A field that is not there.
        if field.get_type().name()?.to_cow()? != "UnsetType" {
            entries.set_item(on_the_wire, field)?;
        }
    }
    Ok(Converted::Map(entries))
}

/// The fields of a class of attrs.
fn attrs_fields<'py>(value: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    named_fields(value, &value.get_type().getattr(intern!(value.py(), "__attrs_attrs__"))?)
}

/// The attributes that `fields` name.
fn named_fields<'py>(value: &Bound<'py, PyAny>, fields: &Bound<'py, PyAny>) -> Outcome<Converted<'py>> {
    let py = value.py();
    let entries = PyDict::new(py);
    for field in fields.try_iter()? {
        let name = field?.getattr(intern!(py, "name"))?.cast_into::<PyString>().map_err(PyErr::from)?;
        entries.set_item(&name, value.getattr(&name)?)?;
    }
    Ok(Converted::Map(entries))
}
