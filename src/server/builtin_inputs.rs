//! The inputs of the built-in apps.
//!
//! Fields that an app does not know are ignored, and a field of another type counts as missing.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// What the echo app reads.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EchoFields {
    #[serde(deserialize_with = "lenient")]
    delay: Option<f64>,
}

/// What the image app reads.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ImageFields {
    #[serde(deserialize_with = "lenient")]
    pub(super) delay: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    image_size: Option<ImageSize>,
    #[serde(deserialize_with = "lenient")]
    width: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    height: Option<u64>,
    /// Bytes that the image shall have.
    #[serde(deserialize_with = "lenient")]
    pub(super) size: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) seed: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) num_inference_steps: Option<u64>,
}

/// The size of an image in pixels, as fal's models take it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ImageSize {
    width: Option<u64>,
    height: Option<u64>,
}

/// What the stream app reads.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamFields {
    #[serde(deserialize_with = "lenient")]
    delay: Option<f64>,
    /// How many results there shall be.
    #[serde(deserialize_with = "lenient")]
    count: Option<u64>,
    /// Bytes of data that each result shall carry.
    #[serde(deserialize_with = "lenient")]
    pub(super) size: Option<u64>,
}

/// What the collect app reads.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CollectFields {
    #[serde(deserialize_with = "lenient")]
    r#final: Option<bool>,
}

/// What the bidi app reads.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct BidiFields {
    #[serde(deserialize_with = "lenient")]
    end: Option<bool>,
}

impl EchoFields {
    pub(super) fn delay(&self) -> Duration {
        duration(self.delay)
    }
}

impl ImageFields {
    pub(super) fn delay(&self) -> Duration {
        duration(self.delay)
    }

    /// Width and height that are asked for, in pixels.
    pub(super) fn sides(&self) -> (Option<u64>, Option<u64>) {
        let asked = self.image_size.as_ref();
        let width = asked.and_then(|size| size.width).or(self.width);
        let height = asked.and_then(|size| size.height).or(self.height);
        (width, height)
    }
}

impl StreamFields {
    pub(super) fn delay(&self) -> Duration {
        duration(self.delay)
    }

    pub(super) fn count(&self) -> u64 {
        self.count.unwrap_or(3)
    }
}

impl CollectFields {
    pub(super) fn is_final(&self) -> bool {
        self.r#final == Some(true)
    }
}

impl BidiFields {
    pub(super) fn ends(&self) -> bool {
        self.end == Some(true)
    }
}

/// A value of the field's type, or none. That a value is left half read does no harm: each is read on its own.
#[allow(clippy::unnecessary_wraps)] // serde's `deserialize_with` wants a `Result`
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(deserializer).ok())
}

/// A `delay` in seconds; at most a day.
fn duration(seconds: Option<f64>) -> Duration {
    Duration::try_from_secs_f64(seconds.unwrap_or(0.0).clamp(0.0, 86_400.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::msgpack::Input, *};

    #[test]
    fn fields_are_read_by_name() {
        let bytes = b"\x85\xa1a\x92\xd6\x01\0\0\0\0\xc0\xa5width\xcd\x01\0\xa4size\xa1x\xa4seed\x07\
            \xa5delay\xcb\x3f\xe0\0\0\0\0\0\0";
        let fields: ImageFields = Input::of(bytes).unwrap().fields().unwrap();
        assert_eq!((fields.sides(), fields.size, fields.seed), ((Some(256), None), None, Some(7)));
        assert_eq!(fields.delay(), Duration::from_millis(500));
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_value_counts() {
        let bytes = b"\x83\xa5count\x01\xa5count\x02\xc4\x05count\x03";
        let fields: StreamFields = Input::of(bytes).unwrap().fields().unwrap();
        assert_eq!(fields.count(), 2);
    }
}
