//! The frame header: RFC 6455, section 5.2.

use super::{MAX_CONTROL_PAYLOAD, MAX_HEADER, MessageKind, Role, Violation};

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// The opcode of a frame: what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Data(MessageKind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Data(MessageKind::Text),
            0x2 => Self::Data(MessageKind::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Data(MessageKind::Text) => 0x1,
            Self::Data(MessageKind::Binary) => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// A valid header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) key: Option<[u8; 4]>,
    pub(super) len: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, and its size; `None` when more bytes are wanted. A header that is
    /// wrong is refused at the first byte that shows it.
    #[inline]
    pub(super) fn parse(bytes: &[u8], role: Role) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
            return Err(Violation::protocol("reserved opcode"));
        };
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::protocol("fragmented control frame"));
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        match (role, second & MASKED != 0) {
            (Role::Client, true) => return Err(Violation::protocol("masked frame from a server")),
            (Role::Server, false) => return Err(Violation::protocol("unmasked frame from a client")),
            _ => {}
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_PAYLOAD {
            return Err(Violation::protocol("control frame of more than 125 bytes"));
        }

        let (len, least, size) = match short {
            LENGTH_16 => {
                let Some(&long) = bytes[2..].first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(long)), 126, 4)
            }
            LENGTH_64 => {
                let Some(&long) = bytes[2..].first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(long), 1 << 16, 10)
            }
            _ => (u64::from(short), 0, 2),
        };
        if len < least {
            return Err(Violation::protocol("length not encoded in the fewest bytes"));
        }
        if len >> 63 != 0 {
            return Err(Violation::protocol("length with the top bit set"));
        }

        let (key, size) = match role {
            Role::Client => (None, size),
            Role::Server => {
                let Some(&key) = bytes[size..].first_chunk() else { return Ok(None) };
                (Some(key), size + 4)
            }
        };
        Ok(Some((Self { fin, opcode, key, len }, size)))
    }
}

/// Takes headers off a stream of bytes that may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl HeaderReader {
    /// Consumes a header, or all of `input` when that does not complete one.
    #[inline]
    pub(super) fn take(&mut self, input: &mut &[u8], role: Role) -> Result<Option<Header>, Violation> {
        if self.len == 0
            && let Some((header, size)) = Header::parse(input, role)?
        {
            *input = &input[size..];
            return Ok(Some(header));
        }
        // The header is cut: rare, and over after at most 14 bytes, since no header is longer.
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.bytes[self.len] = byte;
            self.len += 1;
            if let Some((header, _)) = Header::parse(&self.bytes[..self.len], role)? {
                self.len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// Writes a final, masked frame's header to the end of `space`, and answers where it starts.
#[inline]
pub(super) fn put_header(space: &mut [u8; MAX_HEADER], opcode: Opcode, len: usize, key: [u8; 4]) -> usize {
    space[10..].copy_from_slice(&key);
    let (start, short) = match len {
        0..126 => (8, len as u8),
        126..=0xFFFF => {
            space[8..10].copy_from_slice(&(len as u16).to_be_bytes());
            (6, LENGTH_16)
        }
        _ => {
            space[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            (0, LENGTH_64)
        }
    };
    space[start] = FIN | opcode.bits();
    space[start + 1] = MASKED | short;
    start
}
