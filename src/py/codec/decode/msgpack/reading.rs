//! Reading lengths, numbers and runs of bytes, and what is wrong where they are not there.

use super::{DecodeFailure, Decoder, Outcome};

impl<'a> Decoder<'a, '_> {
    /// Reads a length of 8, 16 or 32 bits: `width` 0, 1 or 2.
    #[inline]
    pub(super) fn length(&mut self, width: u8) -> Outcome<usize> {
        Ok(match width {
            0 => usize::from(u8::from_be_bytes(self.array()?)),
            1 => usize::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.truncated(length)),
        }
    }

    pub(super) fn offset(&self) -> usize {
        self.data.len() - self.rest.len()
    }

    #[cold]
    pub(super) fn too_deep(&self) -> DecodeFailure {
        let (most, at) = (self.max_depth, self.offset());
        DecodeFailure::invalid(format!("the message nests deeper than {most} levels, at offset {at}"))
    }

    #[cold]
    pub(super) fn truncated(&self, needed: usize) -> DecodeFailure {
        let (at, there) = (self.offset(), self.rest.len());
        DecodeFailure::invalid(format!(
            "the message is cut off: offset {at} needs {needed} more bytes, {there} are there"
        ))
    }
}
