//! The walk over a JSON message's top level.

use std::{borrow::Cow, fmt};

use memchr::memmem;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Envelope, EnvelopeKeys, GATEWAY_REFUSAL, Key, Scalar};

/// Classifies a text message.
///
/// Any valid JSON value that is no control message is a result. Nesting costs no stack: `serde_json` skips
/// values iteratively.
pub fn classify_text(message: &str) -> Envelope<'_> {
    if let Some(inbound) = walk(message) {
        return inbound;
    }
    let without = without_python_floats(message);
    without
        .as_deref()
        .and_then(walk)
        .map_or(Envelope::Malformed { why: "the text message is not JSON" }, Envelope::into_owned)
}

fn walk(message: &str) -> Option<Envelope<'_>> {
    let mut json = serde_json::Deserializer::from_str(message);
    json.deserialize_any(TopLevel).and_then(|inbound| json.end().map(|()| inbound)).ok()
}

/// The message with zeros for `NaN` and `Infinity`, which Python's `json` writes though JSON has no form for them;
/// `None` if it has none.
fn without_python_floats(message: &str) -> Option<String> {
    const WORDS: [&str; 2] = ["NaN", "Infinity"];
    let mut without = String::new();
    let (mut rest, mut in_string) = (message, false);
    while let Some(at) = rest.find(['"', '\\', 'N', 'I']) {
        let (before, found) = rest.split_at(at);
        without.push_str(before);
        let word = WORDS.into_iter().find(|word| !in_string && found.starts_with(word));
        let taken = match (word, found.as_bytes().first()) {
            (Some(word), _) => {
                without.push('0');
                rest = &found[word.len()..];
                continue;
            }
            // The escaped character with its backslash.
            (None, Some(b'\\')) => 1 + found.chars().nth(1).map_or(0, char::len_utf8),
            (None, Some(b'"')) => {
                in_string = !in_string;
                1
            }
            (None, _) => 1,
        };
        without.push_str(&found[..taken]);
        rest = &found[taken..];
    }
    without.push_str(rest);
    (without.len() < message.len()).then_some(without)
}

/// The same for text whose results the caller decodes itself: `None` unless it is a control message.
///
/// Text without any of a control message's words is not parsed; it may be large, and need not be JSON.
pub fn control_text(message: &str) -> Option<Envelope<'_>> {
    let has = |word: &str| memmem::find(message.as_bytes(), word.as_bytes()).is_some();
    if !has("x-fal-") && !has("Unauthorized") && !has(GATEWAY_REFUSAL) {
        return None;
    }
    Some(classify_text(message))
        .filter(|inbound| !matches!(inbound, Envelope::Result { .. } | Envelope::Malformed { .. }))
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = EnvelopeKeys::default();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Some(key) => keys.set(key, map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(keys.decide_text())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Envelope::Result { request_id: None })
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Envelope::Result { request_id: None })
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Envelope::Result { request_id: None })
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Envelope::Result { request_id: None })
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Envelope::Result { request_id: None })
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Envelope::Result { request_id: None })
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Envelope::Result { request_id: None })
    }
}

/// Recognises a key without keeping it.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<Key>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<Key>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Key::parse(key.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    /// Text with escapes, which can't be borrowed.
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Signed(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Unsigned(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}
