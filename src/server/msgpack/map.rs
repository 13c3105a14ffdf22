//! The entries of a valid input's map.

use super::validating::skip;

/// The entries whose keys are text, each value as it is encoded; `None` when the input is no map. It must have passed
/// [`validate`](super::validate).
pub(super) fn entries(mut input: &[u8]) -> Option<impl Iterator<Item = (&str, &[u8])>> {
    let len = rmp::decode::read_map_len(&mut input).ok()?;
    let entries = (0..len).map_while(move |_| {
        let (key, value) = (input, skip(input, 1, usize::MAX).ok()?);
        input = skip(value, 1, usize::MAX).ok()?;
        Some((key, value.get(..value.len() - input.len())?))
    });
    Some(entries.filter_map(|(key, value)| Some((rmp::decode::read_str_from_slice(key).ok()?.0, value))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn entries_are_those_with_text_for_keys() {
        let entries: Vec<_> = entries(b"\x83\xa1a\x07\xc4\x01b\x08\xa1c\x92\xc3\xc0").unwrap().collect();
        assert_eq!(entries, [("a", &b"\x07"[..]), ("c", b"\x92\xc3\xc0")]);
    }

    #[test]
    fn only_a_map_has_entries() {
        assert!(super::entries(b"\x90").is_none());
    }
}
