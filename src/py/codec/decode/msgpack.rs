//! The msgpack reader.

use pyo3::{
    ffi,
    prelude::*,
    types::{PyDict, PyList, PyTuple},
};

use super::{
    budget::{self, Budget},
    failure::{DecodeFailure, Outcome},
    keys,
    objects::{self, ListBuilder},
};
use crate::{
    core::markers,
    py::codec::{
        ext::ExtType,
        limits::MAX_DEPTH,
        timestamp::{self, Timestamp},
    },
};

mod reading;

/// The depth to which containers may nest for Python's `msgpack`.
const PACKERS_MAX_DEPTH: usize = 1024;

/// Decodes one message.
pub(super) struct Decoder<'a, 'py> {
    py: Python<'py>,
    data: &'a [u8],
    /// The bytes that were not read yet: a suffix of `data`.
    rest: &'a [u8],
    budget: Budget,
    values: Values,
    max_depth: usize,
}

/// The values that extensions become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// `datetime` and `ExtType`.
    Ours,
    /// Those that Python's `msgpack` makes, for the handlers of the local server.
    Packers,
}

impl<'a, 'py> Decoder<'a, 'py> {
    pub(super) fn new(py: Python<'py>, data: &'a [u8], values: Values) -> Self {
        let max_depth = match values {
            Values::Ours => MAX_DEPTH,
            Values::Packers => PACKERS_MAX_DEPTH,
        };
        Self { py, data, rest: data, budget: Budget::new(data.len()), values, max_depth }
    }

