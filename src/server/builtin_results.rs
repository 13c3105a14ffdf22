//! The results of the built-in apps.

use bytes::Bytes;
use serde::Serialize;

use super::{
    builtin_inputs::{ImageFields, StreamFields},
    images::{Images, MAX_SIDE, Wish},
};

/// The result of the image app, in the shape of fal's: see "Real payloads" in the protocol's description.
#[derive(Serialize)]
struct ImageResult<'a> {
    images: [Image<'a>; 1],
    timings: Timings,
    seed: u64,
    num_inference_steps: u64,
    nsfw_content_detected: [bool; 1],
}

#[derive(Serialize)]
struct Image<'a> {
    content: &'a serde_bytes::Bytes,
    content_type: &'static str,
    width: u16,
    height: u16,
}

#[derive(Serialize)]
struct Timings {
    inference: f64,
}

/// A result of the stream app.
#[derive(Serialize)]
struct StreamResult<'a> {
    index: u64,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a serde_bytes::Bytes>,
}

/// The one result of the collect app.
#[derive(Serialize)]
struct CollectResult {
    count: u64,
    size: u64,
}

/// A result of the bidi app.
#[derive(Serialize)]
struct BidiResult {
    index: u64,
}

/// The result of the image app for an input.
pub(super) fn image(
    request_id: Option<&[u8]>,
    fields: &ImageFields,
    images: &Images,
) -> Result<Bytes, String> {
    let side = |asked: Option<u64>| asked.unwrap_or(512).clamp(1, u64::from(MAX_SIDE)) as u16;
    let (width, height) = fields.sides();
    let (width, height) = (side(width), side(height));
    let seed = fields.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let content = images.get(Wish::new(width, height, fields.size.map(|size| size as usize), seed));
    let content = serde_bytes::Bytes::new(&content);
    let result = ImageResult {
        images: [Image { content, content_type: "image/jpeg", width, height }],
        timings: Timings { inference: fields.delay.unwrap_or(0.0) },
        seed,
        num_inference_steps: fields.num_inference_steps.unwrap_or(3),
        nsfw_content_detected: [false],
    };
    encode(&result, content.len(), &[("request_id", request_id)])
}

/// One result of the stream app; with `size` in the input, it carries so many bytes of `data`.
pub(super) fn stream(request_id: Option<&[u8]>, fields: &StreamFields, index: u64) -> Result<Bytes, String> {
    /// The bytes of data that a single result carries at most.
    const MAX_DATA_BYTES: u64 = 16 << 20;
    let data = fields.size.map(|size| vec![b'.'; size.min(MAX_DATA_BYTES) as usize]);
    let data = data.as_deref().map(serde_bytes::Bytes::new);
    let result = StreamResult { index, count: fields.count(), data };
    encode(&result, data.map_or(0, |data| data.len()), &[("request_id", request_id)])
}

/// The one result of the collect app.
pub(super) fn collect(request_id: Option<&[u8]>, count: u64, size: u64) -> Result<Bytes, String> {
    encode(&CollectResult { count, size }, 0, &[("request_id", request_id)])
}

/// One result of the bidi app, which carries its input.
pub(super) fn bidi(request_id: Option<&[u8]>, input: &[u8], index: u64) -> Result<Bytes, String> {
    encode(&BidiResult { index }, 0, &[("input", Some(input)), ("request_id", request_id)])
}

/// Encodes a result of fewer than 14 fields, about `data` bytes of data among them, and puts values of the input behind
/// them as they came: rmp-serde cannot embed what is encoded, and decoding it would recurse as deep as it nests.
fn encode(result: &impl Serialize, data: usize, carried: &[(&str, Option<&[u8]>)]) -> Result<Bytes, String> {
    let carried = carried.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    let room = data + 256 + carried.clone().map(|(_, value)| value.len()).sum::<usize>();
    let mut serializer = rmp_serde::Serializer::new(Vec::with_capacity(room)).with_struct_map();
    result.serialize(&mut serializer).map_err(|error| error.to_string())?;
    for (key, value) in carried {
        key.serialize(&mut serializer).map_err(|error| error.to_string())?;
        let out = serializer.get_mut();
        out.extend_from_slice(value);
        // The length of a map of so few fields is in its marker.
        out[0] += 1;
    }
    Ok(serializer.into_inner().into())
}
