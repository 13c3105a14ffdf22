//! Classes of other packages, told by their names, so that none of them need be installed or imported.

use std::ffi::CStr;

use pyo3::{
    intern,
    prelude::*,
    types::{PyString, PyType},
};

/// A known class: how an instance of it is encoded.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// None that is known here.
    Unknown,
    /// As its `str()`.
    Text,
    /// As the value of this attribute.
    Attribute(&'static str),
    /// As an extension, whose code and payload are these attributes.
    Ext { code: &'static str, data: &'static str },
    /// As a timestamp extension: it has `seconds` and `nanoseconds`.
    Timestamp,
    /// As what `item()` gives: a number, a bool or a string.
    NumpyScalar,
    /// Not at all: its items, or its bytes?
    NumpyArray,
    /// Not at all: it hides its value on purpose.
    Secret,
    /// Not at all: no plain counterpart keeps its meaning.
    Formless,
}

/// The class that `class` is, or derives from.
pub(super) fn of(class: &Bound<'_, PyType>) -> PyResult<Class> {
    for base in class.mro().iter() {
        let Ok(base) = base.cast_into::<PyType>() else { continue };
        let name = c_name(&base);
        let (module, name) = match name.iter().rposition(|byte| *byte == b'.') {
            Some(dot) => (Some(&name[..dot]), &name[dot + 1..]),
            None => (None, name),
        };
        let Some((modules, class)) = named(name) else { continue };
        let belongs = |module: &[u8]| modules.iter().any(|known| known.as_bytes() == module);
        let found = match module {
            Some(module) => belongs(module),
            // A class that is defined in Python keeps its module as an attribute.
            None => match base.getattr(intern!(base.py(), "__module__"))?.cast::<PyString>() {
                Ok(module) => belongs(module.to_string_lossy().as_bytes()),
                Err(_) => false,
            },
        };
        if found {
            return Ok(class);
        }
    }
    Ok(Class::Unknown)
}

/// The modules that a class of this name may be of, and what it means.
fn named(name: &[u8]) -> Option<(&'static [&'static str], Class)> {
    const PYDANTIC: &[&str] = &["pydantic.networks", "pydantic.types"];
    const NUMPY: &[&str] = &["numpy"];
    Some(match name {
        b"UUID" => (&["uuid", "uuid_utils", "uuid_utils._uuid_utils"], Class::Text),
        b"Decimal" => (&["decimal", "_pydecimal"], Class::Text),
        b"Fraction" => (&["fractions"], Class::Text),
        b"IPv4Address" | b"IPv6Address" | b"IPv4Network" | b"IPv6Network" => (&["ipaddress"], Class::Text),
        b"PurePath" => (&["pathlib", "pathlib._local"], Class::Text),
        b"Pattern" => (&["re"], Class::Attribute("pattern")),
        b"UserString" => (&["collections"], Class::Attribute("data")),
        b"_BaseUrl" | b"_BaseMultiHostUrl" | b"NameEmail" => (PYDANTIC, Class::Text),
        b"Url" | b"MultiHostUrl" => (&["pydantic_core", "pydantic_core._pydantic_core"], Class::Text),
        b"URL" => (&["yarl", "yarl._url", "httpx", "httpx._urls"], Class::Text),
        b"_SecretBase" | b"SecretStr" | b"SecretBytes" => (PYDANTIC, Class::Secret),
        b"ExtType" => (&["msgpack", "msgpack.ext", LOCAL_VALUES], Class::Ext { code: "code", data: "data" }),
        b"Timestamp" => (&["msgpack", "msgpack.ext", LOCAL_VALUES], Class::Timestamp),
        b"Ext" => (&["msgspec.msgpack", "msgspec._core"], Class::Ext { code: "code", data: "data" }),
        b"ndarray" => (NUMPY, Class::NumpyArray),
        b"datetime64" | b"timedelta64" | b"void" => (NUMPY, Class::Formless),
        b"number" | b"bool" | b"bool_" | b"character" => (NUMPY, Class::NumpyScalar),
        _ => return None,
    })
}

/// The module in which the local server keeps its stand-ins for the classes of `msgpack`.
const LOCAL_VALUES: &str = "fal_realtime._local_values";

/// The name that a class has in C: with its module if it is defined there, without if in Python.
pub(super) fn c_name<'a>(class: &'a Bound<'_, PyType>) -> &'a [u8] {
    // SAFETY: every type has a name, which lives as long as the type.
    unsafe { CStr::from_ptr((*class.as_type_ptr()).tp_name) }.to_bytes()
}
