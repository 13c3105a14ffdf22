//! The format of recordings: MCAP (<https://mcap.dev/spec>), as far as it is needed to write them. Messages are gathered
//! in chunks, without compression; what is whole of a file that ends early can be read.
//!
//! Nothing is written here: the bytes are taken and written by whoever has the file.

use std::collections::BTreeMap;

const MAGIC: &[u8] = b"\x89MCAP0\r\n";

/// The opcodes of the records.
mod opcode {
    pub(super) const HEADER: u8 = 0x01;
    pub(super) const FOOTER: u8 = 0x02;
    pub(super) const CHANNEL: u8 = 0x04;
    pub(super) const MESSAGE: u8 = 0x05;
    pub(super) const CHUNK: u8 = 0x06;
    pub(super) const MESSAGE_INDEX: u8 = 0x07;
    pub(super) const CHUNK_INDEX: u8 = 0x08;
    pub(super) const STATISTICS: u8 = 0x0b;
    pub(super) const METADATA: u8 = 0x0c;
    pub(super) const METADATA_INDEX: u8 = 0x0d;
    pub(super) const DATA_END: u8 = 0x0f;
}

/// The bytes of an opcode and a length.
const RECORD_HEADER_BYTES: u64 = 9;
/// Stands for a checksum that was not computed.
const NO_CRC: u32 = 0;
/// Stands for a channel without a schema.
const NO_SCHEMA: u16 = 0;

/// The first and the last time of something, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
struct Span(Option<(u64, u64)>);

impl Span {
    fn include(&mut self, time: u64) {
        let (first, last) = self.0.unwrap_or((time, time));
        self.0 = Some((first.min(time), last.max(time)));
    }

    fn put(self, out: &mut Vec<u8>) {
        let (first, last) = self.0.unwrap_or_default();
        put_u64(out, first);
        put_u64(out, last);
    }
}

/// What was said about a channel.
#[derive(Debug)]
struct Channel {
    /// Its record.
    record: Vec<u8>,
    messages: u64,
}

/// Makes the bytes of one file.
#[derive(Debug)]
pub struct McapWriter {
    out: Vec<u8>,
    /// The bytes that were taken before those in `out`.
    taken: u64,
    channels: Vec<Channel>,
    /// The records of the chunk that is being filled.
    chunk: Vec<u8>,
    chunk_span: Span,
    /// Where in it the messages of each channel are, with their times.
    message_indexes: BTreeMap<u16, Vec<(u64, u64)>>,
    span: Span,
    chunks: u32,
    /// The records of the summary that tell where the chunks are.
    chunk_indexes: Vec<u8>,
    metadata: u32,
    metadata_indexes: Vec<u8>,
}

impl McapWriter {
    /// Begins a file. `library` says who writes it.
    pub fn new(library: &str) -> Self {
        let mut out = MAGIC.to_vec();
        record(&mut out, opcode::HEADER, |out| {
            put_str(out, "");
            put_str(out, library);
        });
        Self {
            out,
            taken: 0,
            channels: Vec::new(),
            chunk: Vec::new(),
            chunk_span: Span::default(),
            message_indexes: BTreeMap::new(),
            span: Span::default(),
            chunks: 0,
            chunk_indexes: Vec::new(),
            metadata: 0,
            metadata_indexes: Vec::new(),
        }
    }

    /// Says something about the file. What is in the chunk so far comes before it.
    pub fn metadata(&mut self, name: &str, pairs: &[(&str, &str)]) {
        self.end_chunk();
        let start = self.at();
        record(&mut self.out, opcode::METADATA, |out| {
            put_str(out, name);
            put_map(out, pairs);
        });
        let length = self.at() - start;
        record(&mut self.metadata_indexes, opcode::METADATA_INDEX, |out| {
            put_u64(out, start);
            put_u64(out, length);
            put_str(out, name);
        });
        self.metadata += 1;
    }

    /// Adds a channel; answers its number.
    pub fn channel(&mut self, topic: &str, encoding: &str, metadata: &[(&str, &str)]) -> u16 {
        let id = self.channels.len() as u16;
        let mut channel = Vec::new();
        record(&mut channel, opcode::CHANNEL, |out| {
            put_u16(out, id);
            put_u16(out, NO_SCHEMA);
            put_str(out, topic);
            put_str(out, encoding);
            put_map(out, metadata);
        });
        self.chunk.extend_from_slice(&channel);
        self.channels.push(Channel { record: channel, messages: 0 });
        id
    }

