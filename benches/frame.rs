//! What framing costs: reading, writing and masking, beside tungstenite where it does the same.

#![allow(clippy::expect_used)]

use std::{
    hint::black_box,
    io::{self, Cursor, Read, Write},
};

use bytes::{BufMut, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fal_realtime::core::frame::{
    FrameReader, Limits, MessageKind, Role, apply_mask, extend_masked, write_small,
};
use tokio_tungstenite::tungstenite::{
    WebSocket,
    protocol::{
        Role as TheirRole,
        frame::{
            Frame, FrameHeader,
            coding::{Data, OpCode},
        },
    },
};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// `count` frames of a server, of `len` bytes each.
fn wire(count: usize, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..count {
        let frame = Frame::message(vec![7; len], OpCode::Data(Data::Binary), true);
        frame.format(&mut out).expect("writing to memory cannot fail");
    }
    out
}

fn feed_all(reader: &mut FrameReader, mut chunk: &[u8]) {
    while let Some(message) = reader.feed(&mut chunk).expect("the frames are valid") {
        black_box(message);
    }
}

/// Reads from memory, and would block where it ends.
struct Source(Cursor<Vec<u8>>);

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Source {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(c: &mut Criterion) {
    for (name, count, len) in [("64 x 200 B", 64, 200), ("100 KB", 1, 100_000), ("1 MB", 1, 1_000_000)] {
        let wire = wire(count, len);
        let mut group = c.benchmark_group(format!("read {name}"));
        group.throughput(Throughput::Bytes((count * len) as u64));
        let mut reader = FrameReader::new(Limits::default(), Role::Client);

        // Each variant copies once out of memory, as the kernel would.
        let mut chunk = Vec::with_capacity(64 * 1024);
        group.bench_function("chunks of 64 KiB", |b| {
            b.iter(|| {
                for bytes in wire.chunks(64 * 1024) {
                    chunk.clear();
                    chunk.extend_from_slice(bytes);
                    feed_all(&mut reader, &chunk);
                }
            });
        });
        group.bench_function("16 KiB, then direct", |b| {
            b.iter(|| {
                let mut rest = &wire[..];
                while !rest.is_empty() {
                    chunk.clear();
                    if let Some(mut room) = reader.direct() {
                        let (bytes, after) = rest.split_at(rest.len().min(room.remaining_mut()));
                        room.put_slice(bytes);
                        rest = after;
                    } else {
                        let (bytes, after) = rest.split_at(rest.len().min(16 * 1024));
                        chunk.extend_from_slice(bytes);
                        rest = after;
                    }
                    feed_all(&mut reader, &chunk);
                }
            });
        });
        let mut socket =
            WebSocket::from_raw_socket(Source(Cursor::new(wire.clone())), TheirRole::Client, None);
        group.bench_function("tungstenite", |b| {
            b.iter(|| {
                socket.get_mut().0.set_position(0);
                while let Ok(message) = socket.read() {
                    black_box(message);
                }
            });
        });
        group.finish();
    }
}

/// Why small payloads are copied to an allocation each, rather than to a slab that they share.
fn allocate(c: &mut Criterion) {
    let wire = wire(64, 200);
    let mut group = c.benchmark_group("allocate 64 x 200 B");
    let payloads = || wire.chunks(204).map(|frame| &frame[4..]);
    group.bench_function("each its own", |b| {
        b.iter(|| payloads().for_each(|payload| drop(black_box(bytes::Bytes::copy_from_slice(payload)))));
    });
    group.bench_function("shared slab", |b| {
        let mut slab = BytesMut::new();
        b.iter(|| {
            for payload in payloads() {
                if slab.capacity() < payload.len() {
                    slab.reserve(16 * 1024);
                }
                slab.put_slice(payload);
                drop(black_box(slab.split().freeze()));
            }
        });
    });
    group.finish();
}

fn header(c: &mut Criterion) {
    let frames = wire(64, 200);
    let mut group = c.benchmark_group("parse 64 headers");
    group.bench_function("tungstenite", |b| {
        b.iter(|| {
            let mut cursor = Cursor::new(&frames[..]);
            while let Ok(Some((header, len))) = FrameHeader::parse(&mut cursor) {
                black_box(header);
                cursor.set_position(cursor.position() + len);
            }
        });
    });
    let empty: Vec<u8> = [0x82, 0].repeat(64);
    group.bench_function("ours, with an empty message each", |b| {
        let mut reader = FrameReader::new(Limits::default(), Role::Client);
        b.iter(|| feed_all(&mut reader, &empty));
    });
    group.finish();
}

/// tungstenite's `apply_mask_fast32` is private; this is it, but for an aligned slice, its best case.
fn mask_words(words: &mut [u32], key: [u8; 4]) {
    let key = u32::from_ne_bytes(key);
    for word in words {
        *word ^= key;
    }
}

fn mask(c: &mut Criterion) {
    for (name, len) in [("200 B", 200), ("10 KB", 10_000), ("1 MB", 1_000_000)] {
        let mut group = c.benchmark_group(format!("mask {name}"));
        group.throughput(Throughput::Bytes(len as u64));
        let mut payload = vec![7; len];
        let mut words = vec![7_u32; len / 4];
        group.bench_function("in place", |b| b.iter(|| apply_mask(black_box(&mut payload), KEY)));
        group.bench_function("tungstenite's words", |b| b.iter(|| mask_words(black_box(&mut words), KEY)));
        let mut out = Vec::with_capacity(len);
        group.bench_function("while copying", |b| {
            b.iter(|| {
                out.clear();
                extend_masked(&mut out, black_box(&payload), KEY);
            });
        });
        group.bench_function("copy alone", |b| {
            b.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&payload));
            });
        });
        group.finish();
    }
}

fn write(c: &mut Criterion) {
    let payload = vec![7; 200];
    let mut group = c.benchmark_group("write 64 x 200 B");
    group.throughput(Throughput::Bytes(64 * 200));
    let mut out = Vec::new();
    group.bench_function("write_small", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..64 {
                write_small(&mut out, MessageKind::Binary, black_box(&payload), KEY);
            }
        });
    });
    // Its frames own their payload: freeing it is part of writing.
    group.bench_function("tungstenite", |b| {
        b.iter_batched_ref(
            || {
                let masked = |payload: Vec<u8>| {
                    let mut frame = Frame::message(payload, OpCode::Data(Data::Binary), true);
                    frame.header_mut().mask = Some(KEY);
                    frame
                };
                (0..64).map(|_| masked(payload.clone())).collect::<Vec<_>>()
            },
            |frames| {
                out.clear();
                for frame in frames.drain(..) {
                    frame.format(&mut out).expect("writing to memory cannot fail");
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, read, allocate, header, mask, write);
criterion_main!(benches);
