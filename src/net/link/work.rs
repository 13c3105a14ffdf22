//! The work that a turn is asked to do.

/// The work that is asked of a turn; a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Work(u8);

impl Work {
    /// Nothing.
    pub(in crate::net) const NONE: Self = Self(0);
    /// The socket may have become readable.
    pub(in crate::net) const READ: Self = Self(1);
    /// There may be something to write, or to exchange.
    pub(in crate::net) const WRITE: Self = Self(2);
    /// The socket takes more.
    pub(in crate::net) const WRITABLE: Self = Self(4);
    /// All of it, and the timers.
    pub(in crate::net) const ALL: Self = Self(15);

    pub(in crate::net) const fn bits(self) -> u8 {
        self.0
    }

    pub(in crate::net) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn has_timers(self) -> bool {
        self.0 & 8 != 0
    }
}