    /// Adds a message of a channel, at a time in nanoseconds since 1970. `content` appends it; what it has appended is
    /// all that it may touch.
    pub fn message(&mut self, channel: u16, time: u64, content: impl FnOnce(&mut Vec<u8>)) {
        let Some(known) = self.channels.get_mut(usize::from(channel)) else { return };
        known.messages += 1;
        let sequence = known.messages as u32;
        let offset = self.chunk.len() as u64;
        record(&mut self.chunk, opcode::MESSAGE, |out| {
            put_u16(out, channel);
            put_u32(out, sequence);
            put_u64(out, time);
            put_u64(out, time);
            content(out);
        });
        self.message_indexes.entry(channel).or_default().push((time, offset));
        self.chunk_span.include(time);
        self.span.include(time);
    }

    /// The bytes in the chunk that is being filled.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk.len()
    }

    /// Ends the chunk: what is in it can be taken.
    pub fn end_chunk(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let (start, span) = (self.at(), std::mem::take(&mut self.chunk_span));
        let size = self.chunk.len() as u64;
        record(&mut self.out, opcode::CHUNK, |out| {
            span.put(out);
            put_u64(out, size);
            put_u32(out, NO_CRC);
            put_str(out, "");
            put_u64(out, size);
            out.extend_from_slice(&self.chunk);
        });
        self.chunk.clear();
        let length = self.at() - start;
        let indexes_start = self.at();
        let mut offsets = Vec::new();
        for (channel, entries) in &mut self.message_indexes {
            put_u16(&mut offsets, *channel);
            put_u64(&mut offsets, self.taken + self.out.len() as u64);
            record(&mut self.out, opcode::MESSAGE_INDEX, |out| {
                put_u16(out, *channel);
                put_u32(out, entries.len() as u32 * 16);
                for (time, offset) in entries.drain(..) {
                    put_u64(out, time);
                    put_u64(out, offset);
                }
            });
        }
        self.message_indexes.clear();
        let indexes_length = self.at() - indexes_start;
        record(&mut self.chunk_indexes, opcode::CHUNK_INDEX, |out| {
            span.put(out);
            put_u64(out, start);
            put_u64(out, length);
            put_u32(out, offsets.len() as u32);
            out.extend_from_slice(&offsets);
            put_u64(out, indexes_length);
            put_str(out, "");
            put_u64(out, size);
            put_u64(out, size);
        });
        self.chunks += 1;
    }

    /// Ends the file with its summary.
    pub fn finish(&mut self) {
        self.end_chunk();
        record(&mut self.out, opcode::DATA_END, |out| put_u32(out, NO_CRC));
        let summary_start = self.at();
        for channel in &self.channels {
            self.out.extend_from_slice(&channel.record);
        }
        record(&mut self.out, opcode::STATISTICS, |out| {
            put_u64(out, self.channels.iter().map(|channel| channel.messages).sum());
            put_u16(out, 0);
            put_u32(out, self.channels.len() as u32);
            put_u32(out, 0);
            put_u32(out, self.metadata);
            put_u32(out, self.chunks);
            self.span.put(out);
            put_u32(out, self.channels.len() as u32 * 10);
            for (id, channel) in self.channels.iter().enumerate() {
                put_u16(out, id as u16);
                put_u64(out, channel.messages);
            }
        });
        self.out.append(&mut self.chunk_indexes);
        self.out.append(&mut self.metadata_indexes);
        record(&mut self.out, opcode::FOOTER, |out| {
            put_u64(out, summary_start);
            put_u64(out, 0);
            put_u32(out, NO_CRC);
        });
        self.out.extend_from_slice(MAGIC);
    }

    /// The bytes that are to be written next; they count as written.
    pub fn take(&mut self, write: impl FnOnce(&[u8])) {
        write(&self.out);
        self.taken += self.out.len() as u64;
        self.out.clear();
    }

    /// The place in the file.
    fn at(&self) -> u64 {
        self.taken + self.out.len() as u64
    }
}

/// Appends a record.
fn record(out: &mut Vec<u8>, opcode: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(opcode);
    put_u64(out, 0);
    content(out);
    let length = (out.len() - start) as u64 - RECORD_HEADER_BYTES;
    if let Some(place) = out.get_mut(start + 1..start + RECORD_HEADER_BYTES as usize) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_str(out: &mut Vec<u8>, value: &str) {
    put_u32(out, value.len() as u32);
    out.extend_from_slice(value.as_bytes());
}

fn put_map(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    put_u32(out, pairs.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() as u32);
    for (name, value) in pairs {
        put_str(out, name);
        put_str(out, value);
    }
}
