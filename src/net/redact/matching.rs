//! Finds a secret in what a server said, each of its characters as it is, percent-encoded, or escaped as in JSON, and in
//! one line or folded.

use std::ops::Range;

use memchr::{memchr, memchr3, memmem::Finder};

/// The line breaks, as they are, in JSON, and percent-encoded.
const LINE_BREAKS: [&[u8]; 8] = [b"\r", b"\n", b"\\r", b"\\n", b"%0D", b"%0d", b"%0A", b"%0a"];
/// The longest spelling of a byte with a line break before it: `%0d%0a\u0041`.
const MAX_BYTES_OF_ONE: usize = 12;

/// The outcome of comparing a spelling with what is at one place of a text.
enum Comparison {
    /// It is there, up to here.
    Whole(usize),
    /// The text ends after so many bytes of it.
    CutOff(usize),
    Other,
}

/// The places in `text` of what `finder` finds; they may overlap.
pub(super) fn occurrences(text: &[u8], finder: &Finder<'_>) -> Vec<Range<usize>> {
    let spelling = finder.needle();
    let mut found: Vec<_> = finder.find_iter(text).map(|at| at..at + spelling.len()).collect();
    let has_escapes = memchr3(b'%', b'\n', b'\\', text).is_some()
        || (memchr(b' ', spelling).is_some() && memchr(b'+', text).is_some());
    let Some(first) = spelling.first().filter(|_| has_escapes) else { return found };
    let mut from = 0;
    while let Some(skipped) = text.get(from..).and_then(|rest| memchr3(*first, b'%', b'\\', rest)) {
        let at = from + skipped;
        from = match compare(text, at, spelling, true) {
            Comparison::Whole(end) => {
                found.push(at..end);
                end
            }
            Comparison::CutOff(_) | Comparison::Other => at + 1,
        };
    }
    found
}

/// The place of at least so many bytes of `spelling` at the end of `text`, which cuts off the rest.
pub(super) fn cut_off(text: &[u8], spelling: &[u8], least: usize) -> Option<Range<usize>> {
    let is_cut_off = |at: &usize| {
        [false, true].iter().any(|decodes| {
            matches!(compare(text, *at, spelling, *decodes), Comparison::CutOff(matched) if matched >= least)
        })
    };
    let begins = text.len().saturating_sub(MAX_BYTES_OF_ONE * spelling.len());
    (begins..text.len()).find(is_cut_off).map(|at| at..text.len())
}

/// Compares `spelling` with what is at `at`. `decodes`: a character may be escaped there, or in the next line.
fn compare(text: &[u8], mut at: usize, spelling: &[u8], decodes: bool) -> Comparison {
    let mut matched = 0;
    while let Some(wanted @ [byte, ..]) = spelling.get(matched..) {
        let mut rest = text.get(at..).unwrap_or_default();
        if decodes && matched > 0 && rest.first() != Some(byte) {
            let unfolded = after_line_break(rest);
            at += rest.len() - unfolded.len();
            rest = unfolded;
        }
        if rest.is_empty() || (decodes && is_part_of_escape(rest)) {
            return Comparison::CutOff(matched);
        }
        let escaped = escaped(rest).filter(|escaped| decodes && wanted.starts_with(escaped.bytes()));
        if let Some(escaped) = escaped {
            at += escaped.length;
            matched += escaped.bytes().len();
        } else if rest.first() == Some(byte) {
            at += 1;
            matched += 1;
        } else {
            return Comparison::Other;
        }
    }
    Comparison::Whole(at)
}

/// What follows the line break that `text` begins with, if it does.
fn after_line_break(mut text: &[u8]) -> &[u8] {
    // A carriage return, and a line feed.
    for _ in 0..2 {
        text = LINE_BREAKS.iter().find_map(|spelled| text.strip_prefix(*spelled)).unwrap_or(text);
    }
    text
}

/// A byte, or a character, that was spelled with an escape.
struct Escaped {
    utf8: [u8; 4],
    count: usize,
    /// The bytes of its spelling.
    length: usize,
}

impl Escaped {
    fn byte(byte: u8, length: usize) -> Self {
        Self { utf8: [byte, 0, 0, 0], count: 1, length }
    }

    fn bytes(&self) -> &[u8] {
        self.utf8.get(..self.count).unwrap_or_default()
    }
}

/// What `text` begins with, if that is escaped: as in an address or a form (`%41`, `+`), or as in JSON (`\"`, `\u0041`).
fn escaped(text: &[u8]) -> Option<Escaped> {
    match text {
        [b'%', digits @ ..] => {
            let byte = u8::try_from(hexadecimal(digits.get(..2)?)?).ok()?;
            Some(Escaped::byte(byte, 3))
        }
        [b'+', ..] => Some(Escaped::byte(b' ', 1)),
        [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => Some(Escaped::byte(*byte, 2)),
        [b'\\', b'u', ..] => {
            let first = utf16_unit(text)?;
            let pair = [first, text.get(6..).and_then(utf16_unit).unwrap_or_default()];
            let character = char::decode_utf16(pair).next()?.ok()?;
            let mut utf8 = [0; 4];
            let count = character.encode_utf8(&mut utf8).len();
            Some(Escaped { utf8, count, length: 6 * character.len_utf16() })
        }
        _ => None,
    }
}

/// The unit of UTF-16 that `text` begins with, as JSON escapes it.
fn utf16_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    hexadecimal(digits)
}

fn hexadecimal(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(value << 4 | digit)
    })
}

/// Whether `text` is the beginning of an escape, and no more.
fn is_part_of_escape(text: &[u8]) -> bool {
    match text {
        [b'%' | b'\\'] => true,
        [b'%', digit] => digit.is_ascii_hexdigit(),
        [b'\\', b'u', digits @ ..] => digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    }
}
