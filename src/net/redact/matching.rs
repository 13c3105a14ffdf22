//! Finds a secret in what a server said, each of its characters as it is or percent-encoded, and in one line or folded.

use std::ops::Range;

use memchr::{memchr2, memchr3, memmem};

/// The line breaks, as they are, in JSON, and percent-encoded.
const LINE_BREAKS: [&[u8]; 8] = [b"\r", b"\n", b"\\r", b"\\n", b"%0D", b"%0d", b"%0A", b"%0a"];
/// The longest spelling of a character with a line break before it: `%0d%0a%41`.
const MAX_BYTES_OF_ONE: usize = 9;

/// The outcome of comparing a spelling with what is at one place of a text.
enum Comparison {
    /// It is there, up to here.
    Whole(usize),
    /// The text ends after so many bytes of it.
    CutOff(usize),
    Other,
}

/// The places of `spelling` in `text`; they may overlap.
pub(super) fn occurrences(text: &[u8], spelling: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<_> = memmem::find_iter(text, spelling).map(|at| at..at + spelling.len()).collect();
    let is_plain = memchr3(b'%', b'\n', b'\\', text).is_none();
    let Some(first) = spelling.first().filter(|_| !is_plain) else { return found };
    let mut from = 0;
    while let Some(skipped) = text.get(from..).and_then(|rest| memchr2(*first, b'%', rest)) {
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

/// Compares `spelling` with what is at `at`. `decodes`: a byte may be percent-encoded there, or in the next line.
fn compare(text: &[u8], mut at: usize, spelling: &[u8], decodes: bool) -> Comparison {
    for (matched, byte) in spelling.iter().enumerate() {
        let mut rest = text.get(at..).unwrap_or_default();
        if decodes && matched > 0 && rest.first() != Some(byte) {
            let unfolded = after_line_break(rest);
            at += rest.len() - unfolded.len();
            rest = unfolded;
        }
        if rest.is_empty() || (decodes && is_part_of_escape(rest)) {
            return Comparison::CutOff(matched);
        }
        if decodes && escaped(rest) == Some(*byte) {
            at += 3;
        } else if rest.first() == Some(byte) {
            at += 1;
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

/// The byte that `text` begins with, if that is percent-encoded.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Whether `text` is the beginning of a percent-encoded byte or of a line break in JSON, and no more.
fn is_part_of_escape(text: &[u8]) -> bool {
    match text {
        [b'%' | b'\\'] => true,
        [b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    }
}
