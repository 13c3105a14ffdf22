//! The results of the built-in apps.

use bytes::{BufMut, Bytes, BytesMut};
use rmp::encode as msgpack;

use super::{
    images::{Images, MAX_SIDE, Wish},
    msgpack::Map,
};

/// Results are written here; writing to memory does not fail, so the `Result`s of `rmp` are ignored.
type Out = bytes::buf::Writer<BytesMut>;

fn out(capacity: usize) -> Out {
    BytesMut::with_capacity(capacity).writer()
}

fn key(out: &mut Out, name: &str) {
    let _ = msgpack::write_str(out, name);
}

fn raw(out: &mut Out, name: &str, value: &[u8]) {
    key(out, name);
    out.get_mut().put_slice(value);
}

fn uint(out: &mut Out, name: &str, value: u64) {
    key(out, name);
    let _ = msgpack::write_uint(out, value);
}

fn float(out: &mut Out, name: &str, value: f64) {
    key(out, name);
    let _ = msgpack::write_f64(out, value);
}

fn bin(out: &mut Out, name: &str, value: &[u8]) {
    key(out, name);
    let _ = msgpack::write_bin(out, value);
}

fn finish(out: Out) -> Bytes {
    out.into_inner().freeze()
}

/// A result that begins like every built-in app's, with the `request_id` of the input if it has one.
fn begin(capacity: usize, entries: u32, input: Option<Map<'_>>) -> Out {
    let request_id = input.and_then(|input| input.get("request_id"));
    let mut out = out(capacity + request_id.map_or(0, <[u8]>::len));
    let _ = msgpack::write_map_len(&mut out, entries + u32::from(request_id.is_some()));
    if let Some(request_id) = request_id {
        raw(&mut out, "request_id", request_id);
    }
    out
}

/// The result of the image app, in the shape of fal's: see "Real payloads" in the protocol's description.
pub(super) fn image(input: Map<'_>, images: &Images) -> Bytes {
    let asked = |name, nested: Option<Map<'_>>| {
        let side = nested.and_then(|size| size.natural(name)).or_else(|| input.natural(name)).unwrap_or(512);
        side.clamp(1, u64::from(MAX_SIDE)) as u16
    };
    let image_size = input.get("image_size").and_then(Map::of);
    let (width, height) = (asked("width", image_size), asked("height", image_size));
    let size = input.natural("size").map(|size| size as usize);
    let seed = input.natural("seed").unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let content = images.get(Wish::new(width, height, size, seed));

    let mut out = begin(content.len() + 256, 5, Some(input));
    key(&mut out, "images");
    let _ = msgpack::write_array_len(&mut out, 1);
    let _ = msgpack::write_map_len(&mut out, 4);
    bin(&mut out, "content", &content);
    key(&mut out, "content_type");
    let _ = msgpack::write_str(&mut out, "image/jpeg");
    uint(&mut out, "width", u64::from(width));
    uint(&mut out, "height", u64::from(height));
    key(&mut out, "timings");
    let _ = msgpack::write_map_len(&mut out, 1);
    float(&mut out, "inference", input.number("delay").unwrap_or(0.0));
    uint(&mut out, "seed", seed);
    uint(&mut out, "num_inference_steps", input.natural("num_inference_steps").unwrap_or(3));
    key(&mut out, "nsfw_content_detected");
    let _ = msgpack::write_array_len(&mut out, 1);
    let _ = msgpack::write_bool(&mut out, false);
    finish(out)
}

/// One result of the stream app; with `size` in the input, it carries so many bytes of `data`.
pub(super) fn stream(input: Option<Map<'_>>, index: u64, count: u64) -> Bytes {
    /// The bytes of data that a single result carries at most.
    const MAX_DATA_BYTES: u64 = 16 << 20;
    let size = input.and_then(|input| input.natural("size")).map(|size| size.min(MAX_DATA_BYTES) as usize);
    let mut out = begin(64 + size.unwrap_or(0), 2 + u32::from(size.is_some()), input);
    uint(&mut out, "index", index);
    uint(&mut out, "count", count);
    if let Some(size) = size {
        key(&mut out, "data");
        let _ = msgpack::write_bin_len(&mut out, size as u32);
        out.get_mut().put_bytes(b'.', size);
    }
    finish(out)
}

/// The one result of the collect app; `last` is the input that ended the collection, if one did.
pub(super) fn collect(last: Option<Map<'_>>, count: u64, size: u64) -> Bytes {
    let mut out = begin(32, 2, last);
    uint(&mut out, "count", count);
    uint(&mut out, "size", size);
    finish(out)
}

/// One result of the bidi app.
pub(super) fn bidi(input: &Bytes, index: u64) -> Bytes {
    let mut out = begin(64 + input.len(), 2, Map::of(input));
    uint(&mut out, "index", index);
    raw(&mut out, "input", input);
    finish(out)
}
