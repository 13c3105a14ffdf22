//! The interest of the caller's side.

/// The interest of the caller's side: what it waits for; a set of flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Results, errors in their place, the end.
    pub const ITEMS: Self = Self(1);
    /// Notices for callbacks.
    pub const NOTICES: Self = Self(2);
    /// Outcomes of requests.
    pub const ANSWERS: Self = Self(4);
    /// Room in the outgoing ring.
    pub const ROOM: Self = Self(8);
    /// Nothing pending on the way out.
    pub const DRAINED: Self = Self(16);
    /// A change of state.
    pub const STATE: Self = Self(32);
    /// Nothing pending, and nothing without an answer, on a connection that accepts nothing more.
    pub const FINISHED: Self = Self(64);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether they have something in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
