//! Finds a secret in what a server said, each of its characters as it is or percent-encoded.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

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
    let Some(first) = spelling.first().filter(|_| memchr(b'%', text).is_some()) else { return found };
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
    // Three bytes for each that is percent-encoded.
    let begins = text.len().saturating_sub(3 * spelling.len());
    (begins..text.len()).find(is_cut_off).map(|at| at..text.len())
}

/// Compares `spelling` with what is at `at`. `decodes`: a byte may be percent-encoded there.
fn compare(text: &[u8], mut at: usize, spelling: &[u8], decodes: bool) -> Comparison {
    for (matched, byte) in spelling.iter().enumerate() {
        let rest = text.get(at..).unwrap_or_default();
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

/// The byte that `text` begins with, if that is percent-encoded.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Whether `text` is the beginning of a percent-encoded byte, and no more.
fn is_part_of_escape(text: &[u8]) -> bool {
    match text {
        [b'%'] => true,
        [b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    }
}
