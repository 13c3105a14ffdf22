//! The bytes of an outgoing message: its own, and between them large ones that it borrows instead of copying them.

use std::collections::TryReserveError;

use bytes::Bytes;

use super::{markers, pool};

/// The size in bytes from which on a message, or a part of it, is large: it is borrowed instead of copied, read
/// straight into its place, and framed piece by piece. What that costs, copying costs too from here on.
pub const LARGE_BYTES: usize = 16 << 10;

/// The payload of a message. What is its own goes back to the [`pool`] when it is dropped.
#[derive(Debug, Default)]
pub struct Payload {
    own: Vec<u8>,
    /// What is borrowed, and before which of the own bytes it stands, in order.
    borrowed: Vec<(usize, Bytes)>,
    len: usize,
}

impl Payload {
    /// The bytes of `own` with those of `borrowed` between them: each stands before the own byte at its offset. Offsets
    /// ascend, and are at most the length of `own`.
    pub fn new(own: Vec<u8>, borrowed: Vec<(usize, Bytes)>) -> Self {
        debug_assert!(
            borrowed.is_sorted_by_key(|(at, _)| *at)
                && borrowed.last().is_none_or(|(at, _)| *at <= own.len())
        );
        let len = own.len() + borrowed.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        Self { own, borrowed, len }
    }

    /// The same payload once more; what is borrowed, both borrow. Fails when there is not that much memory.
    pub fn copy(&self) -> Result<Self, TryReserveError> {
        let mut own = pool::take(self.own.len())?;
        own.extend_from_slice(&self.own);
        let mut borrowed = Vec::new();
        borrowed.try_reserve_exact(self.borrowed.len())?;
        borrowed.extend_from_slice(&self.borrowed);
        Ok(Self { own, borrowed, len: self.len })
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// It is the null of msgpack or of JSON. The latter is no msgpack: bytes would be left over.
    pub fn is_null(&self) -> bool {
        matches!(self.len, 1 | 4) && matches!(self.to_vec().as_slice(), [markers::NIL] | b"null")
    }

    /// The memory that its own bytes take.
    #[cfg(all(test, feature = "python"))]
    pub(crate) fn own_capacity(&self) -> usize {
        self.own.capacity()
    }

    /// All of it in one piece: a copy.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len);
        let mut cursor = Cursor::default();
        while let Some(bytes) = cursor.advance(self, usize::MAX) {
            all.extend_from_slice(bytes);
        }
        all
    }

    /// Its pieces are numbered from 0: the even ones are its own, the odd ones borrowed.
    fn piece(&self, number: usize) -> Option<&[u8]> {
        let index = number / 2;
        if number % 2 == 1 {
            return self.borrowed.get(index).map(|(_, bytes)| bytes.as_ref());
        }
        let start = match index.checked_sub(1) {
            Some(before) => self.borrowed.get(before)?.0,
            None => 0,
        };
        let end = self.borrowed.get(index).map_or(self.own.len(), |(at, _)| *at);
        self.own.get(start..end)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(own: Vec<u8>) -> Self {
        Self::new(own, Vec::new())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.own));
    }
}

/// A place in a payload.
#[derive(Debug, Default)]
pub struct Cursor {
    piece: usize,
    /// In the piece.
    at: usize,
    passed: usize,
}

impl Cursor {
    /// The next bytes that lie together, `most` at most, which it passes. `None` at the end.
    pub fn advance<'a>(&mut self, payload: &'a Payload, most: usize) -> Option<&'a [u8]> {
        loop {
            let rest = payload.piece(self.piece)?.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                self.piece += 1;
                self.at = 0;
                continue;
            }
            let next = rest.get(..most).unwrap_or(rest);
            self.at += next.len();
            self.passed += next.len();
            return Some(next);
        }
    }

    /// How many bytes it has passed.
    pub fn passed(&self) -> usize {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_lent_stands_where_it_was_put() {
        let borrowed =
            vec![(0, Bytes::from("<")), (2, Bytes::from("--")), (2, Bytes::from("")), (3, Bytes::from(">"))];
        let payload = Payload::new(b"abc".to_vec(), borrowed);
        assert_eq!((payload.len(), payload.to_vec().as_slice()), (7, &b"<ab--c>"[..]));
        assert_eq!(Payload::from(Vec::new()).to_vec(), b"");
        assert!(Payload::new(Vec::new(), vec![(0, Bytes::new())]).is_empty());
    }

    #[test]
    fn null_is_that_of_msgpack_or_of_json_wherever_its_bytes_are() {
        for null in [b"\xc0".as_slice(), b"null"] {
            assert!(Payload::from(null.to_vec()).is_null());
            assert!(Payload::new(Vec::new(), vec![(0, Bytes::from(null))]).is_null());
        }
        for other in [b"".as_slice(), b"\xc2", b"\xc0\xc0", b"true", b"null ", b"\x81\xa1a\xc0"] {
            assert!(!Payload::from(other.to_vec()).is_null(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_passes_everything_once_and_in_order(
            own in prop::collection::vec(any::<u8>(), 0..50),
            borrowed in prop::collection::vec((0..50_usize, prop::collection::vec(any::<u8>(), 0..20)), 0..5),
            steps in prop::collection::vec(1..30_usize, 1..10),
        ) {
            let mut borrowed: Vec<_> = borrowed.into_iter().map(|(at, bytes)| (at.min(own.len()), Bytes::from(bytes))).collect();
            borrowed.sort_by_key(|(at, _)| *at);
            let mut expected = own.clone();
            for (at, bytes) in borrowed.iter().rev() {
                expected.splice(*at..*at, bytes.iter().copied());
            }
            let payload = Payload::new(own, borrowed);
            let (mut cursor, mut passed) = (Cursor::default(), Vec::new());
            for step in steps.iter().cycle() {
                let Some(bytes) = cursor.advance(&payload, *step) else { break };
                prop_assert!((1..=*step).contains(&bytes.len()));
                passed.extend_from_slice(bytes);
                prop_assert_eq!(cursor.passed(), passed.len());
            }
            prop_assert_eq!((payload.len(), passed), (expected.len(), expected));
        }
    }
}
