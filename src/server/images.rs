//! The pictures of the image app: real JPEG files, rendered once for each distinct wish.

use std::collections::HashMap;

use crate::sync::Mutex;
use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder};

/// The largest width and height that is rendered, in pixels.
pub(super) const MAX_SIDE: u16 = 2048;

/// How many different pictures of each size there are; the seed chooses.
const VARIANTS: u64 = 8;

/// Past so many bytes of rendered pictures the cache starts anew.
const CACHE_BYTES: usize = 64 << 20;

/// The properties that a picture is asked to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wish {
    pub(super) width: u16,
    pub(super) height: u16,
    /// The size of the file in bytes, if it matters: met exactly unless the picture cannot be made so small.
    pub(super) size: Option<usize>,
    variant: u64,
}

impl Wish {
    pub(super) fn new(width: u16, height: u16, size: Option<usize>, seed: u64) -> Self {
        Self { width, height, size, variant: seed % VARIANTS }
    }
}

/// Rendered pictures by wish.
#[derive(Default)]
pub(super) struct Images {
    cache: Mutex<HashMap<Wish, Bytes>>,
}

impl Images {
    /// The picture, rendered now if it is the first wish of its kind (some milliseconds), else without a copy.
    pub(super) fn get(&self, wish: Wish) -> Bytes {
        let mut cache = self.cache.lock();
        if let Some(image) = cache.get(&wish) {
            return image.clone();
        }
        let image = Bytes::from(render(wish));
        if cache.values().map(Bytes::len).sum::<usize>() + image.len() > CACHE_BYTES {
            cache.clear();
        }
        cache.insert(wish, image.clone());
        image
    }
}

fn render(wish: Wish) -> Vec<u8> {
    let pixels = paint(wish);
    let mut file = Vec::new();
    for quality in [85, 50, 15, 1] {
        file = encode(&pixels, wish, quality);
        if wish.size.is_none_or(|size| file.len() <= size) {
            break;
        }
    }
    if let Some(size) = wish.size {
        pad(&mut file, size);
    }
    file
}

fn encode(pixels: &[u8], wish: Wish, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    // Fails for a picture of no or too many pixels only, and MAX_SIDE excludes both.
    let _ = Encoder::new(&mut file, quality).encode(pixels, wish.width, wish.height, ColorType::Rgb);
    file
}

/// A colour gradient with noise, so that a 512 x 512 picture weighs what an image model's does (about 60 KB).
fn paint(wish: Wish) -> Vec<u8> {
    let (width, height) = (u32::from(wish.width), u32::from(wish.height));
    let mut random = fastrand::Rng::with_seed(wish.variant);
    let tint = [random.u8(..), random.u8(..), random.u8(..)];
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            let noise = random.u32(0..26);
            let gradient = [x * 160 / width, y * 160 / height, (x + y) * 160 / (width + height)];
            pixels.extend((0..3).map(|c| (gradient[c] + u32::from(tint[c]) / 4 + noise) as u8));
        }
    }
    pixels
}

/// Makes the file `size` bytes long with comment segments, which decoders skip.
fn pad(file: &mut Vec<u8>, size: usize) {
    /// The marker's two bytes and the two of the length, which counts itself.
    const OVERHEAD: usize = 4;
    let mut padding = Vec::with_capacity(size.saturating_sub(file.len()));
    while let Some(missing @ OVERHEAD..) = size.checked_sub(file.len() + padding.len()) {
        let mut segment = missing.min(usize::from(u16::MAX) + 2);
        if (1..OVERHEAD).contains(&(missing - segment)) {
            segment -= OVERHEAD; // leaves room for one more whole segment
        }
        padding.extend([0xff, 0xfe]);
        padding.extend(((segment - 2) as u16).to_be_bytes());
        padding.resize(padding.len() + segment - OVERHEAD, b' ');
    }
    // After the start-of-image marker.
    file.splice(2..2, padding);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_jpeg_of_the_size_asked_for() {
        for size in [5_000, 60_000, 65_540, 200_001] {
            let image = render(Wish::new(64, 48, Some(size), 1));
            assert_eq!(image.len(), size);
            assert_eq!((&image[..2], &image[size - 2..]), (&b"\xff\xd8"[..], &b"\xff\xd9"[..]));
        }
    }

    #[test]
    fn a_picture_is_rendered_once() {
        let images = Images::default();
        let wish = Wish::new(16, 16, None, 3);
        assert_eq!(images.get(wish).as_ptr(), images.get(wish).as_ptr());
    }

    #[test]
    fn the_usual_picture_weighs_what_an_image_models_does() {
        let weight = render(Wish::new(512, 512, None, 0)).len();
        assert!((50_000..75_000).contains(&weight), "{weight} bytes");
    }
}
