//! The JSON reader (RFC 8259), for control messages and for routes that answer in JSON.
//!
//! It is not `serde_json`, whose numbers hold 64 bits unless a feature changes them for the whole crate, and whose
//! nesting ends at 128.

use pyo3::{
    prelude::*,
    types::{PyDict, PyInt, PyList},
};

use super::{
    budget::{self, Budget},
    failure::{DecodeFailure, Outcome},
    keys, objects,
};
use crate::py::codec::limits::MAX_DEPTH;

mod strings;

/// The most digits of an integer: `CPython`'s own default limit, since the time to convert grows with the square.
pub(super) const MAX_DIGITS: usize = 4300;

/// Decodes one text.
pub(super) struct JsonDecoder<'a, 'py> {
    py: Python<'py>,
    text: &'a str,
    /// The offset of the next byte; always at the start of a character.
    at: usize,
    budget: Budget,
}

impl<'a, 'py> JsonDecoder<'a, 'py> {
    pub(super) fn new(py: Python<'py>, text: &'a str) -> Self {
        Self { py, text, at: 0, budget: Budget::new(text.len()) }
    }

    /// Decodes the whole text.
    pub(super) fn message(mut self) -> Outcome<Bound<'py, PyAny>> {
        let value = self.value(0)?;
        if self.peek_token().is_none() { Ok(value) } else { Err(self.expected("the end of the JSON text")) }
    }

    /// Reads a value that lies in `depth` containers.
    fn value(&mut self, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        match self.peek_token() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let text = self.string()?;
                objects::wtf8(self.py, &text)
            }
            Some(b'-') if self.text[self.at..].starts_with("-Infinity") => {
                self.literal("-Infinity", objects::float(self.py, f64::NEG_INFINITY)?)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", objects::bool(self.py, true)),
            Some(b'f') => self.literal("false", objects::bool(self.py, false)),
            Some(b'n') => self.literal("null", objects::none(self.py)),
            // Not of RFC 8259, but what Python's `json` writes for these floats, and reads.
            Some(b'N') => self.literal("NaN", objects::float(self.py, f64::NAN)?),
            Some(b'I') => self.literal("Infinity", objects::float(self.py, f64::INFINITY)?),
            _ => Err(self.expected("a JSON value")),
        }
    }

    fn object(&mut self, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        self.enter(depth)?;
        let dict = PyDict::new(self.py);
        if self.skip_token(b'}') {
            self.budget.spend_dict(0)?;
            return Ok(dict.into_any());
        }
        self.budget.spend_dict(1)?;
        loop {
            if self.peek_token() != Some(b'"') {
                return Err(self.expected("a name in double quotes"));
            }
            let name = self.string()?;
            let key = match keys::key(self.py, &name)? {
                Some(key) => key,
                None => objects::wtf8(self.py, &name)?,
            };
            if !self.skip_token(b':') {
                return Err(self.expected("':'"));
            }
            dict.set_item(key, self.value(depth + 1)?)?;
            if self.skip_token(b'}') {
                return Ok(dict.into_any());
            }
            if !self.skip_token(b',') {
                return Err(self.expected("',' or '}'"));
            }
            self.budget.spend(budget::ENTRY_BYTES)?;
        }
    }

    fn array(&mut self, depth: usize) -> Outcome<Bound<'py, PyAny>> {
        self.enter(depth)?;
        self.budget.spend_list(0)?;
        let list = PyList::empty(self.py);
        if self.skip_token(b']') {
            return Ok(list.into_any());
        }
        loop {
            self.budget.spend(budget::ITEM_BYTES)?;
            list.append(self.value(depth + 1)?)?;
            if self.skip_token(b']') {
                return Ok(list.into_any());
            }
            if !self.skip_token(b',') {
                return Err(self.expected("',' or ']'"));
            }
        }
    }

    /// Steps over the opening bracket of a container that lies in `depth` others.
    fn enter(&mut self, depth: usize) -> Outcome<()> {
        if depth >= MAX_DEPTH {
            let at = self.at;
            return Err(DecodeFailure::invalid(format!(
                "the JSON text nests deeper than {MAX_DEPTH} levels, at offset {at}"
            )));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a number: an int if it has neither a fraction nor an exponent, else a float.
    fn number(&mut self) -> Outcome<Bound<'py, PyAny>> {
        let start = self.at;
        self.skip(b'-');
        // No leading zeros.
        if !self.skip(b'0') {
            self.digits()?;
        }
        let mut is_int = true;
        if self.skip(b'.') {
            is_int = false;
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            is_int = false;
            let _sign = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        self.budget.spend(budget::SCALAR_BYTES + text.len())?;
        if !is_int {
            // One beyond the range of a float is an infinity, as for Python's `json`.
            return match text.parse::<f64>() {
                Ok(number) => objects::float(self.py, number),
                Err(_) => Err(DecodeFailure::invalid(format!("the number at offset {start} is no number"))),
            };
        }
        if let Ok(number) = text.parse::<i64>() {
            return objects::signed(self.py, number);
        }
        if text.len() <= MAX_DIGITS
            && let Ok(number) = self.py.get_type::<PyInt>().call1((text,))
        {
            return Ok(number);
        }
        Err(DecodeFailure::invalid(format!(
            "the integer at offset {start} has more than {MAX_DIGITS} digits"
        )))
    }

    /// Steps over one digit or more.
    fn digits(&mut self) -> Outcome<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.expected("a digit")) }
    }

    fn literal(&mut self, word: &str, value: Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("a JSON value"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// Steps over white space and answers the byte behind it.
    fn peek_token(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.peek()
    }

    /// Steps over white space, and over `token` if it comes next.
    fn skip_token(&mut self, token: u8) -> bool {
        self.peek_token();
        self.skip(token)
    }

    /// Steps over `byte` if it comes next.
    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn expected(&self, what: &str) -> DecodeFailure {
        let at = self.at;
        DecodeFailure::invalid(match self.text.get(at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("expected {what} at offset {at} of the JSON text, found {found:?}"),
            None => format!("expected {what} at offset {at} of the JSON text, where it ends"),
        })
    }
}