    /// Decodes the whole message.
    pub(super) fn message(mut self) -> Outcome<Bound<'py, PyAny>> {
        let value = self.value(0)?;
        if self.rest.is_empty() {
            return Ok(value);
        }
        Err(DecodeFailure::invalid(format!(
            "{} bytes follow the object, at offset {}",
            self.rest.len(),
            self.offset()
        )))
    }

    /// Reads a value that lies in `depth` containers.
    fn value(&mut self, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        let py = self.py;
        let [marker] = self.array()?;
        match marker {
            0x00..=markers::POSITIVE_FIXINT_LAST => objects::signed(py, i64::from(marker)),
            markers::FIXMAP..=markers::FIXMAP_LAST => self.map(usize::from(marker & 0x0f), depth),
            markers::FIXARRAY..=markers::FIXARRAY_LAST => self.list(usize::from(marker & 0x0f), depth),
            markers::FIXSTR..=markers::FIXSTR_LAST => self.str(usize::from(marker & 0x1f)),
            markers::NIL => Ok(objects::none(py)),
            markers::RESERVED => {
                Err(DecodeFailure::invalid(format!("0xc1 at offset {} is no msgpack", self.offset() - 1)))
            }
            markers::FALSE => Ok(objects::bool(py, false)),
            markers::TRUE => Ok(objects::bool(py, true)),
            markers::BIN_8..=markers::BIN_32 => {
                let length = self.length(marker - markers::BIN_8)?;
                self.bin(length)
            }
            markers::EXT_8..=markers::EXT_32 => {
                let length = self.length(marker - markers::EXT_8)?;
                self.ext(length)
            }
            markers::FLOAT_32 => {
                let number = f32::from_be_bytes(self.array()?);
                self.number(|| objects::float(py, f64::from(number)))
            }
            markers::FLOAT_64 => {
                let number = f64::from_be_bytes(self.array()?);
                self.number(|| objects::float(py, number))
            }
            markers::UINT_8 => {
                let [number] = self.array()?;
                self.number(|| objects::signed(py, i64::from(number)))
            }
            markers::UINT_16 => {
                let number = u16::from_be_bytes(self.array()?);
                self.number(|| objects::signed(py, i64::from(number)))
            }
            markers::UINT_32 => {
                let number = u32::from_be_bytes(self.array()?);
                self.number(|| objects::signed(py, i64::from(number)))
            }
            markers::UINT_64 => {
                let number = u64::from_be_bytes(self.array()?);
                self.number(|| objects::unsigned(py, number))
            }
            markers::INT_8 => {
                let number = i8::from_be_bytes(self.array()?);
                self.number(|| objects::signed(py, i64::from(number)))
            }
            markers::INT_16 => {
                let number = i16::from_be_bytes(self.array()?);
                self.number(|| objects::signed(py, i64::from(number)))
            }
            markers::INT_32 => {
                let number = i32::from_be_bytes(self.array()?);
                self.number(|| objects::signed(py, i64::from(number)))
            }
            markers::INT_64 => {
                let number = i64::from_be_bytes(self.array()?);
                self.number(|| objects::signed(py, number))
            }
            markers::FIXEXT_1..=markers::FIXEXT_16 => self.ext(1 << (marker - markers::FIXEXT_1)),
            markers::STR_8..=markers::STR_32 => {
                let length = self.length(marker - markers::STR_8)?;
                self.str(length)
            }
            markers::ARRAY_16 | markers::ARRAY_32 => {
                let length = self.length(marker - markers::ARRAY_16 + 1)?;
                self.list(length, depth)
            }
            markers::MAP_16 | markers::MAP_32 => {
                let length = self.length(marker - markers::MAP_16 + 1)?;
                self.map(length, depth)
            }
            markers::NEGATIVE_FIXINT..=0xff => self.number(|| objects::signed(py, i64::from(marker as i8))),
        }
    }

    #[inline]
    fn number(&mut self, make: impl FnOnce() -> Outcome<Bound<'py, PyAny>>) -> Outcome<Bound<'py, PyAny>> {
        self.budget.spend(budget::SCALAR_BYTES)?;
        make()
    }

    fn map(&mut self, length: usize, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        // Each key and each value takes a byte at least: a declared length that cannot be is refused here.
        self.enter(length.saturating_mul(2), depth)?;
        self.budget.spend_dict(length)?;
        let dict = PyDict::new(self.py);
        for _ in 0..length {
            let key = self.key(depth + 1)?;
            let value = self.value(depth + 1)?;
            // SAFETY: `dict` is a dict, `key` and `value` are objects.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } != 0 {
                return Err(PyErr::fetch(self.py).into());
            }
        }
        Ok(dict.into_any())
    }

    /// Reads a map key: of any type, but mostly a short str.
    #[inline]
    fn key(&mut self, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        match self.rest {
            [marker @ markers::FIXSTR..=markers::FIXSTR_LAST, after @ ..] => {
                self.rest = after;
                let utf8 = self.text(usize::from(marker & 0x1f))?;
                match keys::key(self.py, utf8)? {
                    Some(key) => Ok(key),
                    None => objects::bytes(self.py, utf8),
                }
            }
            _ => self.other_key(depth),
        }
    }

    /// Reads a map key that is no short str.
    #[cold]
    #[inline(never)]
    fn other_key(&mut self, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        hashable(self.value(depth)?)
    }

    fn list(&mut self, length: usize, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        self.enter(length, depth)?;
        self.budget.spend_list(length)?;
        let mut list = ListBuilder::new(self.py, length)?;
        for _ in 0..length {
            list.push(self.value(depth + 1)?);
        }
        Ok(list.finish())
    }

    /// Checks, before a container of at least `bytes` more bytes is made, that it can be there and may.
    #[inline]
    fn enter(&mut self, bytes: usize, depth: usize) -> Outcome<()> {
        if bytes > self.rest.len() {
            return Err(self.truncated(bytes));
        }
        if depth >= self.max_depth {
            return Err(self.too_deep());
        }
        Ok(())
    }

    #[inline]
    fn str(&mut self, length: usize) -> Outcome<Bound<'py, PyAny>> {
        let utf8 = self.text(length)?;
        match objects::string(self.py, utf8)? {
            Some(string) => Ok(string),
            // msgpack lets a str hold any bytes: they are what can be given.
            None => objects::bytes(self.py, utf8),
        }
    }

    /// Takes the contents of a str.
    #[inline]
    fn text(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let utf8 = self.take(length)?;
        self.budget.spend(budget::HEADER_BYTES + length)?;
        Ok(utf8)
    }

    #[inline]
    fn bin(&mut self, length: usize) -> Outcome<Bound<'py, PyAny>> {
        let data = self.take(length)?;
        self.budget.spend(budget::HEADER_BYTES + length)?;
        objects::bytes(self.py, data)
    }

    /// Reads the code and the payload of an extension.
    #[cold]
    #[inline(never)]
    fn ext(&mut self, length: usize) -> Outcome<Bound<'py, PyAny>> {
        let code = i8::from_be_bytes(self.array()?);
        let payload = self.take(length)?;
        self.budget.spend(2 * budget::HEADER_BYTES + length)?;
        if self.values == Values::Packers {
            return objects::packers_ext(self.py, code, payload);
        }
        if code == timestamp::CODE
            && let Ok(timestamp) = Timestamp::from_payload(payload)
            && let Some(datetime) = timestamp.to_datetime(self.py)?
        {
            return Ok(datetime.into_any());
        }
        // Also a timestamp that no `datetime` can hold.
        let data = objects::bytes(self.py, payload)?.cast_into().map_err(PyErr::from)?;
        Ok(Bound::new(self.py, ExtType { code, data: data.unbind() })?.into_any())
    }
}

/// `key`, or a tuple in place of what Python cannot hash: of the items of an array, or of the pairs of a map.
fn hashable(key: Bound<'_, PyAny>) -> Outcome<Bound<'_, PyAny>> {
    let py = key.py();
    if let Ok(list) = key.cast_exact::<PyList>() {
        let items = list.iter().map(hashable).collect::<Outcome<Vec<_>>>()?;
        return Ok(PyTuple::new(py, items)?.into_any());
    }
    if let Ok(dict) = key.cast_exact::<PyDict>() {
        let pairs =
            dict.iter().map(|(key, value)| Ok((key, hashable(value)?))).collect::<Outcome<Vec<_>>>()?;
        return Ok(PyTuple::new(py, pairs)?.into_any());
    }
    Ok(key)
}
