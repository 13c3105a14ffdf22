//! What a message costs in the core: `cargo bench --no-default-features --bench core`.
//!
//! The messages are shaped like those of real apps: a small echo and an image result of 60 KB.

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fal_realtime::core::{
    envelope::{classify_binary, classify_text, control_text},
    heartbeat::Heartbeat,
    ring::{Overflow, Pushed, Ring, Weigh},
    throttle::{Offer, Throttle},
};
use serde::Serialize;

#[derive(Serialize)]
struct Echo {
    prompt: String,
    seed: u32,
    steps: u32,
    strength: f64,
    request_id: &'static str,
}

#[derive(Serialize)]
struct ImageResult {
    images: [Image; 1],
    timings: Inference,
    seed: u64,
    num_inference_steps: u32,
    request_id: &'static str,
    nsfw_content_detected: [bool; 1],
}

#[derive(Serialize)]
struct Image {
    content: Content,
    content_type: &'static str,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Inference {
    inference: f64,
}

struct Content(usize);

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&vec![0x55; self.0])
    }
}

const REQUEST_ID: &str = "0b4cbb8e-46f7-4f9e-9f0f-2f6a3c1d7e55";

fn encode(message: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(message).unwrap_or_default()
}

fn echo() -> Vec<u8> {
    let prompt = "a cat ".repeat(18);
    encode(&Echo { prompt, seed: 6_252_023, steps: 3, strength: 0.8, request_id: REQUEST_ID })
}

fn image_result() -> Vec<u8> {
    encode(&ImageResult {
        images: [Image { content: Content(60_000), content_type: "image/jpeg", width: 512, height: 512 }],
        timings: Inference { inference: 0.05 },
        seed: 6_252_023,
        num_inference_steps: 3,
        request_id: REQUEST_ID,
        nsfw_content_detected: [false],
    })
}

fn envelope(c: &mut Criterion) {
    let mut group = c.benchmark_group("envelope");
    let (echo, image) = (echo(), image_result());
    let embedding = encode(&BTreeMap::from([("embedding", vec![0.1_f64; 10_000])]));
    for (name, message) in [("echo 200 B", &echo), ("image 60 KB", &image), ("10,000 floats", &embedding)] {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(format!("binary, {name}"), |b| b.iter(|| classify_binary(black_box(message))));
    }
    let timings = r#"{"type":"x-fal-message","action":"timings","timing":0.0512}"#;
    group.throughput(Throughput::Bytes(timings.len() as u64));
    group.bench_function("text, timings", |b| b.iter(|| classify_text(black_box(timings))));
    let large = format!(r#"{{"images":["data:image/jpeg;base64,{}"]}}"#, "A".repeat(80_000));
    group.throughput(Throughput::Bytes(large.len() as u64));
    group.bench_function("text, image 80 KB", |b| b.iter(|| classify_text(black_box(&large))));
    group.bench_function("control_text, image 80 KB", |b| b.iter(|| control_text(black_box(&large))));
    group.finish();
}

struct Message(Bytes);

impl Weigh for Message {
    fn weight(&self) -> usize {
        self.0.len()
    }
}

fn ring(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    let payload = Bytes::from_static(&[0; 200]);

    // Filled and emptied as by one wake of the loop. After the larger batch the ring gives its memory back.
    for batch in [16, 64] {
        let mut ring = Ring::new(1024, 64 << 20, Overflow::Refuse);
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("push and pop {batch}"), |b| {
            b.iter(|| {
                for _ in 0..batch {
                    let pushed = ring.push(Message(payload.clone()));
                    debug_assert!(matches!(pushed, Pushed::Stored));
                }
                while let Some(message) = ring.pop() {
                    black_box(message);
                }
            });
        });
    }

    let mut full = Ring::new(2, 64 << 20, Overflow::DropOldest);
    group.throughput(Throughput::Elements(1));
    group.bench_function("displace", |b| b.iter(|| full.push(Message(payload.clone()))));
    group.finish();
}

fn time(c: &mut Criterion) {
    let start = Instant::now();
    let mut throttle = Throttle::new(Duration::from_millis(128));
    let _ = throttle.offer(start, 0_u64);
    c.bench_function("throttle/offer, held", |b| {
        b.iter(|| match throttle.offer(black_box(start), black_box(1)) {
            Offer::Pass(item) | Offer::Replaced(item) => item,
            Offer::Held => 0,
        });
    });
    let mut heartbeat =
        Heartbeat::new(Some(Duration::from_secs(20)), Some(Duration::from_secs(20)), Some(Duration::ZERO));
    heartbeat.start(start);
    c.bench_function("heartbeat/activity", |b| {
        b.iter(|| {
            heartbeat.activity(black_box(start));
            black_box(&mut heartbeat);
        });
    });
}

criterion_group!(benches, envelope, ring, time);
criterion_main!(benches);
